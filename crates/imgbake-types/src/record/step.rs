//! What a provision step did: a stored record, the same for every kind of provisioner.
//!
//! A report is bounded wherever it comes from: [`StepReport::bound`] cuts what is too much and counts
//! what it cut.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::Outcome;
use crate::stream::Stream;

/// The format number of a [`StepReport`].
pub const FORMAT: u32 = 1;

/// Resources that a report lists; the counts are of all of them.
const RESOURCES: usize = 2000;
/// Warnings that a report keeps.
const WARNINGS: usize = 50;
/// Bytes of a name, path or message.
const TEXT: usize = 1024;
/// Bytes of one resource's diff.
const DIFF: usize = 8 * 1024;
/// Bytes of the error.
const ERROR: usize = 4 * 1024;
/// Resources that the report of a published version lists.
const PUBLISHED_RESOURCES: usize = 500;

/// What one provision step did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepReport {
    /// The shape of this document, [`FORMAT`].
    pub format: u32,
    /// The kind of provisioner: `shell`, `file`.
    pub kind: String,
    /// How it ended: done, warning or failed.
    pub outcome: Outcome,
    /// Wall time in seconds, waits between tries and a restart included.
    pub seconds: f64,
    /// Bytes that were moved between host and machine.
    pub bytes: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// The exit code of its last command, where it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// How many resources there were of each outcome, those among them that are not listed.
    #[serde(default)]
    pub counts: ResourceCounts,
    /// The resources that it managed, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resource>,
    /// What the user should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What a second run showed, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convergence: Option<Convergence>,
    /// The end of what it printed, redacted.
    #[serde(default, skip_serializing_if = "OutputTail::is_empty")]
    pub output: OutputTail,
}

/// What a second run of a step showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Convergence {
    /// Whether it changed nothing but what the template allows.
    pub converged: bool,
    /// The steps that were run again, where it was not this one alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// The seed of the run in another order, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u32>,
    /// Where it ran.
    pub place: ProofPlace,
    /// Wall time of the whole proof, the copy included.
    pub seconds: f64,
    /// Wall time of the second run alone.
    pub run_seconds: f64,
    /// How many resources it had, of each outcome.
    pub counts: ResourceCounts,
    /// What it changed, allowed or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<Resource>,
}

/// Where the second run of a step was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProofPlace {
    /// On a copy of the running machine, resumed from its memory.
    Copy,
    /// On a machine that was booted from its disk.
    SecondMachine,
    /// On the machine itself: the image has had two runs.
    InPlace,
}

/// One thing that a provisioner manages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Resource {
    /// Its name: a path, a package, a task.
    pub name: String,
    /// Its type, in the words of the tool: `file`, `package`, `ansible.builtin.apt`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What was done with it.
    pub outcome: ResourceOutcome,
    /// Wall time, where the tool measures it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// The file that declares it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in that file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What changed, as the tool shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// Why it failed or was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Resource {
    /// A resource by type, name and outcome.
    pub fn new(kind: impl Into<String>, name: impl Into<String>, outcome: ResourceOutcome) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            outcome,
            seconds: None,
            file: None,
            line: None,
            diff: None,
            message: None,
        }
    }

    /// What it is called in messages: `TYPE[NAME] (FILE:LINE)`, as far as that is known.
    pub fn title(&self) -> String {
        let Self { kind, name, file, line, .. } = self;
        let place = match (file, line) {
            (Some(file), Some(line)) => format!(" ({file}:{line})"),
            (Some(file), None) => format!(" ({file})"),
            _ => String::new(),
        };
        format!("{kind}[{name}]{place}")
    }

    /// Every text of it, its diff last.
    pub fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let Self { name, kind, file, message, diff, .. } = self;
        [name, kind].into_iter().chain(file).chain(message).chain(diff)
    }
}

/// What was done with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResourceOutcome {
    /// It was not as declared, and is now.
    Changed,
    /// It was as declared.
    Unchanged,
    /// It could not be brought there.
    Failed,
    /// It was left alone.
    Skipped,
}

/// How many resources there were of each outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ResourceCounts {
    /// Changed.
    pub changed: u64,
    /// Unchanged.
    pub unchanged: u64,
    /// Failed.
    pub failed: u64,
    /// Skipped.
    pub skipped: u64,
}

