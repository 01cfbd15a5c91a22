//! The trait: a way to run one command in a machine.

use std::time::Duration;

use async_trait::async_trait;
use imgbake_types::event::Stream;
use tokio::io::AsyncRead;

use crate::{CommError, CommErrorKind};

/// A command for a machine.
pub struct Exec {
    /// A command line for the login's POSIX shell. It must hold no secret: other users of the machine
    /// can read it. Secrets go through `stdin`.
    pub command: String,
    /// What it reads.
    pub stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// How long it may take.
    pub timeout: Duration,
}

impl std::fmt::Debug for Exec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exec").field("command", &self.command).finish_non_exhaustive()
    }
}

impl Exec {
    /// A command that reads nothing and may take a minute.
    pub fn new(command: impl Into<String>) -> Self {
        Self { command: command.into(), stdin: None, timeout: Duration::from_secs(60) }
    }

    /// How long it may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What it reads.
    #[must_use]
    pub fn stdin(mut self, reader: impl AsyncRead + Send + Unpin + 'static) -> Self {
        self.stdin = Some(Box::new(reader));
        self
    }

    /// What it reads, as bytes.
    #[must_use]
    pub fn stdin_bytes(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin(std::io::Cursor::new(bytes.into()))
    }
}

/// How a command in a machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// With an exit code.
    Code(i32),
    /// By a signal, named without `SIG`.
    Signal(String),
    /// The connection ended before the command reported how it ended: the machine went down.
    Lost,
}

impl Exit {
    /// Whether it is exit code 0.
    pub fn ok(&self) -> bool {
        *self == Self::Code(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(name) => write!(f, "signal {name}"),
            Self::Lost => f.write_str("the connection was lost"),
        }
    }
}

/// Takes a command's output as it comes.
pub type OutputSink<'a> = &'a mut (dyn FnMut(Stream, &[u8]) + Send);

/// A way to run commands in one machine. Several may run at once.
#[async_trait]
pub trait Communicator: Send + Sync {
    /// Who the commands run as.
    fn user(&self) -> &str;

    /// Runs a command to its end and hands on its output as it comes.
    ///
    /// # Errors
    /// [`CommErrorKind::TimedOut`], [`CommErrorKind::Lost`] where it could not even be started; an exit
    /// code is no error.
    async fn run(&self, exec: Exec, output: OutputSink<'_>) -> Result<Exit, CommError>;
}

impl dyn Communicator + '_ {
    /// A command line that runs `command` as root, whoever the login is.
    pub fn as_root(&self, command: &str) -> String {
        self.as_user("root", command)
    }

    /// A command line that runs `command` as a user, whoever the login is. Root needs no `sudo` in
    /// the machine.
    pub fn as_user(&self, user: &str, command: &str) -> String {
        let quoted = crate::shell::quote(command);
        if user == self.user() {
            format!("sh -c {quoted}")
        } else if self.user() == "root" {
            format!("su -s /bin/sh {} -c {quoted}", crate::shell::quote(user))
        } else {
            format!("sudo -n -H -u {} sh -c {quoted}", crate::shell::quote(user))
        }
    }

    /// A POSIX shell's script as a user, whoever the login is, in a folder, or where the login is. It is whole
    /// before it runs, what it runs has no standard input, and other users of the machine cannot read it.
    pub fn script(&self, user: &str, folder: Option<&str>, script: impl AsRef<[u8]>) -> Exec {
        let (command, input) = crate::shell::script(folder, script.as_ref());
        Exec::new(self.as_user(user, &command)).stdin_bytes(input)
    }

    /// Runs a command and gives its exit and its two outputs, each up to 4 MiB.
    pub async fn capture(&self, exec: Exec) -> Result<(Exit, String, String), CommError> {
        const MOST: usize = 4 << 20;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = self
            .run(exec, &mut |stream, bytes| {
                let sink = if stream == Stream::Stdout { &mut out } else { &mut err };
                let room = MOST.saturating_sub(sink.len());
                sink.extend_from_slice(&bytes[..bytes.len().min(room)]);
            })
            .await?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((exit, text(out), text(err)))
    }

    /// Runs a command that must succeed and gives its standard output.
    pub async fn check(&self, exec: Exec) -> Result<String, CommError> {
        let command = exec.command.clone();
        let (exit, out, err) = self.capture(exec).await?;
        if exit.ok() {
            return Ok(out);
        }
        let kind = if exit == Exit::Lost { CommErrorKind::Lost } else { CommErrorKind::Failed };
        Err(CommError::new(
            kind,
            format!("`{}` in the machine: {exit}: {}", brief(&command), err.trim()),
        ))
    }
}

/// A command line short enough for a message.
pub(crate) fn brief(command: &str) -> String {
    let line = command.lines().next().unwrap_or_default();
    if line.chars().count() > 80 || line.len() < command.len() {
        format!("{}…", line.chars().take(79).collect::<String>())
    } else {
        line.to_owned()
    }
}
