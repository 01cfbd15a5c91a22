//! Runs a salt step.

use std::collections::BTreeMap;

use async_trait::async_trait;
use camino::Utf8Path;
use imgbake_build::{BuildError, BuildErrorKind, Provisioner, StepContext, StepEnd};
use imgbake_comm::shell::quote;
use imgbake_runtime::Job;
use imgbake_types::record::step::Resource;
use imgbake_types::spec::{ProvisionSpec, ProvisionerKind};
use serde_json::{Value, json};

use super::results::{self, Output};
use super::spec::{DRY, SaltSpec};
use crate::error::StepError;
use crate::guest::install::{self, Tool};
use crate::guest::{End, Ended, Folder, Program, Results};

/// What the script says where there is no Salt.
const MISSING: &str = "missing";
/// Salt as `install` brings it: few distributions have a package of it.
const TOOL: Tool = Tool {
    name: "salt",
    program: "salt-call",
    folders: &[],
    apt: &["gcc", "python3-dev", "python3-venv"],
    apk: &["gcc", "musl-dev", "linux-headers", "python3-dev"],
    pip: &["salt"],
};
/// More than this is not read.
const MOST_RESULTS: usize = 64 << 20;

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

    async fn check(&self, _: &Job, name: &str, spec: &ProvisionSpec) -> Result<(), BuildError> {
        let spec: SaltSpec = spec.read().map_err(|error| {
            BuildError::new(BuildErrorKind::Usage, format!("step `{name}`: {error}"))
        })?;
        check_config(&spec).await.map_err(|error| error.of(name))
    }

    async fn provision(&self, context: &StepContext<'_>) -> Result<StepEnd, BuildError> {
        let spec: SaltSpec = context.settings()?;
        let ran = run(context, &spec).await;
        ran.map(|()| StepEnd::Running).map_err(|error| error.of(context.name))
    }
}

/// The minion's configuration leaves alone what this step sets by other files.
async fn check_config(spec: &SaltSpec) -> Result<(), StepError> {
    let Some(path) = &spec.minion_config else { return Ok(()) };
    let text = tokio::fs::read_to_string(path).await.map_err(|error| {
        StepError::Usage(format!("`minion_config`: {path} cannot be read: {error}"))
    })?;
    let sets = |key: &str| {
        text.lines().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')))
    };
    if sets("default_include") {
        let what =
            format!("`default_include` in {path} would leave out what imgbake sets: take it out");
        return Err(StepError::Usage(what));
    }
    if sets("ext_pillar") && !spec.pillar_vars.is_empty() {
        let what = format!(
            "`pillar_vars` are an ext_pillar, and {path} has its own: put the variables into `pillar` instead"
        );
        return Err(StepError::Usage(what));
    }
    Ok(())
}

async fn run(context: &StepContext<'_>, spec: &SaltSpec) -> Result<(), StepError> {
    check_config(spec).await?;
    DRY.check(&spec.args)?;
    install::if_wanted(context, &TOOL, spec.install.as_ref(), &spec.env).await?;
    let folder = Folder::make(context).await?;
    let ran = run_in(context, spec, &folder).await;
    let removed = folder.remove().await;
    ran.and(removed)
}

async fn run_in(
    context: &StepContext<'_>,
    spec: &SaltSpec,
    folder: &Folder<'_>,
) -> Result<(), StepError> {
    folder.copy(&spec.states, "states").await?;
    if let Some(pillar) = &spec.pillar {
        folder.copy(pillar, "pillar").await?;
    }
    match &spec.minion_config {
        Some(config) => folder.copy(config, "etc/minion").await?,
        None => folder.write("etc/minion", "").await?,
    }
    if !spec.pillar_vars.is_empty() {
        folder.write_json("pillar.json", &json!(spec.pillar_vars)).await?;
    }
    // JSON is YAML; Salt reads it after the minion's own file.
    folder.write_json("etc/minion.d/zz-imgbake.conf", &config(spec, folder)).await?;

    let program =
        Program { script: script(spec, folder), env: spec.env.clone(), timeout: spec.timeout() };
    let (mut text, mut is_missing, mut is_cut) = (String::new(), false, false);
    let mut take = |line: &str| match line {
        MISSING => is_missing = true,
        // A line that was too long comes empty. Without it, the rest may still be read, as something else.
        "" => is_cut = true,
        _ if is_cut || text.len() + line.len() > MOST_RESULTS => is_cut = true,
        _ => text.extend([line, "\n"]),
    };
    let ended = program.run(context, &mut take).await?;
    if is_missing {
        let what = format!(
            "`{}` is not in the machine: set `install = true`, or install Salt in a step before this one (Debian has no package of it; \
             salt-minion from the Salt Project's repository, or `pip install salt`), or give its path in `salt_bin`",
            spec.salt_bin()
        );
        return Err(StepError::Usage(what));
    }
    let read =
        if is_cut { Err("its results are too long".to_owned()) } else { results::read(&text) };
    judge(context, spec, &ended, read)
}

