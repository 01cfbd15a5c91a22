//! One test of the template, run in a clone.

use imgbake_comm::Communicator;
use imgbake_runtime::{CommandOutput, Job};
use imgbake_types::record::TestRecord;
use secrecy::ExposeSecret;

use super::outcome::Checked;

/// The name that results and output have.
pub(super) fn name(test: &TestRecord) -> &str {
    test.name.as_deref().unwrap_or("test")
}

/// Runs a test's command as its user; its output goes to the events, its last lines to the result.
pub(super) async fn run(job: &Job, comm: &dyn Communicator, test: &TestRecord) -> Checked {
    let script = job.secrets().reveal(&test.run);
    let missing = imgbake_types::secret::names(script.expose_secret()).join(", ");
    if !missing.is_empty() {
        return Err(format!("the test needs the sensitive variable {missing}: give it with --var"));
    }
    let exec = comm
        .script(test.user(), Some("/"), script.expose_secret())
        .timeout(test.timeout().duration());
    let mut output = CommandOutput::new(job.secrets(), |stream, line: &str| {
        job.events().output(name(test), stream, line);
    });
    let ran = comm.run(exec, &mut |stream, bytes| output.take(stream, bytes)).await;
    let tail = output.finish();
    match ran {
        Ok(exit) if exit.ok() => Ok(String::new()),
        Ok(exit) => Err(format!("{exit}\n{}", tail.text()).trim_end().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
