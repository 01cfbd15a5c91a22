//! One ssh connection for all tasks of a run. It is a process of the job's own, and ends with the run: a machine
//! that is copied has none.

use imgbake_build::{Access, StepContext};
use imgbake_runtime::{Running, Tool};

use super::files::Files;
use crate::error::StepError;

const SSH: Tool = Tool::new("ssh", "openssh-client");
/// The longest path of a socket (unix(7): 108 bytes with the zero at its end), less what ssh adds to it until the
/// socket is ready.
const MOST_PATH: usize = 107 - 17;

/// A connection, where there can be one. Without it, each task opens its own.
pub(super) struct Connection {
    running: Option<Running>,
    path: String,
}

impl Connection {
    /// Opens it. Nobody waits for it: a task that comes before it is ready has one of its own.
    pub(super) fn open(context: &StepContext<'_>, files: &Files) -> Result<Self, StepError> {
        let none = Self { running: None, path: "none".to_owned() };
        let Some(path) = socket(files.socket(context.job).as_str(), context.access) else {
            return Ok(none);
        };
        let Ok(command) = SSH.command() else { return Ok(none) };
        let Access { host, port, user, key, .. } = context.access;
        let command = command
            .args(["-N", "-T", "-o", "ControlMaster=yes", "-o", "ControlPersist=no", "-o"])
            .arg(format!("ControlPath={path}"))
            .args(["-o", "BatchMode=yes", "-o", "LogLevel=ERROR"])
            // One whose machine is gone ends, and tasks open their own.
            .args(["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=8"])
            .args(files.ssh_options())
            .args(["-i", key.as_str(), "-p", &port.to_string(), "-l", user, host])
            .log_to(files.path("ssh.log"));
        Ok(Self { running: Some(command.spawn(context.job)?), path })
    }

    /// The options that share it. One to another host, or of another user, is not shared: its socket would have
    /// another name.
    pub(super) fn options(&self) -> String {
        format!("-o ControlMaster=no -o ControlPath={}", self.path)
    }

    /// Closes it.
    pub(super) async fn close(self) {
        if let Some(mut running) = self.running {
            running.end().await;
        }
    }
}

/// The socket's path, as ssh reads it; none where that is too long, or has what ssh reads otherwise.
fn socket(base: &str, access: &Access) -> Option<String> {
    let is_plain = base.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
    let length = format!("{base}-{}@{}:{}", access.user, access.host, access.port).len();
    (is_plain && length <= MOST_PATH).then(|| format!("{base}-%r@%h:%p"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_has_a_short_and_plain_path() {
        let access = Access {
            host: "127.0.0.1".to_owned(),
            port: 22222,
            user: "root".to_owned(),
            key: "/key".into(),
            host_key: String::new(),
        };
        for (base, path) in [
            ("/home/a/.imgbake/work/x", Some("/home/a/.imgbake/work/x-%r@%h:%p")),
            ("/home/a b/x", None),
            ("/home/%h/x", None),
            (&*format!("/{}", "x".repeat(MOST_PATH - 22)), Some("")),
            (&*format!("/{}", "x".repeat(MOST_PATH - 21)), None),
        ] {
            let found = socket(base, &access);
            assert_eq!(found.is_some(), path.is_some(), "{base}");
            if path != Some("") {
                assert_eq!(found.as_deref(), path);
            }
        }
    }
}
