//! What a run of cloud-init did: from the lines of its log, and from its status file.

use std::collections::BTreeMap;

use imgbake_types::record::step::{Resource, ResourceOutcome};
use serde::Deserialize;
use serde_json::Value;

/// Its stages, by the names that the status file has for them.
const STAGES: [&str; 4] = ["init-local", "init", "modules-config", "modules-final"];
/// What it says, and goes on, where it does not take the user-data or a part of it.
const REFUSALS: [&str; 3] = [
    "Unhandled non-multipart",
    "Unhandled unknown content-type",
    "Failed at merging in cloud config part",
];
/// Lines of a warning that are kept.
const MOST_LINES: usize = 5;
/// Warnings that are kept, and the characters of each line of one.
const MOST_WARNINGS: usize = 100;
const MOST_TEXT: usize = 4096;

/// `status.json`. It has an object for each stage, among others.
#[derive(Debug, Deserialize)]
struct Status {
    v1: BTreeMap<String, Value>,
}

/// What the run showed so far.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// The module that runs: its name, when it began, why it does nothing.
    module: Option<(String, f64, Option<String>)>,
    /// Modules that failed. What failed in them comes later.
    failed: Vec<Resource>,
    /// How many modules there were.
    modules: u64,
    warnings: Vec<Warning>,
    /// What it did not take of the user-data.
    refusal: Option<String>,
    exits: Vec<(String, i32)>,
    status: Option<Result<Status, serde_json::Error>>,
}

#[derive(Debug)]
struct Warning {
    text: String,
    /// Lines that it may still have.
    lines: usize,
}

/// How a run ended, by all that it showed.
#[derive(Debug, PartialEq)]
pub(super) enum End {
    /// Well.
    Done,
    /// These modules failed, at least one.
    Failed(Vec<Resource>),
    /// It failed, and no module did: why, as text.
    Other(String),
    /// What it did is unknown: why, as text.
    Unknown(String),
}

