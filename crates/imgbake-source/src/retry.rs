//! Trying again: what may be tried, how often, and how long to wait.

use std::time::Duration;

use imgbake_build::BuildError;
use imgbake_runtime::retry::Backoff;
use imgbake_runtime::{Job, RuntimeError, StageGuard};

/// Why an attempt stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It may go better next time.
    Again {
        /// What happened, as the start of a sentence.
        why: String,
        /// What the server asked to wait.
        after: Option<Duration>,
        /// Whether bytes came: a slow way is not a dead one.
        moved: bool,
    },
    /// It will not go better.
    Fatal(BuildError),
}

impl Stop {
    /// It may go better next time; no bytes came.
    pub(crate) fn again(why: impl Into<String>) -> Self {
        Self::Again { why: why.into(), after: None, moved: false }
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

/// How often something is tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Attempts in a row that bring nothing.
    pub(crate) idle: u32,
    /// Attempts in all.
    pub(crate) attempts: u32,
    /// The longest wait between attempts.
    pub(crate) most: Duration,
    /// The longest wait that a server may ask for.
    pub(crate) asked: Duration,
}

impl Patience {
    /// For a question before the build: some seconds of silence at most.
    pub(crate) const fn short() -> Self {
        Self { idle: 3, attempts: 3, most: Duration::from_secs(1), asked: Duration::from_secs(5) }
    }
}

impl Default for Patience {
    /// About half a minute of silence, a server's wish up to five minutes.
    fn default() -> Self {
        Self {
            idle: 10,
            attempts: 200,
            most: Duration::from_secs(10),
            asked: Duration::from_secs(300),
        }
    }
}

/// The attempts so far.
#[derive(Debug)]
pub(crate) struct Retry<'a> {
    job: &'a Job,
    stage: Option<&'a StageGuard>,
    what: String,
    patience: Patience,
    idle: u32,
    attempts: u32,
    backoff: Backoff,
}

impl<'a> Retry<'a> {
    /// For getting `what`.
    pub(crate) fn new(
        job: &'a Job,
        stage: Option<&'a StageGuard>,
        what: String,
        patience: Patience,
    ) -> Self {
        let backoff = Self::backoff(patience);
        Self { job, stage, what, patience, idle: 0, attempts: 0, backoff }
    }

    fn backoff(patience: Patience) -> Backoff {
        Backoff::new(Duration::from_millis(50), patience.most)
    }

    /// Waits for the next attempt, or gives the error that ends it.
    pub(crate) async fn after(&mut self, stop: Stop) -> Result<(), BuildError> {
        let (why, asked, moved) = match stop {
            Stop::Fatal(error) => return Err(error),
            Stop::Again { why, after, moved } => (why, after, moved),
        };
        self.attempts += 1;
        self.idle += 1;
        if moved {
            self.idle = 0;
            self.backoff = Self::backoff(self.patience);
        }
        let too_long = asked.is_some_and(|asked| asked > self.patience.asked);
        if self.idle >= self.patience.idle || self.attempts >= self.patience.attempts || too_long {
            let asked = asked.filter(|_| too_long).map_or_else(String::new, |asked| {
                format!(" (the server asks to wait {} seconds)", asked.as_secs())
            });
            let tried = if self.attempts == 1 {
                "once".to_owned()
            } else {
                format!("{} times", self.attempts)
            };
            let what = format!("cannot get {}: {why}{asked}; tried {tried}", self.what);
            let error = BuildError::failed(what);
            return Err(match self.stage {
                Some(_) => {
                    error.help("what was downloaded is kept: the next build goes on from there")
                }
                None => error,
            });
        }
        if let Some(stage) = self.stage {
            stage.status(format!("{why}: trying again"));
        }
        let cancel = self.job.cancel();
        match asked {
            Some(asked) => cancel.run(async { Backoff::new(asked, asked).wait().await }).await?,
            None => cancel.run(self.backoff.wait()).await?,
        }
        Ok(())
    }
}
