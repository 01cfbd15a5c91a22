//! Tests that run guests take turns: two processors carry two guests at a time well, and more badly.

use std::fs::File;
use std::sync::mpsc;

/// How many tests may run guests at a time.
const PLACES: usize = 2;

/// The right to run guests; given back when it is dropped.
#[derive(Debug)]
pub struct GuestLock(#[expect(dead_code, reason = "its locks are what counts")] Vec<File>);

/// Waits for the right to run a guest at a time, among all test processes of this machine's user.
pub fn lock_guests() -> GuestLock {
    let (sender, receiver) = mpsc::channel();
    for place in 0..PLACES {
        let sender = sender.clone();
        // The one that comes second finds nobody who takes its lock, and gives it back.
        std::thread::spawn(move || sender.send(locked(place)));
    }
    GuestLock(vec![receiver.recv().unwrap()])
}

/// Waits until no other test runs guests: for a test that runs several at a time, or one that takes all processors.
pub fn lock_all_guests() -> GuestLock {
    GuestLock((0..PLACES).map(locked).collect())
}

fn locked(place: usize) -> File {
    let path = std::env::temp_dir().join(format!("imgbake-test-guests-{place}.lock"));
    let file = File::options().create(true).append(true).open(path).unwrap();
    file.lock().unwrap();
    file
}
