//! Evidence in a repository of a registry: referrers, found by the registry's own list or by tags.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;
use imgbake_build::evidence::{EvidenceItem, EvidenceList, Origin};
use imgbake_build::{BuildError, BuildErrorKind, Evidence, EvidenceKind};
use imgbake_oci::Repository;
use imgbake_types::record::UnreadableEvidence;
use imgbake_types::{Digest, Target};
use jiff::Timestamp;
use tokio::sync::OnceCell;

use super::{item_of, may_be};
use crate::Result;
use crate::files::{MAX_JSON, damaged, parse};
use crate::image::RemoteImage;
use crate::oci::{CREATED, Descriptor, EMPTY, MANIFEST, Manifest};
use crate::problem::problem_of;
use crate::repository::{put_blob, raw_manifest};

#[async_trait]
impl Evidence for RemoteImage {
    async fn attach(
        &self,
        subject: &Digest,
        kind: &EvidenceKind,
        time: Timestamp,
        document: Vec<u8>,
    ) -> Result<EvidenceItem> {
        let target = Target::Digest(subject.clone());
        let about = self.repository.manifest(&target).await?.ok_or_else(|| {
            let what = format!("there is no version {}@{subject}", self.repository.label());
            BuildError::new(BuildErrorKind::NotFound, what)
        })?;
        let layer = put_blob(&self.repository, kind.media_type(), document.clone().into()).await?;
        let config = put_blob(&self.repository, EMPTY, Bytes::from_static(b"{}")).await?;
        let mut manifest = Manifest::new(kind.media_type(), config, vec![layer]);
        let size = about.bytes.len() as u64;
        manifest.subject = Some(Descriptor::new(&about.media_type, subject.clone(), size));
        manifest.annotations.insert(CREATED.to_owned(), time.to_string());
        let raw = raw_manifest(&manifest)?;
        self.repository.put_referrer(subject, &raw).await?;
        let digest = raw.digest;
        let (media_type, kind) = (kind.media_type().to_owned(), kind.clone());
        let origin = Origin::Unknown;
        Ok(EvidenceItem { digest, kind, media_type, time: Some(time), origin, document })
    }

    async fn evidence(
        &self,
        subject: &Digest,
        kind: Option<&EvidenceKind>,
    ) -> Result<EvidenceList> {
        list(&self.repository, &self.tags, subject, kind).await
    }
}

/// What is attached to a version in a repository; of one kind, or of all. `tags` are the repository's, where
/// its registry keeps no lists of referrers.
pub(crate) async fn list(
    repository: &Repository,
    tags: &OnceCell<BTreeSet<String>>,
    subject: &Digest,
    kind: Option<&EvidenceKind>,
) -> Result<EvidenceList> {
    let entries = repository.referrers(subject, tags).await?;
    let (mut items, mut unreadable) = (Vec::new(), Vec::new());
    for entry in entries.iter().filter(|it| it.media_type == MANIFEST && may_be(it, kind)) {
        match read(repository, entry, subject, kind).await {
            Ok(item) => items.extend(item),
            Err(error) if error.kind() == BuildErrorKind::Cancelled => return Err(error),
            Err(error) => {
                let problem = problem_of(&error);
                unreadable.push(UnreadableEvidence { digest: entry.digest.clone(), problem });
            }
        }
    }
    Ok(EvidenceList::new(items, unreadable))
}

async fn read(
    repository: &Repository,
    entry: &Descriptor,
    subject: &Digest,
    kind: Option<&EvidenceKind>,
) -> Result<Option<EvidenceItem>> {
    let owner = format!("the evidence {} of {}@{subject}", entry.digest, repository.label());
    let target = Target::Digest(entry.digest.clone());
    // One that was taken away meanwhile refers to nothing.
    let Some(raw) = repository.manifest(&target).await? else { return Ok(None) };
    let manifest: Manifest = parse(&raw.bytes, &owner)?;
    if manifest.subject.as_ref().is_none_or(|about| about.digest != *subject) {
        return Ok(None);
    }
    let Some((layer, mut item)) = item_of(&manifest, entry, kind, &owner)? else {
        return Ok(None);
    };
    if layer.size > MAX_JSON {
        let most = MAX_JSON >> 20;
        return Err(damaged(format!("{owner} has {} bytes: {most} MiB are read", layer.size)));
    }
    item.document = repository.piece(&layer.digest, layer.size, 0..layer.size).await?;
    Ok(Some(item))
}
