//! One change of a layout: new blobs, new manifests, new indexes, new names, in this order.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BlobFile, BuildErrorKind, Capture};
use imgbake_runtime::space;
use imgbake_types::Digest;
use serde::Serialize;

use crate::Result;
use crate::files::{self, damaged, io_at, sync_dir};
use crate::index::Index;
use crate::intent;
use crate::oci::{Descriptor, EMPTY, INDEX, MANIFEST, Manifest};
use crate::store::{Lock, Store, json, list_json};

/// The longest manifest or index that is written: registries take 4 MiB at least.
const MAX_MANIFEST: usize = 3 << 20;
/// Room for what is written beside the blobs: `index.json`, the intent, folders.
const MARGIN: u64 = 256 << 10;

/// A change that is being put together. Nothing is written before [`Change::commit`].
#[derive(Debug)]
pub(crate) struct Change<'a> {
    store: &'a Store,
    lock: Lock,
    pub(crate) index: Index,
    blobs: Vec<NewBlob>,
    /// What names blobs.
    manifests: Vec<NewBlob>,
    /// What names manifests.
    indexes: Vec<NewBlob>,
}

#[derive(Debug)]
struct NewBlob {
    digest: Digest,
    size: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Bytes(Vec<u8>),
    /// A file that is durable already.
    File(Utf8PathBuf),
}

impl<'a> Change<'a> {
    /// Waits for the lock and reads the index.
    pub(crate) fn begin(store: &'a Store) -> Result<Self> {
        let lock = store.lock()?;
        store.ensure_folders()?;
        intent::sweep(store, &lock)?;
        let index = store.index()?;
        let [blobs, manifests, indexes] = std::array::from_fn(|_| Vec::new());
        Ok(Self { store, lock, index, blobs, manifests, indexes })
    }

    /// Adds a captured file, which is taken away.
    pub(crate) fn file(&mut self, media_type: &str, file: &BlobFile) -> Descriptor {
        let content = Content::File(file.path.clone());
        let blob = NewBlob { digest: file.digest.clone(), size: file.size, content };
        let descriptor = blob.descriptor(media_type);
        self.blobs.push(blob);
        descriptor
    }

    /// Adds some bytes.
    pub(crate) fn bytes(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let blob = NewBlob::bytes(bytes);
        let descriptor = blob.descriptor(media_type);
        self.blobs.push(blob);
        descriptor
    }

    /// Adds a blob whose file is durable and proved. The file is taken away.
    pub(crate) fn moved(&mut self, digest: &Digest, size: u64, path: &Utf8Path) {
        let content = Content::File(path.to_owned());
        self.blobs.push(NewBlob { digest: digest.clone(), size, content });
    }

    /// Adds a manifest of any kind as it is.
    pub(crate) fn raw_manifest(&mut self, bytes: &[u8]) {
        self.manifests.push(NewBlob::bytes(bytes.to_vec()));
    }

    /// Adds a JSON document.
    pub(crate) fn document(
        &mut self,
        media_type: &str,
        value: &impl Serialize,
    ) -> Result<Descriptor> {
        Ok(self.bytes(media_type, json(value)?))
    }

    /// Adds the empty config.
    pub(crate) fn empty_config(&mut self) -> Descriptor {
        self.bytes(EMPTY, b"{}".to_vec())
    }

    /// Adds a manifest.
    pub(crate) fn manifest(&mut self, manifest: &Manifest) -> Result<Descriptor> {
        let blob = NewBlob::bytes(manifest_bytes(manifest)?);
        let mut descriptor = blob.descriptor(MANIFEST);
        descriptor.artifact_type.clone_from(&manifest.artifact_type);
        self.manifests.push(blob);
        Ok(descriptor)
    }

    /// Adds an index that is a blob.
    pub(crate) fn nested_index(&mut self, index: &Index) -> Result<Descriptor> {
        let blob = NewBlob::bytes(manifest_bytes(index)?);
        let mut descriptor = blob.descriptor(INDEX);
        descriptor.artifact_type.clone_from(&index.artifact_type);
        self.indexes.push(blob);
        Ok(descriptor)
    }

