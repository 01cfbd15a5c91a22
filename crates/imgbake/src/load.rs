//! From a template's path to its plan.

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::Sealer;
use imgbake_plan::{FsHasher, PlanError, Request};
use imgbake_runtime::{Home, Secrets};
use imgbake_seal::GuestSealer;
use imgbake_template::{CheckOptions, Resolved, Template, Variables};
use imgbake_types::Plan;

use crate::cli::VariableArgs;
use crate::config::Config;
use crate::failure::Failure;

/// A plan, and the values that its markers stand for.
pub struct Loaded {
    /// The plan.
    pub plan: Plan,
    /// The sensitive values.
    pub secrets: Secrets,
}

/// Reads a template and its variables, and makes the plan.
pub fn load(config: &Config, path: &Utf8Path, variables: &VariableArgs) -> Result<Loaded, Failure> {
    let home = Home::new(config.home.clone());
    home.ensure()?;
    let template = read(path)?;
    let resolved = resolve(config, &template, variables)?;
    let plan = make(&template, &resolved, &home.secret_key()?)?;
    let secrets = Secrets::default();
    for (name, value) in &resolved.secrets {
        secrets.add(name, value.expose());
    }
    Ok(Loaded { plan, secrets })
}

/// Checks a template as far as can be without a home: nothing is made.
pub fn validate(
    config: &Config,
    path: &Utf8Path,
    variables: &VariableArgs,
) -> Result<Plan, Failure> {
    let template = read(path)?;
    let resolved = resolve(config, &template, variables)?;
    make(&template, &resolved, &[0; 32])
}

fn read(path: &Utf8Path) -> Result<Template, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read the template {path}: {error}")))?;
    let operations: Vec<&str> =
        GuestSealer::new().operations().iter().map(|operation| operation.name).collect();
    let options = CheckOptions { seal_operations: &operations };
    imgbake_template::parse_with(path, &text, &options)
        .map_err(|found| Failure::diagnostics(&found))
}

fn resolve(config: &Config, template: &Template, args: &VariableArgs) -> Result<Resolved, Failure> {
    let mut variables = Variables::new();
    for file in &args.var_files {
        let text = std::fs::read_to_string(file).map_err(|error| {
            Failure::usage(format!("cannot read the variable file {file}: {error}"))
        })?;
        variables.add_file(file, &text).map_err(|found| Failure::diagnostics(&found))?;
    }
    variables.add_environment(config.variables.clone());
    for flag in &args.vars {
        variables.add_flag(flag).map_err(|found| Failure::diagnostics(&found))?;
    }
    template.resolve(&variables).map_err(|found| Failure::diagnostics(&found))
}

fn make(template: &Template, resolved: &Resolved, secret_key: &[u8]) -> Result<Plan, Failure> {
    let no_path = |error| Failure::usage(format!("the working folder has no usable path: {error}"));
    let path = camino::absolute_utf8(template.path()).map_err(no_path)?;
    let template_dir = path.parent().map_or_else(|| Utf8PathBuf::from("/"), Utf8Path::to_owned);
    let work_dir = camino::absolute_utf8(Utf8Path::new(".")).map_err(no_path)?;
    let request = Request {
        template,
        resolved,
        template_dir: &template_dir,
        work_dir: &work_dir,
        files: &FsHasher::new(),
        secret_key,
        tool: crate::TOOL,
        source_pin: None,
        source_known: true,
    };
    imgbake_plan::plan(&request).map_err(|error| match error {
        PlanError::Template(found) => Failure::diagnostics(&found),
        key @ PlanError::Key { .. } => Failure::internal(key.to_string()),
    })
}
