//! `imgbake test`

use imgbake_build::stage::refuse;
use imgbake_build::verify::{VerifyRequest, verify};
use imgbake_runtime::Secrets;
use imgbake_types::Reference;
use imgbake_types::record::VerifyStatus;

use super::export;
use crate::app::App;
use crate::cli::EventArgs;
use crate::config::VARIABLE_PREFIX;
use crate::failure::Failure;
use crate::rooms;

/// Verifies a version again.
pub(super) async fn run(
    app: &App,
    reference: &Reference,
    vars: &[String],
    events: &EventArgs,
) -> Result<(), Failure> {
    let secrets = Secrets::default();
    for (name, value) in &app.config.variables {
        secrets.add(name.trim_start_matches(VARIABLE_PREFIX), value);
    }
    for var in vars {
        let (name, value) =
            var.split_once('=').ok_or_else(|| Failure::usage("--var takes NAME=VALUE"))?;
        secrets.add(name, value);
    }
    let rooms = rooms::rooms(&app.home)?;
    let version = export::resolve(&*rooms.registry, reference).await?;
    let (job, listener) = app.begin("test", events, secrets)?;
    let firmware = version.proof.machine.firmware(version.arch);
    let result =
        match rooms.builder.check(&job, version.arch, &version.proof.machine, firmware).await {
            Ok(()) => {
                let request = VerifyRequest {
                    job: &job,
                    builder: &*rooms.builder,
                    registry: &*rooms.registry,
                    version: &version,
                };
                verify(request).await.and_then(|record| {
                    if record.status == VerifyStatus::Passed {
                        Ok(())
                    } else {
                        Err(refuse(&version, &record.tests))
                    }
                })
            }
            Err(error) => Err(error),
        };
    job.end()?;
    drop(job);
    listener.end().await?;
    Ok(result?)
}
