//! Runs a cloud-init step.

use async_trait::async_trait;
use imgbake_build::{BuildError, Provisioner, StepContext, StepEnd};
use imgbake_runtime::{Job, Tool as HostTool};
use imgbake_types::Digest;
use imgbake_types::spec::{ProvisionSpec, ProvisionerKind};
use serde_json::{Map, Value, json};

use super::results::{End, Results};
use super::spec::CloudInitSpec;
use super::user_data::{self, KINDS, Kind};
use crate::error::{StepError, settings};
use crate::guest::{Folder, NOT_YAML, Program, READ_YAML, Tool, ToolStep, assignments, step_name};
use crate::host::{self, Look};

const SCRIPT: &str = include_str!("run.sh");
const TOOL: Tool = Tool {
    name: "cloud-init",
    programs: &["cloud-init"],
    key: None,
    folders: &[],
    apt: &["cloud-init"],
    apk: &["cloud-init"],
    pip: &[],
};
const SCHEMA: HostTool = HostTool::new("cloud-init", "cloud-init");
/// What the user-data may say otherwise: what a distribution does at a first boot unasked is left to the image's own.
const DEFAULTS: &str = "#cloud-config
users: []
disable_root: false
locale: false
ssh_genkeytypes: []
no_ssh_fingerprints: true
ssh: {emit_keys_to_console: false}
growpart: {mode: 'off'}
resize_rootfs: false
";

/// Runs cloud-init steps.
#[derive(Debug, Clone, Copy)]
pub struct CloudInit;

impl CloudInit {
    /// The kind: `type = "cloud-init"`.
    pub const KIND: ProvisionerKind = ProvisionerKind::of::<CloudInitSpec>(
        "cloud-init",
        "Applies user-data by the machine's cloud-init.",
    );
}

#[async_trait]
impl Provisioner for CloudInit {
    fn kind(&self) -> ProvisionerKind {
        Self::KIND
    }

    async fn check(&self, job: &Job, name: &str, spec: &ProvisionSpec) -> Result<(), BuildError> {
        let spec: CloudInitSpec = settings(name, spec)?;
        check(job, name, &spec).await.map_err(|error| error.of(name))
    }

    async fn provision(&self, context: &StepContext<'_>) -> Result<StepEnd, BuildError> {
        let spec: CloudInitSpec = context.settings()?;
        let ran = run(context, &spec).await;
        ran.map(|()| StepEnd::Running).map_err(|error| error.of(context.name))
    }
}

/// The user-data is of a kind that cloud-init knows, and YAML where it says so.
async fn check(job: &Job, name: &str, spec: &CloudInitSpec) -> Result<(), StepError> {
    let Some((text, Kind::CloudConfig)) = read(spec).await? else { return Ok(()) };
    if let Some(words) = host::not_yaml(job, &text).await? {
        return Err(not_yaml(&words));
    }
    // The machine's cloud-init may know more than this host's, or less: what this one says is no more than a hint.
    if let Ok(command) = SCHEMA.command() {
        let file = job.work().join("user-data.yaml");
        let written = tokio::fs::write(&file, &text).await;
        written.map_err(|source| StepError::Write { path: file.clone(), source })?;
        let command = command.args(["schema", "--config-file"]).arg(&file);
        if let Look::Bad(_, words) = host::look(job, command).await? {
            job.events().warn(format!("step `{name}`: this host's cloud-init says: {words}"));
        }
    }
    Ok(())
}

fn not_yaml(words: &str) -> StepError {
    StepError::Usage(format!("the user-data cannot be read as YAML:\n{words}"))
}

/// The user-data and its kind; nothing where it is no text, such as a compressed one.
async fn read(spec: &CloudInitSpec) -> Result<Option<(String, Kind)>, StepError> {
    let text = match (&spec.user_data, &spec.content) {
        (Some(path), None) => {
            let bytes = tokio::fs::read(path).await;
            let bytes = bytes.map_err(|error| {
                StepError::Usage(format!("cannot read the user-data {path}: {error}"))
            })?;
            match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(_) => return Ok(None),
            }
        }
        (None, Some(text)) => text.clone(),
        _ => {
            let what = "it needs either `user_data` or `content`";
            return Err(StepError::Usage(what.to_owned()));
        }
    };
    let kind =
        user_data::kind(&text).map_err(|error| StepError::Usage(format!("{error}: {KINDS}")))?;
    Ok(Some((text, kind)))
}

async fn run(context: &StepContext<'_>, spec: &CloudInitSpec) -> Result<(), StepError> {
    let data = read(spec).await?;
    for key in data.iter().flat_map(|(text, _)| user_data::restarts(text)) {
        context
            .recorder
            .warn(&format!("`{key}` of the user-data is not followed: the machine stays on"));
    }
    let step = ToolStep {
        tool: &TOOL,
        chosen: None,
        install: spec.install.as_ref(),
        env: &spec.env,
        timeout: spec.timeout(),
    };
    step.ensure(context).await?;
    Folder::with(context, async |folder| run_in(context, spec, data, &folder).await).await
}

