//! What is read, and how a reading is reported and ended.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Result;
use crate::files::damaged;
use crate::oci::Descriptor;

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Documents are read; of all else the size is compared.
    Presence,
    /// Every byte is read.
    Bytes,
}

/// How a reading is reported and ended.
pub(crate) struct Watch<'a> {
    /// How much is read.
    pub(crate) depth: Depth,
    /// Is given bytes that were read, and bytes in all.
    pub(crate) progress: &'a (dyn Fn(u64, u64) + Sync),
    /// Ends it early.
    pub(crate) stop: &'a AtomicBool,
}

impl Watch<'_> {
    /// An error once it shall end.
    pub(super) fn go_on(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(damaged("reading the registry again was stopped"));
        }
        Ok(())
    }
}

/// A blob that shall be read.
pub(super) struct Wanted {
    pub(super) descriptor: Descriptor,
    pub(super) breaks: BTreeSet<String>,
}
