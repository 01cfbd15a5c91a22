//! Ending what killed jobs left.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::time::Duration;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::cleaner::Cleaners;
use super::entry::{Entries, Entry, RemoteResource, read};
use super::{own, process};
use crate::error::io_at;
use crate::remove::remove_path;
use crate::{Home, RuntimeError};

/// How long a cleaner may take for one resource: a service that does not answer must not hold up a
/// command that has nothing to do with it.
const LIMIT: Duration = Duration::from_secs(30);

/// How long a resource that could not be removed is left alone by commands that clean up by the way.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// What [`sweep`] ended of one job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// The job.
    pub job: String,
    /// Processes that were ended.
    pub processes: usize,
    /// Files and folders that were removed.
    pub paths: usize,
    /// Resources outside this host that were removed.
    pub remotes: usize,
    /// What could not be removed: the journal stays, and the next sweep tries again.
    pub left: Vec<Left>,
    /// Why the sweep of this job ended early: its journal stays, and the next sweep tries again.
    pub failed: Option<String>,
}

/// Something that a killed job left, and that is still there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Left {
    /// What it is.
    pub what: String,
    /// Why it was not removed.
    pub why: String,
}

/// Ends what killed jobs left. `kept` also ends the jobs that the user asked to keep, and tries again at
/// once what could not be removed a moment ago.
pub async fn sweep(
    home: &Home,
    kept: bool,
    cleaners: &Cleaners,
) -> Result<Vec<Swept>, RuntimeError> {
    let dir = home.journal();
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(RuntimeError::io("read the folder", &dir, error)),
    };
    let mut paths: Vec<Utf8PathBuf> = entries
        .flatten()
        .filter_map(|entry| Utf8PathBuf::from_path_buf(entry.path()).ok())
        .filter(|path| path.extension() == Some("jsonl"))
        .collect();
    paths.sort();
    let mut swept = Vec::new();
    for path in &paths {
        let Some(job) = path.file_stem() else { continue };
        match sweep_one(home, path, job, kept, cleaners).await {
            Ok(done) => swept.extend(done),
            // Another user's leftovers, say: they must not hold this user's commands up.
            Err(error) => swept.push(Swept {
                job: job.to_owned(),
                failed: Some(error.to_string()),
                ..Swept::default()
            }),
        }
    }
    Ok(swept)
}

async fn sweep_one(
    home: &Home,
    path: &Utf8Path,
    job: &str,
    kept: bool,
    cleaners: &Cleaners,
) -> Result<Option<Swept>, RuntimeError> {
    let Ok(lock) = File::open(path) else { return Ok(None) };
    if lock.try_lock().is_err() {
        return Ok(None); // its job runs, or another sweep
    }
    // Between the opening and the lock, its owner may have ended it, or another sweep.
    let Ok(text) = fs::read_to_string(path) else { return Ok(None) };
    let entries = read(&text);
    if entries.known.contains(&Entry::Kept) && !kept {
        return Ok(None);
    }
    let mut swept = Swept { job: job.to_owned(), ..Swept::default() };
    let ended = process::end_marked(job, process::ENDING);
    swept.processes = ended.killed - ended.left.len();
    if !ended.left.is_empty() {
        // It may still write: what it has open stays until it is gone.
        swept.left.extend(ended.left.iter().map(|pid| Left {
            what: format!("process {pid}"),
            why: "it was killed and does not end; it may wait for a disk".to_owned(),
        }));
        return Ok(Some(swept));
    }
    for path in
        self::paths(home, job, &entries.known).filter(|path| path.symlink_metadata().is_ok())
    {
        remove_path(path)?;
        swept.paths += 1;
    }
    let cut = !text.is_empty() && !text.ends_with('\n');
    remove_remotes(path, cut, &entries, kept, cleaners, &mut swept).await?;
    swept.left.extend(entries.unknown.iter().map(|made| Left {
        what: format!("an entry `{made}` of {path}"),
        why: "it was written by a newer imgbake: run that one".to_owned(),
    }));
    if swept.left.is_empty() {
        fs::remove_file(path).map_err(io_at("remove the journal", path))?;
    }
    Ok(Some(swept))
}

/// Has cleaners remove the resources outside this host, all at once, and writes down what became of each.
async fn remove_remotes(
    path: &Utf8Path,
    cut: bool,
    entries: &Entries,
    at_once: bool,
    cleaners: &Cleaners,
    swept: &mut Swept,
) -> Result<(), RuntimeError> {
    let remotes = entries.remotes();
    let removals = remotes.iter().map(|(resource, tried)| async move {
        match tried {
            Some((at, why)) if !at_once && is_recent(*at) => Outcome::Left((*why).to_owned()),
            _ => remove(cleaners, resource).await,
        }
    });
    let outcomes = join_all(removals).await;
    let mut news = Vec::new();
    for ((resource, _), outcome) in remotes.iter().zip(outcomes) {
        let mark = resource.mark.clone();
        let why = match outcome {
            Outcome::Removed => {
                swept.remotes += 1;
                news.push(Entry::Removed { mark });
                continue;
            }
            Outcome::Failed(why) => {
                let at = Timestamp::now();
                news.push(Entry::Tried { mark, at, why: why.clone() });
                why
            }
            Outcome::Left(why) => why,
        };
        swept.left.push(Left { what: resource.to_string(), why });
    }
    // Where nothing is left the journal goes.
    if news.is_empty() || (swept.left.is_empty() && entries.unknown.is_empty()) {
        return Ok(());
    }
    let mut file =
        OpenOptions::new().append(true).open(path).map_err(io_at("open the journal", path))?;
    let mut cut = cut;
    for entry in &news {
        own::append(&mut file, cut, entry).map_err(io_at("write the journal", path))?;
        cut = false;
    }
    Ok(())
}

/// What became of a resource.
enum Outcome {
    Removed,
    /// A cleaner could not remove it.
    Failed(String),
    /// It was not tried.
    Left(String),
}

async fn remove(cleaners: &Cleaners, resource: &RemoteResource) -> Outcome {
    let Some(cleaner) = cleaners.of(&resource.kind) else {
        return Outcome::Left(format!(
            "this imgbake has no builder that removes a resource of kind `{}`",
            resource.kind
        ));
    };
    match tokio::time::timeout(LIMIT, cleaner.remove(resource)).await {
        Ok(Ok(())) => Outcome::Removed,
        Ok(Err(error)) => Outcome::Failed(crate::error::with_causes(&error)),
        Err(_) => Outcome::Failed(format!("no answer within {} s", LIMIT.as_secs())),
    }
}

/// Whether a moment is less than [`AGAIN_AFTER`] ago. One in the future is a clock that was set back.
fn is_recent(at: Timestamp) -> bool {
    let passed = Timestamp::now().duration_since(at);
    !passed.is_negative() && passed < AGAIN_AFTER
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
    let plain = path.components().all(|part| part != Utf8Component::ParentDir);
    let inside = path.starts_with(home.root()) && path != home.root();
    plain && (inside || path.file_name().is_some_and(|name| name.contains(job)))
}
