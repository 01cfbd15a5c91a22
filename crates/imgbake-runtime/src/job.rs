//! A job: one running command that makes things, and all it must clean up.

use std::fs;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use tempfile::TempDir;

use crate::error::io_at;
use crate::journal::{self, Entry, Journal, RemoteResource};
use crate::{Cancel, Events, Home, RuntimeError, RuntimeErrorKind, Secrets};

pub use crate::remove::remove_path;

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
    /// Where journal and work folder are, if not in the home; it goes with the job.
    _scratch: Option<TempDir>,
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
        Self::begin_in(home, home, None, id, (cancel, events, secrets))
    }

    /// Begins a job that only reads its home: where that cannot be written, what the job makes is in a folder
    /// of its own for temporary files.
    pub fn begin_reading(
        home: &Home,
        id: &str,
        cancel: Cancel,
        events: Events,
        secrets: Secrets,
    ) -> Result<Self, RuntimeError> {
        let parts = (cancel, events, secrets);
        match Self::begin_in(home, home, None, id, parts.clone()) {
            Err(error) if error.kind() == RuntimeErrorKind::Denied => {}
            begun => return begun,
        }
        let temporary = Utf8Path::new("the folder for temporary files");
        let scratch = tempfile::tempdir().map_err(io_at("make a folder in", temporary))?;
        let own = Utf8Path::from_path(scratch.path()).map(Home::new).ok_or_else(|| {
            RuntimeError::new(
                RuntimeErrorKind::Io,
                "the folder for temporary files has no UTF-8 name",
            )
        })?;
        Self::begin_in(home, &own, Some(scratch), id, parts)
    }

    fn begin_in(
        home: &Home,
        own: &Home,
        scratch: Option<TempDir>,
        id: &str,
        (cancel, events, secrets): (Cancel, Events, Secrets),
    ) -> Result<Self, RuntimeError> {
        use std::os::unix::fs::DirBuilderExt;
        own.ensure()?;
        let journal = Journal::begin(own, id)?;
        let work = own.work().join(id);
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
            _scratch: scratch,
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

    /// Writes down the intent to make a resource outside this host, before the request that makes it. The
    /// resource gets the returned one's mark; then [`RemoteGuard::made`] completes the entry.
    pub fn intend(
        &self,
        kind: &str,
        endpoint: &str,
        settings: serde_json::Value,
    ) -> Result<RemoteGuard, RuntimeError> {
        let resource = RemoteResource {
            kind: kind.to_owned(),
            endpoint: endpoint.to_owned(),
            mark: Journal::new_mark(self.id()),
            id: None,
            settings,
        };
        self.record(&Entry::Remote(resource.clone()))?;
        Ok(RemoteGuard { job: self.clone(), resource })
    }

    /// Ends the job: its processes, its folder and every other path it wrote down, its journal.
    ///
    /// # Errors
    /// A process does not end, or a path cannot be removed: the journal stays, and the next sweep tries again.
    pub fn end(&self) -> Result<(), RuntimeError> {
        let ended = journal::end_marked(&self.0.id, journal::ENDING);
        if !ended.left.is_empty() {
            let what = format!("processes {:?} were killed and do not end", ended.left);
            return Err(RuntimeError::new(RuntimeErrorKind::TimedOut, what));
        }
        self.0.journal.end()
    }

    /// Leaves all as it is, for the user to look at; `imgbake clean` ends it.
    pub fn keep(&self) -> Result<(), RuntimeError> {
        self.record(&Entry::Kept)
    }
}

/// A resource outside this host that is in the job's journal. Dropping it changes nothing: the resource
/// stays in the journal until [`removed`](Self::removed) or a sweep's cleaner.
#[derive(Debug)]
#[must_use = "the resource stays in the journal until `removed` is called"]
pub struct RemoteGuard {
    job: Job,
    resource: RemoteResource,
}

impl RemoteGuard {
    /// The resource, as its cleaner would be given it.
    pub const fn resource(&self) -> &RemoteResource {
        &self.resource
    }

    /// The resource was made: its service calls it `id`.
    pub fn made(&mut self, id: &str) -> Result<(), RuntimeError> {
        self.resource.id = Some(id.to_owned());
        self.job.record(&Entry::Remote(self.resource.clone()))
    }

    /// The resource is gone, or was never made, or belongs to the user from now on.
    pub fn removed(self) -> Result<(), RuntimeError> {
        self.job.record(&Entry::Removed { mark: self.resource.mark })
    }
}
