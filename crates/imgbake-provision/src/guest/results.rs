//! The results of a run: resources, and a last line that shows whether they are all there.

use imgbake_build::StepRecorder;
use imgbake_types::record::step::{Resource, ResourceCounts, ResourceOutcome};
use serde::Deserialize;

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
    /// Resources that failed where the tool continued, as its configuration says.
    #[serde(default)]
    pub(crate) rescued: u64,
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
    /// Machines that the tool names at its end.
    pub(crate) hosts: Vec<String>,
    /// Results that cannot be read.
    unread: u64,
}

impl Results {
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

    /// Why a tool's reported success is none. A run that managed nothing is a warning.
    pub(crate) fn success(&self, recorder: &StepRecorder) -> Option<String> {
        let why = self.contradiction(true);
        match (self.counts.total(), self.counts.skipped) {
            _ if why.is_some() => {}
            (0, _) => recorder.warn("it managed no resource"),
            (all, skipped) if all == skipped => {
                recorder.warn(&format!(
                    "it managed nothing: all of its resources ({all}) were skipped"
                ));
            }
            _ => {}
        }
        why
    }

    /// There was a result that cannot be read.
    pub(crate) fn unread(&mut self) {
        self.unread += 1;
    }

    /// Whether the results are complete and agree with each other and with the end of a tool that reports success
    /// (`success`): what does not.
    pub(crate) fn contradiction(&self, success: bool) -> Option<String> {
        let Some(end) = self.end else {
            return Some("its results end before it does".to_owned());
        };
        if self.unread > 0 {
            return Some(format!("{} of its results cannot be read", self.unread));
        }
        for (what, said, seen) in [
            ("changed", end.changed, self.counts.changed),
            ("failed", end.failed + end.rescued, self.counts.failed),
        ] {
            if said != seen {
                return Some(format!("it counts {said} {what} resources, and reported {seen}"));
            }
        }
        if success && end.failed > 0 {
            return Some(format!("it ended well, and counts {} failures", end.failed));
        }
        None
    }
}
