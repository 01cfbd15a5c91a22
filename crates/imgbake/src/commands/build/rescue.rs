//! What happens with the machine of a step that failed: the user is asked, or let in.

use std::io::{BufRead, IsTerminal, Write};

use async_trait::async_trait;
use imgbake_build::stage::{Rescue, Rescued};
use imgbake_build::{Access, BuildError};
use imgbake_runtime::{Cancel, Job, RuntimeError, Tool};
use tokio::sync::{Mutex, oneshot};

use crate::access::ssh_command;
use crate::app::Listener;

/// Opens a session in the machine, on the user's terminal.
pub(super) struct Session<'a> {
    pub(super) job: &'a Job,
    pub(super) listener: &'a Listener,
    /// One session at a time.
    pub(super) terminal: &'a Mutex<()>,
}

#[async_trait]
impl Rescue for Session<'_> {
    async fn enter(&self, step: &str, error: &BuildError, access: &Access) -> Rescued {
        if !std::io::stdin().is_terminal() {
            self.job.events().warn("--on-error shell needs a terminal; the build is cleaned up");
            return Rescued::GiveUp;
        }
        let _turn = self.terminal.lock().await;
        let _paused = self.listener.pause().await;
        self.session(step, error, access).await;
        let question = format!("[r]etry `{step}` in this machine, or [c]lean up? ");
        match ask(self.job.cancel(), &question).await {
            Some(answer) if answer.starts_with(['r', 'R']) => Rescued::Retry,
            _ => Rescued::GiveUp,
        }
    }

    async fn look(&self, check: &str, error: &BuildError, access: &Access) {
        if !std::io::stdin().is_terminal() {
            self.job.events().warn("--on-error shell needs a terminal; the clone is ended");
            return;
        }
        let _turn = self.terminal.lock().await;
        let _paused = self.listener.pause().await;
        self.session(check, error, access).await;
    }
}

impl Session<'_> {
    /// Says what failed, and lets the user in.
    async fn session(&self, what: &str, error: &BuildError, access: &Access) {
        let secrets = self.job.secrets();
        say(&secrets.redact(&format!(
            "`{what}` failed: {error}\nthis is the machine; leave it with `exit`\n"
        )));
        if let Err(error) = self.shell(access).await {
            say(&format!("no session: {error}\n"));
        }
    }

    /// Runs ssh on the terminal until the user leaves the machine.
    async fn shell(&self, access: &Access) -> Result<(), RuntimeError> {
        let command = ssh_command(access, self.job.work())?;
        let shell = Tool::new("sh", "dash").command()?;
        shell.arg("-c").arg(format!("exec {command}")).on_terminal(self.job).await.map(drop)
    }
}

/// Asks on the terminal; `None` where there is none, or when the build is interrupted meanwhile.
pub(super) async fn ask(cancel: &Cancel, question: &str) -> Option<String> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    say(question);
    let (sender, answer) = oneshot::channel();
    // A thread of its own: nothing waits for a read that an interrupt left behind.
    std::thread::spawn(move || {
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line).is_ok() {
            // The build may have been interrupted.
            let _ = sender.send(line);
        }
    });
    let line = cancel.run(answer).await.ok()?.ok()?;
    Some(line.trim_start().to_owned())
}

fn say(text: &str) {
    let mut terminal = std::io::stderr();
    let _ = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
}
