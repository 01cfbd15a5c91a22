//! From a command line to a running machine: its process, its two sockets, and the task that watches
//! them until the end.

use std::future::Future;
use std::process::ExitStatus;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_runtime::error::io_at;
use imgbake_runtime::process::{Tail, failed};
use imgbake_runtime::{Command, Job, Leash, LineRedactor, Running, RuntimeError, retry};
use imgbake_types::EventKind;
use rustix::fs::{Mode, OFlags};
use serde_json::json;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

use crate::console::Console;
use crate::qmp::{Qmp, QmpError, QmpEvent};
use crate::saved;
use crate::state::{Exit, Fault, State};

/// How long QEMU may take to listen and to answer; it needs a tenth of a second.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How long the sockets of a process that has ended may take to end as well.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// The files of one machine, in the job's folder.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    dir: Utf8PathBuf,
    name: String,
}

impl Files {
    pub(crate) fn new(job: &Job, machine: &str) -> Self {
        Self { dir: job.work().to_owned(), name: machine.to_owned() }
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Utf8Path {
        &self.dir
    }

    /// The name of one of its files.
    pub(crate) fn name(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.name)
    }

    /// The path of one of its files.
    pub(crate) fn path(&self, suffix: &str) -> Utf8PathBuf {
        self.dir.join(self.name(suffix))
    }

    pub(crate) const QMP: &str = ".qmp";
    pub(crate) const CONSOLE: &str = ".console";
}

/// A machine that runs, and the ways to it.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) qmp: Qmp,
    pub(crate) console: Console,
    pub(crate) state: watch::Receiver<State>,
    /// Changes the state where we are the reason.
    pub(crate) hold: watch::Sender<State>,
    /// Sent to, it kills QEMU; dropped, it does so as well, unless the leash was let go.
    pub(crate) kill: mpsc::Sender<()>,
    pub(crate) leash: Leash,
    /// The port of this host that leads to the guest's port 22.
    pub(crate) port: u16,
}

/// Starts QEMU, connects to it and lets the guest run.
pub(crate) async fn launch(
    job: &Job,
    files: &Files,
    command: Command,
    saved: Option<&Utf8Path>,
) -> Result<Launched, BuildError> {
    let log = files.path(".qemu.log");
    // QEMU may outlive imgbake, so its words go into a file and not a pipe.
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
        let port = parse_port(&answered(qmp.human("info usernet")).await?).ok_or_else(|| {
            BuildError::failed("QEMU does not tell the port that leads to the guest's ssh")
        })?;
        Ok((qmp, events, console, port))
    });
    let (qmp, events, stream, port) = connected.await?;

    let (panic_sender, panics) = mpsc::channel(4);
    let console = Console::new(
        LineRedactor::new(job.secrets().clone()),
        open_log(&files.path(".console.log"))?,
    );
    let reading = console.clone().read(stream, job.clone(), files.name(""), panic_sender);
    let (state_sender, state) = watch::channel(State::default());
    let hold = state_sender.clone();
    let (kill, kills) = mpsc::channel(1);
    let leash = running.leash();
    let watcher = Watcher { job: job.clone(), machine: files.name(""), state: state_sender, log };
    tokio::spawn(watcher.watch(running, events, panics, kills, tokio::spawn(reading)));
    let launched = Launched { qmp, console, state, hold, kill, leash, port };
    if let Some(saved) = saved {
        saved::load(job, &launched, saved).await?;
    }
    answered(launched.qmp.execute("cont", json!({}))).await?;
    Ok(launched)
}

/// An open folder: a short path to it, however deep it is. The address of a unix socket has 108 bytes.
struct Folder(rustix::fd::OwnedFd);

impl Folder {
    fn open(path: &Utf8Path) -> Result<Self, BuildError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path.as_std_path(), flags, Mode::empty());
        Ok(Self(opened.map_err(|error| RuntimeError::io("open the folder", path, error.into()))?))
    }

    fn path(&self, name: &str) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd())
    }
}

fn open_log(path: &Utf8Path) -> Result<Option<std::fs::File>, BuildError> {
    Ok(Some(std::fs::File::create(path).map_err(io_at("make the file", path))?))
}

