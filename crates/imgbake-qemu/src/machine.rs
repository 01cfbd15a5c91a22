//! One running QEMU machine, as the runner sees it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use camino::Utf8PathBuf;
use imgbake_build::{Access, BuildError, FreezeDisk, Machine, MachineDisk, SaveMachine, Seed};
use imgbake_comm::ssh::Ssh;
use imgbake_comm::{CommError, CommErrorKind, Communicator};
use imgbake_disk::DiskFormat;
use imgbake_runtime::retry::Backoff;
use imgbake_runtime::{Job, RuntimeError, space};
use serde_json::json;

use crate::disks::LiveDisk;
use crate::error::QemuError;
use crate::files::{Files, write_private};
use crate::launch::{Launched, connect_login};
use crate::login::grow_root;
use crate::spec::QemuSpec;
use crate::start::Start;
use crate::state::{Allowed, Fault, State};
use crate::watch::wait_for;

/// Lines of the console in an error.
const TAIL: usize = 20;

/// Restarts that firmware may add to a guest's own before ssh answers again: SeaBIOS resets the machine
/// once more when it finds that it was not started cold, UEFI when it settled its variables.
pub(crate) const RESETS_OF_FIRMWARE: u32 = 1;

/// The part of a boot's time that credentials are given: they take half as long as a seed, and a host
/// that is slow has the whole time for the seed.
const PART_OF_LIMIT: u32 = 2;

/// How long a login over the serial port is tried: where it is offered, it was opened before ssh answered.
const PORT_LIMIT: Duration = Duration::from_secs(45);

/// How long one try may take.
const PORT_TRY: Duration = Duration::from_secs(15);

/// How long QEMU may take to end when it is asked to.
const QUIT_LIMIT: Duration = Duration::from_secs(5);

/// One running QEMU machine.
#[derive(Debug)]
pub(crate) struct QemuMachine {
    pub(crate) name: String,
    pub(crate) job: Job,
    pub(crate) files: Files,
    pub(crate) seed: Seed,
    /// Its disks, the root disk first.
    pub(crate) disks: Vec<LiveDisk>,
    pub(crate) spec: QemuSpec,
    /// The version of QEMU.
    pub(crate) version: String,
    pub(crate) launched: Launched,
    pub(crate) allowed: Allowed,
    /// Restarts in all once the one that is expected has happened.
    pub(crate) expected: u32,
    /// Whether its root file system must be grown once it answers.
    pub(crate) grows: bool,
    /// The login over its serial port, where it has one.
    pub(crate) by_port: Option<Arc<Ssh>>,
    /// How it is started anew with a seed, should it not accept the login by credentials at its first boot.
    pub(crate) fallback: Option<Box<Start>>,
}

