//! The files of one machine, in the job's folder.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Job, RuntimeError};

/// The files of one machine, in the job's folder.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    dir: Utf8PathBuf,
    name: String,
}

impl Files {
    pub(crate) fn new(job: &Job, machine: &str) -> Self {
        Self { dir: job.work().to_owned(), name: machine.to_owned() }
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Utf8Path {
        &self.dir
    }

    /// The name of one of its files.
    pub(crate) fn name(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.name)
    }

    /// The path of one of its files.
    pub(crate) fn path(&self, suffix: &str) -> Utf8PathBuf {
        self.dir.join(self.name(suffix))
    }

    pub(crate) const QMP: &str = ".qmp";
    pub(crate) const CONSOLE: &str = ".console";
    pub(crate) const LOGIN: &str = ".login";
}

/// Writes a file that only this user can read.
pub(crate) fn write_private(path: &Utf8Path, text: &str) -> Result<(), RuntimeError> {
    let file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(io_at("write", path))
}
