//! Requests that wait until a test lets them on.

use std::sync::Mutex;

use axum::http::request::Parts;
use axum::http::{Method, header};
use tokio::sync::watch;

use crate::lock::lock;

/// Which requests wait.
#[derive(Debug, Clone, Default)]
pub struct Pause {
    /// Only those to this host, as the client calls it; none: to any.
    pub host: Option<String>,
    /// Only those that write.
    pub writes: bool,
    /// How many go through before.
    pub after: usize,
}

/// Where requests wait.
#[derive(Debug)]
pub(super) struct Barrier {
    rule: Mutex<Option<Pause>>,
    waiting: watch::Sender<usize>,
    /// Grows when all that wait go on.
    opened: watch::Sender<u64>,
}

impl Default for Barrier {
    fn default() -> Self {
        Self {
            rule: Mutex::default(),
            waiting: watch::Sender::new(0),
            opened: watch::Sender::new(0),
        }
    }
}

impl Barrier {
    pub(super) fn set(&self, rule: Option<Pause>) {
        *lock(&self.rule) = rule;
    }

    pub(super) fn open(&self) {
        self.set(None);
        self.opened.send_modify(|opened| *opened += 1);
    }

    /// Returns when so many requests wait.
    pub(super) async fn filled(&self, count: usize) {
        let mut waiting = self.waiting.subscribe();
        waiting.wait_for(|waiting| *waiting >= count).await.unwrap();
    }

    /// Waits, if the request has to.
    pub(super) async fn pass(&self, request: &Parts) {
        let mut opened = self.opened.subscribe();
        if !self.stops(request) {
            return;
        }
        let _one = Waiting::begin(&self.waiting);
        let _ = opened.changed().await; // the registry may end first
    }

    fn stops(&self, request: &Parts) -> bool {
        let mut rule = lock(&self.rule);
        let Some(pause) = rule.as_mut() else { return false };
        let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let other_host = pause.host.as_deref().is_some_and(|wanted| host != Some(wanted));
        let reads = [Method::GET, Method::HEAD].contains(&request.method);
        if other_host || (pause.writes && reads) {
            return false;
        }
        let stops = pause.after == 0;
        pause.after = pause.after.saturating_sub(1);
        stops
    }
}

/// Counts one that waits, however its waiting ends.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|count| *count += 1);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
