//! From a command line to a running machine: its process, its two sockets, and where it was saved, its
//! state.

use std::future::Future;
use std::process::ExitStatus;
use std::time::Duration;

use camino::Utf8Path;
use imgbake_runtime::error::io_at;
use imgbake_runtime::process::failed;
use imgbake_runtime::retry::Backoff;
use imgbake_runtime::{Command, Job, Leash, LineRedactor, Running, RuntimeError, retry};
use rustix::fs::{Mode, OFlags};
use serde_json::json;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

use crate::console::Console;
use crate::error::QemuError;
use crate::files::Files;
use crate::migrate::Migration;
use crate::qmp::{Qmp, QmpError};
use crate::state::State;
use crate::watch::{DRAIN_LIMIT, Watcher, last_output, wait_for};

/// How long QEMU may take to listen and to answer; it needs a tenth of a second.
const START_LIMIT: Duration = Duration::from_secs(30);

/// QEMU's message while a migration that has ended is not over (`cont`, `monitor/qmp-cmds.c`).
const UNSETTLED: &str = "not finalized yet";

/// A machine that runs, and the ways to it.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) qmp: Qmp,
    pub(crate) console: Console,
    pub(crate) state: watch::Receiver<State>,
    /// Sent to, it kills QEMU; dropped, it does so as well, unless the leash was let go.
    pub(crate) kill: mpsc::Sender<()>,
    pub(crate) leash: Leash,
    /// The port of this host that leads to the guest's port 22.
    pub(crate) port: u16,
    /// This end of the port for a login that no network leads to: the guest sees that somebody listens.
    pub(crate) login: Option<UnixStream>,
}

impl Launched {
    /// Resumes the guest, and waits until it runs.
    pub(crate) async fn resume(&self) -> Result<(), QemuError> {
        // A migration whose end was reported is not over yet: QEMU refuses to resume for some
        // milliseconds, and reports nothing when they are over.
        let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(100));
        let work = async {
            loop {
                match self.qmp.execute("cont", json!({})).await {
                    Err(QmpError::Refused { description, .. })
                        if description.contains(UNSETTLED) =>
                    {
                        backoff.wait().await;
                    }
                    answer => break answer.map(drop)?,
                }
            }
            let over = |state: &State| !state.paused || state.exit.is_some() || state.off.is_some();
            wait_for(&self.state, over).await;
            Ok(())
        };
        answered(work).await
    }

    /// Ends QEMU at once, and waits for its end.
    pub(crate) async fn kill(&self) {
        let _ = self.kill.try_send(());
        wait_for(&self.state, |state| state.exit.is_some()).await;
    }

    /// Loads a saved machine's state.
    async fn load(&self, job: &Job, saved: &Incoming<'_>) -> Result<(), QemuError> {
        let migration = Migration {
            qmp: &self.qmp,
            state: &self.state,
            version: saved.version,
            memory: saved.memory,
        };
        let Err(error) = job.cancel().run(migration.load(saved.path)).await? else {
            return Ok(());
        };
        // QEMU ends when it cannot load a state, and prints why.
        let ended = wait_for(&self.state, |state| state.exit.is_some());
        let source = match tokio::time::timeout(DRAIN_LIMIT, ended).await {
            Ok(State { exit: Some(exit), .. }) => QemuError::Migration(match exit.output.trim() {
                "" => format!("QEMU ended ({})", exit.status),
                output => output.to_owned(),
            }),
            _ => error,
        };
        Err(QemuError::NotResumed { path: saved.path.to_owned(), source: Box::new(source) })
    }
}

/// The state of a saved machine, to be loaded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incoming<'a> {
    pub(crate) path: &'a Utf8Path,
    /// The machine's memory in bytes.
    pub(crate) memory: u64,
    /// The version of QEMU, for messages.
    pub(crate) version: &'a str,
}

/// Starts QEMU, loads a saved machine's state where there is one, and resumes the guest. When that
/// fails, QEMU has ended.
pub(crate) async fn launch(
    job: &Job,
    files: &Files,
    command: Command,
    saved: Option<Incoming<'_>>,
) -> Result<Launched, QemuError> {
    let launched = start(job, files, command).await?;
    let begun = async {
        if let Some(saved) = &saved {
            launched.load(job, saved).await?;
        }
        launched.resume().await
    };
    let begun = begun.await;
    if begun.is_err() {
        launched.kill().await;
    }
    begun.map(|()| launched)
}

/// Connects to the port for a login once more: the guest's end begins anew.
pub(crate) async fn connect_login(files: &Files) -> Option<UnixStream> {
    let folder = Folder::open(files.dir()).ok()?;
    UnixStream::connect(folder.path(&files.name(Files::LOGIN))).await.ok()
}

