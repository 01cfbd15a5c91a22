//! From templates' paths to plans.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{Components, Pin, Sealer};
use imgbake_plan::{FsHasher, PlanError, Request};
use imgbake_runtime::{Home, Job, RuntimeError, attributes};
use imgbake_seal::GuestSealer;
use imgbake_source::StepInputs;
use imgbake_template::{CheckOptions, Resolved, Schema, Template, Variables};
use imgbake_types::glob::matches;
use imgbake_types::spec::{ImageSpec, SourceSpec};
use imgbake_types::{Digest, MachineSpec, Plan, Reference, StepKind};

use crate::app::App;
use crate::cli::{SelectionArgs, VariableArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::text;

/// One build: a template with one combination of its matrix filled in.
#[derive(Clone)]
pub struct Unit {
    template: Template,
    resolved: Resolved,
}

impl Unit {
    /// The template's path as given.
    pub fn path(&self) -> &Utf8Path {
        self.template.path()
    }

    /// `[image]`
    pub fn image(&self) -> &ImageSpec {
        &self.resolved.spec.image
    }

    /// `[builder]`
    pub fn machine(&self) -> &MachineSpec {
        &self.resolved.machine
    }

    /// The version that it is based on, where its source is one of the registry.
    pub fn parent(&self) -> Option<Reference> {
        self.resolved.spec.source.image.as_deref()?.parse().ok()
    }

    /// The name of the image that it is based on, where its source is one of the local registry: an image of
    /// that name in another is none of these builds'.
    pub fn parent_image(&self) -> Option<String> {
        Some(self.parent().filter(|parent| parent.host.is_none())?.name)
    }

    /// The same, based on a version of the registry.
    pub fn on(&self, version: &Reference) -> Self {
        let mut unit = self.clone();
        unit.resolved.spec.source =
            SourceSpec { image: Some(version.to_string()), ..SourceSpec::default() };
        unit
    }

    /// The sensitive values that were given, by their variables' names.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &str)> {
        self.resolved.secrets.iter().map(|(name, value)| (name.as_str(), value.expose()))
    }
}

/// Reads templates and their variables: one unit for each combination of each template's matrix, as far as it
/// is selected.
pub fn units(
    app: &App,
    given: &[Utf8PathBuf],
    selection: &SelectionArgs,
    variables: &VariableArgs,
) -> Result<Vec<Unit>, Failure> {
    let schema = app.wiring.schema();
    let mut paths = Vec::new();
    for path in given {
        paths.extend(template_paths(path)?);
    }
    let templates = paths.iter().map(|path| read(path, &schema)).collect::<Result<Vec<_>, _>>()?;
    for flag in &variables.vars {
        let name = flag.split('=').next().unwrap_or_default();
        if templates.len() > 1 && !templates.iter().any(|template| template.declares(name)) {
            return Err(Failure::usage(format!("no template declares the variable `{name}`")));
        }
    }
    let one = templates.len() == 1;
    let declared: Vec<String> = templates
        .iter()
        .flat_map(|template| template.variables().map(|variable| variable.name.clone()))
        .collect();
    let mut units = Vec::new();
    for template in templates {
        let known =
            |flag: &&String| one || template.declares(flag.split('=').next().unwrap_or_default());
        let vars: Vec<String> = variables.vars.iter().filter(known).cloned().collect();
        let mut values = values(&app.config, &VariableArgs { vars, ..variables.clone() })?;
        values.allow(declared.iter().cloned());
        let all = template.resolve_all(&values).map_err(|found| Failure::diagnostics(&found))?;
        for (_, resolved) in all {
            units.push(Unit { template: template.clone(), resolved });
        }
    }
    select(units, selection)
}

/// The templates that a path means: of a folder its `image.toml`, else all that are in it.
fn template_paths(path: &Utf8Path) -> Result<Vec<Utf8PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let image = path.join("image.toml");
    if image.exists() {
        return Ok(vec![image]);
    }
    let unreadable = |error| RuntimeError::io("read the folder", path, error);
    let mut found = Vec::new();
    for entry in path.read_dir_utf8().map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.into_path();
        if path.extension() == Some("toml") && path.file_name() != Some("imgbake.toml") {
            found.push(path);
        }
    }
    if found.is_empty() {
        return Err(Failure::usage(format!("there is no template in the folder {path}")));
    }
    found.sort();
    Ok(found)
}

/// The units that `--only` and `--except` leave.
fn select(units: Vec<Unit>, selection: &SelectionArgs) -> Result<Vec<Unit>, Failure> {
    for (flag, patterns) in [("only", &selection.only), ("except", &selection.except)] {
        for pattern in patterns {
            if !units.iter().any(|unit| matches(pattern, &unit.image().name)) {
                let names: Vec<&str> =
                    units.iter().map(|unit| unit.image().name.as_str()).collect();
                return Err(Failure::usage(format!(
                    "--{flag} {pattern}: no template builds such an image; there are {}",
                    names.join(", ")
                )));
            }
        }
    }
    let named = |patterns: &[String], unit: &Unit| {
        patterns.iter().any(|pattern| matches(pattern, &unit.image().name))
    };
    let left: Vec<Unit> = units
        .into_iter()
        .filter(|unit| selection.only.is_empty() || named(&selection.only, unit))
        .filter(|unit| !named(&selection.except, unit))
        .collect();
    if left.is_empty() {
        return Err(Failure::usage("--only and --except leave no build".to_owned()));
    }
    Ok(left)
}

