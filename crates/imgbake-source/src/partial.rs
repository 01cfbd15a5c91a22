//! A download that is not complete: its bytes, and what shows whether the server's are the same.

use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_http::header::{ETAG, HeaderMap, LAST_MODIFIED};
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Cancel, RuntimeError, StageGuard};
use imgbake_types::{Algorithm, Digest};
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use crate::blocking;
use crate::error::SourceError;
use crate::files::{read_json, write_json};
use crate::hash::Hasher;

/// What the server said of the bytes (RFC 9110, section 8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Validators {
    /// A strong entity tag.
    pub(crate) etag: Option<String>,
    /// When they were changed.
    pub(crate) last_modified: Option<String>,
    /// How many there are.
    pub(crate) total: Option<u64>,
}

impl Validators {
    /// From an answer's headers. A weak tag says nothing about bytes.
    pub(crate) fn of(headers: &HeaderMap, total: Option<u64>) -> Self {
        let text =
            |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let etag = text(ETAG).filter(|tag| !tag.starts_with("W/"));
        Self { etag, last_modified: text(LAST_MODIFIED), total }
    }

    /// What an If-Range request carries.
    pub(crate) fn if_range(&self) -> Option<&str> {
        self.etag.as_deref().or(self.last_modified.as_deref())
    }

    /// Whether two answers can be about the same bytes.
    pub(crate) fn fits(&self, other: &Self) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
        let total = self.total.is_none() || other.total.is_none() || self.total == other.total;
        total && same(&self.etag, &other.etag) && same(&self.last_modified, &other.last_modified)
    }
}

/// A download in the cache's `partial` folder. Its owner has the download's lock.
#[derive(Debug)]
pub(crate) struct Partial {
    path: Utf8PathBuf,
    file: File,
    hasher: Hasher,
    algorithm: Algorithm,
    /// Bytes that are there.
    pub(crate) have: u64,
    /// Those of them that an earlier run left.
    pub(crate) kept: u64,
    /// What the server said of them.
    pub(crate) about: Validators,
}

impl Partial {
    /// Opens or makes a download; the bytes that are there are target.
    pub(crate) async fn open(
        path: Utf8PathBuf,
        algorithm: Algorithm,
        stage: &StageGuard,
        cancel: &Cancel,
    ) -> Result<Self, SourceError> {
        let open = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path);
        let mut file = open.map_err(io_at("make", &path))?;
        let about: Option<Validators> = read_json(&about_path(&path));
        if about.is_none() {
            file.set_len(0).map_err(io_at("write", &path))?; // nothing shows what these bytes are
        }
        let owned = path.clone();
        let hash = move |meter: &blocking::Meter| {
            let mut hasher = Hasher::new(algorithm);
            let have = hash_file(&mut file, &owned, &mut hasher, meter)?;
            Ok((file, hasher, have))
        };
        let (file, hasher, have) = blocking::run(stage, cancel, None, hash).await?;
        let about = about.unwrap_or_default();
        Ok(Self { path, file: File::from_std(file), hasher, algorithm, have, kept: have, about })
    }

    /// Starts from zero with what a server says of the bytes to come.
    pub(crate) async fn begin(&mut self, about: Validators) -> Result<(), RuntimeError> {
        let path = self.path.clone();
        let wrong = io_at("write", &path);
        let emptied = async {
            self.file.flush().await?;
            self.file.set_len(0).await?;
            self.file.rewind().await
        };
        emptied.await.map_err(wrong)?;
        self.hasher = Hasher::new(self.algorithm);
        (self.have, self.kept, self.about) = (0, 0, about);
        write_json(&about_path(&self.path), &self.about)
    }

    /// Adds bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), RuntimeError> {
        self.file.write_all(bytes).await.map_err(io_at("write", &self.path))?;
        self.hasher.update(bytes);
        self.have += bytes.len() as u64;
        Ok(())
    }

    /// Hands what was written to the system, so that another process finds it.
    pub(crate) async fn flush(&mut self) -> Result<(), RuntimeError> {
        self.file.flush().await.map_err(io_at("write", &self.path))
    }

    /// Makes the bytes durable; gives their digest.
    pub(crate) async fn finish(&mut self) -> Result<Digest, RuntimeError> {
        self.flush().await?;
        self.file.sync_all().await.map_err(io_at("write", &self.path))?;
        Ok(self.hasher.clone().finish())
    }

    /// Where the bytes are.
    pub(crate) fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Removes what there is.
    pub(crate) fn discard(&self) -> Result<(), RuntimeError> {
        imgbake_runtime::job::remove_path(&about_path(&self.path))?;
        imgbake_runtime::job::remove_path(&self.path)
    }
}

fn about_path(path: &Utf8Path) -> Utf8PathBuf {
    path.with_extension("json")
}

/// Hashes a file from where it stands to its end; gives how many bytes that were.
pub(crate) fn hash_file(
    file: &mut std::fs::File,
    path: &Utf8Path,
    hasher: &mut Hasher,
    meter: &blocking::Meter,
) -> Result<u64, SourceError> {
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        let read = match file.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read.map_err(io_at("read", path))?,
        };
        if read == 0 {
            return Ok(done);
        }
        hasher.update(&buffer[..read]);
        done += read as u64;
        meter.at(done)?;
    }
}
