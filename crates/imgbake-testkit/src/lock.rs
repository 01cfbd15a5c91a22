//! Locks in tests.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; a test that panicked while it held the lock has failed already.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
