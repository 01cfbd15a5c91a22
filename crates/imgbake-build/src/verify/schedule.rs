//! Which clones boot at the same time.
//!
//! An emulated machine that boots computes on all its processors, and on few cores two of them hinder each
//! other (`docs/decisions/0027-clones-in-turn.md`). So a clone takes a turn to boot, and gives it back once
//! it answers: what is left of its first boot, and its tests, use one processor at a time, and the next
//! clone's firmware and boot loader do so too.

use tokio::sync::{Semaphore, SemaphorePermit};

/// The turns to boot.
#[derive(Debug)]
pub(super) struct Schedule {
    turns: Semaphore,
}

impl Schedule {
    /// So many clones boot at the same time; at least one does.
    pub(super) fn new(at_once: usize) -> Self {
        Self { turns: Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS)) }
    }

    /// Waits for a turn to boot, which lasts until it is dropped. Those who wait get it in the order in which they came.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.turns.acquire().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Whether a future is done when it is asked once.
    fn done<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn in_turn_the_next_boots_once_the_last_one_answers() {
        for at_once in [0, 1] {
            let schedule = Schedule::new(at_once);
            let (mut first, mut second) = (pin!(schedule.turn()), pin!(schedule.turn()));
            let turn = done(first.as_mut()).expect("nobody boots yet");
            assert!(done(second.as_mut()).is_none());
            // The first clone wants to restart, after the second has booted.
            let mut restart = pin!(schedule.turn());
            assert!(done(restart.as_mut()).is_none());
            drop(turn);
            let turn = done(second.as_mut()).expect("the first has answered");
            assert!(done(restart.as_mut()).is_none());
            drop(turn);
            assert!(done(restart.as_mut()).is_some());
        }
    }

    #[test]
    fn together_all_boot_at_once() {
        let schedule = Schedule::new(usize::MAX);
        let (mut first, mut second) = (pin!(schedule.turn()), pin!(schedule.turn()));
        let turns = (done(first.as_mut()), done(second.as_mut()));
        assert!(turns.0.is_some() && turns.1.is_some());
    }

    #[test]
    fn a_clone_that_gives_up_keeps_nobody_waiting() {
        let schedule = Schedule::new(1);
        let mut first = pin!(schedule.turn());
        let turn = done(first.as_mut());
        {
            let mut cancelled = pin!(schedule.turn());
            assert!(done(cancelled.as_mut()).is_none());
        }
        drop(turn);
        let mut last = pin!(schedule.turn());
        assert!(done(last.as_mut()).is_some());
    }
}
