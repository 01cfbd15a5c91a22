//! The plan's provision steps.

use imgbake_template::Names;
use imgbake_types::StepKind;
use imgbake_types::spec::{Direction, FileSpec, ProvisionSpec, ShellSpec};

use crate::PlanError;
use crate::key::Inputs;
use crate::paths::{absolute, shown};
use crate::plan::Planner;

impl Planner<'_> {
    /// Adds a step for each `[[provision]]`.
    pub(crate) fn provisions(&mut self) -> Result<(), PlanError> {
        let mut names = Names::new();
        for (index, spec) in self.request.resolved.spec.provision.iter().enumerate() {
            let name = names.next(spec.kind(), spec.name());
            let place = format!("provision[{index}]");
            let mut inputs = Inputs::new(name.as_str());
            let provision = self.provision(spec, name, &place, &mut inputs);
            inputs.settings("", &what_decides(&provision))?;
            // What it writes is on the host, where no layer keeps it.
            let downloads = matches!(&provision, ProvisionSpec::File(file) if file.direction == Direction::Download);
            let cache = provision.cache() && !downloads;
            self.push(inputs, StepKind::Provision { provision }, cache)?;
        }
        Ok(())
    }

    /// A step with its name and absolute paths. The files that it reads become its inputs, and so does
    /// a host file's mode where that decides.
    fn provision(
        &mut self,
        spec: &ProvisionSpec,
        name: String,
        place: &str,
        inputs: &mut Inputs,
    ) -> ProvisionSpec {
        let base = self.request.template_dir;
        match spec.clone() {
            ProvisionSpec::Shell(mut shell) => {
                shell.name = Some(name);
                if let Some(script) = &mut shell.script {
                    let path = absolute(base, script);
                    self.file(inputs, &format!("{place}.script"), script, &path);
                    *script = path;
                }
                ProvisionSpec::Shell(shell)
            }
            ProvisionSpec::File(mut file) => {
                file.name = Some(name);
                if file.direction == Direction::Download {
                    file.destination = absolute(self.request.work_dir, &file.destination);
                } else if let Some(source) = &mut file.source {
                    let path = absolute(base, source);
                    self.file(inputs, &format!("{place}.source"), source, &path);
                    if file.mode.is_none()
                        && let Ok(mode) = self.request.files.mode(&path)
                    {
                        inputs.mode(shown(source).as_str(), mode);
                    }
                    *source = path;
                }
                ProvisionSpec::File(file)
            }
        }
    }
}

/// A step's settings without its name, without where on the host its files stand, since their bytes
/// are inputs of their own, and without whether its result is used again.
fn what_decides(provision: &ProvisionSpec) -> ProvisionSpec {
    match provision.clone() {
        ProvisionSpec::Shell(shell) => {
            ProvisionSpec::Shell(ShellSpec { name: None, script: None, cache: None, ..shell })
        }
        ProvisionSpec::File(file) => {
            let source = file.source.filter(|_| file.direction == Direction::Download);
            ProvisionSpec::File(FileSpec { name: None, source, cache: None, ..file })
        }
    }
}
