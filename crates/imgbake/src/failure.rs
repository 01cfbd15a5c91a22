//! How a command ends when it does not succeed: its messages, and the exit code.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use imgbake_build::cache::CacheError;
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_oci::OciError;
use imgbake_runtime::{RuntimeError, Secrets};
use imgbake_template::{Diagnostics, Location};
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, Severity,
    SourceCode,
};

/// How long an interrupted command waits for its standard error.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// The exit codes of the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The work failed.
    Failed = 1,
    /// Usage or template is wrong.
    Usage = 2,
    /// A rule refused it.
    Refused = 3,
    /// This machine lacks something.
    Lacking = 4,
    /// The user interrupted.
    Interrupted = 130,
}

/// Foreign text with a sign in the place of each byte that could drive a terminal: labels keep their places.
fn blanked(text: &str) -> String {
    let blank = |c: char| if c.is_control() && c != '\n' && c != '\t' { c.len_utf8() } else { 0 };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match blank(c) {
            0 => out.push(c),
            bytes => out.extend(std::iter::repeat_n('?', bytes)),
        }
    }
    out
}

/// Prints what clap says of a command line, or the help that was asked for; gives the exit code.
pub fn usage(error: &clap::Error, allows_color: bool) -> ExitCode {
    use std::io::IsTerminal as _;

    let text = error.render();
    let shown =
        if error.use_stderr() { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
    let color = shown && allows_color;
    let text = if color { text.ansi().to_string() } else { text.to_string() };
    let text = imgbake_ui::harmless(&text, color);
    // Neither a closed standard error nor a reader that has seen enough changes the exit code.
    let _ = if error.use_stderr() {
        io::stderr().lock().write_all(text.as_bytes())
    } else {
        io::stdout().lock().write_all(text.as_bytes())
    };
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Code::Usage as u8))
}

/// A command that did not succeed.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    reports: Vec<Report>,
}

/// One error as miette shows it.
#[derive(Debug)]
struct Report {
    message: String,
    causes: Vec<String>,
    help: Option<String>,
    source: Option<NamedSource<String>>,
    labels: Vec<LabeledSpan>,
}

impl Report {
    /// The same without what could drive a terminal: all colours are miette's.
    fn harmless(&self) -> Self {
        let clean = |text: &String| imgbake_ui::harmless(text, false).into_owned();
        let source = self.source.as_ref().map(|source| {
            NamedSource::new(clean(&source.name().to_owned()), blanked(source.inner()))
        });
        let label = |label: &LabeledSpan| {
            let text = label.label().map(|text| clean(&text.to_owned()));
            if label.primary() {
                LabeledSpan::new_primary_with_span(text, *label.inner())
            } else {
                LabeledSpan::new_with_span(text, *label.inner())
            }
        };
        Self {
            message: clean(&self.message),
            causes: self.causes.iter().map(clean).collect(),
            help: self.help.as_ref().map(clean),
            source,
            labels: self.labels.iter().map(label).collect(),
        }
    }
}

impl Failure {
    fn plain(code: Code, message: impl Into<String>) -> Self {
        let report = Report {
            message: message.into(),
            causes: Vec::new(),
            help: None,
            source: None,
            labels: Vec::new(),
        };
        Self { code, reports: vec![report] }
    }