impl ResourceCounts {
    /// Counts one more.
    pub fn add(&mut self, outcome: ResourceOutcome) {
        let count = match outcome {
            ResourceOutcome::Changed => &mut self.changed,
            ResourceOutcome::Unchanged => &mut self.unchanged,
            ResourceOutcome::Failed => &mut self.failed,
            ResourceOutcome::Skipped => &mut self.skipped,
        };
        *count += 1;
    }

    /// All of them.
    pub const fn total(self) -> u64 {
        self.changed + self.unchanged + self.failed + self.skipped
    }
}

impl std::fmt::Display for ResourceCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = [
            (self.failed, "failed"),
            (self.changed, "changed"),
            (self.unchanged, "unchanged"),
            (self.skipped, "skipped"),
        ];
        let mut separator = "";
        for (count, word) in counts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{separator}{count} {word}")?;
            separator = ", ";
        }
        Ok(())
    }
}

/// The last lines of an output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OutputTail {
    /// Lines before these, which are not kept.
    pub omitted: u64,
    /// The lines, in the order in which they came.
    pub lines: Vec<OutputLine>,
}

/// One line of an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutputLine {
    /// Standard output or standard error.
    pub stream: Stream,
    /// The line, without its end.
    pub line: String,
}

impl OutputTail {
    /// Whether nothing was printed.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.omitted == 0
    }
}

impl StepReport {
    /// Every text of it that may repeat what a tool or the machine said.
    pub fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let Self { resources, warnings, error, output, convergence, .. } = self;
        let lines = output.lines.iter_mut().map(|line| &mut line.line);
        let again = convergence.iter_mut().flat_map(|convergence| &mut convergence.changed);
        let resources = resources.iter_mut().chain(again).flat_map(Resource::texts);
        resources.chain(warnings).chain(error).chain(lines)
    }

    /// Cuts what is too much; what a tool in the machine says has no bounds of its own.
    #[must_use]
    pub fn bound(mut self) -> Self {
        keep(&mut self.resources, RESOURCES);
        if let Some(convergence) = &mut self.convergence {
            keep(&mut convergence.changed, RESOURCES);
        }
        let again = self.convergence.iter_mut().flat_map(|convergence| &mut convergence.changed);
        for resource in self.resources.iter_mut().chain(again) {
            resource.diff.iter_mut().for_each(|diff| cut(diff, DIFF));
            let diff = resource.diff.take();
            resource.texts().for_each(|text| cut(text, TEXT));
            resource.diff = diff;
        }
        let dropped = self.warnings.len().saturating_sub(WARNINGS);
        if dropped > 0 {
            self.warnings.truncate(WARNINGS);
            self.warnings.push(format!("and {dropped} more warnings"));
        }
        self.warnings.iter_mut().for_each(|warning| cut(warning, TEXT));
        self.error.iter_mut().for_each(|error| cut(error, ERROR));
        self
    }

    /// The part that others may see: without output and diffs, in which a tool may show what is
    /// secret in the machine and known to nobody else.
    #[must_use]
    pub fn published(&self) -> Self {
        let mut report = self.clone().bound();
        report.output = OutputTail::default();
        keep(&mut report.resources, PUBLISHED_RESOURCES);
        if let Some(convergence) = &mut report.convergence {
            keep(&mut convergence.changed, PUBLISHED_RESOURCES);
        }
        let again = report.convergence.iter_mut().flat_map(|convergence| &mut convergence.changed);
        for resource in report.resources.iter_mut().chain(again) {
            resource.diff = None;
        }
        report
    }

    /// A few words: `3 changed, 1 warning`.
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        if self.counts.total() > 0 {
            parts.push(self.counts.to_string());
        }
        if let Some(Convergence { converged, .. }) = &self.convergence {
            parts.push(if *converged { "converged" } else { "did not converge" }.to_owned());
        }
        match self.warnings.len() {
            0 => {}
            1 => parts.push("1 warning".to_owned()),
            many => parts.push(format!("{many} warnings")),
        }
        if self.attempts > 1 {
            parts.push(format!("{} attempts", self.attempts));
        }
        // A tool that reports its resources has exit codes of its own for a run that went well.
        let succeeded = self.counts.total() > 0 && self.outcome != Outcome::Failed;
        let code = self.exit_code.filter(|code| *code != 0 && !succeeded);
        parts.extend(code.map(|code| format!("exit code {code}")));
        parts.join(", ")
    }
}

/// Reads what a document may hold beside what matters: where a newer imgbake wrote it in a form that
/// this one does not know, it is left out, and the rest of the document is read.
///
/// # Errors
/// What holds it is no document at all.
pub fn if_known<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
}

