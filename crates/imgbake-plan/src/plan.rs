//! From a resolved template to a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use camino::Utf8Path;
use imgbake_template::{Diagnostic, Resolved, Template};
use imgbake_types::plan::FileInput;
use imgbake_types::{Digest, Plan, Step, StepKind};

use crate::PlanError;
use crate::key::{Inputs, Keys, json_of, names};
use crate::paths::shown;

/// Shows what a plan must know of the host's files.
pub trait FileHasher {
    /// The digest of a file's bytes; of a folder's names, modes and bytes.
    fn digest(&self, path: &Utf8Path) -> io::Result<Digest>;

    /// The same of source code: without what version control, Python and Ansible leave beside it.
    fn source_digest(&self, path: &Utf8Path) -> io::Result<Digest> {
        self.digest(path)
    }

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
    /// Whether the template and `source_pin` decide the source's disk. Where nobody can know what the
    /// source is now, they do not, and the source step's result is not used again.
    pub source_known: bool,
    /// What the steps' `url:` and `command:` inputs are right now, by their text. One that is not here was
    /// not asked for, and decides nothing.
    pub asked: &'r BTreeMap<String, Digest>,
}

/// Makes the plan, or reports every file that is missing.
pub fn plan(request: &Request<'_>) -> Result<Plan, PlanError> {
    let mut planner = Planner {
        request,
        keys: Keys {
            tool: request.tool,
            secret_key: request.secret_key,
            secrets: &request.resolved.secrets,
            parent: None,
        },
        steps: Vec::new(),
        missing: Vec::new(),
    };
    planner.source()?;
    planner.boot()?;
    planner.provisions()?;
    planner.seal()?;
    planner.publish()?;
    planner.verify()?;
    planner.finish()
}

pub(crate) struct Planner<'r> {
    pub(crate) request: &'r Request<'r>,
    keys: Keys<'r>,
    steps: Vec<Step>,
    missing: Vec<Diagnostic>,
}

impl Planner<'_> {
    fn finish(self) -> Result<Plan, PlanError> {
        if !self.missing.is_empty() {
            return Err(self.request.template.diagnostics(self.missing).into());
        }
        let secrets: BTreeSet<&String> = self.steps.iter().flat_map(|step| &step.secrets).collect();
        let secrets = secrets.into_iter().cloned().collect();
        let spec = &self.request.resolved.spec;
        Ok(Plan {
            template: self.request.template.path().to_owned(),
            image: spec.image.clone(),
            machine: self.request.resolved.machine.clone(),
            ssh: spec.ssh.clone(),
            cache: spec.cache.clone(),
            converge: spec.converge.clone(),
            steps: self.steps,
            digest: self.keys.parent.unwrap_or_else(|| Digest::sha256("")),
            secrets,
        })
    }

    /// Adds a step whose result `inputs` decide; `cache`: whether they do so fully.
    pub(crate) fn push(
        &mut self,
        inputs: Inputs,
        kind: StepKind,
        cache: bool,
    ) -> Result<(), PlanError> {
        // Names from the kind, not the inputs: a header may be left out of the key, yet be needed.
        let secrets = names(&json_of(&inputs.step, &kind)?).into_iter().collect();
        let (key, named) = self.keys.next(&inputs)?;
        self.steps.push(Step {
            name: inputs.step,
            key,
            kind,
            files: inputs.files,
            inputs: named,
            secrets,
            cache,
        });
        Ok(())
    }

    /// Adds the bytes of a file that the value at `place` names; `written` is the path there.
    pub(crate) fn file(
        &mut self,
        inputs: &mut Inputs,
        place: &str,
        written: &Utf8Path,
        path: &Utf8Path,
    ) {
        let digest = self.request.files.digest(path);
        self.take(inputs, place, (written, path), digest);
    }

    /// As [`Self::file`], of source code.
    pub(crate) fn source_code(
        &mut self,
        inputs: &mut Inputs,
        place: &str,
        written: &Utf8Path,
        path: &Utf8Path,
    ) {
        let digest = self.request.files.source_digest(path);
        self.take(inputs, place, (written, path), digest);
    }

    fn take(
        &mut self,
        inputs: &mut Inputs,
        place: &str,
        (written, path): (&Utf8Path, &Utf8Path),
        digest: io::Result<Digest>,
    ) {
        match digest {
            Ok(digest) => {
                let file = FileInput { path: path.to_owned(), digest };
                inputs.file(shown(written).as_str(), file);
            }
            Err(error) => self.unreadable(place, path, &error),
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
}
