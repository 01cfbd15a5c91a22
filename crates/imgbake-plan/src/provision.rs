//! The plan's provision steps.

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_template::Names;
use imgbake_types::StepKind;
use imgbake_types::spec::{
    Converge, ConvergeSteps, HostAccess, HostPath, ProvisionSpec, StepInput,
};
use serde_json::Value;

use crate::PlanError;
use crate::key::Inputs;
use crate::paths::{absolute, shown};
use crate::plan::Planner;

impl Planner<'_> {
    /// Adds a step for each `[[provision]]`.
    pub(crate) fn provisions(&mut self) -> Result<(), PlanError> {
        let mut names = Names::new();
        for (index, step) in self.request.resolved.provision.iter().enumerate() {
            let name = names.next(&step.spec.kind, step.spec.name.as_deref());
            let mut inputs = Inputs::new(name.as_str());
            // Neither its name nor whether its result is used again decides that result.
            let mut decides =
                ProvisionSpec { name: None, cache: None, inputs: Vec::new(), ..step.spec.clone() };
            let mut provision = ProvisionSpec { name: Some(name), ..step.spec.clone() };
            for path in &step.host_paths {
                let place = format!("provision[{index}].{}", path.setting());
                self.host_path(path, &place, &mut inputs, &mut provision, &mut decides);
            }
            for (at, text) in step.spec.inputs.iter().enumerate() {
                self.input(text, &format!("provision[{index}].inputs[{at}]"), &mut inputs);
            }
            inputs.settings("", &decides)?;
            self.proof(index, step.spec.converge, &mut inputs)?;
            // What it writes is on the host, where no layer keeps it.
            let cache = provision.cache() && step.writes().next().is_none();
            self.push(inputs, StepKind::Provision { provision }, cache)?;
        }
        Ok(())
    }

    /// Adds what of `[converge]` decides what is proved after a step.
    fn proof(
        &self,
        index: usize,
        converge: Option<Converge>,
        inputs: &mut Inputs,
    ) -> Result<(), PlanError> {
        let resolved = self.request.resolved;
        let spec = &resolved.spec.converge;
        if converge == Some(Converge::Check) && spec.ignore.is_some() {
            inputs.setting("converge.ignore", &spec.ignore)?;
        }
        if spec.steps == ConvergeSteps::All {
            if index + 1 == resolved.provision.len() {
                inputs.setting("converge.steps", &spec.steps)?;
            } else if converge.is_none() {
                // Its own layer is no proof: it is proved after the last step.
                inputs.setting("converge.steps", &"after the last step")?;
            }
        }
        Ok(())
    }

    /// Adds what one of a step's `inputs` is now.
    fn input(&mut self, text: &str, place: &str, inputs: &mut Inputs) {
        match StepInput::parse(text) {
            Some(StepInput::File(written)) => {
                let full = absolute(self.request.template_dir, written);
                self.file(inputs, place, written, &full);
            }
            Some(StepInput::Url(_) | StepInput::Command(_)) => {
                if let Some(digest) = self.request.asked.get(text) {
                    inputs.asked(text, digest.clone());
                }
            }
            None => {}
        }
    }

    /// Makes a path of the host absolute. The bytes of a file that is read become an input, and so does its
    /// mode where that decides; where it stands decides nothing.
    fn host_path(
        &mut self,
        path: &HostPath,
        place: &str,
        inputs: &mut Inputs,
        provision: &mut ProvisionSpec,
        decides: &mut ProvisionSpec,
    ) {
        let Some(written) = decides.path(&path.pointer).map(ToOwned::to_owned) else { return };
        match path.access {
            HostAccess::Read { mode } => {
                let full = absolute(self.request.template_dir, &written);
                self.file(inputs, place, &written, &full);
                if mode && let Ok(mode) = self.request.files.mode(&full) {
                    inputs.mode(shown(&written).as_str(), mode);
                }
                provision.replace(&path.pointer, full.into_string().into());
                decides.replace(&path.pointer, Value::Null);
            }
            HostAccess::ReadSources { beside } => {
                let full = absolute(self.request.template_dir, &written);
                self.source_code(inputs, place, &written, &full);
                for name in beside {
                    let (written, full) = (sibling(&written, name), sibling(&full, name));
                    if self.request.files.mode(&full).is_ok() {
                        self.source_code(inputs, place, &written, &full);
                    }
                }
                provision.replace(&path.pointer, full.into_string().into());
                decides.replace(&path.pointer, Value::Null);
            }
            HostAccess::Write => {
                let full = absolute(self.request.work_dir, &written);
                provision.replace(&path.pointer, full.as_str().into());
                decides.replace(&path.pointer, full.into_string().into());
            }
        }
    }
}

/// A path beside another.
fn sibling(path: &Utf8Path, name: &str) -> Utf8PathBuf {
    path.parent().map_or_else(|| name.into(), |folder| folder.join(name))
}
