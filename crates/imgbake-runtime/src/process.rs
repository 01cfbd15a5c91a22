//! Child processes: found by name, marked as the job's, ended with it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_types::event::Stream;
use rustix::process::{Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

use crate::error::io_at;
use crate::journal::{Entry, MARK};
use crate::{Job, LineRedactor, RuntimeError, RuntimeErrorKind, Tail};

/// Variables with secrets, beside those of templates.
const SENSITIVE: [&[u8]; 3] =
    [b"IMGBAKE_REGISTRY_PASSWORD", b"IMGBAKE_SIGNING_KEY_PEM", b"IMGBAKE_SIGNING_PASSWORD"];

/// A program of the host that imgbake runs, and the Debian package that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// The program's name.
    pub program: &'static str,
    /// Its package on Debian and Ubuntu.
    pub package: &'static str,
}

impl Tool {
    /// Names a program and its package.
    pub const fn new(program: &'static str, package: &'static str) -> Self {
        Self { program, package }
    }

    /// Where it is: in `PATH`, or where administrators' programs are, which a user's `PATH` may lack.
    pub fn find(&self) -> Result<Utf8PathBuf, RuntimeError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "PATH says where the operating system's programs are"
        )]
        let path = std::env::var("PATH").unwrap_or_default();
        path.split(':')
            .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"])
            .filter(|dir| !dir.is_empty())
            .map(|dir| Utf8Path::new(dir).join(self.program))
            .find(|candidate| is_executable(candidate))
            .ok_or_else(|| RuntimeError::missing(self.program, self.package))
    }

    /// A command that runs it.
    pub fn command(&self) -> Result<Command, RuntimeError> {
        Ok(Command::new(self.find()?))
    }
}

fn is_executable(path: &Utf8Path) -> bool {
    path.is_file() && rustix::fs::access(path.as_std_path(), rustix::fs::Access::EXEC_OK).is_ok()
}

/// A command to be run as part of a job.
#[derive(Debug)]
pub struct Command {
    program: Utf8PathBuf,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    /// The variables of ours that it is given, where that is not all.
    inherited: Option<&'static [&'static str]>,
    stdin: Option<Vec<u8>>,
    dir: Option<Utf8PathBuf>,
    log: Option<Utf8PathBuf>,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error's last lines.
    pub stderr: String,
}

impl Command {
    /// A command that runs the program at a path.
    pub fn new(program: impl Into<Utf8PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            envs: Vec::new(),
            inherited: None,
            stdin: None,
            dir: None,
            log: None,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Gives it none of our environment but these variables.
    pub fn inherit_only(mut self, names: &'static [&'static str]) -> Self {
        self.inherited = Some(names);
        self
    }

