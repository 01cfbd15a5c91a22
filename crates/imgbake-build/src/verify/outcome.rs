//! From what a check saw to a result that is recorded and reported.

use std::time::Instant;

use imgbake_runtime::Job;
use imgbake_types::EventKind;
use imgbake_types::record::TestOutcome;

/// A check's result before it has a name: what it saw, or why it failed.
pub(super) type Checked = Result<String, String>;

/// The results of one clone, in the order in which they came.
pub(super) struct Results<'a> {
    job: &'a Job,
    machine: &'a str,
    since: Instant,
    all: Vec<TestOutcome>,
}

impl<'a> Results<'a> {
    /// No results yet; the first check begins now.
    pub(super) fn new(job: &'a Job, machine: &'a str) -> Self {
        Self { job, machine, since: Instant::now(), all: Vec::new() }
    }

    /// Lets the next check's time begin now: what came before was waiting.
    pub(super) fn restart_clock(&mut self) {
        self.since = Instant::now();
    }

    /// Records and reports a check that ended now; the next one begins.
    pub(super) fn add(&mut self, name: &str, checked: Checked) {
        let (passed, detail) = match checked {
            Ok(detail) => (true, detail),
            Err(detail) => (false, detail),
        };
        let result = TestOutcome {
            name: name.to_owned(),
            machine: self.machine.to_owned(),
            passed,
            seconds: self.since.elapsed().as_secs_f64(),
            detail: self.job.secrets().redact(&detail),
        };
        report(self.job, &result);
        self.all.push(result);
        self.restart_clock();
    }

    /// All of them.
    pub(super) fn into_vec(self) -> Vec<TestOutcome> {
        self.all
    }
}

/// Emits a result as an event.
pub(super) fn report(job: &Job, result: &TestOutcome) {
    job.events().emit(EventKind::TestFinished { result: result.clone() });
}
