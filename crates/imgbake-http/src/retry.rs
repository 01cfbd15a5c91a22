//! Trying again: what may be tried, how often, and how long to wait.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use imgbake_runtime::retry::Backoff;
use imgbake_runtime::{Cancel, RuntimeError};

/// The first wait between attempts.
const FIRST: Duration = Duration::from_millis(50);

/// Another attempt may go better.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transient {
    /// How long the server wants to be left alone.
    pub after: Option<Duration>,
}

/// An error that says whether another attempt may go better.
pub trait Retryable: std::error::Error + From<RuntimeError> {
    /// Whether another attempt may go better.
    fn as_transient(&self) -> Option<Transient>;

    /// The error once nothing is tried again: its kind and cause with another message, and with a hint
    /// where it has none that is better.
    fn gave_up(self, context: String, help: Option<&str>) -> Self;
}

/// How often something is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in a row that bring nothing.
    pub idle: u32,
    /// Attempts in all.
    pub attempts: u32,
    /// The longest wait between attempts.
    pub most: Duration,
    /// The longest wait that a server may ask for.
    pub asked: Duration,
}

impl RetryPolicy {
    /// For a question that somebody waits for: some seconds at most.
    pub const fn brief() -> Self {
        Self { idle: 3, attempts: 3, most: Duration::from_secs(1), asked: Duration::from_secs(5) }
    }

    /// For a first question to a server that may not be there at all.
    pub fn first_contact() -> Self {
        Self { idle: 4, ..Self::default() }
    }
}

impl Default for RetryPolicy {
    /// About half a minute of silence; a server's wish up to five minutes.
    fn default() -> Self {
        Self {
            idle: 10,
            attempts: 500,
            most: Duration::from_secs(10),
            asked: Duration::from_secs(300),
        }
    }
}

type Report<'a> = Box<dyn Fn(&str) + Send + Sync + 'a>;

/// The attempts at one thing.
pub struct Retry<'a> {
    cancel: Cancel,
    what: String,
    help: Option<&'static str>,
    policy: RetryPolicy,
    /// Attempts in a row that brought nothing.
    idle: u32,
    /// Whether the attempt that is about to be judged brought something.
    progressed: bool,
    attempts: u32,
    next: Duration,
    report: Option<Report<'a>>,
}

impl fmt::Debug for Retry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, idle, attempts, .. } = self;
        write!(f, "Retry({what}, {attempts} attempts, {idle} idle)")
    }
}

impl<'a> Retry<'a> {
    /// For `what`, which completes "cannot ".
    pub fn new(cancel: &Cancel, what: impl Into<String>, policy: RetryPolicy) -> Self {
        Self {
            cancel: cancel.clone(),
            what: what.into(),
            help: None,
            policy,
            idle: 0,
            progressed: false,
            attempts: 0,
            next: FIRST.min(policy.most),
            report: None,
        }
    }

    /// What the user can do once it was tried often enough.
    #[must_use]
    pub fn help(mut self, help: &'static str) -> Self {
        self.help = Some(help);
        self
    }

    /// Reports why something is tried again.
    #[must_use]
    pub fn report(mut self, report: impl Fn(&str) + Send + Sync + 'a) -> Self {
        self.report = Some(Box::new(report));
        self
    }

    /// Bytes came since the last attempt: a slow way is not a dead one.
    pub fn progressed(&mut self) {
        self.progressed = true;
        self.idle = 0;
        self.next = FIRST.min(self.policy.most);
    }

