//! This crate's error.

use std::io;

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_comm::CommError;
use imgbake_runtime::RuntimeError;

/// Why a machine was not sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// `[seal]` names an operation that there is not.
    #[error("[seal] {key}: there is no operation `{name}`")]
    UnknownOperation {
        /// `skip` or `also`.
        key: &'static str,
        /// What it says.
        name: String,
        /// The nearest name, or all there are.
        help: String,
    },
    /// The first phase's script did not get into the machine.
    #[error("cannot send the seal to the machine")]
    Send(#[source] io::Error),
    /// The first phase reported a failure.
    #[error("sealing the machine: {0}")]
    FirstPhase(String),
    /// The first phase's shell ended before its script.
    #[error("sealing the machine ended early: {last}")]
    EndedEarly {
        /// The last line that it printed.
        last: String,
        /// How it ended.
        #[source]
        exit: ShellExit,
    },
    /// The late phase reported a failure.
    #[error("sealing the machine while it powered off: {0}")]
    LatePhase(String),
    /// The late phase did not run.
    #[error("the machine is off, but the last part of its seal did not report on the console")]
    NoLateReport(#[source] RuntimeError),
    /// The connection to the machine failed.
    #[error(transparent)]
    Comm(#[from] CommError),
    /// The job was cancelled.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The machine did something by itself.
    #[error(transparent)]
    Machine(#[from] BuildError),
}

/// How a shell ended that did not come to its script's end.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ShellExit(pub(crate) imgbake_comm::Exit);

impl SealError {
    /// What a caller may act on.
    pub const fn kind(&self) -> BuildErrorKind {
        match self {
            Self::UnknownOperation { .. } => BuildErrorKind::Usage,
            _ => BuildErrorKind::Failed,
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::UnknownOperation { help, .. } => Some(help),
            Self::FirstPhase(_) => Some(
                "the seal must be able to write to /usr/lib/systemd/system-shutdown and /run in the machine",
            ),
            Self::NoLateReport(_) => Some(
                "the guest's init must run the programs in /usr/lib/systemd/system-shutdown, as systemd does, \
                 and the kernel's console must be the serial port: without that part, what powering off wrote \
                 stays in the image",
            ),
            _ => None,
        }
    }
}

impl From<SealError> for BuildError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Comm(error) => error.into(),
            SealError::Runtime(error) => error.into(),
            SealError::Machine(error) => error,
            error => {
                let help = error.help().map(str::to_owned);
                let error = Self::of(error.kind(), error);
                match help {
                    Some(help) => error.help(help),
                    None => error,
                }
            }
        }
    }
}
