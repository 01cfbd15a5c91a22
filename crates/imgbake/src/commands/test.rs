//! `imgbake test`

use std::collections::BTreeSet;

use imgbake_build::stage::refuse;
use imgbake_build::verify::{Aftercare, VerifyRequest, verify};
use imgbake_build::{BuildError, Components, Machine, Slots};
use imgbake_runtime::{Job, Secrets};
use imgbake_types::Reference;
use imgbake_types::record::{VerifyStatus, VersionView};

use crate::access::keep_running;
use crate::app::{App, conclude};
use crate::cli::EventArgs;
use crate::components;
use crate::config::VARIABLE_PREFIX;
use crate::failure::Failure;
use crate::images;

/// Verifies a version again.
pub(super) async fn run(
    app: &App,
    reference: &Reference,
    vars: &[String],
    keep: bool,
    events: &EventArgs,
) -> Result<(), Failure> {
    let components = components::wire(&app.wiring, &app.home)?;
    let version = images::local(&app.home, reference)?.version(reference.target.as_ref()).await?;
    let secrets = secrets(app, vars, &version)?;
    let (job, listener) = app.begin("test", events, secrets)?;
    let mut kept = Vec::new();
    let result = prove(&job, &components, &version, keep, &mut kept).await;
    if !kept.is_empty() && keep_running(app, &job, &mut kept) {
        let shown = listener.end().await;
        result?;
        return shown;
    }
    for machine in &mut kept {
        machine.end().await;
    }
    conclude(job, listener, result.map_err(Failure::from)).await
}

/// Boots clones of the version and tests them.
async fn prove(
    job: &Job,
    components: &Components,
    version: &VersionView,
    keep: bool,
    kept: &mut Vec<Box<dyn Machine>>,
) -> Result<(), BuildError> {
    let machine = &version.proof.machine;
    let builder = components.builder(machine)?;
    builder.check(job, version.arch, machine, machine.firmware(version.arch)).await?;
    let slots = Slots::new(version.proof.verify.clones() as usize);
    let slot = slots.take(job).await?;
    let registry = &*components.registry;
    let aftercare = if keep { Aftercare::Keep } else { Aftercare::End };
    let slots = &slots;
    let request =
        VerifyRequest { job, builder, registry, version, slots, extra_disks: &[], aftercare };
    let verification = verify(request).await?;
    drop(slot);
    kept.extend(verification.kept);
    let record = verification.record;
    match record.status {
        VerifyStatus::Passed => Ok(()),
        _ => Err(refuse(version, &record.tests)),
    }
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
