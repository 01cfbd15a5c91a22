//! The journal of a job that runs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};

use super::entry::{Entries, Entry};
use imgbake_types::record::format;

use crate::error::io_at;
use crate::remove::remove_path;
use crate::{Home, RuntimeError, RuntimeErrorKind};

/// A running job's journal.
#[derive(Debug)]
pub struct Journal {
    path: Utf8PathBuf,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    file: File,
    entries: Entries,
    /// The last line was cut, by a full disk say.
    cut: bool,
}

impl Journal {
    /// Begins a job's journal and takes its lock.
    pub fn begin(home: &Home, job: &str) -> Result<Self, RuntimeError> {
        let path = home.journal().join(format!("{job}.jsonl"));
        // Under another name until it is locked: a sweep must not take it for a killed job's.
        let unlocked = home.journal().join(format!("{job}.new"));
        let file = OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(&unlocked)
            .map_err(io_at("make the journal", &unlocked))?;
        file.lock().map_err(io_at("lock the journal", &unlocked))?;
        fs::rename(&unlocked, &path).map_err(io_at("name the journal", &path))?;
        sync_dir(&home.journal())?;
        let written = Written { file, entries: Entries::default(), cut: false };
        Ok(Self { path, written: Mutex::new(written) })
    }

    /// Writes down what is about to be made; it is durable when this returns.
    pub fn record(&self, entry: &Entry) -> Result<(), RuntimeError> {
        let mut written = self.written();
        let cut = written.cut;
        // Whether the line got there is not known when it fails: what it names counts as made.
        written.entries.known.push(entry.clone());
        let appended = append(&mut written.file, cut, entry);
        written.cut = appended.is_err();
        appended.map_err(io_at("write the journal", &self.path))
    }

    /// A mark for a resource outside this host: no other has it.
    pub(crate) fn new_mark(job: &str) -> String {
        format!("{job}-{}", uuid::Uuid::new_v4().simple())
    }

    /// Removes every path that was written down, and then the journal: nothing of the job is left. While
    /// resources outside this host are left the journal stays, for the next sweep.
    pub fn end(&self) -> Result<(), RuntimeError> {
        let written = self.written();
        for entry in &written.entries.known {
            if let Entry::Path { path } = entry {
                remove_path(path)?;
            }
        }
        let left: Vec<String> =
            written.entries.remotes().iter().map(|(resource, _)| resource.to_string()).collect();
        if left.is_empty() {
            return fs::remove_file(&self.path).map_err(io_at("remove the journal", &self.path));
        }
        Err(RuntimeError::new(
            RuntimeErrorKind::Failed,
            format!("not removed: {}; the next imgbake run removes it", left.join(", ")),
        ))
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Appends a line, after the end of one that was cut; it is durable when this returns.
pub(super) fn append(file: &mut File, cut: bool, entry: &Entry) -> io::Result<()> {
    let mut line = if cut { vec![b'\n'] } else { Vec::new() };
    line.extend(format::write(entry)?);
    line.push(b'\n');
    file.write_all(&line)?;
    file.sync_data()
}

/// Makes a folder's names durable.
pub fn sync_dir(path: &Utf8Path) -> Result<(), RuntimeError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(io_at("sync the folder", path))
}