    /// The user's mistake.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::plain(Code::Usage, message)
    }

    /// This machine lacks something.
    pub fn lacking(message: impl Into<String>) -> Self {
        Self::plain(Code::Lacking, message)
    }

    /// What was to be shown does not hold.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::plain(Code::Failed, message)
    }

    /// A mistake of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::plain(Code::Failed, message)
    }

    /// A template's errors, each with its place.
    pub fn diagnostics(diagnostics: &Diagnostics) -> Self {
        let reports = diagnostics
            .items
            .iter()
            .map(|item| Report {
                message: match &item.place {
                    Location::Template(_) => item.message.clone(),
                    Location::Elsewhere(place) => format!("{place}: {}", item.message),
                },
                causes: Vec::new(),
                help: item.help.clone(),
                source: Some(NamedSource::new(diagnostics.path.as_str(), diagnostics.text.clone())),
                labels: item
                    .span()
                    .map(|span| LabeledSpan::new_primary_with_span(label(&item.label), span))
                    .into_iter()
                    .chain(item.related.iter().map(|related| {
                        LabeledSpan::new_with_span(label(&related.label), related.span.clone())
                    }))
                    .collect(),
            })
            .collect();
        Self { code: Code::Usage, reports }
    }

    /// Adds another's errors; the first code stays.
    pub fn and(&mut self, other: Self) {
        self.reports.extend(other.reports);
    }

    /// The same, of a command that the user interrupted, if so: whatever failed before.
    #[must_use]
    pub const fn interrupted(mut self, interrupted: bool) -> Self {
        if interrupted {
            self.code = Code::Interrupted;
        }
        self
    }

    /// Says whose errors they are.
    #[must_use]
    pub fn of(mut self, name: &str) -> Self {
        for report in &mut self.reports {
            report.message = format!("{name}: {}", report.message);
        }
        self
    }

    /// The same errors without a job's secrets, whoever wrote them. A template's text stays: a
    /// sensitive value stands in none.
    #[must_use]
    pub fn redacted(mut self, secrets: &Secrets) -> Self {
        for report in &mut self.reports {
            for text in
                report.causes.iter_mut().chain(&mut report.help).chain([&mut report.message])
            {
                *text = secrets.redact(text);
            }
        }
        self
    }

    /// Says where the output of a failed build is.
    #[must_use]
    pub fn logged_by(mut self, build: &str) -> Self {
        if self.code == Code::Failed
            && let Some(report) = self.reports.first_mut()
        {
            let logs = format!("`imgbake logs {build}` shows the output of each step");
            report.help = Some(match report.help.take() {
                Some(help) => format!("{help}\n{logs}"),
                None => logs,
            });
        }
        self
    }

    /// The message of the first error, for the last event.
    pub fn summary(&self) -> String {
        self.reports.first().map(|report| report.message.clone()).unwrap_or_default()
    }

    /// The exit code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Prints every error to standard error and gives the exit code.
    pub fn report(&self, color: bool) -> ExitCode {
        let theme =
            if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_width(100).with_links(false);
        let shown = |report: &Report| {
            let mut text = String::new();
            if handler.render_report(&mut text, &report.harmless()).is_err() {
                text.clone_from(&report.message);
            }
            text.truncate(text.trim_end().len());
            text + "\n"
        };
        let mut text = self.reports.iter().map(shown).collect::<Vec<_>>().join("\n");
        if self.reports.len() > 1 {
            let _ = writeln!(text, "\n{} errors", self.reports.len());
        }
        let text = imgbake_ui::harmless(&text, color).into_owned();
        // A closed standard error must not change the exit code.
        let write = move || _ = io::stderr().lock().write_all(text.as_bytes());
        if self.code == Code::Interrupted {
            // Nor must a terminal that stands still hold up who interrupted.
            let (done, written) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                write();
                let _ = done.send(());
            });
            let _ = written.recv_timeout(PATIENCE);
        } else {
            write();
        }
        ExitCode::from(self.code as u8)
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        let code = match error.kind() {
            BuildErrorKind::Usage => Code::Usage,
            BuildErrorKind::Refused => Code::Refused,
            BuildErrorKind::Lacking => Code::Lacking,
            BuildErrorKind::Cancelled => Code::Interrupted,
            BuildErrorKind::Failed
            | BuildErrorKind::Full
            | BuildErrorKind::Machine
            | BuildErrorKind::NotFound => Code::Failed,
        };
        let mut failure = Self::plain(code, error.to_string());
        if let Some(report) = failure.reports.first_mut() {
            report.help = error.help_text().map(str::to_owned);
            report.causes = causes(&error, &report.message);
        }
        failure
    }
}

impl From<OciError> for Failure {
    fn from(error: OciError) -> Self {
        BuildError::from(error).into()
    }
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        BuildError::from(error).into()
    }
}

impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Self {
        BuildError::from(error).into()
    }
}

/// A label's text; none where the caret says enough.
fn label(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// The causes below an error, without those that its message has already.
fn causes(error: &dyn std::error::Error, said: &str) -> Vec<String> {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let message = cause.to_string();
        if !said.contains(&message) && !causes.contains(&message) {
            causes.push(message);
        }
        next = cause.source();
    }
    causes
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        for cause in &self.causes {
            write!(f, "\n  because: {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

impl Diagnostic for Report {
    fn severity(&self) -> Option<Severity> {
        Some(Severity::Error)
    }
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as _)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as _)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        (!self.labels.is_empty()).then(|| Box::new(self.labels.iter().cloned()) as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_an_error_shows_a_secret() {
        let secrets = Secrets::default();
        secrets.add("token", "hunter2hunter2");
        let mut failure = Failure::usage("cannot use hunter2hunter2");
        failure.reports[0].causes.push("hunter2hunter2 was refused".to_owned());
        failure.reports[0].help = Some("is hunter2hunter2 right?".to_owned());
        failure.and(Failure::internal("again: hunter2hunter2"));
        let shown = format!("{:?}", failure.redacted(&secrets));
        assert!(!shown.contains("hunter2") && shown.contains("cannot use ***"), "{shown}");
        assert_eq!(shown.matches("***").count(), 4, "{shown}");
    }
}
