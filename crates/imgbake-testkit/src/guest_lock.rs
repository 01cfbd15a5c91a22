//! Tests that run guests take turns: two processors carry one guest at a time well, and three badly.

use std::fs::File;

/// The right to run guests; given back when it is dropped.
#[derive(Debug)]
pub struct GuestLock(#[expect(dead_code, reason = "its lock is what counts")] File);

/// Waits for the right to run guests, among all test processes of this machine's user.
pub fn lock_guests() -> GuestLock {
    let path = std::env::temp_dir().join("imgbake-test-guests.lock");
    let file = File::options().create(true).append(true).open(path).unwrap();
    file.lock().unwrap();
    GuestLock(file)
}
