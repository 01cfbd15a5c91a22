//! `imgbake test`

use std::collections::BTreeSet;

use imgbake_build::stage::refuse;
use imgbake_build::verify::{VerifyRequest, verify};
use imgbake_runtime::Secrets;
use imgbake_types::Reference;
use imgbake_types::record::{VerifyStatus, VersionView};

use super::export;
use crate::app::{App, conclude};
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
    let rooms = rooms::rooms(&app.home)?;
    let version = export::resolve(&*rooms.registry, reference).await?;
    let secrets = secrets(app, vars, &version)?;
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
    conclude(job, listener, result.map_err(Failure::from)).await
}

/// The sensitive values that the version's tests name: from `--var`, else from the environment.
fn secrets(app: &App, vars: &[String], version: &VersionView) -> Result<Secrets, Failure> {
    let mut given: Vec<(&str, &str)> = Vec::new();
    for var in vars {
        given.push(var.split_once('=').ok_or_else(|| Failure::usage("--var takes NAME=VALUE"))?);
    }
    let environment = &app.config.variables;
    given.extend(
        environment
            .iter()
            .map(|(name, value)| (name.trim_start_matches(VARIABLE_PREFIX), value.as_str())),
    );
    let secrets = Secrets::default();
    let needed: BTreeSet<&str> = version
        .proof
        .tests
        .iter()
        .flat_map(|test| imgbake_types::secret::names(&test.run))
        .collect();
    for name in needed {
        // The first that was given: a flag comes before the environment.
        if let Some((_, value)) = given.iter().find(|(known, _)| *known == name) {
            secrets.add(name, value);
        }
    }
    Ok(secrets)
}
