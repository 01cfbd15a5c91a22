//! The rooms of floor 3 that a build walks through, wired by the binary.

use std::sync::Arc;

use imgbake_runtime::Job;
use imgbake_types::Plan;
use imgbake_types::plan::Source;
use imgbake_types::spec::{Firmware, ProvisionSpec};

use crate::{BuildError, BuildErrorKind, Builder, Provisioner, Registry, Sealer, SourceProvider};

/// One implementation of each trait, or one for each kind.
pub struct Rooms {
    /// Base disks.
    pub sources: Vec<Box<dyn SourceProvider>>,
    /// Machines.
    pub builder: Arc<dyn Builder>,
    /// Steps.
    pub provisioners: Vec<Box<dyn Provisioner>>,
    /// Seal and the residue check.
    pub sealer: Box<dyn Sealer>,
    /// Versions and channels.
    pub registry: Arc<dyn Registry>,
}

impl Rooms {
    /// The room for a source.
    pub fn source(&self, source: &Source) -> Result<&dyn SourceProvider, BuildError> {
        let missing = || {
            BuildError::new(
                BuildErrorKind::Usage,
                "no room of this imgbake knows the template's source",
            )
        };
        self.sources.iter().find(|room| room.knows(source)).map(|room| &**room).ok_or_else(missing)
    }

    /// The room for a provision step.
    pub fn provisioner(&self, spec: &ProvisionSpec) -> Result<&dyn Provisioner, BuildError> {
        let missing = || {
            let words =
                format!("no room of this imgbake knows provision steps of type `{}`", spec.kind());
            BuildError::new(BuildErrorKind::Usage, words)
        };
        self.provisioners
            .iter()
            .find(|room| room.knows(spec))
            .map(|room| &**room)
            .ok_or_else(missing)
    }

    /// Whether this host has what a plan needs, before anything is made.
    pub async fn check(&self, job: &Job, plan: &Plan) -> Result<(), BuildError> {
        if let Some((_, source)) = plan.source() {
            self.source(source)?.check(source)?;
        }
        for (_, spec) in plan.provisions() {
            self.provisioner(spec)?;
        }
        let arch = plan.image.arch;
        for firmware in firmwares(plan) {
            self.builder.check(job, arch, &plan.machine, firmware).await?;
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
