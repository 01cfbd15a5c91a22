//! The provisioners: shell and file.

mod file;
mod shell;

use imgbake_build::{BuildError, BuildErrorKind, Provisioner};
use imgbake_comm::CommError;

pub use file::FileCopy;
pub use shell::Shell;

/// Every provisioner of this room.
pub fn provisioners() -> Vec<Box<dyn Provisioner>> {
    vec![Box::new(Shell), Box::new(FileCopy)]
}

/// An error between host and machine, with the step that it ended.
fn in_step(name: &str, error: CommError) -> BuildError {
    let text = format!("step `{name}`: {error}");
    let kind = BuildError::from(error).kind();
    BuildError::new(kind, text)
}

/// The template asks for something that cannot be.
fn usage(name: &str, text: &str) -> BuildError {
    BuildError::new(BuildErrorKind::Usage, format!("step `{name}`: {text}"))
}

/// Refuses a sensitive variable where all users of the machine could read it.
fn check_public<'a>(
    name: &str,
    key: &str,
    texts: impl IntoIterator<Item = &'a str>,
) -> Result<(), BuildError> {
    if texts.into_iter().all(|text| imgbake_types::secret::names(text).is_empty()) {
        return Ok(());
    }
    let text = format!(
        "`{key}` holds a sensitive variable, and every user of the machine could read it there"
    );
    Err(usage(name, &text)
        .help("Give it to the step in `env`, in `inline` or in a file's `content`."))
}
