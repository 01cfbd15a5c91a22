//! The steps that every plan has, beside its source.

use imgbake_template::Names;
use imgbake_types::StepKind;
use imgbake_types::spec::TestSpec;

use crate::PlanError;
use crate::key::Inputs;
use crate::paths::absolute;
use crate::plan::Planner;

impl Planner<'_> {
    /// Adds the boot step. The builder and the machine's settings decide it, and what is planted in the machine, which
    /// follows from what seal will do. Timeouts decide no result.
    pub(crate) fn boot(&mut self) -> Result<(), PlanError> {
        let spec = &self.request.resolved.spec;
        let mut machine = self.request.resolved.machine.clone();
        machine.boot_timeout = None;
        machine.restore_timeout = None;
        machine.shutdown_timeout = None;
        let mut inputs = Inputs::new("boot");
        inputs.settings("", &machine)?;
        inputs.settings("ssh", &spec.ssh)?;
        for (name, operations) in [("skip", &spec.seal.skip), ("also", &spec.seal.also)] {
            if !operations.is_empty() {
                inputs.setting(&format!("seal.{name}"), operations)?;
            }
        }
        self.push(inputs, StepKind::Boot, true)
    }

    /// Adds the seal and capture steps.
    pub(crate) fn seal(&mut self) -> Result<(), PlanError> {
        let seal = self.request.resolved.spec.seal.clone();
        let mut inputs = Inputs::new("seal");
        inputs.settings("", &seal)?;
        self.push(inputs, StepKind::Seal { seal }, true)?;
        self.push(Inputs::new("capture"), StepKind::Capture, true)
    }

    /// Adds the publish step.
    pub(crate) fn publish(&mut self) -> Result<(), PlanError> {
        let spec = &self.request.resolved.spec;
        let mut publish = spec.publish.clone();
        let mut inputs = Inputs::new("publish");
        inputs.settings("", &publish)?;
        inputs.settings("image", &spec.image)?;
        for output in &mut publish.output {
            *output = absolute(self.request.work_dir, output);
        }
        self.push(inputs, StepKind::Publish { publish }, true)
    }

    /// Adds the verify step.
    pub(crate) fn verify(&mut self) -> Result<(), PlanError> {
        let spec = &self.request.resolved.spec;
        let mut inputs = Inputs::new("verify");
        inputs.settings("", &spec.verify)?;
        let mut names = Names::new();
        let mut tests = Vec::new();
        let mut order = Vec::new();
        for test in &spec.test {
            let name = names.next("test", test.name.as_deref());
            inputs.setting(&format!("test {name}"), test)?;
            tests.push(TestSpec { name: Some(name.clone()), ..test.clone() });
            order.push(name);
        }
        if !order.is_empty() {
            inputs.setting("tests' order", &order)?;
        }
        self.push(inputs, StepKind::Verify { verify: spec.verify.clone(), tests }, true)
    }
}
