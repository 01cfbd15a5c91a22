//! Ansible over ssh, to a server on this host that listens on a port of the test alone.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use imgbake_build::Access;
use imgbake_comm::KeyPair;
use imgbake_runtime::retry::Backoff;
use imgbake_runtime::{Command, Running};
use serde_json::json;

use crate::local::{LocalGuest, no_process, text};

/// The server. Its folder for the separation of privileges is in a mount namespace of its own.
const SERVER: &str =
    "mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f \"$0\"";

impl LocalGuest {
    /// Starts a server, and makes it the machine's.
    async fn serve(&mut self) -> Running {
        let (login, host) = (KeyPair::generate(), KeyPair::generate());
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        for (name, text) in [
            ("login", login.private_openssh()),
            ("host", host.private_openssh()),
            ("authorized", format!("{}\n", login.public_openssh())),
            (
                "config",
                format!(
                    "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\n\
                     PidFile none\nUsePAM no\nStrictModes no\nLogLevel VERBOSE\n\
                     PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n",
                    self.root
                ),
            ),
        ] {
            fs::write(self.at(name), text).unwrap();
            fs::set_permissions(self.at(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let server = Command::new("/usr/bin/unshare")
            .args(["--mount", "sh", "-c", SERVER, self.at("config").as_str()])
            .log_to(self.at("server.log"))
            .spawn(&self.job)
            .unwrap();
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(200));
        for _ in 0..50 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                self.access = Access {
                    host: "127.0.0.1".to_owned(),
                    port,
                    user: "root".to_owned(),
                    key: self.at("login"),
                    host_key: host.public_openssh(),
                };
                return server;
            }
            backoff.wait().await;
        }
        panic!("the server does not listen: {}", text(&self.at("server.log")));
    }

    /// How often the server's log says something.
    fn served(&self, words: &str) -> usize {
        text(&self.at("server.log")).matches(words).count()
    }
}

#[tokio::test]
async fn tasks_share_a_connection_that_ends_with_the_run() {
    let mut local = LocalGuest::new();
    let mut server = local.serve().await;
    let tasks = "    - {command: \"true\"}\n".repeat(8);
    let playbook = format!("- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}");
    for (last, timeout, error) in [
        ("    - {copy: {dest: \"{{ dir }}/page\", content: x}}\n", "5m", ""),
        ("    - {shell: \"exit 3\"}\n", "5m", "failed: non-zero"),
        ("    - {shell: timeout 90 sleep 4246.29}\n", "20s", "timed out after 20s"),
    ] {
        let (began, ended) =
            (local.served("Accepted publickey"), local.served("Disconnected from"));
        fs::write(local.at("site.yml"), format!("{playbook}{last}")).unwrap();
        let settings = json!({"playbook": local.at("site.yml"), "extra_vars": {"dir": local.root},
            "timeout": timeout});
        let (end, report) = local.report(&local.step("ansible", &settings)).await;
        let failed = end.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(failed.contains(error) && failed.is_empty() == error.is_empty(), "{failed}");
        assert!(report.counts.changed >= 8, "{report:?}");
        no_process(&format!("ControlPath={}", local.job.work())).await;
        // One is shared; the first tasks may have been before it.
        let began = local.served("Accepted publickey") - began;
        assert!((1..5).contains(&began), "{began} connections: {}", text(&local.at("server.log")));
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(200));
        for _ in 0..50 {
            if local.served("Disconnected from") - ended >= began {
                break;
            }
            backoff.wait().await;
        }
        assert_eq!(local.served("Disconnected from") - ended, began, "each of them ended");
    }
    assert_eq!(text(&local.at("page")), "x");
    server.end().await;
}
