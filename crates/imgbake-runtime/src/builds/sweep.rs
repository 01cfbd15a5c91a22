//! Which records stay.

use std::fs::{self, File};
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::{SignedDuration, Timestamp};

use super::files::folder;
use super::read::{has_journal, list};
use crate::error::io_at;
use crate::{Home, RuntimeError};

/// How many records stay, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildRetention {
    /// The newest ones that stay.
    pub keep: usize,
    /// Days after which the others of those go as well.
    pub days: u32,
}

impl Default for BuildRetention {
    fn default() -> Self {
        Self { keep: 100, days: 90 }
    }
}

/// Removes the records that need not stay; never one of a build that runs or whose machine is kept.
/// Does nothing while another process sweeps. Gives how many went.
pub fn sweep(
    home: &Home,
    retention: BuildRetention,
    now: Timestamp,
) -> Result<usize, RuntimeError> {
    let dir = home.builds();
    let path = dir.join(".lock");
    let lock = match File::create(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        created => created.map_err(io_at("make", &path))?,
    };
    if lock.try_lock().is_err() {
        return Ok(0);
    }
    let age = SignedDuration::from_hours(24 * i64::from(retention.days));
    let mut removed = 0;
    for (place, build) in list(home)?.into_iter().enumerate() {
        let old = now.duration_since(build.started()) > age;
        if (place >= retention.keep || old) && !has_journal(home, build.id()) {
            remove(&dir, &folder(home, build.id()))?;
            removed += 1;
        }
    }
    for left in half_removed(&dir) {
        fs::remove_dir_all(&left).map_err(io_at("remove", &left))?;
    }
    Ok(removed)
}

/// Under another name first: half a record is none.
fn remove(dir: &Utf8Path, record: &Utf8Path) -> Result<(), RuntimeError> {
    let gone = dir.join(format!(".gone-{}", record.file_name().unwrap_or_default()));
    fs::rename(record, &gone).map_err(io_at("remove", record))?;
    fs::remove_dir_all(&gone).map_err(io_at("remove", &gone))
}

/// What a killed sweep left.
fn half_removed(dir: &Utf8Path) -> Vec<Utf8PathBuf> {
    let entries = dir.read_dir_utf8().into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().starts_with(".gone-"))
        .map(|entry| entry.path().to_owned())
        .collect()
}
