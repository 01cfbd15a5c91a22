//! The cache of downloaded disks, `IMGBAKE_HOME/cache/downloads`, named by the digest of the file as
//! downloaded.
//!
//! `ALGORITHM-HEX` is a disk as it was downloaded, `ALGORITHM-HEX.disk` one that was unpacked. The record
//! `ALGORITHM-HEX.json` is written last, when the digest is proved and the bytes are durable.

use std::fs::File;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::SourceContext;
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Home, RuntimeError};
use imgbake_types::Digest;
use serde::{Deserialize, Serialize};

use crate::error::SourceError;
use crate::unpack::{Limits, Packing, unpack};
use crate::{blocking, files, inspect};

/// The cache of downloaded disks.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    dir: Utf8PathBuf,
}

/// A disk in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) path: Utf8PathBuf,
    pub(crate) virtual_size: u64,
    /// The file's size in bytes.
    pub(crate) size: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// The disk's file in the same folder.
    file: String,
    /// The file's size in bytes.
    size: u64,
    virtual_size: u64,
}

impl Store {
    /// The folder of digests of this host's files, and the name of its lock.
    pub(crate) const DIGESTS: &str = "digests";

    /// The cache of a home; its folders are made.
    pub(crate) fn open(home: &Home) -> Result<Self, RuntimeError> {
        let store = Self { dir: home.cache().join("downloads") };
        files::make_dir(&store.dir.join("partial"))?;
        files::make_dir(&store.dir.join(Self::DIGESTS))?;
        Ok(store)
    }

    /// Its folder.
    pub(crate) fn dir(&self) -> &Utf8Path {
        &self.dir
    }

    /// A digest as a file's name.
    pub(crate) fn key(digest: &Digest) -> String {
        format!("{}-{}", digest.algorithm().name(), digest.hex())
    }

    /// The disk whose file has this digest, if it is there whole.
    pub(crate) fn get(&self, digest: &Digest) -> Option<Stored> {
        let key = Self::key(digest);
        let record: Record = files::read_json(&self.record(digest))?;
        let own = record.file == key || record.file == format!("{key}.disk");
        let path = self.dir.join(&record.file);
        let there = path.metadata().is_ok_and(|file| file.is_file() && file.len() == record.size);
        (own && there).then_some(Stored {
            path,
            virtual_size: record.virtual_size,
            size: record.size,
        })
    }

    /// Takes a proved disk in, as it is.
    pub(crate) fn put(
        &self,
        digest: &Digest,
        file: &Utf8Path,
        virtual_size: u64,
    ) -> Result<Stored, RuntimeError> {
        self.take(digest, file, Self::key(digest), virtual_size)
    }

    /// Unpacks a proved file into the cache. `name` is what the user calls it.
    pub(crate) async fn put_unpacked(
        &self,
        context: &SourceContext<'_>,
        digest: &Digest,
        (packed, packing): (&Utf8Path, Packing),
        name: &str,
    ) -> Result<Stored, SourceError> {
        context.stage.status(format!("unpacking {}", packing.name()));
        let path = context.job.work().join(format!("{}.disk", Self::key(digest)));
        let (packed, disk) = (packed.to_owned(), path.clone());
        let limits = Limits::of(&path);
        let work = move |meter: &blocking::Meter| {
            let packed = crate::location::open_file(&packed)?;
            let file = File::create(&disk).map_err(io_at("make", &disk))?;
            unpack(packing, packed, (&file, &disk), limits, meter)
        };
        let unpacked = blocking::run(context.stage, context.job.cancel(), None, work).await;
        let virtual_size = match unpacked {
            Ok(_) => inspect::virtual_size(&path, name),
            Err(error) => Err(error),
        };
        match virtual_size {
            Ok(virtual_size) => {
                Ok(self.take(digest, &path, format!("{}.disk", Self::key(digest)), virtual_size)?)
            }
            Err(error) => {
                imgbake_runtime::job::remove_path(&path)?; // a full file system needs the room now
                Err(error)
            }
        }
    }

    fn take(
        &self,
        digest: &Digest,
        from: &Utf8Path,
        file: String,
        virtual_size: u64,
    ) -> Result<Stored, RuntimeError> {
        let path = self.dir.join(&file);
        let size = from.metadata().map_err(io_at("read", from))?.len();
        files::rename(from, &path)?;
        files::write_json(&self.record(digest), &Record { file, size, virtual_size })?;
        Ok(Stored { path, virtual_size, size })
    }

    fn record(&self, digest: &Digest) -> Utf8PathBuf {
        self.dir.join(format!("{}.json", Self::key(digest)))
    }
}
