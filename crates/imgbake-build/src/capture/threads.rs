//! What the threads of a capture have in common: their priority, and how one that panicked is reported.

use std::any::Any;

use crate::BuildError;

/// How much workers stand back for the thread that hashes the whole disk (setpriority(2); of a thread).
const NICE: i32 = 5;

/// Lets the threads that all others wait for go first. One that cannot stand back works all the same.
pub(super) fn stand_back() {
    let _ = rustix::process::setpriority_process(None, NICE);
}

/// For `map_err`: a thread that panicked.
pub(super) fn panicked(_: Box<dyn Any + Send>) -> BuildError {
    BuildError::failed("a capture thread panicked: this is a defect of imgbake, please report it")
}
