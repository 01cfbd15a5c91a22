//! What a source was when it was last asked: `IMGBAKE_HOME/cache/pins/<digest of whom>.json`.
//!
//! A build goes on while a mirror is down: what the source was the last time still names the layers
//! that were made of it.

use camino::Utf8PathBuf;
use imgbake_runtime::{Home, Job};
use imgbake_types::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::state_file;
use crate::{BuildError, BuildErrorKind, Pin};

/// The longest file that is read, in bytes: a pin is a digest.
const MAX_BYTES: u64 = 64 << 10;

/// One source's last answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinMemory {
    path: Utf8PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    pin: String,
    /// When it was given.
    asked: Timestamp,
}

impl PinMemory {
    /// The memory of what `whom` says: its address and all else that decides the answer, without
    /// secrets.
    pub fn new(home: &Home, whom: &str) -> Self {
        let name = format!("{}.json", Digest::sha256(whom).hex());
        Self { path: home.cache().join("pins").join(name) }
    }

    /// Keeps an answer. Where nobody could be asked, gives the one before with a warning that says
    /// since when.
    ///
    /// # Errors
    /// The one that was given, where there is no answer before, or where asking again would not mend
    /// it: only a failure of kind [`BuildErrorKind::Failed`] is bridged.
    pub fn settle(&self, job: &Job, asked: Result<Pin, BuildError>) -> Result<Pin, BuildError> {
        let error = match asked {
            Ok(pin) => {
                if let Pin::Now(text) = &pin {
                    self.keep(job, text);
                }
                return Ok(pin);
            }
            Err(error) if error.kind() == BuildErrorKind::Failed => error,
            Err(error) => return Err(error),
        };
        let Some(answer) = self.recall() else {
            return Err(error);
        };
        job.events().warn(format!(
            "{error}: it is taken to be what it was at {}",
            answer.asked.strftime("%Y-%m-%d %H:%M:%S UTC")
        ));
        Ok(Pin::Now(answer.pin))
    }

    fn recall(&self) -> Option<Answer> {
        state_file::recall(&self.path, MAX_BYTES)
    }

    fn keep(&self, job: &Job, pin: &str) {
        let answer = Answer { pin: pin.to_owned(), asked: Timestamp::now() };
        state_file::keep(job, &self.path, &answer);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use camino::Utf8Path;
    use imgbake_runtime::{Cancel, Events, Secrets};
    use imgbake_types::EventKind;

    use super::*;

    #[test]
    fn an_answer_bridges_a_failure_and_says_since_when() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(Utf8Path::from_path(dir.path()).unwrap().join("home"));
        let (events, mut reported) = Events::channel("test", Secrets::default());
        let job = Job::begin(&home, "test-1", Cancel::new(), events, Secrets::default()).unwrap();
        let memory = PinMemory::new(&home, "a mirror");
        let down = || Err(BuildError::failed("cannot ask the mirror"));
        assert!(memory.settle(&job, down()).is_err());
        for pin in [Pin::Fixed, Pin::Unknown("no ETag".to_owned())] {
            assert_eq!(memory.settle(&job, Ok(pin.clone())).unwrap(), pin);
        }
        assert!(memory.settle(&job, down()).is_err(), "neither is an answer to go on with");
        for text in ["one", "two"] {
            memory.settle(&job, Ok(Pin::Now(text.to_owned()))).unwrap();
        }
        assert!(reported.try_recv().is_err());
        assert_eq!(memory.settle(&job, down()).unwrap(), Pin::Now("two".to_owned()));
        let EventKind::Notice { message, .. } = reported.try_recv().unwrap().kind else { panic!() };
        assert!(message.starts_with("cannot ask the mirror: ") && message.contains(" UTC"));
        // Another's answer, and another kind of failure.
        assert!(PinMemory::new(&home, "another").settle(&job, down()).is_err());
        let gone = BuildError::new(BuildErrorKind::NotFound, "no such suite");
        assert_eq!(memory.settle(&job, Err(gone)).unwrap_err().kind(), BuildErrorKind::NotFound);

        let mode = |path: &Utf8Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&memory.path), mode(memory.path.parent().unwrap())), (0o600, 0o700));
        for damage in ["", "{", "{\"pin\":1}"] {
            fs::write(&memory.path, damage).unwrap();
            assert!(memory.settle(&job, down()).is_err(), "{damage}");
        }
        job.end().unwrap();
    }
}
