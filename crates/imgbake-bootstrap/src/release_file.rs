//! Asking a mirror for a suite's Release file as the host's apt asks: through its proxies, with its
//! logins and its certificates.

use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Job, RuntimeError, Tool};

use crate::address::Address;
use crate::error::BootstrapError;

/// Where Debian and others keep `apt-helper` (apt-helper is in no `PATH`).
const HELPERS: [&str; 2] = ["/usr/lib/apt/apt-helper", "/usr/libexec/apt/apt-helper"];
const PRLIMIT: Tool = Tool::new("prlimit", "util-linux");
/// The longest output of apt-helper that is read, in bytes.
const MAX_LOG: u64 = 64 << 10;

/// How much of a mirror's time and bytes a Release file may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes: Debian's are below 200 KiB.
    pub(crate) bytes: u64,
    /// Time.
    pub(crate) time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 16 << 20, time: Duration::from_secs(20) }
    }
}

/// Gets a suite's `InRelease`, or its `Release` where there is no other.
///
/// # Errors
/// The mirror does not answer, or with something else; it has no such suite.
pub(crate) async fn release(
    job: &Job,
    mirror: &Address,
    suite: &str,
    limits: Limits,
) -> Result<String, BootstrapError> {
    for name in ["InRelease", "Release"] {
        let address = format!("{}/dists/{suite}/{name}", mirror.shown);
        let asked = Asked { job, mirror, address: &address, limits };
        if let Some(text) = asked.get().await? {
            return Ok(text);
        }
    }
    Err(BootstrapError::NoSuite { mirror: mirror.shown.clone(), suite: suite.to_owned() })
}

/// One file of a mirror.
struct Asked<'a> {
    job: &'a Job,
    mirror: &'a Address,
    /// Without user and password.
    address: &'a str,
    limits: Limits,
}

impl Asked<'_> {
    /// The file's text; `None` where the mirror says that there is none.
    async fn get(&self) -> Result<Option<String>, BootstrapError> {
        let work = self.job.work();
        let folder = tempfile::tempdir_in(work).map_err(io_at("make a folder in", work))?;
        let folder = Utf8Path::from_path(folder.path())
            .ok_or_else(|| BootstrapError::NotUtf8(folder.path().to_owned()))?;
        let (file, log) = (folder.join("release"), folder.join("log"));
        let ended = self.run(folder, &file, &log).await?;
        let Some(status) = ended else {
            let seconds = self.limits.time.as_secs_f64();
            return Err(self.failed(&format!("no answer within {seconds} seconds")));
        };
        if status.success() {
            return self.read(&file).map(Some);
        }
        let words = read_some(&log, MAX_LOG)?;
        // apt's http method, and its file method.
        if words.contains(" 404  Not Found") || words.contains("File not found") {
            return Ok(None);
        }
        let partial = fs::metadata(&file).map_or(0, |metadata| metadata.len());
        if partial >= self.limits.bytes {
            return Err(self.too_long());
        }
        Err(self.failed(&last_words(&words, status)))
    }

    /// Runs apt-helper to its end; `None` where it took too long.
    async fn run(
        &self,
        folder: &Utf8Path,
        file: &Utf8Path,
        log: &Utf8Path,
    ) -> Result<Option<ExitStatus>, BootstrapError> {
        let mut command = PRLIMIT
            .command()?
            .arg(format!("--fsize={}", self.limits.bytes))
            .args(["--core=0", helper()?.as_str()])
            // A proxy's answer of yesterday would hide today's updates.
            .args(["-o", "Acquire::http::No-Cache=true", "-o", "Acquire::https::No-Cache=true"])
            .args(["-o", "Acquire::Retries=1"]);
        if let Some(login) = &self.mirror.login {
            let netrc = folder.join("netrc");
            write_private(&netrc, &login.netrc(&self.mirror.shown))?;
            command = command.args(["-o", &format!("Dir::Etc::netrc={netrc}")]);
        }
        let command = command
            .args(["download-file", self.address, file.as_str()])
            .env("LC_ALL", "C.UTF-8")
            .log_to(log);
        let mut running = command.spawn(self.job)?;
        let ended = tokio::time::timeout(self.limits.time, running.wait(self.job)).await;
        if let Ok(status) = ended {
            return Ok(Some(status?));
        }
        running.end().await;
        Ok(None)
    }

    fn read(&self, file: &Utf8Path) -> Result<String, BootstrapError> {
        let text = read_some(file, self.limits.bytes + 1)?;
        if text.len() as u64 > self.limits.bytes { Err(self.too_long()) } else { Ok(text) }
    }

    fn too_long(&self) -> BootstrapError {
        self.failed(&format!(
            "it is longer than {} bytes: it is no Release file",
            self.limits.bytes
        ))
    }

    fn failed(&self, why: &str) -> BootstrapError {
        BootstrapError::NoAnswer { address: self.address.to_owned(), why: why.to_owned() }
    }
}

fn helper() -> Result<Utf8PathBuf, RuntimeError> {
    HELPERS
        .iter()
        .map(Utf8PathBuf::from)
        .find(|path| path.is_file())
        .ok_or_else(|| RuntimeError::missing("apt-helper", "apt"))
}

/// apt's own reason: what stands behind the address in its first error.
fn last_words(log: &str, status: ExitStatus) -> String {
    let error = log.lines().find_map(|line| line.strip_prefix("E: "));
    let reason = error.map(|error| {
        let failed = error.strip_prefix("Failed to fetch ").and_then(|rest| rest.split_once(' '));
        failed.map_or(error, |(_, reason)| reason).trim()
    });
    match (reason, status.signal()) {
        (Some(reason), _) => reason.to_owned(),
        (None, Some(signal)) => format!("apt-helper was ended by signal {signal}"),
        (None, None) => format!("apt-helper failed ({status})"),
    }
}

/// The first bytes of a file.
fn read_some(path: &Utf8Path, most: u64) -> Result<String, BootstrapError> {
    let mut bytes = Vec::new();
    let file = imgbake_runtime::regular::open(path).map_err(io_at("open", path))?;
    file.take(most).read_to_end(&mut bytes).map_err(io_at("read", path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn write_private(path: &Utf8Path, text: &str) -> Result<(), BootstrapError> {
    use std::io::Write as _;
    let mut private = fs::OpenOptions::new();
    let opened = private.write(true).create_new(true).mode(0o600).open(path);
    opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(io_at("write", path))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_reason_is_told_without_its_noise() {
        let status = ExitStatus::from_raw(100 << 8);
        for (log, reason) in [
            (
                "W: unsandboxed\nE: Failed to fetch http://m/x  Could not connect\nE: Download Failed\n",
                "Could not connect",
            ),
            ("E: Method http has died unexpectedly!\n", "Method http has died unexpectedly!"),
            ("noise", "apt-helper failed (exit status: 100)"),
        ] {
            assert_eq!(last_words(log, status), reason);
        }
        assert!(last_words("", ExitStatus::from_raw(9)).contains("signal 9"));
    }
}
