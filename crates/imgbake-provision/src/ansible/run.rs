//! Runs an ansible step.

use std::convert::identity;
use std::io;
use std::pin::pin;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BuildError, Provisioner, StepContext, StepEnd};
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Command, Job, Tool};
use imgbake_types::spec::{ProvisionSpec, ProvisionerKind};
use secrecy::ExposeSecret;
use tokio::net::unix::pipe;

use super::connection::Connection;
use super::events::Run;
use super::files::{Files, HOST};
use super::spec::{AnsibleSpec, DRY};
use crate::error::{StepError, settings};
use crate::host::{self, Look};

const PLAYBOOK: Tool = Tool::new("ansible-playbook", "ansible-core");
const GALAXY: Tool = Tool::new("ansible-galaxy", "ansible-core");
/// The exit code of Ansible where it cannot read a playbook.
const UNREADABLE: i32 = 4;
/// Where Ansible looks for roles and collections by itself.
pub(super) const OWN_ROLES: &str = "~/.ansible/roles:/usr/share/ansible/roles:/etc/ansible/roles";
pub(super) const OWN_COLLECTIONS: &str = "~/.ansible/collections:/usr/share/ansible/collections";

/// Runs ansible steps.
#[derive(Debug, Clone, Copy)]
pub struct Ansible;

impl Ansible {
    /// The kind: `type = "ansible"`.
    pub const KIND: ProvisionerKind = ProvisionerKind::of::<AnsibleSpec>(
        "ansible",
        "Runs an Ansible playbook on the host against the machine.",
    );
}

#[async_trait]
impl Provisioner for Ansible {
    fn kind(&self) -> ProvisionerKind {
        Self::KIND
    }

    async fn check(&self, job: &Job, name: &str, spec: &ProvisionSpec) -> Result<(), BuildError> {
        let spec: AnsibleSpec = settings(name, spec)?;
        check(job, name, &spec).await.map_err(|error| error.of(name))
    }

    async fn provision(&self, context: &StepContext<'_>) -> Result<StepEnd, BuildError> {
        let spec: AnsibleSpec = context.settings()?;
        let ran = run(context, &spec).await;
        ran.map(|()| StepEnd::Running).map_err(|error| error.of(context.name))
    }
}

/// Ansible is there, and reads the playbook with what the run gives it.
async fn check(job: &Job, name: &str, spec: &AnsibleSpec) -> Result<(), StepError> {
    let command = PLAYBOOK.command()?;
    // What is not installed yet cannot be read.
    if spec.requirements.is_some() {
        return Ok(());
    }
    let files = Files::write(job, spec, None)?;
    let command = arguments(command, spec, &files).arg("--syntax-check");
    let command = environment(command, job, spec, &files);
    let reason = match host::look(job, command).await? {
        Look::Good => return Ok(()),
        Look::Bad(code, words) if code == UNREADABLE || lacks(&words) => {
            let message = format!("Ansible cannot read the playbook:\n{words}");
            return Err(StepError::Usage(message));
        }
        Look::Bad(code, words) => format!("exit code {code}:\n{words}"),
        Look::Unknown(why) => why,
    };
    let message = format!("step `{name}`: the playbook cannot be checked before it runs: {reason}");
    job.events().warn(message);
    Ok(())
}

/// Whether what Ansible printed says that a file of the playbook is not there.
fn lacks(words: &str) -> bool {
    let is_file = words.contains("the role '") || words.contains("the playbook: ");
    is_file && (words.contains("was not found") || words.contains("could not be found"))
}

async fn run(context: &StepContext<'_>, spec: &AnsibleSpec) -> Result<(), StepError> {
    DRY.check(&spec.args)?;
    let files = Files::write(context.job, spec, Some(context.access))?;
    if let Some(requirements) = &spec.requirements {
        install(context, spec, &files, requirements).await?;
    }
    let connection = Connection::open(context, &files)?;
    let ran = match command(context, spec, &files, &connection) {
        Ok(command) => play(context, spec, &files, command).await,
        Err(error) => Err(error),
    };
    connection.close().await;
    ran
}

/// Runs the playbook's command and reads its results.
async fn play(
    context: &StepContext<'_>,
    spec: &AnsibleSpec,
    files: &Files,
    command: Command,
) -> Result<(), StepError> {
    let path = files.path("results");
    // Open for both: it has a reader before Ansible writes, and no end before we have read all.
    let pipe = pipe::OpenOptions::new().read_write(true).open_receiver(&path);
    let pipe = pipe.map_err(io_at("open", &path))?;
    let (mut lines, mut whole) = (Lines::default(), Vec::new());
    let mut run = Run::default();
    let mut take = |line: String| run.take(&line, context.recorder, identity);
    let ended = {
        let mut running = pin!(host::run(context, command, spec.timeout()));
        loop {
            tokio::select! {
                ready = pipe.readable() => {
                    ready.map_err(io_at("read", &path))?;
                    lines.take(&pipe, &mut whole).map_err(io_at("read", &path))?;
                }
                ended = &mut running => break ended?,
            }
            whole.drain(..).for_each(&mut take);
        }
    };
    lines.take(&pipe, &mut whole).map_err(io_at("read", &path))?;
    whole.drain(..).for_each(&mut take);
    run.judge(&ended, HOST, context.recorder)
}