    /// Bytes that the layout grows by: blobs that it has already do not count.
    pub(crate) fn growth(&self) -> u64 {
        let sizes: BTreeMap<&Digest, u64> =
            self.all().map(|blob| (&blob.digest, blob.size)).collect();
        let new = |digest: &Digest| !self.store.blobs.path(digest).exists();
        sizes.into_iter().filter(|(digest, _)| new(digest)).map(|(_, size)| size).sum()
    }

    /// Makes the change; durable when it returns. A change that fails leaves nothing.
    pub(crate) fn commit(self) -> Result<()> {
        // What would not fit in `index.json` must be known before anything is written.
        let needed = self.needed() + list_json(&self.index)?.len() as u64 + MARGIN;
        space::require(self.store.root(), needed)?;
        let done = self.apply();
        let Err(error) = done else { return Ok(()) };
        if let Err(left) = intent::sweep(self.store, &self.lock) {
            tracing::warn!(%left, "a failed change of the registry could not be undone: the next sweep will");
        }
        match error.kind() {
            BuildErrorKind::Full => Err(space::full(self.store.root(), Some(needed)).into()),
            _ => Err(error),
        }
    }

    fn apply(&self) -> Result<()> {
        let digests = self.all().map(|blob| blob.digest.clone()).collect();
        let intent = intent::write(self.store, digests)?;
        for blobs in [&self.blobs, &self.manifests, &self.indexes] {
            if blobs.is_empty() {
                continue;
            }
            for blob in blobs {
                blob.bring(self.store)?;
            }
            sync_dir(&self.store.blobs.folder())?;
        }
        self.store.write_index(&self.index)?;
        files::remove(&intent)
    }

    /// Bytes that the layout's file system must take.
    fn needed(&self) -> u64 {
        let device = |path: &Utf8Path| path.metadata().map(|metadata| metadata.dev()).ok();
        let here = device(self.store.root());
        let size = |blob: &NewBlob| match &blob.content {
            Content::File(path) if device(path) == here => 0,
            _ => blob.size,
        };
        self.all().map(size).sum()
    }

    fn all(&self) -> impl Iterator<Item = &NewBlob> {
        self.blobs.iter().chain(&self.manifests).chain(&self.indexes)
    }
}

impl NewBlob {
    fn bytes(bytes: Vec<u8>) -> Self {
        Self {
            digest: Digest::sha256(&bytes),
            size: bytes.len() as u64,
            content: Content::Bytes(bytes),
        }
    }

    fn descriptor(&self, media_type: &str) -> Descriptor {
        Descriptor::new(media_type, self.digest.clone(), self.size)
    }

    /// Puts the blob in its place. One of that name may be there: its bytes are the same, or damaged.
    fn bring(&self, store: &Store) -> Result<()> {
        let path = store.blobs.path(&self.digest);
        match &self.content {
            Content::Bytes(bytes) => files::write(&store.scratch(), &path, bytes),
            Content::File(from) => match fs::rename(from, &path) {
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                    let mut source =
                        imgbake_runtime::regular::open(from).map_err(io_at("open", from))?;
                    files::copy(&store.scratch(), &mut source, &path)?;
                    files::remove(from)
                }
                moved => moved.map_err(io_at("move in", from)),
            },
        }
    }
}

/// A manifest's bytes; one that a registry would not take is refused.
pub(crate) fn manifest_bytes(manifest: &impl Serialize) -> Result<Vec<u8>> {
    let bytes = json(manifest)?;
    if bytes.len() > MAX_MANIFEST {
        let (len, most) = (bytes.len() >> 10, MAX_MANIFEST >> 20);
        return Err(damaged(format!(
            "a manifest would be {len} KiB long, and registries take {most} MiB: it names too many blobs"
        )));
    }
    Ok(bytes)
}

/// Makes captured files durable where they are, before anybody waits for the lock, and checks that
/// they are what they are said to be.
pub(crate) fn settle(capture: &Capture) -> Result<()> {
    for captured in capture.files() {
        let path = &captured.path;
        let file = imgbake_runtime::regular::open(path).map_err(io_at("open", path))?;
        let size = file.metadata().map_err(io_at("read", path))?.len();
        if size != captured.size {
            return Err(damaged(format!(
                "{path} has {size} bytes, not the {} that were captured",
                captured.size
            )));
        }
        file.sync_all().map_err(io_at("write", path))?;
    }
    Ok(())
}
