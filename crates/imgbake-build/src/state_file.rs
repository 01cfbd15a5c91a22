//! Small things that are remembered between builds, each a private file of JSON below
//! `IMGBAKE_HOME/cache`. What cannot be read or kept is forgotten: no build fails of it.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use camino::Utf8Path;
use imgbake_runtime::Job;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads one of at most `most` bytes; one that is missing, longer or does not read is none.
pub(crate) fn recall<T: DeserializeOwned>(path: &Utf8Path, most: u64) -> Option<T> {
    let mut bytes = Vec::new();
    imgbake_runtime::regular::open(path).ok()?.take(most).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Keeps one, in the place of the one before.
pub(crate) fn keep(job: &Job, path: &Utf8Path, value: &impl Serialize) {
    let new = job.work().join(format!("state_file-{}", uuid::Uuid::new_v4().simple()));
    let write = || {
        let mut private = OpenOptions::new();
        let mut file = private.write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(value).unwrap_or_default())?;
        file.sync_all()?;
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        fs::rename(&new, path)
    };
    if write().is_err() {
        // Only a cache folder that cannot be written to leaves it; it goes with the job at the latest.
        let _ = fs::remove_file(&new);
    }
}
