//! The communicator: reads a script, looks for its rule, and answers.

use std::sync::Arc;
use std::task::Poll;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use imgbake_comm::exec::OutputSink;
use imgbake_comm::shell::WHOLE;
use imgbake_comm::{CommError, CommErrorKind, Communicator, Exec, Exit};
use imgbake_types::event::Stream;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::guest::{Answer, Effect, Guest, State};

/// The end of a script of the seal, which is followed by more once its report is there.
const SEAL_ENDS: &str = "main </dev/null\n";
/// The end of the script that brings a resumed guest up to date; the time follows.
const WAKE_ENDS: &str = "\nwake\nexit\n";

type Stdin = Option<Box<dyn AsyncRead + Send + Unpin>>;

/// A connection to a fake machine.
pub(super) struct FakeComm {
    pub(super) guest: Arc<Guest>,
    /// How often the machine had restarted when it was made.
    pub(super) restarts: u32,
}

#[async_trait]
impl Communicator for FakeComm {
    fn user(&self) -> &str {
        &self.guest.user
    }

    async fn run(&self, exec: Exec, output: OutputSink<'_>) -> Result<Exit, CommError> {
        let mut state = self.guest.state.subscribe();
        let restarts = self.restarts;
        let limit = exec.timeout;
        let gone = async {
            let over = |now: &State| now.is_gone() || now.restarts > restarts;
            // The guest lives as long as this connection.
            let _ = state.wait_for(over).await;
        };
        let work = async {
            tokio::select! {
                biased;
                ended = self.answer(exec, output) => ended,
                () = gone => Exit::Lost,
            }
        };
        tokio::time::timeout(limit, work).await.map_err(|_| {
            let message = format!("the command timed out after {} s", limit.as_secs());
            CommError::new(CommErrorKind::TimedOut, message)
        })
    }
}

impl FakeComm {
    async fn answer(&self, exec: Exec, output: OutputSink<'_>) -> Exit {
        if self.guest.state.borrow().is_gone() || self.guest.state.borrow().restarts > self.restarts
        {
            return Exit::Lost;
        }
        let Exec { command, mut stdin, .. } = exec;
        let input = read_script(&mut stdin).await;
        let whole = input.trim_end().strip_suffix(WHOLE).and_then(|text| text.strip_suffix('\n'));
        let script = whole.unwrap_or(&input);
        let text = format!("{command}\n{script}");
        let rule = self.guest.rules.answer(&text);
        let answer = match rule {
            Some(answer) => answer,
            None if script.contains("NONCE=") && script.ends_with(SEAL_ENDS) => {
                return self.seal(script, &mut stdin, output).await;
            }
            None if script.ends_with(WAKE_ENDS) => return wake(&mut stdin, output).await,
            None => self.sound(&command, script),
        };
        if answer.effect == Effect::Hang {
            std::future::pending::<()>().await;
        }
        output(Stream::Stdout, answer.stdout.as_bytes());
        output(Stream::Stderr, answer.stderr.as_bytes());
        self.guest.suffer(answer.effect);
        answer.exit
    }

    /// What a sound guest answers to a script of imgbake's own; every other one is a step's.
    fn sound(&self, command: &str, script: &str) -> Answer {
        let identity = self.guest.identity.simple();
        if let Some(word) = command.strip_prefix("echo ") {
            return Answer::ok(&format!("{word}\n"));
        }
        if command.contains("/proc/sys/kernel/random/boot_id") {
            return Answer::ok(&format!("{}\n", self.guest.memory().boot_id));
        }
        // It has neither systemd nor cloud-init.
        if script.contains("systemctl is-system-running") {
            return Answer::ok("");
        }
        if command.contains("reboot") {
            return Answer::then(Effect::Restart);
        }
        if command.contains("poweroff") {
            return Answer::then(Effect::PowerOff);
        }
        if script.contains("say machine-id") {
            return Answer::ok(&format!(
                "machine-id {identity}\nssh-host-key {identity}\nhostname h-{identity}\n"
            ));
        }
        if script.ends_with(SEAL_ENDS) {
            // What is planted is not on this disk.
            return Answer::ok(&format!("machine-id\t{identity}\n"));
        }
        if script.starts_with("sync\n") || command == "true" {
            return Answer::ok("");
        }
        let text = format!("{command}\n{script}");
        self.guest.rules.note(format!("{}: {}", self.guest.name, text.trim()));
        self.guest.disk().write(&text);
        Answer::ok("")
    }

    /// Reports the first phase; once it is asked to, powers off, with the late phase on the console.
    async fn seal(&self, script: &str, stdin: &mut Stdin, output: OutputSink<'_>) -> Exit {
        output(Stream::Stdout, b"op\ttmp\nitem\t5\t/tmp/x\nend\n");
        read_to_end(stdin).await;
        let nonce = script.lines().find_map(|line| line.strip_prefix("NONCE=")).unwrap_or_default();
        let nonce = nonce.trim_matches('\'');
        if let Some(answer) = self.guest.rules.answer("@power-off") {
            self.guest.suffer(answer.effect);
            return answer.exit;
        }
        for line in ["op\ttrim", "item\t4096\t/", "end"] {
            self.guest.show(&format!("imgbake-seal:{nonce}:{line}"));
        }
        self.guest.suffer(Effect::PowerOff);
        Exit::Lost
    }
}

/// Takes the time, and shows it.
async fn wake(stdin: &mut Stdin, output: OutputSink<'_>) -> Exit {
    output(Stream::Stdout, b"imgbake: what time is it?\n");
    let mut piece = [0; 64];
    if let Some(stdin) = stdin {
        // Whoever asks has the time.
        let _ = stdin.read(&mut piece).await;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    output(Stream::Stdout, format!("clock {}\n", now.as_secs()).as_bytes());
    Exit::Code(0)
}

/// Reads a script to its end, or to where its sender waits for an answer.
async fn read_script(stdin: &mut Stdin) -> String {
    let Some(stdin) = stdin else { return String::new() };
    let mut text = Vec::new();
    let mut piece = vec![0; 16 << 10];
    let mut idle = 0;
    loop {
        let read = {
            let read = std::pin::pin!(stdin.read(&mut piece));
            futures::poll!(read)
        };
        match read {
            Poll::Ready(Ok(read @ 1..)) => {
                text.extend_from_slice(&piece[..read]);
                idle = 0;
            }
            // The sender's task may only have used up its turn.
            Poll::Pending if idle < 2 => {
                idle += 1;
                tokio::task::yield_now().await;
            }
            Poll::Ready(_) | Poll::Pending => break,
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

async fn read_to_end(stdin: &mut Stdin) {
    if let Some(stdin) = stdin {
        let mut rest = Vec::new();
        // Its end is all that is waited for.
        let _ = stdin.read_to_end(&mut rest).await;
    }
}
