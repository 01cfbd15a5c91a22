//! `imgbake push`

use imgbake_types::Reference;

use super::copy;
use crate::app::App;
use crate::cli::{EventArgs, RemoteArgs};
use crate::failure::Failure;

/// Copies a version of the local registry to another one.
pub(super) async fn run(
    app: &App,
    reference: &Reference,
    dest: &Reference,
    remote: &RemoteArgs,
    events: &EventArgs,
) -> Result<(), Failure> {
    if reference.host.is_some() {
        return Err(Failure::usage(format!(
            "`{reference}` is not in the local registry: `imgbake copy` copies from anywhere"
        )));
    }
    if dest.host.is_none() {
        return Err(Failure::usage(format!(
            "`{dest}` names no registry: a destination is HOST/NAME, such as registry.example/{dest}"
        )));
    }
    copy::run(app, "push", (reference, dest), remote, events).await
}
