//! Waiting where only polling serves: a back-off from 50 ms to 1 s, ended by a deadline or the job.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::{Cancel, RuntimeError, RuntimeErrorKind};

/// A growing wait.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    next: Duration,
    most: Duration,
}

/// How long a server that was asked too often wants to be left alone: the value of Retry-After (RFC 9110,
/// section 10.2.3), seconds or a date. `None` where it is neither.
pub fn after(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value.trim()).ok()?;
    Some(Duration::try_from(date.duration_since(jiff::Timestamp::now())).unwrap_or(Duration::ZERO))
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(1))
    }
}

impl Backoff {
    /// Waits `first`, then twice that, up to `most`.
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { next: first, most }
    }

    /// Waits once.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that sleeps: the back-off of a poll"
    )]
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.grow()).await;
    }

    /// Waits once, where there is no runtime to wait in.
    #[expect(clippy::disallowed_methods, reason = "the same back-off, for a thread")]
    pub fn block(&mut self) {
        std::thread::sleep(self.grow());
    }

    fn grow(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.most);
        wait
    }
}

/// Asks again and again until `ask` gives something, the time is over or the job is cancelled.
/// `waiting_for` completes "… did not happen within 30s: ".
pub async fn poll<T, F>(
    cancel: &Cancel,
    limit: Duration,
    waiting_for: &str,
    mut ask: impl FnMut() -> F,
) -> Result<T, RuntimeError>
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + limit;
    let mut backoff = Backoff::default();
    let work = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            backoff.wait().await;
        }
    };
    match cancel.run(tokio::time::timeout_at(deadline, work)).await? {
        Ok(answer) => Ok(answer),
        Err(_) => Err(timed_out(waiting_for, limit)),
    }
}

/// The error for something that did not happen in its time.
pub fn timed_out(waiting_for: &str, limit: Duration) -> RuntimeError {
    RuntimeError::new(
        RuntimeErrorKind::TimedOut,
        format!("timed out after {}s waiting for {waiting_for}", limit.as_secs()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_seconds_or_a_date() {
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        let far = after("Tue, 31 Dec 2999 23:59:59 GMT");
        assert!(far.is_some_and(|wait| wait.as_secs() > 1_000_000));
        assert_eq!((after("soon"), after("-1")), (None, None));
    }
}
