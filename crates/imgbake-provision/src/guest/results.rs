//! The results of a run: resources, and an end that shows whether they are all there.

use imgbake_build::StepRecorder;
use imgbake_types::record::step::{Resource, ResourceCounts, ResourceOutcome};
use serde::Deserialize;

use super::Ended;
use crate::error::StepError;

/// One result, as programs of ours in the machine write it: a line of JSON.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Line {
    /// The last one.
    End {
        /// What the tool counted.
        end: End,
    },
    /// A resource.
    Resource(Box<Resource>),
}

/// What a tool counted at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct End {
    /// Resources that it changed.
    pub(crate) changed: u64,
    /// Resources that failed, and with them the run.
    pub(crate) failed: u64,
    /// Resources whose failure the code that manages them handles.
    #[serde(default)]
    pub(crate) rescued: u64,
}

/// What the exit codes of a tool mean.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExitCodes {
    /// The tool, in messages: `puppet apply`.
    pub(crate) program: &'static str,
    /// All went well.
    pub(crate) success: &'static [i32],
    /// Resources failed. With any other code, none of them is the reason.
    pub(crate) failed: &'static [i32],
}

/// What a run showed.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// How many resources there were of each outcome.
    pub(crate) counts: ResourceCounts,
    /// What the tool counted itself, at its end.
    pub(crate) end: Option<End>,
    /// The first resource that failed.
    pub(crate) failed: Option<Box<Resource>>,
    /// Whether they are all there, of a tool that counts none itself.
    complete: bool,
    /// Results that cannot be read.
    unread: u64,
}

impl Results {
    /// Those of a tool that gives all of them at once, and counts none.
    pub(crate) fn complete() -> Self {
        Self { complete: true, ..Self::default() }
    }

    /// Takes a line as [`Line`]; `placed` gives a resource as the report shall have it.
    pub(crate) fn take(
        &mut self,
        line: &str,
        recorder: &StepRecorder,
        placed: impl FnOnce(Resource) -> Resource,
    ) {
        match serde_json::from_str(line) {
            Ok(Line::Resource(resource)) => self.resource(placed(*resource), recorder),
            Ok(Line::End { end }) => self.end = Some(end),
            Err(_) => self.unread(),
        }
    }

    /// Takes a resource.
    pub(crate) fn resource(&mut self, resource: Resource, recorder: &StepRecorder) {
        self.counts.add(resource.outcome);
        if resource.outcome == ResourceOutcome::Failed && self.failed.is_none() {
            self.failed = Some(Box::new(resource.clone()));
        }
        recorder.resource(resource);
    }

    /// Judges a run by its results and its exit code together; gives the code of one that succeeded. `reason` is the
    /// tool's own reason for a code that no resource explains.
    pub(crate) fn judge(
        &self,
        codes: &ExitCodes,
        ended: &Ended,
        recorder: &StepRecorder,
        reason: impl FnOnce(i32) -> Option<String>,
    ) -> Result<i32, StepError> {
        let code = match &ended.exit {
            Ok(code) => *code,
            Err(how) => return Err(ended.error(how)),
        };
        if codes.success.contains(&code) {
            if let Some(why) = self.contradiction(true) {
                return Err(ended.unknown(&why));
            }
            self.warn_of_nothing(recorder);
            return Ok(code);
        }
        if codes.failed.contains(&code) {
            if let Some(resource) = &self.failed {
                return Err(StepError::Resource(resource.clone()));
            }
            // A run that did not begin has no results.
            let has_begun = self.has_end() || self.counts.total() > 0 || self.unread > 0;
            if has_begun && (!self.has_end() || self.unread > 0 || self.failures() == 0) {
                let why = self.contradiction(false);
                return Err(ended.unknown(&why.unwrap_or_else(|| "no resource failed".to_owned())));
            }
        }
        Err(match reason(code) {
            Some(reason) => ended.error(&format!("{reason} (exit code {code})")),
            None => ended.error(&format!("`{}` failed with exit code {code}", codes.program)),
        })
    }

    /// Reports a run that managed nothing.
    fn warn_of_nothing(&self, recorder: &StepRecorder) {
        match (self.counts.total(), self.counts.skipped) {
            (0, _) => recorder.warn("it managed no resource"),
            (all, skipped) if all == skipped => {
                recorder.warn(&format!(
                    "it managed nothing: all of its resources ({all}) were skipped"
                ));
            }
            _ => {}
        }
    }

    fn has_end(&self) -> bool {
        self.complete || self.end.is_some()
    }

    /// Failures that nothing handled.
    fn failures(&self) -> u64 {
        self.end.map_or(self.counts.failed, |end| end.failed)
    }

    /// There was a result that cannot be read.
    pub(crate) fn unread(&mut self) {
        self.unread += 1;
    }

    /// Whether the results are all there and agree with each other, and with the end of a tool that says that all went
    /// well (`success`): what does not, as text.
    pub(crate) fn contradiction(&self, success: bool) -> Option<String> {
        if !self.has_end() {
            return Some("its results end before it does".to_owned());
        }
        if self.unread > 0 {
            return Some(format!("{} of its results cannot be read", self.unread));
        }
        let counted = self.end.into_iter().flat_map(|end| {
            [
                ("changed", end.changed, self.counts.changed),
                ("failed", end.failed + end.rescued, self.counts.failed),
            ]
        });
        for (what, counted, reported) in counted {
            if counted != reported {
                return Some(format!(
                    "it counts {counted} {what} resources, and reported {reported}"
                ));
            }
        }
        let failures = self.failures();
        (success && failures > 0).then(|| format!("it ended well, and counts {failures} failures"))
    }
}