/// Starts QEMU with its guest paused, and connects to it.
async fn start(job: &Job, files: &Files, command: Command) -> Result<Launched, QemuError> {
    let log = files.path(".qemu.log");
    // QEMU may outlive imgbake, so its output goes into a file and not a pipe.
    let mut running = command.current_dir(files.dir()).log_to(&log).spawn(job)?;
    let folder = Folder::open(files.dir())?;
    let qmp_path = folder.path(&files.name(Files::QMP));
    let connected = until_ended(job, &mut running, &log, async {
        let connect = || async { UnixStream::connect(&qmp_path).await.ok() };
        let control =
            retry::poll(job.cancel(), START_LIMIT, "QEMU's control socket", connect).await?;
        let console_path = folder.path(&files.name(Files::CONSOLE));
        let console = UnixStream::connect(&console_path).await;
        let console = console
            .map_err(|error| RuntimeError::io("connect to", Utf8Path::new(&console_path), error))?;
        let (qmp, events) = answered(Qmp::connect(control)).await?;
        let network = answered(qmp.human("info usernet")).await?;
        let port = parse_port(&network).ok_or(QemuError::NoPort)?;
        let login = UnixStream::connect(folder.path(&files.name(Files::LOGIN))).await.ok();
        Ok((qmp, events, console, port, login))
    });
    let (qmp, events, stream, port, login) = connected.await?;

    let (panic_sender, panics) = mpsc::channel(4);
    let console = Console::new(
        LineRedactor::new(job.secrets().clone()),
        Some(open_log(&files.path(".console.log"))?),
    );
    let reading = console.clone().read(stream, job.clone(), files.name(""), panic_sender);
    let (state_sender, state) = watch::channel(State { paused: true, ..State::default() });
    let (kill, kills) = mpsc::channel(1);
    let leash = running.leash();
    let watcher = Watcher { job: job.clone(), machine: files.name(""), state: state_sender, log };
    tokio::spawn(watcher.watch(running, events, panics, kills, tokio::spawn(reading)));
    Ok(Launched { qmp, console, state, kill, leash, port, login })
}

/// An open folder: a short path to it, however deep it is. The address of a unix socket has 108 bytes.
struct Folder(rustix::fd::OwnedFd);

impl Folder {
    fn open(path: &Utf8Path) -> Result<Self, RuntimeError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path.as_std_path(), flags, Mode::empty());
        Ok(Self(opened.map_err(|error| RuntimeError::io("open the folder", path, error.into()))?))
    }

    fn path(&self, name: &str) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd())
    }
}

fn open_log(path: &Utf8Path) -> Result<std::fs::File, RuntimeError> {
    std::fs::File::create(path).map_err(io_at("make the file", path))
}

/// Work that ends with QEMU: then QEMU's own message is the error.
async fn until_ended<T>(
    job: &Job,
    running: &mut Running,
    log: &Utf8Path,
    work: impl Future<Output = Result<T, QemuError>>,
) -> Result<T, QemuError> {
    let result = tokio::select! {
        result = work => result,
        status = running.ended() => return Err(ended_early(job, log, status?)),
    };
    // Its sockets may end a moment before the process: then that is the reason.
    if matches!(result, Err(QemuError::Qmp(_)))
        && let Ok(status) = tokio::time::timeout(DRAIN_LIMIT, running.ended()).await
    {
        return Err(ended_early(job, log, status?));
    }
    result
}

fn ended_early(job: &Job, log: &Utf8Path, status: ExitStatus) -> QemuError {
    QemuError::EndedEarly(failed("qemu", status, &last_output(job, log)))
}

async fn answered<T>(work: impl Future<Output = Result<T, QmpError>>) -> Result<T, QemuError> {
    match tokio::time::timeout(START_LIMIT, work).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(retry::timed_out("QEMU's answer", START_LIMIT).into()),
    }
}

/// The host's port out of `info usernet`: the line `TCP[HOST_FORWARD]`, whose fields are a file
/// descriptor, source address and port, destination address and port.
pub(crate) fn parse_port(text: &str) -> Option<u16> {
    let line = text.lines().find(|line| line.trim_start().starts_with("TCP[HOST_FORWARD]"))?;
    let fields: Vec<&str> = line.split_whitespace().collect();
    let port = fields.get(3)?.parse().ok()?;
    (fields.get(5) == Some(&"22") && port != 0).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::parse_port;

    #[test]
    fn finds_the_port() {
        let text = "Hub -1 (net0):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  \
            UDP[236 sec]       28       10.0.2.15 53412        10.0.2.3    53     0     0\r\n  \
            TCP[HOST_FORWARD]  13       127.0.0.1 37531       10.0.2.15    22     0     0\r\n";
        assert_eq!(parse_port(text), Some(37531));
        for text in
            ["", "TCP[HOST_FORWARD]", "  TCP[HOST_FORWARD]  13 127.0.0.1 0 10.0.2.15 22 0 0"]
        {
            assert_eq!(parse_port(text), None, "{text}");
        }
    }
}
