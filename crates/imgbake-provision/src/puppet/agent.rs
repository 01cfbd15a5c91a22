//! Runs a puppet-agent step.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;

use async_trait::async_trait;
use camino::Utf8PathBuf;
use imgbake_build::{BuildError, Provisioner, StepContext, StepEnd};
use imgbake_comm::transfer;
use imgbake_runtime::error::io_at;
use imgbake_types::Digest;
use imgbake_types::spec::ProvisionerKind;

use super::run::{Run, config, tool};
use super::spec::{DRY, PuppetAgentSpec};
use crate::error::{StepError, check_public};
use crate::guest::{Copies, Folder, ToolStep, step_name};

const AGENT: &str = include_str!("agent.sh");

/// Runs puppet-agent steps.
#[derive(Debug, Clone, Copy)]
pub struct PuppetAgent;

impl PuppetAgent {
    /// The kind: `type = "puppet-agent"`.
    pub const KIND: ProvisionerKind = ProvisionerKind::of::<PuppetAgentSpec>(
        "puppet-agent",
        "Runs the machine's Puppet agent once against a server.",
    );
}

#[async_trait]
impl Provisioner for PuppetAgent {
    fn kind(&self) -> ProvisionerKind {
        Self::KIND
    }

    async fn provision(&self, context: &StepContext<'_>) -> Result<StepEnd, BuildError> {
        let spec: PuppetAgentSpec = context.settings()?;
        let ran = provision(context, &spec).await;
        ran.map(|()| StepEnd::Running).map_err(|error| error.of(context.name))
    }
}

async fn provision(context: &StepContext<'_>, spec: &PuppetAgentSpec) -> Result<(), StepError> {
    check_public("server", [spec.server.as_str()])?;
    check_public("certname", spec.certname.as_deref())?;
    check_public("environment", spec.environment.as_deref())?;
    DRY.check(&spec.args)?;
    let step = tool(spec.puppet_bin.as_deref(), spec.install.as_ref(), &spec.env, spec.timeout);
    step.in_folder(context, async |folder| run(context, spec, &step, &folder).await).await
}

async fn run(
    context: &StepContext<'_>,
    spec: &PuppetAgentSpec,
    step: &ToolStep<'_>,
    folder: &Folder<'_>,
) -> Result<(), StepError> {
    let keys = keys(context);
    if keys.is_dir() {
        folder.copy(&keys, "ssl").await?;
    }
    let run = Run {
        step,
        what: "puppet agent",
        args: arguments(spec, folder),
        script: script(spec),
        env: spec.env.clone(),
    };
    run.run(context, folder, &Copies::default()).await?;
    // The server knows these, and no others, at the second run that shows whether the step converges.
    if !keys.is_dir() {
        DirBuilder::new().mode(0o700).create(&keys).map_err(io_at("make the folder", &keys))?;
        let bytes = transfer::download_dir(context.comm, &folder.path("ssl"), &keys).await?;
        context.recorder.moved(bytes);
    }
    Ok(())
}

/// Where the job keeps the keys of this step's node.
fn keys(context: &StepContext<'_>) -> Utf8PathBuf {
    context.job.work().join(format!("puppet-ssl-{}", Digest::sha256(step_name(context)).short()))
}

fn arguments(spec: &PuppetAgentSpec, folder: &Folder<'_>) -> Vec<String> {
    let mut args: Vec<String> = ["agent", "--show_diff", "--verbose"].map(str::to_owned).into();
    args.extend(spec.args.iter().cloned());
    // What `--test` means, and no colours.
    for flag in [
        "--onetime",
        "--no-daemonize",
        "--no-splay",
        "--no-usecacheonfailure",
        "--detailed-exitcodes",
        "--color=false",
        "--no-noop",
        "--ignoreschedules",
    ] {
        args.push(flag.to_owned());
    }
    let wait = spec.waitforcert.map_or(0, |span| span.duration().as_secs());
    args.extend(["--waitforcert".to_owned(), wait.to_string()]);
    args.extend(["--ssldir".to_owned(), folder.path("ssl")]);
    args.extend(["--lastrunreport".to_owned(), folder.path("report.yaml")]);
    args.extend(["--server".to_owned(), spec.server.clone()]);
    for (flag, value) in [("--certname", &spec.certname), ("--environment", &spec.environment)] {
        if let Some(value) = value {
            args.extend([flag.to_owned(), value.clone()]);
        }
    }
    args
}

/// The run, with what it must know of the machine's own settings.
fn script(spec: &PuppetAgentSpec) -> String {
    let of_agent: Vec<String> = ["--section", "agent"]
        .map(str::to_owned)
        .into_iter()
        .chain(spec.args.iter().cloned())
        .collect();
    let ssldir = config("ssldir", &of_agent);
    // Whether there is a report is the machine's to say: it goes to the server as well.
    let report = config("report", &of_agent);
    // Since Puppet 8, a report leaves out what did not change; older ones do not know the setting.
    let leaves_out = config("exclude_unchanged_resources", &of_agent);
    format!(
        "ssldir={ssldir}\nreport={report}\n\
         [ \"{leaves_out}\" != true ] || set -- \"$@\" --no-exclude_unchanged_resources\n{AGENT}"
    )
}
