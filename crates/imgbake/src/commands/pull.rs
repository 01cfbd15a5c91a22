//! `imgbake pull`

use camino::Utf8Path;
use imgbake_disk::ExportFormat;
use imgbake_runtime::Secrets;
use imgbake_types::Reference;

use super::export;
use crate::app::{App, conclude};
use crate::cli::EventArgs;
use crate::failure::Failure;
use crate::rooms;

/// Writes a version's disk to a file.
pub(super) async fn run(
    app: &App,
    reference: &Reference,
    output: &Utf8Path,
    format: Option<ExportFormat>,
    events: &EventArgs,
) -> Result<(), Failure> {
    let registry = rooms::registry(&app.home)?;
    let version = export::resolve(&*registry, reference).await?;
    let (job, listener) = app.begin("pull", events, Secrets::default())?;
    let result = export::export(&job, &*registry, &version, output, format).await;
    conclude(job, listener, result).await
}
