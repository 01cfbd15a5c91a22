//! Runs an ansible step.

use std::convert::identity;
use std::io;
use std::pin::pin;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BuildError, BuildErrorKind, Provisioner, StepContext, StepEnd};
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Command, Job, Tail, Tool};
use imgbake_types::spec::{ProvisionSpec, ProvisionerKind};
use secrecy::ExposeSecret;
use tokio::net::unix::pipe;

use super::connection::Connection;
use super::events;
use super::files::{Files, HOST};
use super::spec::{AnsibleSpec, DRY};
use crate::error::{StepError, last_lines};
use crate::guest::Results;

const PLAYBOOK: Tool = Tool::new("ansible-playbook", "ansible-core");
const GALAXY: Tool = Tool::new("ansible-galaxy", "ansible-core");
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
        let spec: AnsibleSpec = spec.read().map_err(|error| {
            BuildError::new(BuildErrorKind::Usage, format!("step `{name}`: {error}"))
        })?;
        check(job, &spec).await.map_err(|error| error.of(name))
    }

    async fn provision(&self, context: &StepContext<'_>) -> Result<StepEnd, BuildError> {
        let spec: AnsibleSpec = context.settings()?;
        let ran = run(context, &spec).await;
        ran.map(|()| StepEnd::Running).map_err(|error| error.of(context.name))
    }
}

/// Ansible is there, and reads the playbook.
async fn check(job: &Job, spec: &AnsibleSpec) -> Result<(), StepError> {
    let command = PLAYBOOK.command()?;
    // What is not installed or opened yet cannot be read.
    if spec.requirements.is_some() || spec.vault_password.is_some() {
        return Ok(());
    }
    let folder = spec.playbook.parent().unwrap_or(Utf8Path::new("/"));
    let command = paths(quiet(command), spec, None)
        .args(["--syntax-check", "--inventory", "default,"])
        .arg(&spec.playbook)
        .current_dir(folder);
    let output = command.output(job).await?;
    if output.status.success() {
        return Ok(());
    }
    let words = output.stderr.trim();
    Err(StepError::Usage(format!("Ansible cannot read the playbook:\n{words}")))
}

async fn run(context: &StepContext<'_>, spec: &AnsibleSpec) -> Result<(), StepError> {
    DRY.check(&spec.args)?;
    let files = Files::write(context.job, spec, context.access)?;
    let folder = spec.playbook.parent().unwrap_or(Utf8Path::new("/"));
    if let Some(requirements) = &spec.requirements {
        install(context, &files, folder, requirements).await?;
    }
    let connection = Connection::open(context, &files)?;
    let ran = match command(context, spec, &files, folder, &connection) {
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
    let limit = spec.timeout();
    let path = files.path("results");
    // Open for both: it has a reader before Ansible writes, and no end before we have read all.
    let pipe = pipe::OpenOptions::new().read_write(true).open_receiver(&path);
    let pipe = pipe.map_err(io_at("open", &path))?;
    let (mut lines, mut whole) = (Lines::default(), Vec::new());
    let record =
        |line: &str, results: &mut Results| events::take(line, results, context.recorder, identity);
    let (mut results, mut tail) = (Results::default(), Tail::default());
    let ended = {
        let running = command.stream(context.job, |stream, line| {
            context.recorder.output(stream, &line);
            tail.push(stream, line);
        });
        let mut running = pin!(tokio::time::timeout(limit.duration(), running));
        loop {
            tokio::select! {
                ready = pipe.readable() => {
                    ready.map_err(io_at("read", &path))?;
                    lines.take(&pipe, &mut whole).map_err(io_at("read", &path))?;
                }
                ended = &mut running => break ended,
            }
            whole.drain(..).for_each(|line| record(&line, &mut results));
        }
    };
    lines.take(&pipe, &mut whole).map_err(io_at("read", &path))?;
    for line in &whole {
        record(line, &mut results);
    }
    let how = match ended {
        Err(_) => format!("it timed out after {limit} and was ended"),
        Ok(status) => {
            let status = status?;
            let code = status.code();
            if let Some(code) = code {
                context.recorder.exit_code(code);
            }
            match (code, &results.failed) {
                (Some(0), _) => match results.success(context.recorder) {
                    Some(why) => format!("what it did is unknown: {why}"),
                    None => match events::missed(&results, HOST, context.recorder) {
                        Some(why) => why,
                        None => return Ok(()),
                    },
                },
                (_, Some(task)) => return Err(StepError::Resource(task.clone())),
                _ => format!("`ansible-playbook` failed ({status})"),
            }
        }
    };
    let output = last_lines(&tail);
    Err(StepError::Command { how, tries: String::new(), output })
}

/// The command that runs the playbook.
fn command(
    context: &StepContext<'_>,
    spec: &AnsibleSpec,
    files: &Files,
    folder: &Utf8Path,
    connection: &Connection,
) -> Result<Command, StepError> {
    let mut command = PLAYBOOK
        .command()?
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
    if spec.becomes.unwrap_or(context.access.user != "root") {
        command = command.arg("--become");
    }
    if spec.vault_password.is_some() {
        command = command.arg("--vault-password-file").arg(files.path("vault"));
    }
    command = environment(command.args(&spec.args).arg(&spec.playbook), files)
        .env("ANSIBLE_SSH_ARGS", connection.options())
        .env("ANSIBLE_CALLBACK_PLUGINS", files.plugins())
        .env("ANSIBLE_CALLBACKS_ENABLED", "imgbake_results")
        .env("ANSIBLE_DIFF_ALWAYS", "True")
        .env("IMGBAKE_RESULTS", files.path("results"))
        .current_dir(folder);
    command = paths(command, spec, spec.requirements.as_ref().map(|_| files));
    for (name, value) in &spec.env {
        let value = context.job.secrets().reveal(value);
        command = command.env(name, value.expose_secret());
    }
    Ok(command)
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

/// What every program of Ansible is given: no colours, nothing beside the playbook.
fn quiet(command: Command) -> Command {
    command
        .env("ANSIBLE_FORCE_COLOR", "0")
        .env("ANSIBLE_NOCOLOR", "1")
        .env("ANSIBLE_RETRY_FILES_ENABLED", "False")
        .env("PYTHONUNBUFFERED", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
}

/// What a run is given beside.
fn environment(command: Command, files: &Files) -> Command {
    quiet(command)
        .env("ANSIBLE_HOST_KEY_CHECKING", "True")
        .env("ANSIBLE_LOCAL_TEMP", files.path("tmp"))
        .env("ANSIBLE_PIPELINING", "True")
}

/// Installs roles and collections that the playbook needs.
async fn install(
    context: &StepContext<'_>,
    files: &Files,
    folder: &Utf8Path,
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
        let command = environment(command, files).current_dir(folder);
        let mut tail = Tail::default();
        let running = command.stream(context.job, |stream, line| {
            context.recorder.output(stream, &line);
            tail.push(stream, line);
        });
        let status = running.await?;
        if !status.success() {
            let how = format!("`ansible-galaxy {what} install` failed ({status})");
            let output = last_lines(&tail);
            return Err(StepError::Command { how, tries: String::new(), output });
        }
    }
    Ok(())
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
