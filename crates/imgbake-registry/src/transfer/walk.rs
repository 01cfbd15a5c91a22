//! Reading what a copy shall move: what a target leads to, and what refers to that.

use std::collections::{BTreeMap, BTreeSet};

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_oci::RawManifest;
use imgbake_runtime::Job;
use imgbake_types::{Digest, Target};

use super::document::Document;
use super::end::Source;
use super::plan::{Plan, Planned};
use super::signed::Signed;
use crate::blob::Blob;
use crate::oci::Descriptor;
use crate::{Result, tags};

/// How deep indexes lie in indexes.
const DEEPEST: usize = 4;
/// How far what refers to something is itself referred to: a signature of an attestation is two.
const FARTHEST: usize = 3;
/// The most manifests of one copy, and the bytes that all of them may have: they are held in memory.
const MOST_MANIFESTS: usize = 10_000;
const MOST_MANIFEST_BYTES: usize = 64 << 20;
/// The most blobs of one copy.
const MOST_BLOBS: usize = 1_000_000;

/// Reads what a target leads to, and what refers to that.
pub(crate) async fn plan(job: &Job, from: &dyn Source, target: &Target) -> Result<Plan> {
    let Some(root) = from.manifest(target).await? else {
        let name = match target {
            Target::Tag(tag) => format!("{}:{tag}", from.label()),
            Target::Digest(digest) => format!("{}@{digest}", from.label()),
        };
        return Err(BuildError::new(BuildErrorKind::NotFound, format!("there is no {name}")));
    };
    let mut walk = Walk {
        job,
        from,
        seen: BTreeSet::new(),
        manifests: Vec::new(),
        cosign: cosign(job, from).await?,
        signed: Vec::new(),
        bytes: 0,
        blobs: BTreeMap::new(),
    };
    let version = Document::read(&root, &from.label())?.version;
    walk.down(root.clone(), None).await?;
    walk.referrers().await?;
    let Walk { manifests, signed, blobs, .. } = walk;
    Ok(Plan { root, manifests, signed, blobs, version })
}

/// The tags of cosign's in an image. Who may read manifests may not always list tags: no version stays
/// behind for that.
async fn cosign(job: &Job, from: &dyn Source) -> Result<BTreeSet<String>> {
    from.cosign().await.or_else(|error| {
        job.cancel().check()?;
        let what = "cosign's tags (sha256-….sig and its like) are left out";
        job.events().warn(format!("{what}: {error}"));
        Ok(BTreeSet::new())
    })
}

struct Walk<'a> {
    job: &'a Job,
    from: &'a dyn Source,
    seen: BTreeSet<Digest>,
    manifests: Vec<Planned>,
    /// The tags of cosign's that there are.
    cosign: BTreeSet<String>,
    signed: Vec<Signed>,
    bytes: usize,
    blobs: BTreeMap<Digest, Blob>,
}

enum Step {
    /// A manifest that an index leads to, and how deep that is.
    Into(Descriptor, Digest, usize),
    Out(Planned),
}

