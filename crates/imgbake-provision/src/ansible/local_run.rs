//! Runs an ansible-local step.

use std::collections::BTreeMap;

use async_trait::async_trait;
use imgbake_build::{BuildError, Provisioner, StepContext, StepEnd};
use imgbake_comm::shell::quote;
use imgbake_types::spec::ProvisionerKind;

use super::events::Run;
use super::local_files::{HOST, Staged};
use super::local_spec::AnsibleLocalSpec;
use super::run::{OWN_COLLECTIONS, OWN_ROLES, galaxy_failed};
use super::spec::DRY;
use crate::error::StepError;
use crate::guest::{Folder, Tool, ToolStep};

/// Ansible as `install` brings it.
const TOOL: Tool = Tool {
    name: "ansible",
    programs: &["ansible-playbook"],
    key: None,
    folders: &[],
    apt: &["ansible-core|ansible"],
    apk: &["ansible-core"],
    pip: &[],
};
/// The result that says that `ansible-galaxy` failed: what it was to install, and its exit code.
const GALAXY: &str = "galaxy ";

/// Runs ansible-local steps.
#[derive(Debug, Clone, Copy)]
pub struct AnsibleLocal;

impl AnsibleLocal {
    /// The kind: `type = "ansible-local"`.
    pub const KIND: ProvisionerKind = ProvisionerKind::of::<AnsibleLocalSpec>(
        "ansible-local",
        "Runs an Ansible playbook in the machine by its own Ansible.",
    );
}

#[async_trait]
impl Provisioner for AnsibleLocal {
    fn kind(&self) -> ProvisionerKind {
        Self::KIND
    }

    async fn provision(&self, context: &StepContext<'_>) -> Result<StepEnd, BuildError> {
        let spec: AnsibleLocalSpec = context.settings()?;
        let ran = run(context, &spec).await;
        ran.map(|()| StepEnd::Running).map_err(|error| error.of(context.name))
    }
}

async fn run(context: &StepContext<'_>, spec: &AnsibleLocalSpec) -> Result<(), StepError> {
    DRY.check(&spec.args)?;
    let step = ToolStep {
        tool: &TOOL,
        chosen: None,
        install: spec.install.as_ref(),
        env: &spec.env,
        timeout: spec.timeout(),
    };
    step.in_folder(context, async |folder| run_in(context, spec, &step, &folder).await).await
}

async fn run_in(
    context: &StepContext<'_>,
    spec: &AnsibleLocalSpec,
    step: &ToolStep<'_>,
    folder: &Folder<'_>,
) -> Result<(), StepError> {
    let staged = Staged::copy(spec, folder).await?;
    let (mut run, mut galaxy) = (Run::default(), None);
    let mut take = |line: &str| match line.strip_prefix(GALAXY) {
        Some(failed) => galaxy = Some(failed.to_owned()),
        None => run.take(line, context.recorder, |task| staged.copies.resource(task)),
    };
    let script = script(spec, folder, &staged);
    let ended = step.run(context, &script, environment(spec, folder, &staged), &mut take).await?;
    let judged = match galaxy.as_deref().and_then(|failed| failed.split_once(' ')) {
        Some((what, code)) => {
            Err(ended.error(&galaxy_failed(what, &format!("failed with exit code {code}"))))
        }
        None => run.judge(&ended, HOST, context.recorder),
    };
    judged.map_err(|error| staged.copies.error(error))
}

fn environment(
    spec: &AnsibleLocalSpec,
    folder: &Folder<'_>,
    staged: &Staged,
) -> BTreeMap<String, String> {
    let mut env: BTreeMap<String, String> = [
        ("ANSIBLE_FORCE_COLOR", "0".to_owned()),
        ("ANSIBLE_NOCOLOR", "1".to_owned()),
        ("ANSIBLE_RETRY_FILES_ENABLED", "False".to_owned()),
        ("ANSIBLE_DIFF_ALWAYS", "True".to_owned()),
        ("ANSIBLE_CALLBACKS_ENABLED", "imgbake_results".to_owned()),
        ("ANSIBLE_CALLBACK_PLUGINS", folder.path("plugins")),
        ("ANSIBLE_LOCAL_TEMP", folder.path("tmp")),
        ("ANSIBLE_GALAXY_CACHE_DIR", folder.path("galaxy")),
        ("IMGBAKE_RESULTS", folder.path("results")),
        ("PYTHONUNBUFFERED", "1".to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if !staged.roles.is_empty() {
        let path = format!("{}:{OWN_ROLES}", staged.roles.join(":"));
        env.insert("ANSIBLE_ROLES_PATH".to_owned(), path);
    }
    if !staged.collections.is_empty() {
        let path = format!("{}:{OWN_COLLECTIONS}", staged.collections.join(":"));
        // The name before and since ansible-core 2.10.
        env.insert("ANSIBLE_COLLECTIONS_PATHS".to_owned(), path.clone());
        env.insert("ANSIBLE_COLLECTIONS_PATH".to_owned(), path);
    }
    env.extend(spec.env.clone());
    env
}

fn script(spec: &AnsibleLocalSpec, folder: &Folder<'_>, staged: &Staged) -> String {
    let extra_vars = format!("@{}", folder.path("extra_vars.json"));
    let (inventory, vault) = (folder.path("inventory.json"), folder.path("vault"));
    let (tags, skip_tags) = (spec.tags.join(","), spec.skip_tags.join(","));
    let mut words =
        vec!["ansible-playbook", "--inventory", &inventory, "--extra-vars", &extra_vars];
    for (flag, value) in [("--tags", &tags), ("--skip-tags", &skip_tags)] {
        if !value.is_empty() {
            words.extend([flag, value.as_str()]);
        }
    }
    if spec.vault_password.is_some() {
        words.extend(["--vault-password-file", &vault]);
    }
    words.extend(spec.args.iter().map(String::as_str));
    words.push(&staged.playbook);
    let words: Vec<String> = words.into_iter().map(quote).collect();
    let install: Vec<String> = spec
        .requirements
        .iter()
        .flat_map(|_| ["role", "collection"])
        .map(|what| {
            let file = quote(&folder.path("requirements.yml"));
            let to = quote(&folder.path(&format!("installed/{what}s")));
            format!(
                "code=0; ansible-galaxy {what} install -r {file} -p {to} >&2 || code=$?\n\
                 [ $code = 0 ] || {{ echo \"${{mark}}{GALAXY}{what} $code\"; exit $code; }}\n"
            )
        })
        .collect();
    // The shell holds the pipe open until Ansible is done: it has a reader before, and an end after that. The callback
    // writes the mark before each result: `cat` hands it on at once in any machine. Ansible prints to standard error, so
    // that its output cannot stand within a result.
    format!(
        "cd {play}\n{install}\
         mkfifo -m 0600 {results}\nexec 3<>{results}\n\
         cat <{results} 3>&- &\n\
         code=0; IMGBAKE_MARK=$mark {command} >&2 3>&- || code=$?\n\
         exec 3>&-\nwait\nexit $code\n",
        play = quote(&folder.path("play")),
        install = install.concat(),
        results = quote(&folder.path("results")),
        command = words.join(" "),
    )
}
