//! This crate's error.

use std::error::Error;

use camino::Utf8PathBuf;
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_comm::CommError;
use imgbake_disk::DiskError;
use imgbake_runtime::RuntimeError;
use imgbake_types::Arch;
use tokio::task::JoinError;

use crate::qmp::QmpError;

/// Why there is no machine, or why it did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// A record holds settings that no QEMU machine has.
    #[error("the machine's settings cannot be read: {0}")]
    Settings(#[source] serde_json::Error),
    /// The template wants a BIOS where there is none.
    #[error("aarch64 machines have no BIOS")]
    NoBios,
    /// The template wants more disks than a machine has slots for.
    #[error("{count} extra disks; a machine takes {most}")]
    TooManyDisks {
        /// The disks that it wants.
        count: usize,
        /// The slots that there are.
        most: usize,
    },
    /// The template insists on KVM, which does not work on this host.
    #[error("`accel = \"kvm\"`, but no machine runs under KVM here: {0}")]
    NoKvm(String),
    /// UEFI firmware is not installed.
    #[error("there is no UEFI firmware for {arch} on this machine")]
    NoFirmware {
        /// The machine's architecture.
        arch: Arch,
        /// The package that has it.
        package: &'static str,
    },
    /// A program called QEMU does not answer as QEMU does.
    #[error("`{0}` does not report its version")]
    NoVersion(&'static str),
    /// QEMU forwards no port to the guest.
    #[error("QEMU does not report the port that leads to the guest's ssh")]
    NoPort,
    /// QEMU ended before its guest ran.
    #[error(transparent)]
    EndedEarly(RuntimeError),
    /// The system on a disk cannot be booted in this way; another way may serve.
    #[error("{0}")]
    Unsuitable(String),
    /// A machine that has no datasource can be given no login.
    #[error("without a datasource there is no way into it: {0}")]
    NoBareLogin(#[source] Box<QemuError>),
    /// Machines like this one cannot be saved.
    #[error("{0}")]
    Unsavable(String),
    /// A running machine was not saved, and runs on.
    #[error("machine `{machine}` cannot be saved: {source}")]
    NotSaved {
        /// The machine.
        machine: String,
        /// Why not.
        source: Box<QemuError>,
    },
    /// A machine's state was not written or not loaded.
    #[error("{0}")]
    Migration(String),
    /// A saved machine cannot be resumed; its disk can be booted.
    #[error("the saved machine {path} cannot be resumed: {source}")]
    NotResumed {
        /// The file of its state.
        path: Utf8PathBuf,
        /// Why not.
        source: Box<QemuError>,
    },
    /// The machine did something by itself, or did not do what was waited for.
    #[error("machine `{name}`: {what}{console}")]
    Machine {
        /// The machine.
        name: String,
        /// What it did, with its cause.
        what: String,
        /// The last lines of its console, each on a new line.
        console: String,
        /// The cause.
        source: Option<Box<QemuError>>,
    },
    /// A thread of this crate ended.
    #[error("{what} stopped")]
    Stopped {
        /// What it did.
        what: &'static str,
        /// How it ended.
        source: JoinError,
    },
    /// The control connection failed, or QEMU refused a command.
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// The connection to the guest failed.
    #[error(transparent)]
    Comm(#[from] CommError),
    /// A program or a file failed, or the job was cancelled.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A disk could not be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The source gives a disk that QEMU does not boot.
    #[error(transparent)]
    Base(BuildError),
}

impl QemuError {
    /// The system on a disk cannot be booted in this way, and why.
    pub(crate) fn unsuitable(why: impl Into<String>) -> Self {
        Self::Unsuitable(why.into())
    }

    /// What a caller may act on.
    pub fn kind(&self) -> BuildErrorKind {
        match self {
            Self::Settings(_) | Self::NoBios | Self::TooManyDisks { .. } => BuildErrorKind::Usage,
            Self::NoKvm(_) | Self::NoFirmware { .. } => BuildErrorKind::Lacking,
            Self::Machine { source: Some(source), .. } if matches!(**source, Self::Comm(_)) => {
                source.kind()
            }
            Self::EndedEarly(_) | Self::NotResumed { .. } | Self::Machine { .. } | Self::Qmp(_) => {
                BuildErrorKind::Machine
            }
            Self::Comm(error) => error.kind().into(),
            Self::Runtime(error) => error.kind().into(),
            Self::Base(error) => error.kind(),
            _ => BuildErrorKind::Failed,
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::NoBios => "use `firmware = \"uefi\"`".to_owned(),
            Self::NoKvm(_) => {
                "use `accel = \"auto\"` or `accel = \"tcg\"`, or a host with hardware virtualization"
                    .to_owned()
            }
            Self::NoFirmware { package, .. } => {
                format!("it is in the package `{package}` (apt-get install {package})")
            }
            Self::EndedEarly(_) => {
                "an argument in [builder.qemu] may be wrong for this QEMU".to_owned()
            }
            _ => return None,
        })
    }

    /// The error with its causes as one text, for an event or a reason that is no error.
    pub(crate) fn reason(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            let message = cause.to_string();
            if !text.contains(&message) {
                text = format!("{text}: {message}");
            }
            next = cause.source();
        }
        text
    }
}

impl From<QemuError> for BuildError {
    fn from(error: QemuError) -> Self {
        match error {
            QemuError::Comm(error) => error.into(),
            QemuError::Runtime(error) => error.into(),
            QemuError::Base(error) => error,
            error => {
                let (kind, help) = (error.kind(), error.help());
                Self::of(kind, error).help_if_any(help)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use camino::Utf8Path;
    use imgbake_comm::CommErrorKind;

    use super::*;

    #[test]
    fn a_reason_has_each_cause_once() {
        let cause = io::Error::other("it is on fire");
        let source = Box::new(RuntimeError::io("read", Utf8Path::new("/x"), cause).into());
        let error = QemuError::NotSaved { machine: "build".into(), source };
        let text = "machine `build` cannot be saved: cannot read /x";
        assert_eq!(error.to_string(), text);
        assert_eq!(error.reason(), format!("{text}: it is on fire"));
    }

    #[test]
    fn kinds_and_help_reach_the_build() {
        let lost = CommError::new(CommErrorKind::Io, "it broke");
        let machine = |source| QemuError::Machine {
            name: "build".into(),
            what: "it failed".into(),
            console: String::new(),
            source,
        };
        for (error, kind, help) in [
            (QemuError::NoBios, BuildErrorKind::Usage, true),
            (QemuError::NoKvm("no /dev/kvm".into()), BuildErrorKind::Lacking, true),
            (QmpError::Disconnected.into(), BuildErrorKind::Machine, false),
            (machine(None), BuildErrorKind::Machine, false),
            (machine(Some(Box::new(lost.into()))), BuildErrorKind::Failed, false),
            (RuntimeError::cancelled().into(), BuildErrorKind::Cancelled, false),
        ] {
            let (own, text) = (error.kind(), error.to_string());
            let built = BuildError::from(error);
            assert_eq!((own, built.kind()), (kind, kind), "{text}");
            assert_eq!((built.help_text().is_some(), built.to_string()), (help, text));
        }
    }
}