async fn run_in(
    context: &StepContext<'_>,
    spec: &CloudInitSpec,
    data: Option<(String, Kind)>,
    folder: &Folder<'_>,
) -> Result<(), StepError> {
    match (&spec.user_data, &data) {
        (Some(path), _) => folder.copy(path, "user-data").await?,
        (None, Some((text, _))) => folder.write("user-data", text).await?,
        (None, None) => {}
    }
    let meta = meta_data(step_name(context), spec);
    // JSON is YAML.
    folder.write_json("meta-data", &Value::Object(meta)).await?;
    folder.write("vendor-data", DEFAULTS).await?;
    folder.write_json("cloud.cfg", &settings_of(folder)).await?;
    let is_yaml = matches!(data, Some((_, Kind::CloudConfig)));
    apply(context, spec, folder, is_yaml).await
}

/// Runs its stages and judges what they did.
async fn apply(
    context: &StepContext<'_>,
    spec: &CloudInitSpec,
    folder: &Folder<'_>,
    is_yaml: bool,
) -> Result<(), StepError> {
    let dir = folder.path("");
    let yaml = if is_yaml { "1" } else { "" };
    let assigned = assignments(&[("DIR", dir.trim_end_matches('/')), ("YAML", yaml)]);
    let script = format!("{assigned}{READ_YAML}{SCRIPT}");
    let program = Program { script, env: spec.env.clone(), timeout: spec.timeout() };
    let mut results = Results::default();
    let mut take = |line: &str| {
        if let Some(module) = results.take(line) {
            context.recorder.resource(module);
        }
    };
    let ended = program.run(context, &mut take).await?;
    for warning in results.warnings() {
        context.recorder.warn(warning);
    }
    match &ended.exit {
        Ok(0) => {}
        Ok(NOT_YAML) => return Err(not_yaml(&ended.tail.text())),
        Ok(code) => return Err(ended.error(&format!("cannot run cloud-init (exit code {code})"))),
        Err(how) => return Err(ended.error(how)),
    }
    match results.end(&folder.path("cloud/seed/nocloud")) {
        End::Done => Ok(()),
        End::Failed(failed) => {
            for module in &failed {
                context.recorder.resource(module.clone());
            }
            match failed.into_iter().next() {
                // The script's own words are in the output alone.
                Some(first) if first.name.starts_with("scripts-") => {
                    let why = first.message.as_deref().unwrap_or("it gives no reason");
                    Err(ended.error(&format!("{} failed: {why}", first.title())))
                }
                Some(first) => Err(StepError::Resource(Box::new(first))),
                None => Err(ended.error("cloud-init failed")),
            }
        }
        End::Other(why) => Err(ended.error(&format!("cloud-init failed: {why}"))),
        End::Unknown(why) => Err(ended.error(&format!("what it did is unknown: {why}"))),
    }
}

/// The instance's own name makes every module run that runs once for each instance.
fn meta_data(step: &str, spec: &CloudInitSpec) -> Map<String, Value> {
    let id = format!("imgbake-{}", Digest::sha256(step).short());
    let mut meta = Map::from_iter([("instance-id".to_owned(), json!(id))]);
    meta.extend(spec.meta_data.clone());
    meta
}

/// What must hold whatever the user-data says: where cloud-init works and logs, and that the build keeps its access.
fn settings_of(folder: &Folder<'_>) -> Value {
    let log = format!(
        "[loggers]\nkeys=root,cloudinit\n[handlers]\nkeys=file\n[formatters]\nkeys=line\n\
         [logger_root]\nlevel=WARNING\nhandlers=file\n\
         [logger_cloudinit]\nlevel=DEBUG\nhandlers=\nqualname=cloudinit\npropagate=1\n\
         [handler_file]\nclass=FileHandler\nlevel=DEBUG\nformatter=line\nargs=(\"{}\", \"a\", \"UTF-8\")\n\
         [formatter_line]\nformat=%(created)f|%(levelname)s|%(filename)s|%(message)s\n",
        folder.path("log")
    );
    json!({
        "system_info": {"paths": {"cloud_dir": folder.path("cloud"), "run_dir": folder.path("run")}},
        "datasource_list": ["NoCloud"],
        // Without the build's own seed, which is a disk.
        "datasource": {"NoCloud": {"fs_label": null}},
        "network": {"config": "disabled"},
        "ssh_deletekeys": false,
        "power_state": {"mode": "poweroff", "condition": false},
        "package_reboot_if_required": false,
        "output": {"all": null},
        "logcfg": log,
    })
}
