//! Where versions and channels are stored.

use std::fs::File;

use async_trait::async_trait;
use camino::Utf8PathBuf;
use imgbake_types::record::{ChannelMove, ImageConfig, VerifyRecord, VersionView};
use imgbake_types::{Digest, Reference, VersionName};

use crate::BuildError;

/// A captured disk, still in the job's folder: nothing of it is in a registry yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// SHA-256 of the whole virtual disk.
    pub sha256: Digest,
    /// Its size in bytes.
    pub virtual_size: u64,
    /// Bytes of it that are not zero, rounded to blocks.
    pub data_bytes: u64,
    /// Its segments, in the disk's order.
    pub segments: Vec<SegmentBlob>,
}

impl Capture {
    /// Bytes that the segments take.
    pub fn stored_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }
}

/// One compressed piece of a disk (see `imgbake_disk::segment`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentBlob {
    /// The file that holds it.
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

/// A store of versions and channels. Every change is durable when its call returns.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Stores a captured disk as a new version of `config.name`: blobs, then manifest, then tag. The
    /// version's name in `config` is replaced by the one that `naming` gives.
    async fn publish(
        &self,
        capture: &Capture,
        config: ImageConfig,
        naming: &Naming,
    ) -> Result<VersionView, BuildError>;

    /// All versions, or those of one image, oldest first.
    async fn versions(&self, name: Option<&str>) -> Result<Vec<VersionView>, BuildError>;

    /// The version that a reference names: by version, channel or digest. A bare name means its
    /// newest version.
    async fn resolve(&self, reference: &Reference) -> Result<VersionView, BuildError>;

    /// Writes a version's disk into an empty file at its full size, holes as holes, and checks it
    /// against the version's digest while it goes. `progress` is given the bytes of the disk so far.
    async fn restore(
        &self,
        digest: &Digest,
        into: File,
        progress: Box<dyn FnMut(u64) + Send>,
    ) -> Result<(), BuildError>;

    /// Keeps what verifying a version showed; the newest record counts.
    async fn record_verify(&self, name: &str, record: &VerifyRecord) -> Result<(), BuildError>;

    /// Points a channel at a version and appends the move to the channel's history, as one change.
    /// `from` in the record is filled in by the store.
    async fn move_channel(&self, name: &str, entry: ChannelMove)
    -> Result<ChannelMove, BuildError>;

    /// A channel's moves, newest first.
    async fn history(&self, name: &str, channel: &str) -> Result<Vec<ChannelMove>, BuildError>;

    /// Ends what killed publishes left in the store.
    async fn sweep(&self) -> Result<(), BuildError>;
}
