//! The folders of `IMGBAKE_HOME`.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};

use crate::RuntimeError;
use crate::error::io_at;

/// Where imgbake keeps its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(Utf8PathBuf);

impl Home {
    /// A home at an absolute path. Nothing is made yet.
    pub fn new(root: impl Into<Utf8PathBuf>) -> Self {
        Self(root.into())
    }

    /// Makes its folders, private to the user.
    pub fn ensure(&self) -> Result<(), RuntimeError> {
        use std::os::unix::fs::DirBuilderExt;
        for dir in
            [self.registry(), self.cache(), self.keys(), self.journal(), self.work(), self.builds()]
        {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&dir)
                .map_err(io_at("make the folder", &dir))?;
        }
        Ok(())
    }

    /// The folder itself.
    pub fn root(&self) -> &Utf8Path {
        &self.0
    }
    /// The local registry.
    pub fn registry(&self) -> Utf8PathBuf {
        self.0.join("registry")
    }
    /// Downloads and what was learnt of this host.
    pub fn cache(&self) -> Utf8PathBuf {
        self.0.join("cache")
    }
    /// Records of builds.
    pub fn builds(&self) -> Utf8PathBuf {
        self.0.join("builds")
    }
    /// Keys of this home.
    pub fn keys(&self) -> Utf8PathBuf {
        self.0.join("keys")
    }
    /// One file per running job.
    pub fn journal(&self) -> Utf8PathBuf {
        self.0.join("journal")
    }
    /// One folder per running job.
    pub fn work(&self) -> Utf8PathBuf {
        self.0.join("work")
    }

    /// The key that turns sensitive values into parts of a step's key: 32 random bytes, made once.
    pub fn secret_key(&self) -> Result<Vec<u8>, RuntimeError> {
        use std::io::Write;
        let path = self.keys().join("plan.key");
        if let Ok(key) = fs::read(&path)
            && key.len() == 32
        {
            return Ok(key);
        }
        let key: Vec<u8> = (0..2).flat_map(|_| *uuid::Uuid::new_v4().as_bytes()).collect();
        let mut file = tempfile::NamedTempFile::new_in(self.keys())
            .map_err(io_at("make a file in", &self.keys()))?;
        file.write_all(&key).map_err(io_at("write", &path))?;
        file.as_file().sync_all().map_err(io_at("write", &path))?;
        // Two first runs at once: the one that comes second takes the other's key.
        match file.persist_noclobber(&path) {
            Ok(_) => Ok(key),
            Err(_) => fs::read(&path).map_err(io_at("read", &path)),
        }
    }
}
