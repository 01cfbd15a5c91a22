//! The task that keeps a machine's state up to date until its process ends.

use std::process::ExitStatus;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_runtime::{Job, Running, Tail};
use imgbake_types::EventKind;
use imgbake_types::event::Stream;
use tokio::sync::{mpsc, watch};

use crate::qmp::QmpEvent;
use crate::state::{Exit, Fault, State};

/// How long the sockets of a process that has ended may take to end as well.
pub(crate) const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// What keeps a machine's state up to date.
pub(crate) struct Watcher {
    pub(crate) job: Job,
    pub(crate) machine: String,
    pub(crate) state: watch::Sender<State>,
    pub(crate) log: Utf8PathBuf,
}

impl Watcher {
    pub(crate) async fn watch(
        self,
        mut running: Running,
        mut events: mpsc::Receiver<QmpEvent>,
        mut panics: mpsc::Receiver<String>,
        mut kills: mpsc::Receiver<()>,
        console: tokio::task::JoinHandle<()>,
    ) {
        let status = loop {
            tokio::select! {
                Some(event) = events.recv() => self.saw(&event),
                Some(message) = panics.recv() => self.change(|state| state.fail(Fault::Panicked(message))),
                kill = kills.recv() => match kill {
                    Some(()) => running.end().await,
                    // The machine was dropped: so is its process, unless its leash was let go.
                    None => return,
                },
                status = running.ended() => break status,
            }
        };
        // What it reported before it ended comes first.
        let drained = async {
            while let Some(event) = events.recv().await {
                self.saw(&event);
            }
            let _ = console.await;
        };
        let _ = tokio::time::timeout(DRAIN_LIMIT, drained).await;
        while let Ok(message) = panics.try_recv() {
            self.change(|state| state.fail(Fault::Panicked(message)));
        }
        let exit = Exit {
            success: status.as_ref().is_ok_and(ExitStatus::success),
            status: status.map_or_else(|error| error.to_string(), |status| status.to_string()),
            output: last_output(&self.job, &self.log),
        };
        self.state.send_modify(|state| state.exit = Some(exit));
    }

    fn saw(&self, event: &QmpEvent) {
        tracing::debug!(machine = self.machine, event = event.name, data = %event.data, "QEMU event");
        self.change(|state| state.apply(event));
    }

    /// Changes the state and reports what is new in it.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let before = self.state.borrow().clone();
        self.state.send_modify(change);
        if let Some(what) = self.state.borrow().news(&before) {
            self.job.events().emit(EventKind::Machine { machine: self.machine.clone(), what });
        }
    }
}

/// A machine's state that never changes again is as good as a wait without end.
pub(crate) async fn wait_for(
    state: &watch::Receiver<State>,
    mut done: impl FnMut(&State) -> bool,
) -> State {
    let mut state = state.clone();
    let found = state.wait_for(|state| done(state)).await.map(|state| state.clone());
    match found {
        Ok(state) => state,
        Err(_) => std::future::pending().await,
    }
}

/// The last lines that QEMU printed, redacted.
pub(crate) fn last_output(job: &Job, log: &Utf8Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let mut tail = Tail::default();
    let last = &text[text.len().saturating_sub(16 * 1024)..];
    String::from_utf8_lossy(last)
        .lines()
        .for_each(|line| tail.push(Stream::Stderr, line.to_owned()));
    job.secrets().redact(&tail.text())
}