impl QemuMachine {
    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.launched.port).into()
    }

    pub(crate) fn state(&self) -> State {
        self.launched.state.borrow().clone()
    }

    /// The console's last lines, as an error's last part.
    fn tail(&self) -> String {
        let tail = self.launched.console.tail(TAIL);
        if tail.is_empty() {
            return "\nits console showed nothing".to_owned();
        }
        format!("\nits console's last lines:\n{tail}")
    }

    /// What the machine did, or did not do, with its console.
    pub(crate) fn error(&self, what: String, source: Option<QemuError>) -> QemuError {
        let (name, console) = (self.name.clone(), self.tail());
        QemuError::Machine { name, what, console, source: source.map(Box::new) }
    }

    /// The error for what nobody asked for.
    fn unasked(&self, state: &State, waiting_for: &str) -> Option<QemuError> {
        let what = state.unasked(self.allowed)?;
        if let Some(Fault::Disk { full: true, .. }) = state.fault {
            return Some(space::full(self.files.dir(), None).into());
        }
        Some(self.error(format!("{what}{waiting_for}"), None))
    }

    /// Waits for something, or for what nobody asked for, or for the limit.
    async fn until(
        &self,
        limit: Duration,
        what: &str,
        done: impl Fn(&State) -> bool,
    ) -> Result<(), QemuError> {
        let over = |state: &State| done(state) || state.unasked(self.allowed).is_some();
        let waited = tokio::time::timeout(limit, wait_for(&self.launched.state, over));
        let Ok(state) = self.job.cancel().run(waited).await? else {
            let what = format!("{what} did not happen within {} s", limit.as_secs());
            return Err(self.error(what, None));
        };
        match self.unasked(&state, &format!(", while waiting for {what}")) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Waits until ssh accepts the login.
    async fn reach(&mut self, limit: Duration) -> Result<Arc<dyn Communicator>, QemuError> {
        if let Some(before) = self.by_port.take() {
            // The port has one connection: what the old one still sends would reach the new login.
            before.close().await;
            self.launched.login = connect_login(&self.files).await;
        }
        let host_key = self.seed.host_key.public_openssh();
        let (cancel, user, key) = (self.job.cancel(), &self.seed.user, &self.seed.user_key);
        let connect = Ssh::connect(cancel, self.address(), user, key, &host_key, limit);
        let failed = wait_for(&self.launched.state, |state| state.unasked(self.allowed).is_some());
        let connected = tokio::select! {
            biased;
            state = failed => {
                let waiting_for = ", while waiting for ssh";
                return Err(self.unasked(&state, waiting_for).unwrap_or_else(|| self.error(waiting_for.to_owned(), None)));
            }
            connected = connect => connected,
        };
        let ssh = match connected {
            Err(error) if error.kind() == CommErrorKind::Auth => {
                let ssh = Arc::new(self.reach_by_port(error, limit).await?);
                self.by_port = Some(Arc::clone(&ssh));
                ssh
            }
            connected => Arc::new(connected.map_err(|error| self.unreachable(error, limit))?),
        };
        // What the firmware was granted is over: the guest's own system runs.
        self.allowed.resets = self.state().resets;
        Ok(ssh)
    }

    /// Logs in over the machine's own port, after its sshd refused to let the build in.
    async fn reach_by_port(
        &mut self,
        refused: CommError,
        limit: Duration,
    ) -> Result<Ssh, QemuError> {
        let deadline = Instant::now() + PORT_LIMIT;
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(4));
        let mut stream = self.launched.login.take();
        let error = loop {
            if stream.is_none() {
                stream = connect_login(&self.files).await;
            }
            let Some(stream) = stream.take() else {
                break "it has no serial port for a login".to_owned();
            };
            let (cancel, key) = (self.job.cancel(), &self.seed.user_key);
            let host_key = self.seed.host_key.public_openssh();
            match Ssh::over(cancel, stream, "root", key, &host_key, PORT_TRY).await {
                Ok(ssh) => {
                    let name = &self.name;
                    self.job.events().info(format!(
                        "machine `{name}` is reached over its serial port: its sshd does not let {} in",
                        self.seed.user
                    ));
                    return Ok(ssh);
                }
                // What came first may be the rest of an earlier login: each connection begins anew.
                Err(error) if Instant::now() < deadline => {
                    self.job.cancel().check()?;
                    tracing::debug!(%error, "no login over the serial port");
                    backoff.wait().await;
                }
                Err(error) => break error.to_string(),
            }
        };
        let what = format!("{refused}; {error}");
        Err(self.unreachable(CommError::new(CommErrorKind::Auth, what), limit))
    }

    /// Writes the file by which a person's ssh knows the machine.
    pub(crate) fn write_known_hosts(&self) -> Result<(), RuntimeError> {
        let (port, key) = (self.launched.port, self.seed.host_key.public_openssh());
        write_private(&self.files.path("-known_hosts"), &format!("[127.0.0.1]:{port} {key}\n"))
    }

    fn unreachable(&self, error: CommError, limit: Duration) -> QemuError {
        if error.kind() == CommErrorKind::Cancelled {
            return error.into();
        }
        let (address, user) = (self.address(), &self.seed.user);
        let what =
            format!("waited up to {} s for ssh on {address} as {user}: {error}", limit.as_secs());
        self.error(what, Some(error.into()))
    }
}

