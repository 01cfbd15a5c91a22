//! Runs a puppet step.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BuildError, Provisioner, StepContext, StepEnd};
use imgbake_comm::shell::quote;
use imgbake_runtime::error::io_at;
use imgbake_runtime::job::remove_path;
use imgbake_runtime::{Job, Tool};
use imgbake_types::spec::{ProvisionSpec, ProvisionerKind};
use serde_json::json;
use uuid::Uuid;

use super::run::{Run, config, tool};
use super::spec::{DRY, PuppetSpec};
use super::staged::{stage, together};
use crate::error::{StepError, check_public, settings};
use crate::guest::{Copies, Folder, ToolStep};
use crate::host::{self, Look};

const PUPPET: Tool = Tool::new("puppet", "puppet");
/// Puppet's own folders. On Debian each has a fixed place, wherever the others are.
const OWN_FOLDERS: [&str; 6] = ["confdir", "codedir", "vardir", "ssldir", "logdir", "rundir"];

/// Runs puppet steps.
#[derive(Debug, Clone, Copy)]
pub struct Puppet;

impl Puppet {
    /// The kind: `type = "puppet"`.
    pub const KIND: ProvisionerKind = ProvisionerKind::of::<PuppetSpec>(
        "puppet",
        "Applies a Puppet manifest in the machine, without a server.",
    );
}

#[async_trait]
impl Provisioner for Puppet {
    fn kind(&self) -> ProvisionerKind {
        Self::KIND
    }

    async fn check(&self, job: &Job, name: &str, spec: &ProvisionSpec) -> Result<(), BuildError> {
        let spec: PuppetSpec = settings(name, spec)?;
        check(job, name, &spec).await.map_err(|error| error.of(name))
    }

    async fn provision(&self, context: &StepContext<'_>) -> Result<StepEnd, BuildError> {
        let spec: PuppetSpec = context.settings()?;
        let ran = provision(context, &spec).await;
        ran.map(|()| StepEnd::Running).map_err(|error| error.of(context.name))
    }
}

/// A Puppet of this host, where there is one, reads the manifest.
async fn check(job: &Job, name: &str, spec: &PuppetSpec) -> Result<(), StepError> {
    let Ok(command) = PUPPET.command() else { return Ok(()) };
    let own = job.work().join(format!("puppet-{}", Uuid::new_v4().simple()));
    DirBuilder::new().mode(0o700).create(&own).map_err(io_at("make the folder", &own))?;
    let mut command = command.args(["parser", "validate", "--color=false"]);
    for name in OWN_FOLDERS {
        command = command.arg(format!("--{name}")).arg(own.join(name));
    }
    let looked = host::look(job, command.arg(&spec.manifest)).await;
    remove_path(&own)?;
    let reason = match looked? {
        Look::Good => return Ok(()),
        // What a Puppet that does not run at all prints is no mistake of the manifest.
        Look::Bad(_, words)
            if words.contains("Could not parse") || words.contains("Syntax error") =>
        {
            return Err(StepError::Usage(format!("Puppet cannot read the manifest:\n{words}")));
        }
        Look::Bad(code, words) => format!("exit code {code}:\n{words}"),
        Look::Unknown(why) => why,
    };
    let message = format!("step `{name}`: the manifest cannot be checked before it runs: {reason}");
    job.events().warn(message);
    Ok(())
}

async fn provision(context: &StepContext<'_>, spec: &PuppetSpec) -> Result<(), StepError> {
    check_public("certname", spec.certname.as_deref())?;
    check_public("environment", spec.environment.as_deref())?;
    DRY.check(&spec.args)?;
    let step = tool(spec.puppet_bin.as_deref(), spec.install.as_ref(), &spec.env, spec.timeout);
    step.in_folder(context, async |folder| run(context, spec, &step, &folder).await).await
}

async fn run(
    context: &StepContext<'_>,
    spec: &PuppetSpec,
    step: &ToolStep<'_>,
    folder: &Folder<'_>,
) -> Result<(), StepError> {
    let mut copies = Copies::default();
    let mut env = spec.env.clone();
    // With resources by chance, `apply` is the application of that: see its file.
    let mut args = vec!["apply".to_owned(), "--show_diff".to_owned()];
    if let Some(seed) = context.shuffle {
        args = vec!["imgbake_shuffle".to_owned(), "--show_diff".to_owned()];
        env.insert("IMGBAKE_SEED".to_owned(), seed.to_string());
    }
    args.extend(spec.args.iter().cloned());
    args.extend(
        ["--color=false", "--detailed-exitcodes", "--report", "--no-noop", "--ignoreschedules"]
            .map(str::to_owned),
    );
    args.extend(["--reports", "imgbake_results", "--libdir"].map(str::to_owned));
    args.push(folder.path("lib"));
    if !spec.modules.is_empty() {
        let mut paths = Vec::new();
        for (at, modules) in spec.modules.iter().enumerate() {
            paths.push(stage(&mut copies, folder, modules, &format!("modules/{at}")).await?);
        }
        paths.push("$basemodulepath".to_owned());
        args.extend(["--modulepath".to_owned(), paths.join(":")]);
    }
    if let Some(config) = &spec.hiera_config {
        args.extend(["--hiera_config".to_owned(), hiera(spec, folder, &mut copies, config).await?]);
    }
    if !spec.facts.is_empty() {
        folder.write_json("facts.d/imgbake.json", &json!(spec.facts)).await?;
        args.extend(["--pluginfactdest".to_owned(), folder.path("facts.d")]);
    }
    if let Some(certname) = &spec.certname {
        args.extend(["--certname".to_owned(), certname.clone()]);
    }
    let name = spec.manifest.file_name().unwrap_or("manifest");
    args.push(stage(&mut copies, folder, &spec.manifest, &format!("manifest/{name}")).await?);
    let script = format!(
        "{}code=0\nrun_puppet \"$@\" || code=$?\nresults \"$folder/results\"\nexit \"$code\"",
        environment(spec, folder)
    );
    let run = Run { step, what: "puppet apply", args, script, env };
    run.run(context, folder, &copies).await
}

/// Hiera's configuration and data in the machine; gives the path of the former.
async fn hiera(
    spec: &PuppetSpec,
    folder: &Folder<'_>,
    copies: &mut Copies,
    config: &Utf8Path,
) -> Result<String, StepError> {
    let mut name = config.file_name().unwrap_or("hiera.yaml").to_owned();
    if let Some(data) = &spec.hiera_data {
        let names = together(&real(config), &real(data));
        stage(copies, folder, data, &format!("hiera/{}", names.1)).await?;
        name = names.0;
    }
    stage(copies, folder, config, &format!("hiera/{name}")).await
}

/// A path whose folders are no links and no `..`.
fn real(path: &Utf8Path) -> Utf8PathBuf {
    let real = match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => folder.canonicalize_utf8().map(|folder| folder.join(name)),
        _ => path.canonicalize_utf8(),
    };
    // What is not there is an error when it is copied.
    real.unwrap_or_else(|_| path.to_owned())
}

/// The part of the script that makes an environment which the machine does not have.
fn environment(spec: &PuppetSpec, folder: &Folder<'_>) -> String {
    let Some(name) = &spec.environment else { return String::new() };
    let (name, made) = (quote(name), quote(&folder.path("environments")));
    let own = config("environmentpath", &spec.args);
    format!(
        "mkdir -p {made}/{name}\nown={own}\n\
         set -- \"$@\" --environmentpath \"${{own:+$own:}}\"{made} --environment {name}\n"
    )
}
