//! A job: one running command that makes things, and all it must clean up.

use std::fs;
use std::io;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::error::io_at;
use crate::journal::{Entry, Journal};
use crate::{Cancel, Events, Home, RuntimeError, Secrets};

/// A running job. Clones are the same job.
#[derive(Debug, Clone)]
pub struct Job(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: String,
    home: Home,
    work: Utf8PathBuf,
    journal: Journal,
    cancel: Cancel,
    events: Events,
    secrets: Secrets,
}

/// A new job's name: the command's word and a random part.
pub fn new_id(word: &str) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{word}-{}", &random[..10])
}

impl Job {
    /// Begins a job: its journal, then its work folder.
    pub fn begin(
        home: &Home,
        id: &str,
        cancel: Cancel,
        events: Events,
        secrets: Secrets,
    ) -> Result<Self, RuntimeError> {
        use std::os::unix::fs::DirBuilderExt;
        home.ensure()?;
        let journal = Journal::begin(home, id)?;
        let work = home.work().join(id);
        journal.record(&Entry::Path { path: work.clone() })?;
        fs::DirBuilder::new().mode(0o700).create(&work).map_err(io_at("make the folder", &work))?;
        Ok(Self(Arc::new(Inner {
            id: id.to_owned(),
            home: home.clone(),
            work,
            journal,
            cancel,
            events,
            secrets,
        })))
    }

    /// Its name, unique on this host.
    pub fn id(&self) -> &str {
        &self.0.id
    }
    /// Where all of imgbake's state is.
    pub fn home(&self) -> &Home {
        &self.0.home
    }
    /// Its folder: whatever is in it goes when the job ends.
    pub fn work(&self) -> &Utf8Path {
        &self.0.work
    }
    /// Its cancellation.
    pub fn cancel(&self) -> &Cancel {
        &self.0.cancel
    }
    /// Its events.
    pub fn events(&self) -> &Events {
        &self.0.events
    }
    /// Its secrets.
    pub fn secrets(&self) -> &Secrets {
        &self.0.secrets
    }

    /// Writes down what is about to be made outside the job's folder, or a process.
    pub fn record(&self, entry: &Entry) -> Result<(), RuntimeError> {
        self.0.journal.record(entry)
    }

    /// Ends the job: its processes, its folder and every other path it wrote down, its journal.
    pub fn end(&self) -> Result<(), RuntimeError> {
        crate::journal::end_marked(&self.0.id);
        self.0.journal.end()
    }

    /// Leaves all as it is, for the user to look at; `imgbake clean` ends it.
    pub fn keep(&self) -> Result<(), RuntimeError> {
        self.record(&Entry::Kept)
    }
}

/// Removes a file or a whole folder; one that is not there is no error.
pub fn remove_path(path: &Utf8Path) -> Result<(), RuntimeError> {
    let remove = || match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    let mut removed = remove();
    // A thread of an interrupted job may write its last file meanwhile.
    for _ in 0..100 {
        if !matches!(&removed, Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty) {
            break;
        }
        std::thread::yield_now();
        removed = remove();
    }
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RuntimeError::io("remove", path, error))
        }
        _ => Ok(()),
    }
}