#[async_trait]
impl Machine for QemuMachine {
    fn name(&self) -> &str {
        &self.name
    }

    async fn connect(&mut self, limit: Duration) -> Result<Arc<dyn Communicator>, BuildError> {
        let Some(fallback) = self.fallback.take() else { return Ok(self.reach(limit).await?) };
        let reached = match self.reach(limit / PART_OF_LIMIT).await {
            Ok(comm) if self.grows => grow_root(&*comm).await.map(|()| comm),
            reached => reached,
        };
        let error = match reached {
            Ok(comm) => return Ok(comm),
            Err(error) => error,
        };
        // Neither an interrupt nor a fault of QEMU's own says anything about credentials.
        self.job.cancel().check()?;
        if self.crashed() {
            return Err(error.into());
        }
        let why = error.to_string();
        let why = why.lines().next().unwrap_or_default();
        self.job.events().warn(format!("{why}; it is started anew with a NoCloud seed"));
        self.end().await;
        self.launched = fallback.with_seed().await?;
        self.allowed = Allowed::default();
        self.write_known_hosts()?;
        Ok(self.reach(limit).await?)
    }

    fn crashed(&self) -> bool {
        self.state().exit.is_some_and(|exit| exit.status.starts_with("signal"))
    }

    async fn failure(&self) -> BuildError {
        let state =
            wait_for(&self.launched.state, |state| state.unasked(self.allowed).is_some()).await;
        let error = self.unasked(&state, "");
        error.unwrap_or_else(|| self.error("it failed".to_owned(), None)).into()
    }

    fn expect_restart(&mut self) {
        self.expected = self.state().resets + 1;
        // The firmware's own may come before anybody has looked at the guest's.
        self.allowed.resets = self.expected + RESETS_OF_FIRMWARE;
    }

    async fn restarted(&mut self, limit: Duration) -> Result<(), BuildError> {
        let expected = self.expected;
        Ok(self.until(limit, "its restart", |state| state.resets >= expected).await?)
    }

    fn expect_power_off(&mut self) {
        self.allowed.power_off = true;
    }

    async fn powered_off(&mut self, limit: Duration) -> Result<(), BuildError> {
        Ok(self.until(limit, "its power-off", State::is_off).await?)
    }

    fn console(&self) -> String {
        self.launched.console.text()
    }

    fn access(&self) -> Access {
        let address = self.address();
        Access {
            host: address.ip().to_string(),
            port: address.port(),
            user: self.seed.user.clone(),
            key: self.files.path("-key"),
            host_key: self.seed.host_key.public_openssh(),
        }
    }

    fn keep(&mut self) {
        self.launched.leash.let_go();
    }

    fn disk(&self) -> Option<MachineDisk> {
        let path = self.disks.first()?.path.clone();
        Some(MachineDisk::File { path, format: DiskFormat::Qcow2 })
    }

    fn extra_disks(&self) -> Vec<Utf8PathBuf> {
        self.disks.iter().skip(1).map(|disk| disk.path.clone()).collect()
    }

    fn freeze(&mut self) -> Option<&mut dyn FreezeDisk> {
        Some(self)
    }

    fn save(&mut self) -> Option<&mut dyn SaveMachine> {
        Some(self)
    }

    async fn end(&mut self) {
        self.allowed.power_off = true;
        let ended = async {
            // It may be gone already, or go before it answers.
            let _ = self.launched.qmp.execute("quit", json!({})).await;
            wait_for(&self.launched.state, |state| state.exit.is_some()).await;
        };
        if self.state().exit.is_none() && tokio::time::timeout(QUIT_LIMIT, ended).await.is_err() {
            self.launched.kill().await;
        }
    }
}
