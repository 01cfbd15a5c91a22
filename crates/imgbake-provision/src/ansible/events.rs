//! What the callback plugin writes: a line of JSON for each task's result, and one for the end.

use std::collections::BTreeMap;

use imgbake_build::StepRecorder;
use imgbake_types::record::step::{Resource, ResourceOutcome};
use serde::Deserialize;

use crate::guest::{End, Results};

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

/// Takes a line; `placed` gives a resource as the report shall have it.
pub(super) fn take(
    line: &str,
    results: &mut Results,
    recorder: &StepRecorder,
    placed: impl FnOnce(Resource) -> Resource,
) {
    match serde_json::from_str(line) {
        Ok(Line::Task(task)) => {
            let resource = task.resource();
            if resource.outcome == ResourceOutcome::Failed {
                // The last one ended the play: earlier ones were rescued.
                results.failed = None;
            }
            results.resource(placed(resource), recorder);
        }
        Ok(Line::Stats { stats }) => {
            let sum = |of: fn(&Stats) -> u64| stats.values().map(of).sum();
            results.hosts = stats.keys().cloned().collect();
            results.end = Some(End {
                changed: sum(|host| host.changed),
                failed: sum(|host| host.failures + host.unreachable),
                rescued: sum(|host| host.rescued),
            });
        }
        Err(_) => results.unread(),
    }
}

/// Whether a play was for the machine, by its name in the inventory; why not, in words. One that was for others alone is
/// told.
pub(super) fn missed(results: &Results, host: &str, recorder: &StepRecorder) -> Option<String> {
    if results.hosts.is_empty() {
        return Some(format!(
            "it ran no task: no play is for `{host}` (or `all`, or a group of `groups`), or no task has the tags that are asked for"
        ));
    }
    if !results.hosts.iter().any(|one| one == host) {
        let others = results.hosts.join("`, `");
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
