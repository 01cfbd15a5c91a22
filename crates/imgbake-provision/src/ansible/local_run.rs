//! Runs an ansible-local step.

use std::collections::BTreeMap;

use async_trait::async_trait;
use imgbake_build::{BuildError, Provisioner, StepContext, StepEnd};
use imgbake_comm::shell::quote;
use imgbake_types::spec::ProvisionerKind;

use super::events;
use super::local_files::{HOST, Staged};
use super::local_spec::AnsibleLocalSpec;
use super::run::{OWN_COLLECTIONS, OWN_ROLES};
use super::spec::DRY;
use crate::error::StepError;
use crate::guest::install::{self, Tool};
use crate::guest::{Ended, Folder, Program, Results};

/// What the script says where there is no Ansible.
const MISSING: &str = "missing";
/// Ansible as `install` brings it.
const TOOL: Tool = Tool {
    name: "ansible",
    program: "ansible-playbook",
    folders: &[],
    apt: &["ansible-core|ansible"],
    apk: &["ansible-core"],
    pip: &[],
};

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
    install::if_wanted(context, &TOOL, spec.install.as_ref(), &spec.env).await?;
    let folder = Folder::make(context).await?;
    let ran = run_in(context, spec, &folder).await;
    let removed = folder.remove().await;
    ran.and(removed)
}

async fn run_in(
    context: &StepContext<'_>,
    spec: &AnsibleLocalSpec,
    folder: &Folder<'_>,
) -> Result<(), StepError> {
    let staged = Staged::copy(spec, folder).await?;
    let program = Program {
        script: script(spec, folder, &staged),
        env: environment(spec, folder, &staged),
        timeout: spec.timeout(),
    };
    let (mut results, mut is_missing) = (Results::default(), false);
    let mut take = |line: &str| match line {
        MISSING => is_missing = true,
        _ => {
            events::take(line, &mut results, context.recorder, |task| staged.copies.resource(task));
        }
    };
    let ended = program.run(context, &mut take).await?;
    if is_missing {
        let what = "`ansible-playbook` is not in the machine: set `install = true`, install it in a step before this one (Debian and \
                    Ubuntu: the package ansible-core), or run the playbook from the host with type = \"ansible\"";
        return Err(StepError::Usage(what.to_owned()));
    }
    judge(context, &ended, results).map_err(|error| match error {
        StepError::Command { how, tries, output } => {
            StepError::Command { how, tries, output: staged.copies.text(&output) }
        }
        other => other,
    })
}

fn judge(context: &StepContext<'_>, ended: &Ended, results: Results) -> Result<(), StepError> {
    match &ended.exit {
        Err(how) => Err(ended.error(how)),
        Ok(0) => match results.success(context.recorder) {
            None => match events::missed(&results, HOST, context.recorder) {
                None => Ok(()),
                Some(why) => Err(ended.error(&why)),
            },
            Some(why) => Err(ended.error(&format!("what it did is unknown: {why}"))),
        },
        Ok(code) => Err(match results.failed {
            Some(task) => StepError::Resource(task),
            None => ended.error(&format!("`ansible-playbook` failed with exit code {code}")),
        }),
    }
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
            format!("ansible-galaxy {what} install -r {file} -p {to} >&2\n")
        })
        .collect();
    // The shell holds the pipe open until Ansible is done: it has a reader before, and an end after that. Ansible
    // prints to standard error, so that its output cannot stand within a result.
    format!(
        "command -v ansible-playbook >/dev/null 2>&1 || {{ echo \"${{mark}}{MISSING}\"; exit 127; }}\n\
         cd {play}\n{install}\
         mkfifo -m 0600 {results}\nexec 3<>{results}\n\
         sed -u \"s/^/$mark/\" <{results} 3>&- &\n\
         code=0; {command} >&2 3>&- || code=$?\n\
         exec 3>&-\nwait\nexit $code\n",
        play = quote(&folder.path("play")),
        install = install.concat(),
        results = quote(&folder.path("results")),
        command = words.join(" "),
    )
}
