//! An image of a layout as an end of a copy.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use futures::StreamExt;
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_oci::Pushed;
use imgbake_oci::{BodySource, SourceStream};
use imgbake_oci::{RawManifest, Repository};
use imgbake_runtime::{Job, space};
use imgbake_types::{Digest, Target};

use super::end::{Destination, Incoming, Source};
use super::partial::{Partial, Partials};
use super::plan::Plan;
use super::signed::Stayed;
use crate::blob::Blob;
use crate::blob_file::run;
use crate::files::read_small;
use crate::image::LayoutImage;
use crate::index::Index;
use crate::oci::Descriptor;
use crate::read_blobs::ReadBlobs;
use crate::store::Store;
use crate::{Result, tags};

mod commit;

/// Bytes that are written at a time.
const GATHERED: usize = 1 << 20;

/// A version on its way into a layout.
#[derive(Debug)]
struct LayoutIncoming {
    image: LayoutImage,
    partials: Partials,
    /// Blobs that came in, whole, proved and durable, and where they wait for the commit.
    come: Mutex<BTreeMap<Digest, (u64, Utf8PathBuf)>>,
}

impl LayoutIncoming {
    fn store(&self) -> &Store {
        self.image.layout.store()
    }

    fn come(&self) -> MutexGuard<'_, BTreeMap<Digest, (u64, Utf8PathBuf)>> {
        self.come.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a blob is there with the right size.
    fn has(&self, blob: &Blob) -> bool {
        self.store().blobs.has(&blob.digest, blob.size)
    }

    /// Refuses what there is no room for, both where blobs come in and where they shall be.
    fn check_room(&self, plan: &Plan) -> Result<()> {
        let missing: Vec<&Blob> = plan.blobs.values().filter(|blob| !self.has(blob)).collect();
        let sum = |sizes: &dyn Fn(&Blob) -> u64| {
            missing.iter().fold(0, |sum: u64, blob| sum.saturating_add(sizes(blob)))
        };
        let (root, coming) = (self.store().root(), sum(&|blob| self.lacks(blob)));
        let device = |path: &Utf8Path| path.metadata().map(|metadata| metadata.dev()).ok();
        if device(self.partials.dir()) == device(root) {
            return Ok(space::require(root, coming)?);
        }
        space::require(self.partials.dir(), coming)?;
        Ok(space::require(root, sum(&|blob| blob.size))?)
    }

    /// Bytes of a blob that have not come.
    fn lacks(&self, blob: &Blob) -> u64 {
        let there = self.partials.path(&blob.digest).metadata();
        blob.size.saturating_sub(there.map_or(0, |metadata| metadata.len()))
    }

    /// The same error; one of a full file system says what was needed.
    fn described_if_full(&self, error: BuildError, blob: &Blob) -> BuildError {
        if error.kind() != BuildErrorKind::Full {
            return error;
        }
        let full = space::full(&self.partials.path(&blob.digest), Some(self.lacks(blob)));
        BuildError::from(full).help("free space and copy again: it continues from what came")
    }

    /// Takes a blob's bytes into its file.
    async fn take(&self, blob: &Blob, source: &dyn BodySource) -> Result<Utf8PathBuf> {
        let (path, size) = (self.partials.path(&blob.digest), blob.size);
        let mut partial = run(move || Partial::open(path, size)).await?;
        loop {
            let kept = partial.have;
            partial = fill(partial, source.open(kept).await.map_err(BuildError::unboxed)?).await?;
            let (back, got) = run(move || {
                let digest = partial.settle()?;
                Ok((partial, digest))
            })
            .await?;
            partial = back;
            if got == blob.digest && partial.have == blob.size {
                return Ok(partial.path);
            }
            partial.restart()?;
            if kept == 0 {
                let what =
                    format!("the bytes that came for the blob {} are not its own", blob.digest);
                return Err(BuildError::failed(what)
                    .help("the place that they came from is damaged: nothing of it was used"));
            }
            // What an earlier run left may be what was wrong: once more, from the start.
        }
    }
}