impl Walk<'_> {
    /// Adds a manifest after all that it leads to.
    async fn down(&mut self, top: RawManifest, subject: Option<Digest>) -> Result<()> {
        if !self.seen.insert(top.digest.clone()) {
            return Ok(());
        }
        let mut steps = Vec::new();
        self.enter(Planned { manifest: top, subject, index: None }, 0, &mut steps)?;
        while let Some(step) = steps.pop() {
            match step {
                Step::Out(planned) => self.manifests.push(planned),
                Step::Into(child, ..) if !self.seen.insert(child.digest.clone()) => {}
                Step::Into(child, index, depth) => {
                    let manifest = self.child(&child).await?;
                    let planned = Planned { manifest, subject: None, index: Some(index) };
                    self.enter(planned, depth, &mut steps)?;
                }
            }
        }
        Ok(())
    }

    async fn child(&self, child: &Descriptor) -> Result<RawManifest> {
        let (label, digest) = (self.from.label(), &child.digest);
        let found = self.from.manifest(&Target::Digest(digest.clone())).await?;
        let manifest = found.ok_or_else(|| {
            let what = format!("{label} lacks the manifest {digest}, which another leads to");
            BuildError::failed(what)
        })?;
        if manifest.bytes.len() as u64 != child.size || manifest.media_type != child.media_type {
            let what = format!("{label} has another manifest {digest} than its index says");
            return Err(BuildError::failed(what));
        }
        Ok(manifest)
    }

    fn enter(&mut self, planned: Planned, depth: usize, steps: &mut Vec<Step>) -> Result<()> {
        let label = self.from.label();
        let refuse =
            |why: String| Err(BuildError::failed(format!("cannot copy from {label}: {why}")));
        self.bytes += planned.manifest.bytes.len();
        if self.seen.len() > MOST_MANIFESTS || self.bytes > MOST_MANIFEST_BYTES {
            let most = MOST_MANIFEST_BYTES >> 20;
            return refuse(format!("more than {MOST_MANIFESTS} manifests, or {most} MiB of them"));
        }
        let document = Document::read(&planned.manifest, &label)?;
        for descriptor in document.blobs {
            let blob = Blob::of(&descriptor);
            if let Some(known) = self.blobs.insert(blob.digest.clone(), blob.clone())
                && known != blob
            {
                let (digest, sizes) = (&blob.digest, (known.size, blob.size));
                return refuse(format!(
                    "the blob {digest} has {} bytes here, {} there",
                    sizes.0, sizes.1
                ));
            }
        }
        if self.blobs.len() > MOST_BLOBS {
            return refuse(format!("more than {MOST_BLOBS} blobs"));
        }
        if depth == DEEPEST && !document.children.is_empty() {
            return refuse(format!("indexes lie more than {DEEPEST} deep in each other"));
        }
        let digest = planned.manifest.digest.clone();
        steps.push(Step::Out(planned));
        let children = document.children.into_iter().rev();
        steps.extend(children.map(|child| Step::Into(child, digest.clone(), depth + 1)));
        Ok(())
    }

    /// Adds what refers to the manifests so far, and what refers to that.
    async fn referrers(&mut self) -> Result<()> {
        let mut begin = 0;
        for _ in 0..FARTHEST {
            let subjects: Vec<Digest> = self.manifests[begin..]
                .iter()
                .map(|planned| planned.manifest.digest.clone())
                .collect();
            begin = self.manifests.len();
            for subject in subjects {
                self.job.cancel().check()?;
                for entry in self.from.referrers(&subject).await? {
                    self.referrer(&subject, &entry).await?;
                }
                self.signed(&subject).await?;
            }
        }
        Ok(())
    }

    /// Adds what cosign says of a manifest.
    async fn signed(&mut self, subject: &Digest) -> Result<()> {
        for tag in tags::cosign(subject) {
            if !self.cosign.contains(&tag) {
                continue;
            }
            // One that was taken away meanwhile says nothing.
            let found = self.from.manifest(&Target::Tag(tag.clone())).await?;
            let Some(manifest) = found else { continue };
            self.signed.push(Signed { tag, manifest: manifest.clone() });
            self.down(manifest, None).await?;
        }
        Ok(())
    }

    /// Adds one referrer. A list may name what is gone, or what refers to something else.
    async fn referrer(&mut self, subject: &Digest, entry: &Descriptor) -> Result<()> {
        let (label, digest) = (self.from.label(), &entry.digest);
        let leave = |why: &str| {
            self.job
                .events()
                .warn(format!("{label} lists {digest} with {subject}: {why}; it is left out"));
        };
        let Some(manifest) = self.from.manifest(&Target::Digest(digest.clone())).await? else {
            leave("it is not there");
            return Ok(());
        };
        if Document::read(&manifest, &label)?.subject.as_ref() != Some(subject) {
            leave("it refers to something else");
            return Ok(());
        }
        self.down(manifest, Some(subject.clone())).await
    }
}
