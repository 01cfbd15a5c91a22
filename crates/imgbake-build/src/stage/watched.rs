//! Work in a machine that may fall at any moment.

use std::time::Duration;

use imgbake_runtime::RuntimeError;

use super::context::Build;
use crate::{BuildError, BuildErrorKind, Machine};

/// How long a machine that lost its connection may take to report why: a guest's shutdown.
const AFTERMATH: Duration = Duration::from_secs(20);

/// Does work in a machine until it is done, the machine does what nobody asked for, or the user interrupts.
pub(super) async fn watched<T>(
    build: Build<'_>,
    machine: &dyn Machine,
    work: impl Future<Output = Result<T, BuildError>>,
) -> Result<T, BuildError> {
    tokio::select! {
        biased;
        () = build.job.cancel().cancelled() => Err(RuntimeError::cancelled().into()),
        failure = machine.failure() => Err(failure),
        done = work => match done {
            Err(lost) if lost.kind() == BuildErrorKind::Machine => {
                Err(build.job.cancel().run(cause(machine, lost)).await?)
            }
            done => done,
        },
    }
}

/// A lost connection is most often the first sign of something more severe, which the machine reports a
/// little later: it powered off, restarted or panicked.
async fn cause(machine: &dyn Machine, lost: BuildError) -> BuildError {
    match tokio::time::timeout(AFTERMATH, machine.failure()).await {
        Ok(failure) => match lost.help_text() {
            Some(help) => failure.help(help),
            None => failure,
        },
        Err(_) => lost,
    }
}
