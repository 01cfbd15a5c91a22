//! One copy, from plan to tag.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_oci::Pushed;
use imgbake_runtime::Job;
use imgbake_types::version::is_tag;
use imgbake_types::{Digest, Size, Stage, Target};

use super::end::End;
use super::meter::{Feed, Meter};
use super::plan::Plan;
use super::walk;
use crate::Result;
use crate::tags::{HIDDEN, is_hidden};

/// Blobs that move at once.
const PARALLEL: usize = 6;

/// What a copy did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The version's digest: the same at both ends.
    pub digest: Digest,
    /// Its tag at its destination.
    pub tag: String,
    /// Bytes that were moved.
    pub moved_bytes: u64,
    /// Blobs that were moved.
    pub moved: usize,
    /// Blobs that the registry took from another of its repositories.
    pub mounted: usize,
    /// Blobs that were there.
    pub there: usize,
    /// Manifests that say something of the version, or of one another: by subject, or by cosign's tags.
    pub referrers: usize,
}

/// Copies what a target leads to, and what refers to it. Without a `tag` the version keeps its own
/// name. The tag is there when everything that it leads to is, and not before.
///
/// # Errors
/// There is no such target; it or something below it is damaged, hostile or out of reach; the tag
/// names something else already ([`BuildErrorKind::Refused`]).
pub async fn copy(
    job: &Job,
    from: &End,
    target: &Target,
    to: &End,
    tag: Option<&str>,
) -> Result<Copied> {
    let (source, sink) = (from.source(), to.destination());
    let stage = Arc::new(job.events().stage(Stage::Copy, &sink.label()));
    stage.status("reading manifests");
    let plan = job.cancel().run(walk::plan(job, source, target)).await??;
    let tag = tag_of(&plan, target, tag)?;
    let incoming = sink.receive(job).await?;
    let incoming = &*incoming;
    incoming.check_tag(&tag, &plan).await?;
    let meter = Meter::new(&stage, plan.bytes());
    let moving = futures::stream::iter(plan.blobs.values().cloned()).map(|blob| {
        let meter = meter.clone();
        async move {
            let feed = Feed { from: source, blob: &blob, meter: meter.clone() };
            let pushed = incoming.bring(&blob, &feed, source.repository()).await?;
            meter.settle(&blob);
            Ok::<_, BuildError>(pushed)
        }
    });
    let pushed: Vec<Pushed> =
        job.cancel().run(moving.buffer_unordered(PARALLEL).try_collect()).await??;
    stage.status("writing manifests");
    for stayed in job.cancel().run(incoming.finish(&plan, &tag)).await?? {
        job.events().warn(stayed.words(&source.label(), &sink.label()));
    }
    let count = |wanted| pushed.iter().filter(|how| **how == wanted).count();
    let copied = Copied {
        digest: plan.root.digest.clone(),
        tag,
        moved_bytes: meter.moved(),
        moved: count(Pushed::Sent),
        mounted: count(Pushed::Mounted),
        there: count(Pushed::There),
        referrers: plan.referrers(),
    };
    drop(meter);
    if let Some(stage) = Arc::into_inner(stage) {
        stage.finish(copied.moved_bytes, copied.words());
    }
    Ok(copied)
}

impl Copied {
    /// "2026.11.23-1, 4f1c…, 3 blobs there, 2 mounted"
    fn words(&self) -> String {
        let moved = format!("{} moved", Size::bytes(self.moved_bytes).human());
        let counts =
            [(self.there, "blobs there"), (self.mounted, "mounted"), (self.referrers, "attached")];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        let reported = [self.tag.clone(), self.digest.short().to_owned(), moved].into_iter();
        reported
            .chain(counts.map(|(count, what)| format!("{count} {what}")))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// The tag at the destination: the one that is wished, the version's own name, the one it was asked by.
fn tag_of(plan: &Plan, target: &Target, wished: Option<&str>) -> Result<String> {
    let asked = match target {
        Target::Tag(tag) => Some(tag.as_str()),
        Target::Digest(_) => None,
    };
    let own = plan.version.as_deref().filter(|version| is_tag(version) && !is_hidden(version));
    let tag = wished.or(own).or(asked).ok_or_else(|| {
        let what = format!("{} carries no version's name", plan.root.digest);
        BuildError::new(BuildErrorKind::Usage, what).help("give the destination a tag: NAME:TAG")
    })?;
    if !is_tag(tag) || is_hidden(tag) {
        let what = format!("`{}` cannot be a version's tag", tag.escape_debug());
        return Err(BuildError::new(BuildErrorKind::Usage, what).help(HIDDEN));
    }
    Ok(tag.to_owned())
}
