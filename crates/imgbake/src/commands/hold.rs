//! `imgbake hold`

use imgbake_types::Reference;

use crate::app::App;
use crate::components;
use crate::failure::Failure;
use crate::images;

/// Puts a hold on a version for a reason; without one, takes it away.
pub(super) async fn run(
    app: &App,
    reference: &Reference,
    reason: Option<&str>,
) -> Result<(), Failure> {
    images::check_local(reference)?;
    let layout = components::layout(&app.home)?;
    let (version, words) = match reason {
        Some(reason) => (layout.hold(reference, reason).await?, "is held: gc keeps it"),
        None => (layout.release(reference).await?, "is no longer held"),
    };
    app.print(&format!("{}:{} {words}\n", version.name, version.version))
}
