//! Trying again: what may be tried, how often, and how long to wait.

use std::time::Duration;

use imgbake_build::BuildError;
use imgbake_runtime::retry::Backoff;
use imgbake_runtime::{Cancel, RuntimeError};

/// Attempts in a row that bring nothing: with the waits below, about half a minute.
const IDLE: u32 = 10;
/// Attempts to reach somebody who never answered.
const GREETINGS: u32 = 4;
/// Attempts in all.
const ATTEMPTS: u32 = 500;
/// The first wait between attempts, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));
/// The longest wait that a server may ask for.
const ASKED: Duration = Duration::from_secs(300);

/// Why an attempt stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It may go better next time.
    Again {
        /// What happened, as the start of a sentence.
        why: String,
        /// What the server asked to wait.
        after: Option<Duration>,
    },
    /// It will not go better.
    Fatal(BuildError),
}

impl Stop {
    /// It may go better next time.
    pub(crate) fn again(why: impl Into<String>) -> Self {
        Self::Again { why: why.into(), after: None }
    }
}

impl From<BuildError> for Stop {
    fn from(error: BuildError) -> Self {
        Self::Fatal(error)
    }
}

impl From<RuntimeError> for Stop {
    fn from(error: RuntimeError) -> Self {
        Self::Fatal(error.into())
    }
}

/// The attempts at one thing.
#[derive(Debug)]
pub(crate) struct Retry {
    cancel: Cancel,
    what: String,
    /// Attempts in a row that brought nothing, and how many may.
    idle: u32,
    most_idle: u32,
    attempts: u32,
    backoff: Backoff,
}

impl Retry {
    /// For `what`, which completes "cannot ".
    pub(crate) fn new(cancel: &Cancel, what: impl Into<String>) -> Self {
        let (first, most) = WAITS;
        let backoff = Backoff::new(first, most);
        let (cancel, what) = (cancel.clone(), what.into());
        Self { cancel, what, idle: 0, most_idle: IDLE, attempts: 0, backoff }
    }

    /// For the first words to somebody, who may not be there at all.
    pub(crate) fn greeting(cancel: &Cancel, what: impl Into<String>) -> Self {
        Self { most_idle: GREETINGS, ..Self::new(cancel, what) }
    }

    /// Bytes came since the last attempt: a slow way is not a dead one.
    pub(crate) fn moved(&mut self) {
        self.idle = 0;
        self.backoff = Backoff::new(WAITS.0, WAITS.1);
    }

    /// Waits for the next attempt, or gives the error that ends it.
    pub(crate) async fn after(&mut self, stop: Stop) -> Result<(), BuildError> {
        let (why, asked) = match stop {
            Stop::Fatal(error) => return Err(error),
            Stop::Again { why, after } => (why, after),
        };
        self.attempts += 1;
        self.idle += 1;
        let too_long = asked.is_some_and(|asked| asked > ASKED);
        if self.idle >= self.most_idle || self.attempts >= ATTEMPTS || too_long {
            let asked = asked.filter(|_| too_long).map_or_else(String::new, |asked| {
                format!(" (the server asks to wait {} seconds)", asked.as_secs())
            });
            let tried = match self.attempts {
                1 => "once".to_owned(),
                times => format!("{times} times"),
            };
            let what = format!("cannot {}: {why}{asked}; tried {tried}", self.what);
            return Err(BuildError::failed(what)
                .help("is the registry up? what is there already is not moved again"));
        }
        tracing::debug!(what = self.what, why, attempt = self.attempts, "trying again");
        let mut wait = asked.map_or(self.backoff, |asked| Backoff::new(asked, asked));
        self.cancel.run(wait.wait()).await?;
        if asked.is_none() {
            self.backoff = wait;
        }
        Ok(())
    }
}