/// Work that QEMU's end ends, with QEMU's own words.
async fn until_ended<T>(
    job: &Job,
    running: &mut Running,
    log: &Utf8Path,
    work: impl Future<Output = Result<T, BuildError>>,
) -> Result<T, BuildError> {
    let result = tokio::select! {
        result = work => result,
        status = running.ended() => return Err(ended_early(job, log, status?)),
    };
    // Its sockets may end a moment before the process: then that is the reason.
    if let Err(error) = &result
        && error.kind() == BuildErrorKind::Machine
        && let Ok(status) = tokio::time::timeout(DRAIN_LIMIT, running.ended()).await
    {
        return Err(ended_early(job, log, status?));
    }
    result
}

fn ended_early(job: &Job, log: &Utf8Path, status: ExitStatus) -> BuildError {
    let error = failed("qemu", status, &words(job, log));
    BuildError::new(BuildErrorKind::Machine, error.to_string())
        .help("an argument in [builder.qemu] may be wrong for this QEMU")
}

/// QEMU's last words, redacted.
fn words(job: &Job, log: &Utf8Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let mut tail = Tail::default();
    let last = &text[text.len().saturating_sub(16 * 1024)..];
    String::from_utf8_lossy(last).lines().for_each(|line| tail.push(line.to_owned()));
    job.secrets().redact(&tail.text())
}

pub(crate) async fn answered<T>(
    work: impl Future<Output = Result<T, QmpError>>,
) -> Result<T, BuildError> {
    match tokio::time::timeout(START_LIMIT, work).await {
        Ok(result) => {
            result.map_err(|error| BuildError::new(BuildErrorKind::Machine, error.to_string()))
        }
        Err(_) => Err(retry::timed_out("QEMU's answer", START_LIMIT).into()),
    }
}

/// The host's port out of `info usernet`: the line `TCP[HOST_FORWARD]`, whose fields are a file
/// descriptor, source address and port, destination address and port.
fn parse_port(text: &str) -> Option<u16> {
    let line = text.lines().find(|line| line.trim_start().starts_with("TCP[HOST_FORWARD]"))?;
    let fields: Vec<&str> = line.split_whitespace().collect();
    let port = fields.get(3)?.parse().ok()?;
    (fields.get(5) == Some(&"22") && port != 0).then_some(port)
}

/// What keeps a machine's state up to date.
struct Watcher {
    job: Job,
    machine: String,
    state: watch::Sender<State>,
    log: Utf8PathBuf,
}

impl Watcher {
    async fn watch(
        self,
        mut running: Running,
        mut events: mpsc::Receiver<QmpEvent>,
        mut panics: mpsc::Receiver<String>,
        mut kills: mpsc::Receiver<()>,
        console: tokio::task::JoinHandle<()>,
    ) {
        let status = loop {
            tokio::select! {
                Some(event) = events.recv() => self.saw(&event),
                Some(words) = panics.recv() => self.change(|state| state.fail(Fault::Panicked(words))),
                kill = kills.recv() => match kill {
                    Some(()) => running.end().await,
                    // The machine was dropped: so is its process, unless its leash was let go.
                    None => return,
                },
                status = running.ended() => break status,
            }
        };
        // What it told before it ended comes first.
        let drained = async {
            while let Some(event) = events.recv().await {
                self.saw(&event);
            }
            let _ = console.await;
        };
        let _ = tokio::time::timeout(DRAIN_LIMIT, drained).await;
        while let Ok(words) = panics.try_recv() {
            self.change(|state| state.fail(Fault::Panicked(words)));
        }
        let exit = Exit {
            success: status.as_ref().is_ok_and(ExitStatus::success),
            status: status.map_or_else(|error| error.to_string(), |status| status.to_string()),
            words: words(&self.job, &self.log),
        };
        self.state.send_modify(|state| state.exit = Some(exit));
    }

    fn saw(&self, event: &QmpEvent) {
        tracing::debug!(machine = self.machine, event = event.name, data = %event.data, "QEMU event");
        self.change(|state| state.apply(event));
    }

    /// Changes the state and tells what is new in it.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let before = self.state.borrow().clone();
        self.state.send_modify(change);
        if let Some(what) = self.state.borrow().news(&before) {
            self.job.events().tell(EventKind::Machine { machine: self.machine.clone(), what });
        }
    }
}

/// A machine's state that never changes again is as good as a wait without end.
pub(crate) async fn wait_for(
    state: &watch::Receiver<State>,
    mut done: impl FnMut(&State) -> bool,
) -> State {
    let mut state = state.clone();
    let found = state.wait_for(|state| done(state)).await.map(|state| state.clone());
    match found {
        Ok(state) => state,
        Err(_) => std::future::pending().await,
    }
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