impl Results {
    /// Takes a result as `run.sh` writes it; gives the module that ended well.
    pub(super) fn take(&mut self, line: &str) -> Option<Resource> {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("log", line) => return self.log(line),
            ("exit", rest) => {
                let (stage, code) = rest.split_once(' ').unwrap_or((rest, ""));
                self.exits.push((stage.to_owned(), code.parse().unwrap_or(-1)));
            }
            ("status", text) => self.status = Some(serde_json::from_str(text)),
            _ => {}
        }
        None
    }

    /// A line of the log: `SECONDS|LEVEL|FILE|MESSAGE`, or one more of the message before.
    fn log(&mut self, line: &str) -> Option<Resource> {
        let mut fields = line.splitn(4, '|');
        let time = fields.next().and_then(|time| time.parse::<f64>().ok());
        let (Some(time), Some(level), Some(_), Some(message)) =
            (time, fields.next(), fields.next(), fields.next())
        else {
            self.more(line);
            return None;
        };
        if let Some(warning) = self.warnings.last_mut() {
            warning.lines = 0;
        }
        if let Some(event) = message.strip_prefix("start: ") {
            let name = event.split(": ").next().and_then(module);
            self.module = name.map(|name| (name.to_owned(), time, None)).or(self.module.take());
        } else if let Some(event) = message.strip_prefix("finish: ") {
            return self.finish(event, time);
        } else if let Some(why) = message.strip_prefix("Skipping module named ") {
            if let Some((_, _, skipped)) = &mut self.module {
                *skipped = Some(why.split_once(", ").map_or(why, |(_, why)| why).to_owned());
            }
        } else if matches!(level, "WARNING" | "ERROR" | "CRITICAL" | "DEPRECATED") {
            self.warning(message);
        }
        None
    }

    fn finish(&mut self, event: &str, time: f64) -> Option<Resource> {
        let mut words = event.splitn(3, ": ");
        let (Some(place), Some(result)) = (words.next(), words.next()) else { return None };
        let Some(name) = module(place) else {
            // Of a stage as a whole the modules tell more.
            if result == "FAIL" && place.contains('/') {
                self.failed.push(resource(place, ResourceOutcome::Failed));
            }
            return None;
        };
        self.modules += 1;
        let begun = self.module.take().filter(|(begun, ..)| begun == name);
        let seconds = begun.as_ref().map(|(_, start, _)| (time - start).max(0.0));
        let skipped = begun.and_then(|(_, _, skipped)| skipped);
        let outcome = match (result, &skipped) {
            ("SUCCESS" | "WARN", None) => ResourceOutcome::Changed,
            ("SUCCESS" | "WARN", Some(_)) => ResourceOutcome::Skipped,
            _ => ResourceOutcome::Failed,
        };
        let resource = Resource { seconds, message: skipped, ..resource(name, outcome) };
        if outcome == ResourceOutcome::Failed {
            self.failed.push(Resource { message: None, ..resource });
            return None;
        }
        Some(resource)
    }

    fn warning(&mut self, message: &str) {
        if REFUSALS.iter().any(|refusal| message.starts_with(refusal)) {
            self.refusal.get_or_insert_with(|| cut(message));
        } else if !message.starts_with("Running module ") && self.warnings.len() < MOST_WARNINGS {
            self.warnings.push(Warning { text: cut(message), lines: MOST_LINES });
        }
    }

    fn more(&mut self, line: &str) {
        let Some(warning) = self.warnings.last_mut().filter(|warning| warning.lines > 0) else {
            return;
        };
        if line.starts_with("Traceback ") {
            warning.lines = 0;
        } else {
            warning.lines -= 1;
            warning.text = format!("{}\n{}", warning.text, cut(line));
        }
    }

    /// What the user should know.
    pub(super) fn warnings(&self) -> impl Iterator<Item = &str> {
        self.warnings.iter().map(|warning| warning.text.as_str())
    }

    /// How the run ended; `seed` is the folder that it must have taken its data from.
    pub(super) fn end(self, seed: &str) -> End {
        if let Some(refusal) = self.refusal {
            let message = Some(refusal);
            let failed = resource("user-data", ResourceOutcome::Failed);
            return End::Failed(vec![Resource { message, ..failed }]);
        }
        let status = match self.status {
            Some(Ok(status)) => status.v1,
            Some(Err(error)) => return End::Unknown(format!("its status cannot be read: {error}")),
            None => return End::Unknown("it gave no status".to_owned()),
        };
        let (mut errors, mut failed) = (Vec::new(), self.failed);
        for stage in STAGES {
            let of = status.get(stage);
            if !of.and_then(|of| of.get("finished")).is_some_and(Value::is_number) {
                return End::Unknown(format!("its stage {stage} did not come to its end"));
            }
            let list = of.and_then(|of| of.get("errors")).and_then(Value::as_array);
            errors.extend(list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
        }
        let source = status.get("datasource").and_then(Value::as_str).unwrap_or("none");
        if !source.contains(seed) {
            return End::Unknown(format!("it took its data from another source: {source}"));
        }
        for module in &mut failed {
            let begin = format!("('{}', ", module.name);
            let at = errors.iter().position(|error| error.starts_with(&begin));
            let error = at.map(|at| errors.remove(at));
            let words = error.as_deref().and_then(|error| error.strip_prefix(&begin));
            module.message = words.map(|words| words.strip_suffix(')').unwrap_or(words).to_owned());
        }
        if !failed.is_empty() {
            return End::Failed(failed);
        }
        if !errors.is_empty() {
            return End::Other(errors.join("; "));
        }
        if let Some((stage, code)) = self.exits.iter().find(|(_, code)| *code != 0) {
            return End::Unknown(format!(
                "its stage {stage} ended with exit code {code}, and it has no errors"
            ));
        }
        if self.modules == 0 {
            return End::Unknown("its log names no module".to_owned());
        }
        End::Done
    }
}

/// The module's name in the name of an event, such as `modules-config/config-runcmd`.
fn module(event: &str) -> Option<&str> {
    event.split_once("/config-").map(|(_, name)| name)
}

fn cut(text: &str) -> String {
    text.chars().take(MOST_TEXT).collect()
}

fn resource(name: &str, outcome: ResourceOutcome) -> Resource {
    Resource::new("module", name, outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_bounded() {
        let mut results = Results::default();
        for number in 0..2 * MOST_WARNINGS {
            let line = format!("log {number}.0|WARNING|x.py|{}", "x".repeat(2 * MOST_TEXT));
            assert!(results.take(&line).is_none());
            results.take(&format!("log {}", "y".repeat(2 * MOST_TEXT)));
        }
        assert_eq!(results.warnings().count(), MOST_WARNINGS);
        assert!(results.warnings().all(|text| text.len() <= 2 * MOST_TEXT + 1));
    }
}
