//! The clean-up journal: what a job is about to make, written down before it is made.
//!
//! One file per job, `journal/JOB.jsonl`, locked by the process that owns the job: the lock goes when
//! that process ends, however it ends. [`sweep`] takes each journal whose lock is free, ends the
//! processes that carry the job's mark in their environment, removes the paths that the journal names,
//! has [`Cleaner`]s remove the resources outside this host, and then removes the journal itself. A
//! journal of which something is left stays: the next sweep tries again.
//!
//! A line is one JSON object; `made` says what. Readers ignore keys that they do not know. A line whose
//! `made` they do not know is a newer imgbake's: it stays, and so does its journal.

mod cleaner;
mod entry;
mod own;
mod process;
mod sweep;

pub use cleaner::{Cleaner, Cleaners};
pub use entry::{Entry, RemoteResource};
pub use own::{Journal, sync_dir};
pub use process::{ENDING, Ended, MARK, end_marked};
pub use sweep::{Left, Swept, sweep};

#[cfg(feature = "fuzzing")]
pub(crate) use entry::read;
#[cfg(feature = "fuzzing")]
pub(crate) use sweep::paths;
