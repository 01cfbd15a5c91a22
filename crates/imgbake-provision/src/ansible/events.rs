//! What the callback plugin writes: a line of JSON for each task's result, and one for the end.

use std::collections::BTreeMap;

use imgbake_types::record::step::{Resource, ResourceCounts, ResourceOutcome};
use serde::Deserialize;

/// One line.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Stats { stats: BTreeMap<String, Stats> },
    Task(Task),
}

/// What Ansible counted on one host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Stats {
    pub(super) ok: u64,
    pub(super) changed: u64,
    pub(super) failures: u64,
    pub(super) unreachable: u64,
    pub(super) skipped: u64,
    pub(super) rescued: u64,
    pub(super) ignored: u64,
}

#[derive(Debug, Deserialize)]
struct Task {
    outcome: String,
    #[serde(rename = "task")]
    name: String,
    action: String,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    seconds: Option<f64>,
    #[serde(default)]
    changed: bool,
    #[serde(default)]
    ignored: bool,
    #[serde(default)]
    message: String,
    #[serde(default)]
    diff: String,
}

/// What a run showed.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// How many results there were of each outcome, as read from the tasks.
    pub(super) counts: ResourceCounts,
    /// What Ansible counted itself, at its end.
    pub(super) stats: Option<Stats>,
    /// The first task that failed and was not ignored.
    pub(super) failed: Option<Resource>,
    /// Lines that are no result.
    pub(super) unread: u64,
}

impl Results {
    /// Takes a line; gives the resource that it tells of.
    pub(super) fn take(&mut self, line: &str) -> Option<Resource> {
        match serde_json::from_str(line) {
            Ok(Line::Task(task)) => {
                let resource = task.resource();
                self.counts.add(resource.outcome);
                if resource.outcome == ResourceOutcome::Failed && self.failed.is_none() {
                    self.failed = Some(resource.clone());
                }
                Some(resource)
            }
            Ok(Line::Stats { stats }) => {
                let mut all = Stats::default();
                for host in stats.values() {
                    all.ok += host.ok;
                    all.changed += host.changed;
                    all.failures += host.failures;
                    all.unreachable += host.unreachable;
                    all.skipped += host.skipped;
                    all.rescued += host.rescued;
                    all.ignored += host.ignored;
                }
                self.stats = Some(all);
                None
            }
            Err(_) => {
                self.unread += 1;
                None
            }
        }
    }

    /// Whether the results are all there, and say what an exit code says: what not, in words.
    ///
    /// Exit codes of `ansible-playbook`: 0 all went well, 2 a host failed, 4 a host could not be reached.
    pub(super) fn contradiction(&self, exit: i32) -> Option<String> {
        let Some(stats) = self.stats else {
            return Some("its results end before the playbook does".to_owned());
        };
        if self.unread > 0 {
            return Some(format!("{} of its results cannot be read", self.unread));
        }
        if stats.changed != self.counts.changed {
            return Some(format!(
                "it counts {} changed tasks, and reported {}",
                stats.changed, self.counts.changed
            ));
        }
        let bad = stats.failures + stats.unreachable;
        if exit == 0 && bad > 0 {
            return Some(format!("it ended with exit code 0, and counts {bad} failures"));
        }
        None
    }
}

impl Task {
    fn resource(self) -> Resource {
        let changed =
            if self.changed { ResourceOutcome::Changed } else { ResourceOutcome::Unchanged };
        let outcome = match (self.outcome.as_str(), self.ignored) {
            // A failed task may say that it changed something: it failed all the same.
            ("failed", false) | ("unreachable", _) => ResourceOutcome::Failed,
            ("skipped", _) => ResourceOutcome::Skipped,
            _ => changed,
        };
        let (file, line) = match self.path.as_deref().and_then(|path| path.rsplit_once(':')) {
            Some((file, line)) => (Some(file.to_owned()), line.parse().ok()),
            None => (self.path, None),
        };
        let message = match (self.ignored, self.message) {
            (true, message) => Some(format!("failed, and that is ignored: {message}")),
            (false, message) if message.is_empty() => None,
            // What a task that went well printed is in the output.
            (false, message) => (outcome == ResourceOutcome::Failed
                || outcome == ResourceOutcome::Skipped)
                .then_some(message),
        };
        Resource {
            seconds: self.seconds,
            file,
            line,
            diff: (!self.diff.is_empty()).then_some(self.diff),
            message,
            ..Resource::new(self.action, self.name, outcome)
        }
    }
}