/// Drops what is too much: what failed or changed says most.
fn keep(resources: &mut Vec<Resource>, most: usize) {
    let mut excess = resources.len().saturating_sub(most);
    for outcome in [
        ResourceOutcome::Unchanged,
        ResourceOutcome::Skipped,
        ResourceOutcome::Changed,
        ResourceOutcome::Failed,
    ] {
        resources.retain(|resource| {
            let dropped = excess > 0 && resource.outcome == outcome;
            excess -= usize::from(dropped);
            !dropped
        });
    }
}

/// Cuts a text to a number of bytes, between characters.
fn cut(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        let end = (0..=bytes).rev().find(|&end| text.is_char_boundary(end));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> StepReport {
        StepReport {
            format: FORMAT,
            kind: "shell".to_owned(),
            outcome: Outcome::Done,
            seconds: 1.0,
            bytes: 0,
            attempts: 1,
            exit_code: Some(0),
            counts: ResourceCounts::default(),
            resources: Vec::new(),
            warnings: Vec::new(),
            convergence: None,
            error: None,
            output: OutputTail::default(),
        }
    }

    #[test]
    fn a_hostile_report_is_bounded() {
        let mut big = report();
        let resource = Resource {
            diff: Some("ü".repeat(1 << 20)),
            message: Some("m".repeat(1 << 20)),
            ..Resource::new("t", "n".repeat(1 << 20), ResourceOutcome::Changed)
        };
        big.resources = vec![resource; 10];
        big.warnings = vec!["w".repeat(1 << 20); WARNINGS + 7];
        big.error = Some("e".repeat(1 << 20));
        let bounded = big.bound();
        let json = serde_json::to_string(&bounded).unwrap_or_default();
        assert!(json.len() < 10 * (DIFF + 3 * TEXT) + 60 * TEXT + ERROR + 2000, "{}", json.len());
        assert_eq!(bounded.warnings.last().map(String::as_str), Some("and 7 more warnings"));
        assert!(bounded.published().resources.iter().all(|resource| resource.diff.is_none()));
    }

    #[test]
    fn what_failed_or_changed_is_listed_first() {
        let many = |outcome, count| vec![Resource::new("t", "n", outcome); count];
        let mut full = report();
        full.resources = many(ResourceOutcome::Unchanged, PUBLISHED_RESOURCES);
        full.resources.extend(many(ResourceOutcome::Failed, 3));
        full.resources.extend(many(ResourceOutcome::Changed, 7));
        let published = full.published().resources;
        let count = |outcome| published.iter().filter(|r| r.outcome == outcome).count();
        assert_eq!(published.len(), PUBLISHED_RESOURCES);
        assert_eq!((count(ResourceOutcome::Failed), count(ResourceOutcome::Changed)), (3, 7));
    }

    #[test]
    fn published_reports_show_no_output() {
        let mut full = report();
        let line = "the password is 1234".to_owned();
        full.output.lines.push(OutputLine { stream: Stream::Stdout, line });
        full.warnings.push("slow".to_owned());
        let published = full.published();
        assert!(published.output.is_empty());
        assert_eq!(published.summary(), "1 warning");
        let json = serde_json::to_string(&published).unwrap_or_default();
        assert!(!json.contains("1234") && !json.contains("output"), "{json}");
    }

    #[test]
    fn a_report_of_a_later_form_hides_nothing_else() {
        #[derive(Deserialize)]
        struct Holder {
            #[serde(default, deserialize_with = "if_known")]
            report: Option<StepReport>,
            name: String,
        }
        let read = |report: &str| {
            let text = format!("{{\"name\":\"one\",\"report\":{report}}}");
            let held: Result<Holder, _> = serde_json::from_str(&text);
            held.ok().map(|holder| (holder.name, holder.report.is_some()))
        };
        let known = serde_json::to_string(&report()).unwrap_or_default();
        assert_eq!(read(&known), Some(("one".to_owned(), true)));
        let later = known.replace("\"done\"", "{\"partly\":3}");
        for other in [later.as_str(), "null", "[]"] {
            assert_eq!(read(other), Some(("one".to_owned(), false)), "{other}");
        }
    }

    #[test]
    fn unknown_keys_are_ignored() {
        let text = r#"{"format":1,"kind":"x","outcome":"done","seconds":1,"bytes":0,"attempts":1,"later":{}}"#;
        let read: Result<StepReport, _> = serde_json::from_str(text);
        assert!(read.is_ok_and(|report| report.counts.total() == 0 && report.output.is_empty()));
    }
}