/// Makes a unit's plan; its source is asked what it is right now.
pub async fn plan(
    home: &Home,
    unit: &Unit,
    components: &Components,
    job: &Job,
) -> Result<Plan, Failure> {
    let files =
        FsHasher::with_memo(&home.cache().join("digests.json")).with_attributes(attributes_of);
    let key = home.secret_key()?;
    let texts = unit.resolved.provision.iter().flat_map(|step| &step.spec.inputs);
    let dir = template_dir(unit)?;
    let asked = StepInputs::default().ask(job, &dir, texts.map(String::as_str)).await?;
    let make = |pin, known| make(unit, &files, &key, &asked, (pin, known));
    let plan = make(Some(""), true)?;
    let Some((_, source)) = plan.source() else { return Ok(plan) };
    let provider = components.source(source)?;
    match job.cancel().run(provider.pin(job, source, plan.image.arch)).await?? {
        Pin::Fixed => make(None, true),
        ref now @ Pin::Now(ref text) => {
            let mut plan = make(Some(text), true)?;
            // What was found now is what is fetched, whatever the name comes to mean meanwhile.
            let pinned = imgbake_source::pinned(source, now);
            for step in &mut plan.steps {
                if let StepKind::Source { source } = &mut step.kind {
                    source.clone_from(&pinned);
                }
            }
            Ok(plan)
        }
        Pin::Unknown(why) => {
            job.events().info(format!("no layer of this build is kept: {why}"));
            make(None, false)
        }
    }
}

/// Checks templates as far as can be without a home: nothing is made, and nobody is asked.
pub fn validate(
    app: &App,
    path: &Utf8Path,
    variables: &VariableArgs,
) -> Result<Vec<Plan>, Failure> {
    let units = units(app, &[path.to_owned()], &SelectionArgs::default(), variables)?;
    let (files, asked) = (FsHasher::new(), BTreeMap::new());
    units.iter().map(|unit| make(unit, &files, &[0; 32], &asked, (None, true))).collect()
}

/// What a file step copies beside a file's bytes.
fn attributes_of(path: &Utf8Path) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    attributes::read(path).map(|found| found.carried)
}

fn read(path: &Utf8Path, schema: &Schema) -> Result<Template, Failure> {
    let text = text::read("template", path)?;
    let operations: Vec<&str> =
        GuestSealer::new().operations().iter().map(|operation| operation.name).collect();
    let options = CheckOptions { schema, seal_operations: &operations };
    imgbake_template::parse_with(path, &text, &options)
        .map_err(|found| Failure::diagnostics(&found))
}

fn values(config: &Config, args: &VariableArgs) -> Result<Variables, Failure> {
    let mut variables = Variables::new();
    for file in &args.var_files {
        let text = text::read("variable file", file)?;
        variables.add_file(file, &text).map_err(|found| Failure::diagnostics(&found))?;
    }
    variables.add_environment(config.variables.clone());
    for flag in &args.vars {
        variables.add_flag(flag).map_err(|found| Failure::diagnostics(&found))?;
    }
    Ok(variables)
}

/// The folder of a unit's template, absolute.
fn template_dir(unit: &Unit) -> Result<Utf8PathBuf, Failure> {
    let path = absolute(unit.path())?;
    Ok(path.parent().map_or_else(|| Utf8PathBuf::from("/"), Utf8Path::to_owned))
}

fn absolute(path: &Utf8Path) -> Result<Utf8PathBuf, Failure> {
    camino::absolute_utf8(path)
        .map_err(|error| Failure::usage(format!("the working folder has no usable path: {error}")))
}

fn make(
    unit: &Unit,
    files: &FsHasher,
    secret_key: &[u8],
    asked: &BTreeMap<String, Digest>,
    (source_pin, source_known): (Option<&str>, bool),
) -> Result<Plan, Failure> {
    let template_dir = template_dir(unit)?;
    let work_dir = absolute(Utf8Path::new("."))?;
    let request = Request {
        template: &unit.template,
        resolved: &unit.resolved,
        template_dir: &template_dir,
        work_dir: &work_dir,
        files,
        secret_key,
        tool: crate::TOOL,
        source_pin,
        source_known,
        asked,
    };
    imgbake_plan::plan(&request).map_err(|error| match error {
        PlanError::Template(found) => Failure::diagnostics(&found),
        key @ PlanError::Key { .. } => Failure::internal(key.to_string()),
    })
}