    /// Waits for the next attempt, or gives the error that ends them.
    ///
    /// # Errors
    /// The attempt's error: it would be the same again, or it was tried often enough. The job was
    /// cancelled.
    pub async fn after<E: Retryable>(&mut self, error: E) -> Result<(), E> {
        let Some(Transient { after: asked }) = error.as_transient() else { return Err(error) };
        self.attempts += 1;
        if !std::mem::take(&mut self.progressed) {
            self.idle += 1;
        }
        let too_long = asked.filter(|asked| *asked > self.policy.asked);
        if self.idle >= self.policy.idle
            || self.attempts >= self.policy.attempts
            || too_long.is_some()
        {
            return Err(self.gave_up(error, too_long));
        }
        let why = error.to_string();
        tracing::debug!(what = self.what, why, attempt = self.attempts, "trying again");
        if let Some(report) = &self.report {
            report(&why);
        }
        let wait = if let Some(asked) = asked {
            // Not all who were asked to wait at the same time come back at the same time.
            asked + spread(asked / 10)
        } else {
            let wait = self.next / 2 + spread(self.next / 2);
            self.next = (self.next * 2).min(self.policy.most);
            wait
        };
        self.cancel.run(async { Backoff::new(wait, wait).wait().await }).await?;
        Ok(())
    }

    fn gave_up<E: Retryable>(&self, error: E, too_long: Option<Duration>) -> E {
        let asked = too_long.map_or_else(String::new, |asked| {
            format!(" (the server asks to wait {} seconds)", asked.as_secs())
        });
        let tried = match self.attempts {
            1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        let context = format!("cannot {}: {error}{asked}; tried {tried}", self.what);
        error.gave_up(context, self.help)
    }
}

/// A random part of a wait: of many who failed together not all try again together.
fn spread(most: Duration) -> Duration {
    let chance = RandomState::new().build_hasher().finish() % 1024;
    most * u32::try_from(chance).unwrap_or(0) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{HttpError, HttpErrorKind};

    fn retry(policy: RetryPolicy) -> Retry<'static> {
        Retry::new(&Cancel::new(), "read x", policy).help("is it up?")
    }

    /// The usual policy with waits that nobody notices.
    fn quick() -> RetryPolicy {
        RetryPolicy { most: Duration::from_millis(1), ..RetryPolicy::default() }
    }

    fn transient() -> HttpError {
        HttpError::transient(HttpErrorKind::Status(503), "h answers 503")
    }

    #[tokio::test]
    async fn gives_up_after_so_many_idle_attempts() {
        let mut retry = retry(RetryPolicy { idle: 3, ..quick() });
        retry.after(transient()).await.unwrap();
        retry.after(transient()).await.unwrap();
        let error = retry.after(transient()).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot read x: h answers 503; tried 3 times");
        assert_eq!(error.kind(), HttpErrorKind::Status(503));
        assert_eq!(error.help_text(), Some("is it up?"));
        assert_eq!(error.as_transient(), None);
    }

    #[tokio::test]
    async fn progress_begins_anew() {
        let mut retry = retry(RetryPolicy { attempts: 9, ..quick() });
        for _ in 0..8 {
            retry.progressed();
            retry.after(transient()).await.unwrap();
        }
        assert!(retry.after(transient()).await.is_err(), "attempts have an end all the same");
    }

    #[tokio::test]
    async fn a_fatal_error_stays_as_it_is() {
        let fatal = HttpError::new(HttpErrorKind::Tls, "no certificate");
        let error = retry(RetryPolicy::default()).after(fatal).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.help_text()), ("no certificate", None));
    }

    #[tokio::test]
    async fn a_server_may_not_ask_for_too_long() {
        let asked = |seconds| transient().after(Some(Duration::from_secs(seconds)));
        let mut retry = retry(quick());
        retry.after(asked(0)).await.unwrap();
        let error = retry.after(asked(301)).await.unwrap_err().to_string();
        assert!(error.contains("asks to wait 301 seconds"), "{error}");
    }

    #[test]
    fn chance_stays_within_its_bound() {
        let most = Duration::from_secs(10);
        let waits: Vec<Duration> = (0..32).map(|_| spread(most)).collect();
        assert!(waits.iter().all(|wait| *wait <= most), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }

    #[tokio::test]
    async fn ends_with_the_job() {
        let cancel = Cancel::new();
        cancel.cancel();
        let mut retry = Retry::new(&cancel, "read x", RetryPolicy::default());
        let error = retry.after(transient()).await.unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::Cancelled);
    }
}
