//! Runs a salt step.

use std::collections::BTreeMap;

use async_trait::async_trait;
use camino::Utf8Path;
use imgbake_build::{BuildError, Provisioner, StepContext, StepEnd};
use imgbake_comm::shell::quote;
use imgbake_runtime::Job;
use imgbake_types::record::step::Resource;
use imgbake_types::spec::{ProvisionSpec, ProvisionerKind};
use serde_json::{Value, json};

use super::results::{self, Output};
use super::spec::{DRY, SaltSpec};
use crate::error::{StepError, settings};
use crate::guest::{Ended, ExitCodes, Folder, NOT_YAML, READ_YAML, Results, Tool, ToolStep};
use crate::host;

/// Salt as `install` brings it: few distributions have a package of it.
const TOOL: Tool = Tool {
    name: "salt",
    programs: &["salt-call"],
    key: Some("salt_bin"),
    folders: &["/opt/saltstack/salt"],
    apt: &["gcc", "python3-dev", "python3-venv"],
    apk: &["gcc", "musl-dev", "linux-headers", "python3-dev"],
    pip: &["salt"],
};
/// Exit codes with `--retcode-passthrough`; with 1, Salt did not begin.
const CODES: ExitCodes = ExitCodes { program: "salt-call", success: &[0], failed: &[2] };
/// Where the template's configuration is.
const MINION_CONFIG: &str = "etc/merged/1-minion.conf";
/// More than this is not read.
const MOST_RESULTS: usize = 32 << 20;

/// Runs salt steps.
#[derive(Debug, Clone, Copy)]
pub struct Salt;

impl Salt {
    /// The kind: `type = "salt"`.
    pub const KIND: ProvisionerKind =
        ProvisionerKind::of::<SaltSpec>("salt", "Applies Salt states in the machine.");
}

#[async_trait]
impl Provisioner for Salt {
    fn kind(&self) -> ProvisionerKind {
        Self::KIND
    }

    async fn check(&self, job: &Job, name: &str, spec: &ProvisionSpec) -> Result<(), BuildError> {
        let spec: SaltSpec = settings(name, spec)?;
        check(job, &spec).await.map_err(|error| error.of(name))
    }

    async fn provision(&self, context: &StepContext<'_>) -> Result<StepEnd, BuildError> {
        let spec: SaltSpec = context.settings()?;
        let ran = run(context, &spec).await;
        ran.map(|()| StepEnd::Running).map_err(|error| error.of(context.name))
    }
}

/// The minion's configuration is YAML: Salt would leave out one that is not.
async fn check(job: &Job, spec: &SaltSpec) -> Result<(), StepError> {
    let Some(path) = &spec.minion_config else { return Ok(()) };
    let text = tokio::fs::read_to_string(path).await.map_err(|error| {
        StepError::Usage(format!("`minion_config`: {path} cannot be read: {error}"))
    })?;
    host::not_yaml(job, &text).await?.map_or(Ok(()), |words| Err(not_yaml(path, &words)))
}

fn not_yaml(path: &Utf8Path, words: &str) -> StepError {
    StepError::Usage(format!("`minion_config`: {path} cannot be read as YAML:\n{words}"))
}

async fn run(context: &StepContext<'_>, spec: &SaltSpec) -> Result<(), StepError> {
    DRY.check(&spec.args)?;
    let step = ToolStep {
        tool: &TOOL,
        chosen: spec.salt_bin.as_deref(),
        install: spec.install.as_ref(),
        env: &spec.env,
        timeout: spec.timeout(),
    };
    step.in_folder(context, async |folder| run_in(context, spec, &step, &folder).await).await
}

async fn run_in(
    context: &StepContext<'_>,
    spec: &SaltSpec,
    step: &ToolStep<'_>,
    folder: &Folder<'_>,
) -> Result<(), StepError> {
    folder.copy(&spec.states, "states").await?;
    if let Some(pillar) = &spec.pillar {
        folder.copy(pillar, "pillar").await?;
    }
    configure(spec, folder).await?;
    let (mut text, mut is_cut) = (String::new(), false);
    let mut take = |line: &str| match line {
        // A line that was too long comes empty. Without it, the rest may still be read, as something else.
        "" => is_cut = true,
        _ if is_cut || text.len() + line.len() > MOST_RESULTS => is_cut = true,
        _ => text.extend([line, "\n"]),
    };
    let ended = step.run(context, &script(spec, folder), spec.env.clone(), &mut take).await?;
    if let (Ok(NOT_YAML), Some(path)) = (&ended.exit, &spec.minion_config) {
        return Err(not_yaml(path, &ended.tail.text()));
    }
    let read =
        if is_cut { Err("its results are too long".to_owned()) } else { results::read(&text) };
    drop(text);
    judge(context, spec, &ended, read)
}

