//! From a resolved template to a plan.

use std::collections::BTreeMap;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_template::{Diagnostic, Names, Resolved, Template};
use imgbake_types::plan::FileInput;
use imgbake_types::spec::{Direction, FileSpec, ProvisionSpec, TestSpec};
use imgbake_types::{Digest, Plan, Step, StepKind};
use serde_json::{Value, json};

use crate::PlanError;
use crate::key::{Keys, names};
use crate::paths::absolute;

/// Tells what a plan must know of the host's files.
pub trait FileHasher {
    /// The digest of a file's bytes; of a folder's names, modes and bytes.
    fn digest(&self, path: &Utf8Path) -> io::Result<Digest>;

    /// The permissions of a file or folder; an error if there is none.
    fn mode(&self, path: &Utf8Path) -> io::Result<u32>;
}

/// What a plan is made of.
#[derive(Clone, Copy)]
pub struct Request<'r> {
    /// The template, for the places of its values.
    pub template: &'r Template,
    /// The same, with its variables filled in.
    pub resolved: &'r Resolved,
    /// The template's folder, absolute: its scripts and files stand beside it.
    pub template_dir: &'r Utf8Path,
    /// The working folder, absolute: outputs and downloads go there.
    pub work_dir: &'r Utf8Path,
    /// Reads the host's files.
    pub files: &'r dyn FileHasher,
    /// A secret of this host, by which sensitive values enter keys.
    pub secret_key: &'r [u8],
    /// The builder's version, as far as it decides a step's result.
    pub tool: &'r str,
    /// What the source is known to be right now, where its name may come to mean something else: the
    /// digest behind `image = "base:prod"`, or that of a distribution's release file.
    pub source_pin: Option<&'r str>,
}

/// Makes the plan, or tells of every file that is missing.
pub fn plan(request: &Request<'_>) -> Result<Plan, PlanError> {
    let mut planner = Planner {
        request,
        keys: Keys {
            tool: request.tool,
            secret_key: request.secret_key,
            secrets: &request.resolved.secrets,
            parent: None,
        },
        machine_is_in: false,
        steps: Vec::new(),
        secrets: Vec::new(),
        missing: Vec::new(),
    };
    planner.source()?;
    planner.provisions()?;
    planner.rest()?;
    planner.finish()
}

pub(crate) struct Planner<'r> {
    pub(crate) request: &'r Request<'r>,
    keys: Keys<'r>,
    machine_is_in: bool,
    steps: Vec<Step>,
    secrets: Vec<String>,
    missing: Vec<Diagnostic>,
}

