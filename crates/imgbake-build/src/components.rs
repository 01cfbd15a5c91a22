//! The components of floor 3 that a build walks through, wired by the binary.

use std::sync::Arc;

use imgbake_runtime::Job;
use imgbake_types::plan::Source;
use imgbake_types::spec::{Firmware, ProvisionSpec};
use imgbake_types::{MachineSpec, Plan};

use crate::{BuildError, BuildErrorKind, Builder, Provisioner, Registry, Sealer, SourceProvider};

/// One implementation of each trait, or one for each kind.
pub struct Components {
    /// Base disks.
    pub sources: Vec<Box<dyn SourceProvider>>,
    /// Machines, one for each kind of builder.
    pub builders: Vec<Arc<dyn Builder>>,
    /// Steps, one for each kind of provisioner.
    pub provisioners: Vec<Arc<dyn Provisioner>>,
    /// Seal and the residue check.
    pub sealer: Box<dyn Sealer>,
    /// Versions and channels.
    pub registry: Arc<dyn Registry>,
}

impl Components {
    /// The provider of a source.
    pub fn source(&self, source: &Source) -> Result<&dyn SourceProvider, BuildError> {
        let missing = || {
            BuildError::new(
                BuildErrorKind::Usage,
                "this imgbake cannot fetch the template's source",
            )
        };
        self.sources.iter().find(|one| one.knows(source)).map(|one| &**one).ok_or_else(missing)
    }

    /// The builder of a machine.
    ///
    /// # Errors
    /// This imgbake has none of its kind: the machine is of a version that another one made.
    pub fn builder(&self, machine: &MachineSpec) -> Result<&dyn Builder, BuildError> {
        let found = self.builders.iter().find(|one| one.kind().name == machine.builder);
        found.map(|one| &**one).ok_or_else(|| {
            let message = format!("this imgbake has no builder `{}`", machine.builder);
            BuildError::new(BuildErrorKind::Usage, message)
        })
    }

    /// The provisioner of a step.
    ///
    /// # Errors
    /// This imgbake has none of its kind.
    pub fn provisioner(&self, spec: &ProvisionSpec) -> Result<&dyn Provisioner, BuildError> {
        let found = self.provisioners.iter().find(|one| one.kind().name == spec.kind);
        found.map(|one| &**one).ok_or_else(|| {
            let message = format!("this imgbake has no provisioner of type `{}`", spec.kind);
            BuildError::new(BuildErrorKind::Usage, message)
        })
    }

    /// Whether this host has what a plan needs, before anything is made.
    pub async fn check(&self, job: &Job, plan: &Plan) -> Result<(), BuildError> {
        if let Some((_, source)) = plan.source() {
            self.source(source)?.check(source)?;
        }
        for (step, spec) in plan.provisions() {
            self.provisioner(spec)?.check(job, &step.name, spec).await?;
        }
        let (arch, builder) = (plan.image.arch, self.builder(&plan.machine)?);
        for firmware in firmwares(plan) {
            builder.check(job, arch, &plan.machine, firmware).await?;
        }
        Ok(())
    }
}

/// Every firmware that a plan's machines start from.
fn firmwares(plan: &Plan) -> Vec<Firmware> {
    let mut all = vec![plan.machine.firmware(plan.image.arch)];
    let (verify, _) = plan.verify();
    if verify.enabled() {
        all.extend(verify.firmware);
    }
    all.dedup();
    all
}
