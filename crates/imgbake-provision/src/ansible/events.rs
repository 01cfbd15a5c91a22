//! What the callback plugin writes: a line of JSON for each task's result, and one for the end.

use std::collections::BTreeMap;

use imgbake_build::StepRecorder;
use imgbake_types::record::step::{Resource, ResourceOutcome};
use serde::Deserialize;

use crate::error::StepError;
use crate::guest::{End, Ended, ExitCodes, Results};

/// What Ansible's exit codes mean: with 2, tasks failed.
const CODES: ExitCodes = ExitCodes { program: "ansible-playbook", success: &[0], failed: &[2] };
/// With 4, hosts were unreachable; or a file cannot be read, and the run ends at once.
const UNREACHABLE: ExitCodes = ExitCodes { failed: &[2, 4], ..CODES };

/// One line.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Stats { stats: BTreeMap<String, Stats> },
    Task(Task),
}

/// What Ansible counted on one host.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stats {
    changed: u64,
    failures: u64,
    unreachable: u64,
    rescued: u64,
}

#[derive(Debug, Deserialize)]
struct Task {
    outcome: String,
    #[serde(default)]
    host: String,
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
    /// A rescue section handles its failure.
    #[serde(default)]
    handled: bool,
    #[serde(default)]
    message: String,
    #[serde(default)]
    diff: String,
}

/// What the lines of a run showed.
#[derive(Debug, Default)]
pub(super) struct Run {
    results: Results,
    /// The last failure on each host, and whether a rescue section handled it.
    failures: BTreeMap<String, (bool, Box<Resource>)>,
    /// The hosts that plays were for.
    hosts: Vec<String>,
}

impl Run {
    /// Takes a line; `placed` gives a resource as the report shall have it.
    pub(super) fn take(
        &mut self,
        line: &str,
        recorder: &StepRecorder,
        placed: impl FnOnce(Resource) -> Resource,
    ) {
        match serde_json::from_str(line) {
            Ok(Line::Task(task)) => {
                let (host, handled) = (task.host.clone(), task.handled);
                let resource = placed(task.resource());
                if resource.outcome == ResourceOutcome::Failed {
                    self.failed(host, handled, &resource);
                }
                self.results.resource(resource, recorder);
            }
            Ok(Line::Stats { stats }) => self.end(&stats),
            Err(_) => self.results.unread(),
        }
    }

    /// A failure that nothing handled ends the play on its host: only what always runs comes after it.
    fn failed(&mut self, host: String, handled: bool, resource: &Resource) {
        let ended = self.failures.get(&host).is_some_and(|(handled, _)| !handled);
        if !(handled && ended) {
            self.failures.insert(host, (handled, Box::new(resource.clone())));
        }
    }

    fn end(&mut self, stats: &BTreeMap<String, Stats>) {
        let sum = |of: fn(&Stats) -> u64| stats.values().map(of).sum();
        self.results.end = Some(End {
            changed: sum(|host| host.changed),
            failed: sum(|host| host.failures + host.unreachable),
            rescued: sum(|host| host.rescued),
        });
        self.failures.retain(|host, _| {
            stats.get(host).is_some_and(|host| host.failures + host.unreachable > 0)
        });
        self.hosts = stats.keys().cloned().collect();
    }

    /// Judges the run; `host` is the machine's name in the inventory.
    pub(super) fn judge(
        mut self,
        ended: &Ended,
        host: &str,
        recorder: &StepRecorder,
    ) -> Result<(), StepError> {
        // Of failures that were handled, none is the reason.
        let is_open = |(_, (handled, _)): &(&String, &(bool, Box<Resource>))| !handled;
        let ended_hosts = self.results.end.and(self.failures.iter().next());
        let reason = self.failures.iter().find(is_open).or(ended_hosts);
        self.results.failed = reason.map(|(_, (_, resource))| resource.clone());
        let codes = if self.results.end.is_some() { UNREACHABLE } else { CODES };
        self.results.judge(&codes, ended, recorder, |_| None)?;
        missed(&self.hosts, host, recorder).map_or(Ok(()), |why| Err(ended.error(&why)))
    }
}

/// Whether a play was for the machine, by its name in the inventory; why not, as text. Plays that were for others alone
/// are reported.
fn missed(hosts: &[String], host: &str, recorder: &StepRecorder) -> Option<String> {
    if hosts.is_empty() {
        return Some(format!(
            "it ran no task: no play is for `{host}` (or `all`, or a group of `groups`), or no task has the tags that are asked for"
        ));
    }
    if !hosts.iter().any(|one| one == host) {
        let others = hosts.join("`, `");
        recorder.warn(&format!(
            "no play was for the machine, which is `{host}`: they were for `{others}`"
        ));
    }
    None
}

impl Task {
    fn resource(self) -> Resource {
        let changed =
            if self.changed { ResourceOutcome::Changed } else { ResourceOutcome::Unchanged };
        let outcome = match (self.outcome.as_str(), self.ignored) {
            // A failed task may say that it changed something: it failed all the same.
            ("failed" | "unreachable", false) => ResourceOutcome::Failed,
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
