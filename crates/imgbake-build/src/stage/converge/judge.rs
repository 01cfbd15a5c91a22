//! What a second run means for the build.

use std::fmt::Write as _;

use imgbake_types::glob;
use imgbake_types::record::step::{ProofPlace, Resource};

use super::run::Run;
use crate::BuildError;

/// Changed resources that an error names.
const SHOWN: usize = 10;
/// Lines of a diff that an error shows.
const DIFF_LINES: usize = 12;

/// A resource that a second run changed.
pub(super) struct Changed {
    /// The step.
    step: String,
    pub(super) resource: Resource,
    /// Whether imgbake found it by comparing, and the tool did not say it.
    pub(super) compared: bool,
    /// Whether the template lets it change.
    pub(super) allowed: bool,
}

impl Changed {
    /// The tool said so.
    pub(super) fn reported(run: &Run<'_>, resource: Resource) -> Self {
        Self::new(run.name, &[*run], resource, false)
    }

    /// It is not what it was after any of these runs.
    pub(super) fn compared(step: &str, runs: &[Run<'_>], resource: Resource) -> Self {
        Self::new(step, runs, resource, true)
    }

    fn new(step: &str, runs: &[Run<'_>], resource: Resource, compared: bool) -> Self {
        let full = format!("{}[{}]", resource.kind, resource.name);
        let allows = |pattern: &String| {
            [&full, &resource.name].iter().any(|name| glob::matches(pattern, name))
        };
        let allowed = runs.iter().flat_map(|run| &run.spec.converge_allow).any(allows);
        Self { step: step.to_owned(), resource, compared, allowed }
    }
}

/// Judges second runs after a step.
///
/// # Errors
/// They changed what the template does not allow.
pub(super) fn judge(
    after: &str,
    runs: &[Run<'_>],
    changed: &[Changed],
    unlisted: u64,
) -> Result<(), BuildError> {
    let forbidden: Vec<&Changed> = changed.iter().filter(|one| !one.allowed).collect();
    if forbidden.is_empty() && unlisted == 0 {
        return Ok(());
    }
    let count = unlisted + changed.len() as u64;
    let resources = if count == 1 { "resource" } else { "resources" };
    let mut message = match runs {
        [run] => format!(
            "step `{}` does not converge in one run: its second run changed {count} {resources}",
            run.name
        ),
        _ => format!(
            "the steps do not converge in one run: run again after step `{after}`, in order, they changed {count} {resources}"
        ),
    };
    for one in forbidden.iter().take(SHOWN) {
        let step = if runs.len() > 1 { format!("step `{}`: ", one.step) } else { String::new() };
        message.push_str(&shown(&step, &one.resource));
    }
    if forbidden.len() > SHOWN {
        let _ = write!(message, "\n  and {} more", forbidden.len() - SHOWN);
    }
    if unlisted > 0 {
        let _ = write!(
            message,
            "\n  and {unlisted} more, which no report lists and no `converge_allow` can allow"
        );
    }
    Err(BuildError::failed(message).help(
        "let each change only what is not as declared yet; `converge_allow` lists those that may change at every run",
    ))
}

/// Where a second run was, in words.
pub(super) const fn described(place: ProofPlace) -> &'static str {
    match place {
        ProofPlace::Copy => "a copy of the machine",
        ProofPlace::SecondMachine => "a machine booted from its disk",
        ProofPlace::InPlace => "the machine itself",
    }
}

/// A resource with its place, what changed, and the start of its diff.
fn shown(step: &str, resource: &Resource) -> String {
    let mut message = format!("\n  {step}{}", resource.title());
    if let Some(reason) = &resource.message {
        let _ = write!(message, ": {}", reason.lines().next().unwrap_or_default());
    }
    let diff = resource.diff.as_deref().unwrap_or_default();
    for line in diff.lines().take(DIFF_LINES) {
        message.push_str("\n    ");
        message.push_str(line);
    }
    if diff.lines().count() > DIFF_LINES {
        message.push_str("\n    …");
    }
    message
}
