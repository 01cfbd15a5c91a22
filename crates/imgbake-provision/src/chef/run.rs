//! Runs a chef step.

use async_trait::async_trait;
use imgbake_build::{BuildError, Provisioner, StepContext, StepEnd};
use imgbake_comm::shell::quote;
use imgbake_types::spec::ProvisionerKind;

use super::files::stage;
use super::spec::{ChefSpec, DRY};
use crate::error::StepError;
use crate::guest::{ExitCodes, Folder, Results, Tool, ToolStep};

/// Chef as `install` brings it: no distribution has a package of it, so that the template names packages and where
/// they are from.
const TOOL: Tool = Tool {
    name: "chef",
    programs: &["chef-client", "cinc-client"],
    key: Some("chef_bin"),
    folders: &["/opt/chef/bin", "/opt/cinc/bin"],
    apt: &[],
    apk: &[],
    pip: &[],
};
/// Chef's exit codes (Chef, "Exit codes"): 0 all went well; 35, 37 and 41 are of restarts, 42 of an audit.
const CODES: ExitCodes = ExitCodes { program: "chef-client", success: &[0], failed: &[1] };

/// Runs chef steps.
#[derive(Debug, Clone, Copy)]
pub struct Chef;

impl Chef {
    /// The kind: `type = "chef"`.
    pub const KIND: ProvisionerKind = ProvisionerKind::of::<ChefSpec>(
        "chef",
        "Runs Chef cookbooks in the machine, in local mode.",
    );
}

#[async_trait]
impl Provisioner for Chef {
    fn kind(&self) -> ProvisionerKind {
        Self::KIND
    }

    async fn provision(&self, context: &StepContext<'_>) -> Result<StepEnd, BuildError> {
        let spec: ChefSpec = context.settings()?;
        let ran = run(context, &spec).await;
        ran.map(|()| StepEnd::Running).map_err(|error| error.of(context.name))
    }
}

async fn run(context: &StepContext<'_>, spec: &ChefSpec) -> Result<(), StepError> {
    DRY.check(&spec.args)?;
    let step = ToolStep {
        tool: &TOOL,
        chosen: spec.chef_bin.as_deref(),
        install: spec.install.as_ref(),
        env: &spec.env,
        timeout: spec.timeout(),
    };
    step.in_folder(context, async |folder| run_in(context, spec, &step, &folder).await).await
}

async fn run_in(
    context: &StepContext<'_>,
    spec: &ChefSpec,
    step: &ToolStep<'_>,
    folder: &Folder<'_>,
) -> Result<(), StepError> {
    let copies = stage(spec, folder).await?;
    let mut results = Results::default();
    let mut take =
        |line: &str| results.take(line, context.recorder, |resource| copies.resource(resource));
    let ended = step.run(context, &script(spec, folder), spec.env.clone(), &mut take).await?;
    let judged = results.judge(&CODES, &ended, context.recorder, restart);
    judged.map(drop).map_err(|error| copies.error(error))
}

/// What a code that asks for a restart means for a step.
fn restart(code: i32) -> Option<String> {
    [35, 37, 41].contains(&code).then(|| {
        "Chef asks for a restart of the machine: restart it in a step of `type = \"shell\"` with `reboot`"
            .to_owned()
    })
}

fn script(spec: &ChefSpec, folder: &Folder<'_>) -> String {
    let words = ["--local-mode", "--no-color", "--config"].map(str::to_owned).into_iter();
    let words = words
        .chain([folder.path("client.rb"), "--json-attributes".to_owned()])
        .chain([folder.path("attributes.json")])
        .chain(spec.args.iter().cloned());
    let words: Vec<String> = words.map(|word| quote(&word)).collect();
    format!(
        "code=0; \"$tool\" {words} || code=$?\nresults {results}\nexit $code\n",
        words = words.join(" "),
        results = quote(&folder.path("results")),
    )
}