/// The command that runs the playbook.
fn command(
    context: &StepContext<'_>,
    spec: &AnsibleSpec,
    files: &Files,
    connection: &Connection,
) -> Result<Command, StepError> {
    let mut command = arguments(PLAYBOOK.command()?, spec, files)
        .env("ANSIBLE_SSH_ARGS", connection.options())
        .env("ANSIBLE_CALLBACK_PLUGINS", files.plugins())
        .env("ANSIBLE_CALLBACKS_ENABLED", "imgbake_results")
        .env("ANSIBLE_DIFF_ALWAYS", "True")
        .env("IMGBAKE_RESULTS", files.path("results"));
    if spec.becomes.unwrap_or(context.access.user != "root") {
        command = command.arg("--become");
    }
    Ok(environment(command, context.job, spec, files))
}

/// The arguments by which it reads the playbook.
fn arguments(command: Command, spec: &AnsibleSpec, files: &Files) -> Command {
    let mut command = command
        .arg("--inventory")
        .arg(files.path("inventory.json"))
        .arg("--extra-vars")
        .arg(format!("@{}", files.path("extra_vars.json")));
    for (flag, values) in [("--tags", &spec.tags), ("--skip-tags", &spec.skip_tags)] {
        if !values.is_empty() {
            command = command.arg(flag).arg(values.join(","));
        }
    }
    if let Some(limit) = &spec.limit {
        command = command.arg("--limit").arg(limit);
    }
    if spec.vault_password.is_some() {
        command = command.arg("--vault-password-file").arg(files.path("vault"));
    }
    command.args(&spec.args).arg(&spec.playbook)
}

/// The environment of a program of Ansible, and the folder that it runs in.
fn environment(command: Command, job: &Job, spec: &AnsibleSpec, files: &Files) -> Command {
    let folder = spec.playbook.parent().unwrap_or(Utf8Path::new("/"));
    let command = command
        .env("ANSIBLE_FORCE_COLOR", "0")
        .env("ANSIBLE_NOCOLOR", "1")
        .env("ANSIBLE_RETRY_FILES_ENABLED", "False")
        .env("ANSIBLE_HOST_KEY_CHECKING", "True")
        .env("ANSIBLE_LOCAL_TEMP", files.path("tmp"))
        .env("ANSIBLE_PIPELINING", "True")
        .env("PYTHONUNBUFFERED", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(folder);
    let mut command = paths(command, spec, spec.requirements.as_ref().map(|_| files));
    for (name, value) in &spec.env {
        let value = job.secrets().reveal(value);
        command = command.env(name, value.expose_secret());
    }
    command
}

/// Where roles and collections are, beside where Ansible looks by itself; `installed` has some more.
fn paths(mut command: Command, spec: &AnsibleSpec, installed: Option<&Files>) -> Command {
    let joined = |given: &[Utf8PathBuf], name: &str, own: &str| {
        let installed = installed.map(|files| files.path(name));
        let all: Vec<&str> = given.iter().chain(&installed).map(|path| path.as_str()).collect();
        (!all.is_empty()).then(|| format!("{}:{own}", all.join(":")))
    };
    if let Some(path) = joined(&spec.roles_path, "roles", OWN_ROLES) {
        command = command.env("ANSIBLE_ROLES_PATH", path);
    }
    if let Some(path) = joined(&spec.collections_path, "collections", OWN_COLLECTIONS) {
        // The name before and since ansible-core 2.10.
        command =
            command.env("ANSIBLE_COLLECTIONS_PATH", &path).env("ANSIBLE_COLLECTIONS_PATHS", path);
    }
    command
}

/// Installs roles and collections that the playbook needs.
async fn install(
    context: &StepContext<'_>,
    spec: &AnsibleSpec,
    files: &Files,
    requirements: &Utf8Path,
) -> Result<(), StepError> {
    for (what, to) in [("role", files.path("roles")), ("collection", files.path("collections"))] {
        let command = GALAXY.command()?.args([
            what,
            "install",
            "-r",
            requirements.as_str(),
            "-p",
            to.as_str(),
        ]);
        let command = environment(command, context.job, spec, files);
        let ended = host::run(context, command, spec.timeout()).await?;
        let how = match &ended.exit {
            Ok(0) => continue,
            Ok(code) => galaxy_failed(what, &format!("failed with exit code {code}")),
            Err(how) => galaxy_failed(what, &format!("failed: {how}")),
        };
        return Err(ended.error(&how));
    }
    Ok(())
}

/// The message of an installation that failed: not the playbook did.
pub(super) fn galaxy_failed(what: &str, how: &str) -> String {
    format!("`ansible-galaxy {what} install` of `requirements` {how}")
}

/// A longer line is no result.
const MOST_LINE: usize = 1 << 20;

/// Lines that come through a pipe.
#[derive(Default)]
struct Lines {
    /// The beginning of the next one.
    begun: Vec<u8>,
}

impl Lines {
    /// Takes what has come; gives the lines that are whole. Of one that is too long nothing is kept but that it was
    /// there.
    fn take(&mut self, pipe: &pipe::Receiver, whole: &mut Vec<String>) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        loop {
            let read = match pipe.try_read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            for part in buffer[..read].split_inclusive(|byte| *byte == b'\n') {
                if self.begun.len() <= MOST_LINE {
                    self.begun.extend_from_slice(part);
                }
                if part.last() == Some(&b'\n') {
                    let line = std::mem::take(&mut self.begun);
                    whole.push(String::from_utf8_lossy(&line).trim_end().to_owned());
                }
            }
        }
    }
}
