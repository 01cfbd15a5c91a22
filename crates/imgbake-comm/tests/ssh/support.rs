//! A real OpenSSH server on a loopback port of its own.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use imgbake_comm::{CommError, KeyPair, Ssh};
use imgbake_runtime::Cancel;
use tempfile::TempDir;

/// How long anything may take that shall succeed.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A running server. It ends when this is dropped.
pub(crate) struct Sshd {
    child: Child,
    _bin: Option<TempDir>,
    pub(crate) dir: TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) host_key: KeyPair,
    pub(crate) user_key: KeyPair,
    pub(crate) user: String,
}

#[expect(clippy::disallowed_methods, reason = "a test's own server: no job runs here")]
fn command(program: &str) -> std::process::Command {
    std::process::Command::new(program)
}

/// A loopback port that nothing has.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

impl Sshd {
    /// Starts a server that lets one fresh key in.
    pub(crate) fn start() -> Self {
        Self::start_at(free_port(), true)
    }

    /// Starts a server whose commands find busybox's programs and no others.
    pub(crate) fn start_with_busybox() -> Self {
        let bin = tempfile::tempdir().unwrap();
        let applets = command("busybox").arg("--list").output().unwrap().stdout;
        for applet in String::from_utf8(applets).unwrap().lines() {
            std::os::unix::fs::symlink("/usr/bin/busybox", bin.path().join(applet)).unwrap();
        }
        Self::start_in(free_port(), true, &format!("PATH={}", bin.path().display()), Some(bin))
    }

    /// Starts a server at a port; its user's key may be left out.
    pub(crate) fn start_at(port: u16, with_key: bool) -> Self {
        Self::start_in(port, with_key, "LC_ALL=C", None)
    }

    /// Starts a server whose user's home is `home`: bash reads the start file in it.
    pub(crate) fn start_at_home(home: &std::path::Path) -> Self {
        Self::start_in(free_port(), true, &format!("HOME={}", home.display()), None)
    }

    fn start_in(port: u16, with_key: bool, environment: &str, bin: Option<TempDir>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (host_key, user_key) = (KeyPair::generate(), KeyPair::generate());
        let host_file = dir.path().join("host");
        std::fs::write(&host_file, host_key.private_openssh()).unwrap();
        std::fs::set_permissions(&host_file, std::fs::Permissions::from_mode(0o600)).unwrap();
        if with_key {
            std::fs::write(dir.path().join("keys"), user_key.public_openssh()).unwrap();
        }
        // Where the server's own folder cannot be made, it needs none: it does not run as root.
        let _ = std::fs::create_dir_all("/run/sshd");
        let child = command("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", "/dev/null", "-p", &port.to_string(), "-h"])
            .arg(&host_file)
            .args([
                "-o",
                "ListenAddress=127.0.0.1",
                "-o",
                "StrictModes=no",
                "-o",
                "UsePAM=no",
                "-o",
                "PidFile=none",
            ])
            .args(["-o", "MaxStartups=100"])
            // The user's own shell start files are no part of a test.
            .args(["-o", &format!("SetEnv={environment} HOME=/nonexistent"), "-o"])
            .arg(format!("AuthorizedKeysFile={}", dir.path().join("keys").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let user = String::from_utf8(command("id").arg("-un").output().unwrap().stdout)
            .unwrap()
            .trim()
            .to_owned();
        Self {
            child,
            _bin: bin,
            dir,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            host_key,
            user_key,
            user,
        }
    }

    /// Accepts its user's key in from now on.
    pub(crate) fn install_key(&self) {
        std::fs::write(self.dir.path().join("keys"), self.user_key.public_openssh()).unwrap();
    }

    /// Waits for a line of its log.
    pub(crate) fn wait_for_log(&mut self, text: &str) {
        let log = BufReader::new(self.child.stderr.take().unwrap());
        assert!(
            log.lines().map_while(Result::ok).any(|line| line.contains(text)),
            "no {text:?} in sshd's log"
        );
    }

    /// Logs in as it should be done.
    pub(crate) async fn connect(&self) -> Ssh {
        self.connect_within(LIMIT).await.unwrap()
    }

    pub(crate) async fn connect_within(&self, limit: Duration) -> Result<Ssh, CommError> {
        let host_key = self.host_key.public_openssh();
        Ssh::connect(&Cancel::new(), self.address, &self.user, &self.user_key, &host_key, limit)
            .await
    }

    /// Ends the processes that serve its connections, as a machine does that loses power.
    pub(crate) fn cut(&self) {
        self.signal("-KILL");
    }

    /// Stops the processes that serve its connections: they hold them and say nothing more.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    fn signal(&self, signal: &str) {
        let parent = self.child.id().to_string();
        let found = command("ps").args(["-o", "pid=", "--ppid", &parent]).output().unwrap().stdout;
        for pid in String::from_utf8(found).unwrap().split_whitespace() {
            command("kill").args([signal, pid]).output().unwrap();
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.cut();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
