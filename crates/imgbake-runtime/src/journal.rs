//! The clean-up journal: what a job is about to make, written down before it is made.
//!
//! One file per job, `journal/JOB.jsonl`, locked by the process that owns the job: the lock goes when
//! that process ends, however it ends. [`sweep`] takes each journal whose lock is free, ends the
//! processes that carry the job's mark in their environment, removes the paths that the journal names
//! and then the journal itself.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::sync::Mutex;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::error::io_at;
use crate::{Home, RuntimeError};

/// The environment variable that marks a job's processes.
pub const MARK: &str = "IMGBAKE_JOB";

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "made", rename_all = "lowercase")]
pub enum Entry {
    /// A process that carries the job's mark, by its program's name.
    Process {
        /// The program.
        program: String,
    },
    /// A file or folder under `IMGBAKE_HOME`, or one elsewhere whose name holds the job's.
    Path {
        /// Where.
        path: Utf8PathBuf,
    },
    /// The user asked to keep what the job made: until `imgbake clean`.
    Kept,
}

/// A running job's journal.
#[derive(Debug)]
pub struct Journal {
    path: Utf8PathBuf,
    file: Mutex<File>,
    made: Mutex<Vec<Utf8PathBuf>>,
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
        Ok(Self { path, file: Mutex::new(file), made: Mutex::default() })
    }

    /// Writes down what is about to be made; it is durable when this returns.
    pub fn record(&self, entry: &Entry) -> Result<(), RuntimeError> {
        if let Entry::Path { path } = entry {
            self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(path.clone());
        }
        let mut line = serde_json::to_vec(entry).unwrap_or_default();
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.write_all(&line)
            .and_then(|()| file.sync_data())
            .map_err(io_at("write the journal", &self.path))
    }

    /// Removes every path that was written down, and then the journal: nothing of the job is left.
    pub fn end(&self) -> Result<(), RuntimeError> {
        for path in self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner).drain(..) {
            crate::job::remove_path(&path)?;
        }
        fs::remove_file(&self.path).map_err(io_at("remove the journal", &self.path))
    }
}

/// Makes a folder's names durable.
pub fn sync_dir(path: &Utf8Path) -> Result<(), RuntimeError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(io_at("sync the folder", path))
}

/// What [`sweep`] ended of one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// The job.
    pub job: String,
    /// Processes that were ended.
    pub processes: usize,
    /// Files and folders that were removed.
    pub paths: usize,
    /// Why something is left: its journal stays, and the next sweep tries again.
    pub failed: Option<String>,
}

/// Ends what killed jobs left. `kept` also ends the jobs that the user asked to keep.
pub fn sweep(home: &Home, kept: bool) -> Result<Vec<Swept>, RuntimeError> {
    let dir = home.journal();
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(RuntimeError::io("read the folder", &dir, error)),
    };
    let mut swept = Vec::new();
    for entry in entries.flatten() {
        let Ok(path) = Utf8PathBuf::from_path_buf(entry.path()) else { continue };
        if path.extension() == Some("jsonl")
            && let Some(job) = path.file_stem()
        {
            match sweep_one(home, &path, job, kept) {
                Ok(done) => swept.extend(done),
                // Another user's leftovers, say: they must not hold this user's commands up.
                Err(error) => swept.push(Swept {
                    job: job.to_owned(),
                    processes: 0,
                    paths: 0,
                    failed: Some(error.to_string()),
                }),
            }
        }
    }
    Ok(swept)
}

fn sweep_one(
    home: &Home,
    path: &Utf8Path,
    job: &str,
    kept: bool,
) -> Result<Option<Swept>, RuntimeError> {
    let Ok(file) = File::open(path) else { return Ok(None) };
    if file.try_lock().is_err() {
        return Ok(None); // its job runs
    }
    // Between the opening and the lock, its owner may have ended it, or another sweep.
    let Ok(text) = fs::read_to_string(path) else { return Ok(None) };
    let entries = entries(&text);
    if entries.contains(&Entry::Kept) && !kept {
        return Ok(None);
    }
    let processes = end_marked(job);
    let mut removed = 0;
    for path in paths(home, job, &entries).filter(|path| path.symlink_metadata().is_ok()) {
        crate::job::remove_path(path)?;
        removed += 1;
    }
    fs::remove_file(path).map_err(io_at("remove the journal", path))?;
    Ok(Some(Swept { job: job.to_owned(), processes, paths: removed, failed: None }))
}

/// Reads a journal. A kill can cut the last line; what it named was then never made.
pub(crate) fn entries(text: &str) -> Vec<Entry> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The paths among a journal's entries that it may have removed.
pub(crate) fn paths<'a>(
    home: &'a Home,
    job: &'a str,
    entries: &'a [Entry],
) -> impl Iterator<Item = &'a Utf8PathBuf> {
    entries.iter().filter_map(move |entry| match entry {
        Entry::Path { path } if is_ours(home, job, path) => Some(path),
        _ => None,
    })
}

/// Whether a journal may have a path removed: a damaged journal must not reach the user's files.
/// Outside the home, only names that the job's own name is part of.
fn is_ours(home: &Home, job: &str, path: &Utf8Path) -> bool {
    let plain = path.components().all(|part| part != camino::Utf8Component::ParentDir);
    let inside = path.starts_with(home.root()) && path != home.root();
    plain && (inside || path.file_name().is_some_and(|name| name.contains(job)))
}

/// Kills every process that carries the job's mark, until none is left; gives how many.
///
/// A process is proved to be the job's by its own environment, which others cannot write; a process
/// id alone would prove nothing, since ids are used again.
pub fn end_marked(job: &str) -> usize {
    let mark = format!("{MARK}={job}");
    let mut ended = std::collections::BTreeSet::new();
    // Each round ends what the last round's processes started; a fork loop is not fought for ever.
    for _ in 0..100 {
        let alive = marked(&mark);
        if alive.is_empty() {
            break;
        }
        for pid in alive {
            ended.insert(pid);
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        std::thread::yield_now();
    }
    ended.len()
}

fn marked(mark: &str) -> Vec<i32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|&pid| pid != own)
        .filter(|pid| {
            // A zombie's environment is empty: it holds nothing any more.
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environ| environ.split(|&b| b == 0).any(|var| var == mark.as_bytes()))
        })
        .collect()
}