/// What the results and the exit code say together.
fn judge(
    context: &StepContext<'_>,
    spec: &SaltSpec,
    ended: &Ended,
    read: Result<Output, String>,
) -> Result<(), StepError> {
    let code = match &ended.exit {
        Ok(code) => *code,
        Err(how) => return Err(ended.error(how)),
    };
    let states = match read {
        Ok(Output::States(states)) => states,
        Ok(Output::Refused(reasons)) => {
            let reasons = reasons.join("\n");
            return Err(ended.error(&format!("Salt applied nothing (exit code {code}): {reasons}")));
        }
        Err(why) if code == 0 => return Err(ended.unknown(&why)),
        Err(why) => {
            return Err(ended.error(&format!("`salt-call` ended with exit code {code}, and {why}")));
        }
    };
    let mut results = Results::complete();
    for state in states {
        results.resource(placed(state, &spec.states), context.recorder);
    }
    results.judge(&CODES, ended, context.recorder, |_| None).map(drop)
}

/// A resource with the host's file that declares it, and the line where that is plain.
fn placed(mut resource: Resource, states: &Utf8Path) -> Resource {
    let Some(sls) = resource.file.take() else { return resource };
    let path = states.join(sls.replace('.', "/"));
    let files = [path.with_added_extension("sls"), path.join("init.sls")];
    let Some(file) = files.iter().find(|file| file.is_file()) else {
        resource.file = Some(format!("SLS {sls}"));
        return resource;
    };
    let id = resource.name.split_once(": ").map_or(resource.name.as_str(), |(id, _)| id);
    resource.line = std::fs::read_to_string(file).ok().and_then(|text| {
        results::line_of(&text, &resource.name).or_else(|| results::line_of(&text, id))
    });
    resource.file = Some(file.to_string());
    resource
}

/// Writes the configuration. Salt reads its main file, then what `default_include` names and then what `include` names
/// there. Files of the first are merged; a key of the second replaces what was before it. The template's own file is
/// one of the first, so that nothing in it, however it is written, decides what imgbake sets.
async fn configure(spec: &SaltSpec, folder: &Folder<'_>) -> Result<(), StepError> {
    let main = json!({ "default_include": "merged/*.conf", "include": "imgbake.conf" });
    // JSON is YAML.
    folder.write_json("etc/minion", &main).await?;
    if let Some(config) = &spec.minion_config {
        folder.copy(config, MINION_CONFIG).await?;
    }
    if !spec.pillar_vars.is_empty() {
        folder.write_json("pillar.json", &json!(spec.pillar_vars)).await?;
    }
    folder.write_json("etc/merged/2-step.conf", &merged(spec, folder)).await?;
    folder.write_json("etc/imgbake.conf", &config(spec, folder)).await
}

/// What the step adds to the template's configuration.
fn merged(spec: &SaltSpec, folder: &Folder<'_>) -> Value {
    let mut config = json!({});
    if !spec.pillar_vars.is_empty() {
        let command = format!("cat {}", quote(&folder.path("pillar.json")));
        config["ext_pillar"] = json!([{ "cmd_json": command }]);
    }
    if !spec.grains.is_empty() {
        config["grains"] = json!(spec.grains);
    }
    config
}

/// What imgbake sets: everything that Salt writes is in the folder, so that no image has it.
fn config(spec: &SaltSpec, folder: &Folder<'_>) -> Value {
    let mut config = json!({
        "root_dir": folder.path("root"),
        "file_client": "local",
        "file_roots": { spec.saltenv(): [folder.path("states")] },
        "pillar_roots": {},
        "log_level_logfile": "quiet",
    });
    if spec.pillar.is_some() {
        let environments = ["base", spec.saltenv()].map(|name| (name, [folder.path("pillar")]));
        config["pillar_roots"] = json!(BTreeMap::from(environments));
    }
    config
}

fn script(spec: &SaltSpec, folder: &Folder<'_>) -> String {
    let (config, out) = (folder.path("etc"), folder.path("results.json"));
    let mut words = vec![
        "--local",
        "--config-dir",
        &config,
        "--out=json",
        "--out-file",
        &out,
        "--retcode-passthrough",
        "--no-color",
        "state.apply",
    ];
    let states = spec.state.join(",");
    if !states.is_empty() {
        words.push(&states);
    }
    let saltenv = format!("saltenv={}", spec.saltenv());
    words.push(&saltenv);
    words.extend(spec.args.iter().map(String::as_str));
    // Pillar, grains and configuration may say otherwise.
    words.push("test=False");
    let words: Vec<String> = words.into_iter().map(quote).collect();
    let check = spec.minion_config.as_ref().map(|_| {
        let config = quote(&folder.path(MINION_CONFIG));
        format!("{READ_YAML}read_yaml {config} \"$(command -v \"$tool\")\"\n")
    });
    format!(
        "{check}code=0; \"$tool\" {words} || code=$?\nresults {out}\nexit $code\n",
        check = check.unwrap_or_default(),
        words = words.join(" "),
        out = quote(&out),
    )
}