/// What the results and the exit code say together.
///
/// Exit codes with `--retcode-passthrough`: 0 all went well, 1 Salt did not begin, 2 a state failed.
fn judge(
    context: &StepContext<'_>,
    spec: &SaltSpec,
    ended: &Ended,
    read: Result<Output, String>,
) -> Result<(), StepError> {
    let mut results = Results::default();
    if let Ok(Output::States(states)) = &read {
        for state in states {
            results.resource(placed(state.clone(), &spec.states), context.recorder);
        }
        let counts = results.counts;
        results.end = Some(End { changed: counts.changed, failed: counts.failed, rescued: 0 });
    }
    let success = ended.exit == Ok(0);
    let contradiction = |results: &Results| {
        if success { results.success(context.recorder) } else { results.contradiction(false) }
    };
    match (&ended.exit, read) {
        (Err(how), _) => Err(ended.error(how)),
        (Ok(_), Ok(Output::Refused(reasons))) => {
            Err(ended.error(&format!("Salt applied nothing: {}", reasons.join("\n"))))
        }
        (Ok(0), Err(why)) => Err(ended.error(&format!("what it did is unknown: {why}"))),
        (Ok(code), Err(why)) => {
            Err(ended.error(&format!("`salt-call` ended with exit code {code}, and {why}")))
        }
        (Ok(code), Ok(Output::States(_))) => match (contradiction(&results), results.failed)
        {
            (None, None) if success => Ok(()),
            (Some(why), _) => Err(ended.error(&format!("what it did is unknown: {why}"))),
            (None, Some(state)) => Err(StepError::Resource(state)),
            (None, None) => Err(ended.error(&format!(
                "what it did is unknown: `salt-call` ended with exit code {code}, and no state failed"
            ))),
        },
    }
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

/// What imgbake sets: everything that Salt writes is in the folder, so that no image has it.
fn config(spec: &SaltSpec, folder: &Folder<'_>) -> Value {
    let mut config = json!({
        "root_dir": folder.path("root"),
        "file_client": "local",
        "file_roots": { spec.saltenv(): [folder.path("states")] },
        "log_level_logfile": "quiet",
    });
    if spec.pillar.is_some() {
        let environments = ["base", spec.saltenv()].map(|name| (name, [folder.path("pillar")]));
        config["pillar_roots"] = json!(BTreeMap::from(environments));
    } else {
        config["pillar_roots"] = json!({});
    }
    if !spec.pillar_vars.is_empty() {
        let command = format!("cat {}", quote(&folder.path("pillar.json")));
        config["ext_pillar"] = json!([{ "cmd_json": command }]);
    }
    if !spec.grains.is_empty() {
        config["grains"] = json!(spec.grains);
    }
    config
}

fn script(spec: &SaltSpec, folder: &Folder<'_>) -> String {
    let (config, out) = (folder.path("etc"), folder.path("results.json"));
    let mut words = vec![
        spec.salt_bin(),
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
    format!(
        "command -v {bin} >/dev/null 2>&1 || {{ echo \"${{mark}}{MISSING}\"; exit 127; }}\n\
         code=0; {command} || code=$?\n\
         [ ! -f {out} ] || sed \"s/^/$mark/\" {out}\n\
         exit $code\n",
        bin = quote(spec.salt_bin()),
        command = words.join(" "),
        out = quote(&out),
    )
}
