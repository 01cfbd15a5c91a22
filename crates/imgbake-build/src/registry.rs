//! Where versions and channels are stored.

use std::fs::File;
use std::sync::Arc;

use async_trait::async_trait;
use camino::Utf8PathBuf;
use imgbake_disk::chunk::{CHUNKER, ChunkTable, PARAMS};
use imgbake_types::record::{Chunker, DiskRecord, ImageConfig, ListedVersion, VersionView};
use imgbake_types::spec::PlainFormat;
use imgbake_types::{Digest, Reference, VersionName};

use crate::BuildError;
use crate::capture::KnownChunks;
use crate::image::Image;

/// A captured disk, still in the job's folder: nothing new of it is in a registry yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// SHA-256 of the whole virtual disk, where all of it was read.
    pub sha256: Option<Digest>,
    /// Its chunks, and in which packs they are.
    pub table: Arc<ChunkTable>,
    /// Those of the table's packs that are new; the others are stored already.
    pub packs: Vec<BlobFile>,
    /// Bytes of the disk that were read.
    pub read_bytes: u64,
    /// The whole disk as one file, where that is wanted.
    pub plain: Option<PlainFile>,
}

/// A whole disk as one file (see `[publish] plain`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainFile {
    /// Its format.
    pub format: PlainFormat,
    /// The file.
    pub file: BlobFile,
}

impl Capture {
    /// The files that become blobs.
    pub fn files(&self) -> impl Iterator<Item = &BlobFile> {
        self.packs.iter().chain(self.plain.as_ref().map(|plain| &plain.file))
    }

    /// Bytes that these files take.
    pub fn new_bytes(&self) -> u64 {
        self.files().map(|file| file.size).sum()
    }

    /// What a version records of its disk; `table` is the chunk table's bytes.
    pub fn disk_record(&self, table: &[u8]) -> DiskRecord {
        DiskRecord {
            sha256: self.sha256.clone(),
            table: Digest::sha256(table),
            virtual_size: self.table.virtual_size(),
            stored_bytes: table.len() as u64 + self.table.stored_bytes(),
            data_bytes: self.table.data_bytes(),
            chunker: Chunker {
                name: CHUNKER.to_owned(),
                min: PARAMS.min,
                average: PARAMS.average,
                max: PARAMS.max,
            },
        }
    }
}

/// A file that becomes a blob: a pack (see `imgbake_disk::chunk`), or a whole disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobFile {
    /// Where it is.
    pub path: Utf8PathBuf,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// How a new version gets its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// The next free number of the day, `YYYY.MM.DD-N`.
    Dated {
        /// The day, `YYYY.MM.DD`.
        day: String,
    },
    /// This name, which must be free.
    Fixed(VersionName),
}

/// Whether a disk is hashed as a whole while it is written: that takes a second for each GiB or so, and
/// shows nothing about the bytes that the chunks' digests do not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// The SHA-256 of the whole disk, holes as zeros.
    Hash,
    /// The chunks alone.
    Skip,
}

/// A store of versions and channels. Every change is durable when its call returns.
#[async_trait]
pub trait Registry: Send + Sync {
    /// What is stored already that a new version of an image may refer to: the chunks of its parent, a
    /// version's digest, and of the image's newest versions. A version that cannot be read is left out.
    async fn known(&self, name: &str, parent: Option<&Digest>) -> Result<KnownChunks, BuildError>;

    /// The chunk table of a version's disk.
    async fn table(&self, digest: &Digest) -> Result<ChunkTable, BuildError>;

    /// Stores a captured disk as a new version of `config.name`: blobs, then manifests, then tag. The
    /// version's name and disk in `config` are replaced: by what `naming` gives, and by what was
    /// captured.
    async fn publish(
        &self,
        capture: &Capture,
        config: ImageConfig,
        naming: &Naming,
    ) -> Result<VersionView, BuildError>;

    /// All versions, or those of one image, oldest first. One that cannot be read is listed as such.
    async fn versions(&self, name: Option<&str>) -> Result<Vec<ListedVersion>, BuildError>;

    /// The version that a reference names: by version, channel or digest. A bare name means its
    /// newest version.
    async fn resolve(&self, reference: &Reference) -> Result<VersionView, BuildError>;

    /// Writes a version's disk into an empty file at its full size, holes as holes; each chunk is
    /// checked against the chunk table, which the version's digest covers. `progress` is given the
    /// bytes of the disk so far.
    ///
    /// Gives the SHA-256 of the whole disk where it is asked for; one that the version states is then
    /// compared.
    async fn restore(
        &self,
        digest: &Digest,
        into: File,
        whole: Whole,
        progress: Box<dyn FnMut(u64) + Send>,
    ) -> Result<Option<Digest>, BuildError>;

    /// One image of the store: its versions, their evidence, and its channels.
    fn image(&self, name: &str) -> Box<dyn Image>;

    /// Ends what killed publishes left in the store.
    async fn sweep(&self) -> Result<(), BuildError>;
}