impl Planner<'_> {
    fn finish(mut self) -> Result<Plan, PlanError> {
        if !self.missing.is_empty() {
            return Err(self.request.template.diagnostics(self.missing).into());
        }
        self.secrets.sort();
        self.secrets.dedup();
        let spec = &self.request.resolved.spec;
        Ok(Plan {
            template: self.request.template.path().to_owned(),
            image: spec.image.clone(),
            machine: spec.builder.qemu.clone(),
            ssh: spec.ssh.clone(),
            cache: spec.cache.clone(),
            steps: self.steps,
            digest: self.keys.parent.unwrap_or_else(|| Digest::sha256("")),
            secrets: self.secrets,
        })
    }

    /// Adds a step whose result `settings` decide.
    pub(crate) fn push(
        &mut self,
        name: String,
        kind: StepKind,
        settings: &Value,
        files: Vec<FileInput>,
    ) -> Result<(), PlanError> {
        // Names from the kind, not the settings: a header may be left out of the key, yet be needed.
        self.secrets.extend(names(&json_of(&name, &kind)?));
        let digests: Vec<Digest> = files.iter().map(|file| file.digest.clone()).collect();
        let key = self.keys.next(&name, settings, &digests)?;
        self.steps.push(Step {
            name,
            key,
            kind,
            files,
            inputs: BTreeMap::new(),
            secrets: Vec::new(),
            cache: true,
        });
        Ok(())
    }

    /// Reads a file that the value at `place` names.
    pub(crate) fn file(&mut self, place: &str, path: &Utf8Path) -> Option<FileInput> {
        match self.request.files.digest(path) {
            Ok(digest) => Some(FileInput { path: path.to_owned(), digest }),
            Err(error) => {
                self.unreadable(place, path, &error);
                None
            }
        }
    }

    pub(crate) fn unreadable(&mut self, place: &str, path: &Utf8Path, error: &io::Error) {
        let span = self.request.template.span_of(place);
        let found = if error.kind() == io::ErrorKind::NotFound {
            Diagnostic::new("missing-file", span, format!("there is no file `{path}`"))
                .label("not found")
                .help("a relative path starts at the template's folder")
        } else {
            Diagnostic::new("unreadable-file", span, format!("`{path}` cannot be read: {error}"))
        };
        self.missing.push(found);
    }

    fn provisions(&mut self) -> Result<(), PlanError> {
        let mut names = Names::new();
        for (index, spec) in self.request.resolved.spec.provision.iter().enumerate() {
            let name = names.next(spec.kind(), spec.name());
            let place = format!("provision[{index}]");
            let (provision, files, mode) = self.inputs(spec, &name, &place);
            let settings = json!({
                "provision": json_of(&name, &what_decides(&provision))?,
                "mode": mode,
                "machine": self.machine(&name)?,
            });
            self.push(name, StepKind::Provision { provision }, &settings, files)?;
        }
        Ok(())
    }

    /// A step with its name and absolute paths, its files, and a host file's mode where that decides.
    fn inputs(
        &mut self,
        spec: &ProvisionSpec,
        name: &str,
        place: &str,
    ) -> (ProvisionSpec, Vec<FileInput>, Option<u32>) {
        let mut files = Vec::new();
        let mut mode = None;
        let base = self.request.template_dir;
        let provision = match spec.clone() {
            ProvisionSpec::Shell(mut shell) => {
                shell.name = Some(name.to_owned());
                if let Some(script) = &mut shell.script {
                    *script = absolute(base, script);
                    files.extend(self.file(&format!("{place}.script"), script));
                }
                ProvisionSpec::Shell(shell)
            }
            ProvisionSpec::File(mut file) => {
                file.name = Some(name.to_owned());
                if file.direction == Direction::Download {
                    file.destination = absolute(self.request.work_dir, &file.destination);
                } else if let Some(source) = &mut file.source {
                    *source = absolute(base, source);
                    files.extend(self.file(&format!("{place}.source"), source));
                    mode = self.request.files.mode(source).ok().filter(|_| file.mode.is_none());
                }
                ProvisionSpec::File(file)
            }
        };
        (provision, files, mode)
    }

    /// The machine's settings, once: in the first step that runs in one. Timeouts decide no result.
    fn machine(&mut self, step: &str) -> Result<Value, PlanError> {
        if std::mem::replace(&mut self.machine_is_in, true) {
            return Ok(Value::Null);
        }
        let spec = &self.request.resolved.spec;
        let mut qemu = spec.builder.qemu.clone();
        qemu.boot_timeout = None;
        qemu.shutdown_timeout = None;
        Ok(json!({ "qemu": json_of(step, &qemu)?, "ssh": json_of(step, &spec.ssh)? }))
    }

    fn rest(&mut self) -> Result<(), PlanError> {
        let spec = &self.request.resolved.spec;
        let seal = spec.seal.clone();
        let settings = json!({
            "seal": json_of("seal", &seal)?,
            "machine": self.machine("seal")?,
        });
        self.push("seal".into(), StepKind::Seal { seal }, &settings, Vec::new())?;
        self.push("capture".into(), StepKind::Capture, &json!("capture"), Vec::new())?;

        let mut publish = spec.publish.clone();
        let settings = json!({
            "publish": json_of("publish", &publish)?,
            "image": json_of("publish", &spec.image)?,
        });
        for output in &mut publish.output {
            *output = absolute(self.request.work_dir, output);
        }
        self.push("publish".into(), StepKind::Publish { publish }, &settings, Vec::new())?;

        let mut names = Names::new();
        let tests = spec.test.iter().map(|test| TestSpec {
            name: Some(names.next("test", test.name.as_deref())),
            ..test.clone()
        });
        let kind = StepKind::Verify { verify: spec.verify.clone(), tests: tests.collect() };
        let settings = json_of("verify", &kind)?;
        self.push("verify".into(), kind, &settings, Vec::new())
    }
}

/// A step's settings without its name and without where on the host its files stand: their bytes
/// enter the key on their own.
fn what_decides(provision: &ProvisionSpec) -> ProvisionSpec {
    match provision.clone() {
        ProvisionSpec::Shell(mut shell) => {
            shell.name = None;
            shell.script = shell.script.map(|_| Utf8PathBuf::new());
            ProvisionSpec::Shell(shell)
        }
        ProvisionSpec::File(file) => {
            let download = file.direction == Direction::Download;
            let source =
                if download { file.source } else { file.source.map(|_| Utf8PathBuf::new()) };
            ProvisionSpec::File(FileSpec { name: None, source, ..file })
        }
    }
}

pub(crate) fn json_of(step: &str, value: &impl serde::Serialize) -> Result<Value, PlanError> {
    serde_json::to_value(value)
        .map_err(|error| PlanError::Key { step: step.into(), reason: error.to_string() })
}