/// Writes a stream to the end of a file.
async fn fill(mut partial: Partial, mut stream: SourceStream) -> Result<Partial> {
    let mut gathered = Vec::new();
    loop {
        let next = stream.next().await.transpose().map_err(BuildError::unboxed);
        let ended = matches!(next, Ok(None) | Err(_));
        let next = next.map(|bytes| gathered.extend_from_slice(&bytes.unwrap_or_default()));
        if ended || gathered.len() >= GATHERED {
            let chunk = std::mem::take(&mut gathered);
            partial = run(move || partial.add(&chunk).map(|()| partial)).await?;
        }
        next?;
        if ended {
            return Ok(partial);
        }
    }
}

#[async_trait]
impl Source for LayoutImage {
    fn blobs(&self) -> &dyn ReadBlobs {
        &self.layout
    }

    fn repository(&self) -> Option<&Repository> {
        None
    }

    async fn manifest(&self, target: &Target) -> Result<Option<RawManifest>> {
        let (name, target) = (self.name.clone(), target.clone());
        self.layout
            .run(move |store| {
                let digest = match &target {
                    Target::Digest(digest) => digest.clone(),
                    Target::Tag(tag) => match store.index()?.find(&name, tag) {
                        Some(entry) => entry.descriptor.digest.clone(),
                        None => return Ok(None),
                    },
                };
                let path = store.blobs.path(&digest);
                let Some(bytes) = read_small(&path)? else { return Ok(None) };
                let media_type =
                    store.index()?.manifests.iter().find(|known| known.digest == digest).cloned();
                let media_type = media_type.map(|known| known.media_type);
                Ok(Some(RawManifest::prove(
                    &bytes.into(),
                    media_type.as_deref(),
                    Some(&digest),
                    &name,
                )?))
            })
            .await
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let (name, tag) = (self.name.clone(), tags::referrers(subject));
        self.layout
            .run(move |store| match store.index()?.find(&name, &tag) {
                Some(entry) => {
                    let list: Index = store.blobs.json(entry.descriptor, &entry.label())?;
                    Ok(list.manifests.into())
                }
                None => Ok(Vec::new()),
            })
            .await
    }

    async fn cosign(&self) -> Result<BTreeSet<String>> {
        let name = self.name.clone();
        self.layout
            .run(move |store| {
                let index = store.index()?;
                let own = index.tagged().filter(|entry| entry.name == name);
                let tags = own.map(|entry| entry.tag).filter(|tag| tags::is_cosign(tag));
                Ok(tags.map(str::to_owned).collect())
            })
            .await
    }
}

#[async_trait]
impl Destination for LayoutImage {
    async fn receive(&self, job: &Job) -> Result<Box<dyn Incoming>> {
        let (partials, come) = (Partials::open(job)?, Mutex::default());
        Ok(Box::new(LayoutIncoming { image: self.clone(), partials, come }))
    }
}

#[async_trait]
impl Incoming for LayoutIncoming {
    async fn check_tag(&self, tag: &str, plan: &Plan) -> Result<()> {
        if let Some(own) = plan.version.as_deref().filter(|own| *own != tag) {
            let what = format!("`{tag}` cannot be the version here: it calls itself {own}");
            return Err(BuildError::new(BuildErrorKind::Usage, what)
                .help("leave the destination's tag out; `imgbake promote` makes other names"));
        }
        self.check_room(plan)?;
        let (name, tag, digest) =
            (self.image.name.clone(), tag.to_owned(), plan.root.digest.clone());
        self.image
            .layout
            .run(move |store| commit::refuse_other(store, &store.index()?, (&name, &tag), &digest))
            .await
    }

    async fn bring(
        &self,
        blob: &Blob,
        source: &dyn BodySource,
        _from: Option<&Repository>,
    ) -> Result<Pushed> {
        if self.has(blob) {
            return Ok(Pushed::There);
        }
        let taken = self.take(blob, source).await;
        let path = taken.map_err(|error| self.described_if_full(error, blob))?;
        self.come().insert(blob.digest.clone(), (blob.size, path));
        Ok(Pushed::Sent)
    }

    async fn finish(&self, plan: &Plan, tag: &str) -> Result<Vec<Stayed>> {
        let come = std::mem::take(&mut *self.come());
        let commit = commit::Commit::new(&self.image.name, tag, plan, come)?;
        self.image.layout.run(move |store| commit.make(store)).await
    }
}