    /// Gives it standard input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// The folder it runs in.
    pub fn current_dir(mut self, dir: impl Into<Utf8PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Writes both its outputs into a file that is made anew, for a process that may outlive this one:
    /// a pipe would break with its reader.
    pub fn log_to(mut self, path: impl Into<Utf8PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// The program's name, for messages.
    fn name(&self) -> &str {
        self.program.file_name().unwrap_or(self.program.as_str())
    }

    /// Runs it on the user's terminal until it ends: it has our standard input and outputs, and Ctrl-C
    /// is its own.
    pub async fn on_terminal(&self, job: &Job) -> Result<ExitStatus, RuntimeError> {
        job.record(&Entry::Process { program: self.name().to_owned() })?;
        let mut command = self.prepare(job);
        command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
        let mut child =
            command.spawn().map_err(|error| RuntimeError::io("start", &self.program, error))?;
        child.wait().await.map_err(|error| RuntimeError::io("wait for", &self.program, error))
    }

    /// The program with its arguments, marked as the job's, without our sensitive variables.
    fn prepare(&self, job: &Job) -> tokio::process::Command {
        #[expect(clippy::disallowed_methods, reason = "the one place that starts processes")]
        let mut command = tokio::process::Command::new(&self.program);
        if let Some(names) = self.inherited {
            command.env_clear();
            #[expect(
                clippy::disallowed_methods,
                reason = "what this program was given is handed on"
            )]
            command.envs(names.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        }
        command
            .args(&self.args)
            .envs(self.envs.iter().map(|(name, value)| (name, value)))
            .env(MARK, job.id());
        // Sensitive variables may come in the environment: no program is given them.
        #[expect(clippy::disallowed_methods, reason = "names alone are read, to be taken away")]
        for (name, _) in std::env::vars_os() {
            let name_bytes = name.as_encoded_bytes();
            if name_bytes.starts_with(b"IMGBAKE_VAR_") || SENSITIVE.contains(&name_bytes) {
                command.env_remove(name);
            }
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }

    /// Starts it in a process group of its own, so that the terminal's Ctrl-C reaches only imgbake.
    pub fn spawn(&self, job: &Job) -> Result<Running, RuntimeError> {
        job.record(&Entry::Process { program: self.name().to_owned() })?;
        let mut command = self.prepare(job);
        command
            .stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(path) = &self.log {
            let log = File::create(path).map_err(io_at("make the file", path))?;
            command.stdout(log.try_clone().map_err(io_at("open", path))?).stderr(log);
        }
        let mut child =
            command.spawn().map_err(|error| RuntimeError::io("start", &self.program, error))?;
        if let (Some(bytes), Some(mut stdin)) = (self.stdin.clone(), child.stdin.take()) {
            tokio::spawn(async move {
                // A program that does not read all of it says so itself.
                let _ = stdin.write_all(&bytes).await;
            });
        }
        Ok(Running { child, name: self.name().to_owned(), leash: Leash::default() })
    }

    /// Runs it to its end and keeps what it printed. Any exit code is given as it is.
    pub async fn output(&self, job: &Job) -> Result<Output, RuntimeError> {
        let mut stdout = Vec::new();
        let mut stderr = Tail::default();
        let mut running = self.spawn(job)?;
        let (out, err) = (running.child.stdout.take(), running.child.stderr.take());
        let read_out = async {
            if let Some(mut out) = out {
                let _ = out.read_to_end(&mut stdout).await;
            }
        };
        let read_err = each_line(err, LineRedactor::new(job.secrets().clone()), |line| {
            stderr.push(Stream::Stderr, line);
        });
        let (status, (), ()) = tokio::join!(running.wait(job), read_out, read_err);
        Ok(Output { status: status?, stdout, stderr: stderr.text() })
    }

    /// Runs it to its end; an exit code other than 0 is an error with its last words.
    pub async fn run(&self, job: &Job) -> Result<Vec<u8>, RuntimeError> {
        let output = self.output(job).await?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(failed(self.name(), output.status, &output.stderr))
    }

    /// Runs it to its end and hands on each redacted line as it comes; an exit code other than 0 is an error
    /// with its last words.
    pub async fn run_lines(
        &self,
        job: &Job,
        mut line: impl FnMut(Stream, String),
    ) -> Result<(), RuntimeError> {
        let mut tail = Tail::default();
        let status = self.stream(job, |stream, text| {
            tail.push(stream, text.clone());
            line(stream, text);
        });
        let status = status.await?;
        if status.success() { Ok(()) } else { Err(failed(self.name(), status, &tail.text())) }
    }

    /// Runs it to its end and hands on each redacted line as it comes. Any exit code is given as it is. Where
    /// this is dropped before, the command is ended with all that it started.
    pub async fn stream(
        &self,
        job: &Job,
        mut line: impl FnMut(Stream, String),
    ) -> Result<ExitStatus, RuntimeError> {
        let mut running = self.spawn(job)?;
        let (out, err) = (running.child.stdout.take(), running.child.stderr.take());
        let line = Mutex::new(&mut line);
        let take = |stream| {
            let line = &line;
            move |text: String| held(line)(stream, text)
        };
        let redactor = || LineRedactor::new(job.secrets().clone());
        let (status, (), ()) = tokio::join!(
            running.wait(job),
            each_line(out, redactor(), take(Stream::Stdout)),
            each_line(err, redactor(), take(Stream::Stderr)),
        );
        status
    }
}

/// A lock that nobody holds while it panics.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The error for a program that failed, with its last words.
pub fn failed(name: &str, status: ExitStatus, words: &str) -> RuntimeError {
    let words = words.trim();
    let words = if words.is_empty() { String::new() } else { format!(":\n{words}") };
    RuntimeError::new(RuntimeErrorKind::Failed, format!("`{name}` failed ({status}){words}"))
}

/// Reads a pipe to its end, line by line.
async fn each_line(
    pipe: Option<impl AsyncRead + Unpin>,
    mut lines: LineRedactor,
    mut take: impl FnMut(String),
) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        lines.push(&buffer[..read]).into_iter().for_each(&mut take);
    }
    lines.finish().into_iter().for_each(&mut take);
}

/// A process that runs. It is killed when this is dropped, unless its [`Leash`] was let go.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
    leash: Leash,
}

/// What ties a process to its [`Running`]. Clones are the same leash.
#[derive(Debug, Clone, Default)]
pub struct Leash(Arc<AtomicBool>);

impl Leash {
    /// Lets the process outlive its [`Running`] and this program. Its outputs must not be pipes.
    pub fn let_go(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.leash.0.load(Ordering::SeqCst) {
            // One that has ended already is no error. What it started is in its group.
            if let Some(group) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
                let group = rustix::process::Pid::from_raw(group);
                let _ = group.map(|group| kill_process_group(group, Signal::KILL));
            }
            let _ = self.child.start_kill();
        }
    }
}

impl Running {
    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// What ties it to this program.
    pub fn leash(&self) -> Leash {
        self.leash.clone()
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> Result<ExitStatus, RuntimeError> {
        self.child
            .wait()
            .await
            .map_err(|error| RuntimeError::io("wait for", Utf8Path::new(&self.name), error))
    }

    /// Waits until it ends; ends it if the job is cancelled.
    pub async fn wait(&mut self, job: &Job) -> Result<ExitStatus, RuntimeError> {
        let ended = job.cancel().run(self.child.wait()).await;
        match ended {
            Ok(status) => {
                status.map_err(|e| RuntimeError::io("wait for", Utf8Path::new(&self.name), e))
            }
            Err(cancelled) => {
                self.end().await;
                Err(cancelled)
            }
        }
    }

    /// Ends it and its group: asks, gives it two seconds, then kills.
    pub async fn end(&mut self) {
        use rustix::process::{Pid, Signal, kill_process_group};
        let Some(group) = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
        else {
            return;
        };
        let _ = kill_process_group(group, Signal::TERM);
        if tokio::time::timeout(Duration::from_secs(2), self.child.wait()).await.is_err() {
            let _ = kill_process_group(group, Signal::KILL);
            let _ = self.child.wait().await;
        }
    }
}
