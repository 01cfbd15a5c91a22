//! The whole seal, over a communicator and a machine that only pretend: no script runs here.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8Path;
use imgbake_build::{
    Access, BuildError, BuildErrorKind, Machine, Planted, SealContext, SealReport, Sealer, Seed,
};
use imgbake_comm::exec::OutputSink;
use imgbake_comm::{CommError, Communicator, Exec, Exit};
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets};
use imgbake_types::EventKind;
use imgbake_types::event::Stream;
use imgbake_types::record::{SealRecord, SealedItems};
use tokio::io::AsyncReadExt;

use super::tree::spec;
use crate::GuestSealer;

/// Answers a script with fixed output; with none, never.
struct Login {
    output: &'static str,
    exit: Exit,
    read: Mutex<String>,
}

impl Login {
    fn new(output: &'static str, exit: Exit) -> Self {
        Self { output, exit, read: Mutex::default() }
    }
}

#[async_trait]
impl Communicator for Login {
    fn user(&self) -> &'static str {
        "debian"
    }

    async fn run(&self, exec: Exec, output: OutputSink<'_>) -> Result<Exit, CommError> {
        let mut stdin = exec.stdin.expect("a script");
        let mut text = Vec::new();
        while !text.ends_with(b"main </dev/null\n") {
            let mut piece = [0; 4096];
            let read = stdin.read(&mut piece).await.expect("reads");
            text.extend_from_slice(&piece[..read]);
        }
        if self.output.is_empty() {
            std::future::pending::<()>().await;
        }
        // In two pieces: the end may come by itself.
        let (before, end) = self.output.split_at(self.output.len().saturating_sub(3));
        output(Stream::Stdout, before.as_bytes());
        output(Stream::Stdout, end.as_bytes());
        output(
            Stream::Stderr,
            b"find: /tmp/x: No such file or directory\nrm: /tmp/y: Read-only file system\n",
        );
        if self.output.ends_with("end\n") || self.output.contains("fail\thangs") {
            stdin.read_to_end(&mut text).await.expect("reads");
        }
        *self.read.lock().expect("locks") = String::from_utf8(text).expect("text");
        Ok(self.exit.clone())
    }
}

/// A machine that is off as soon as it is asked, with a console.
struct Guest {
    login: Arc<Login>,
    console: &'static str,
    panics: bool,
    off_expected: bool,
}

#[async_trait]
impl Machine for Guest {
    fn name(&self) -> &'static str {
        "build"
    }
    async fn connect(&mut self, _: Duration) -> Result<Arc<dyn Communicator>, BuildError> {
        Ok(Arc::clone(&self.login) as _)
    }
    fn crashed(&self) -> bool {
        false
    }

    async fn failure(&self) -> BuildError {
        if !self.panics {
            std::future::pending::<()>().await;
        }
        BuildError::new(BuildErrorKind::Machine, "the kernel panicked")
    }
    fn expect_restart(&mut self) {}
    async fn restarted(&mut self, _: Duration) -> Result<(), BuildError> {
        Ok(())
    }
    fn expect_power_off(&mut self) {
        self.off_expected = true;
    }
    async fn powered_off(&mut self, _: Duration) -> Result<(), BuildError> {
        assert!(self.off_expected && self.login.read.lock().expect("locks").contains("poweroff"));
        Ok(())
    }
    fn console(&self) -> String {
        let read = self.login.read.lock().expect("locks").clone();
        let nonce = read
            .lines()
            .find_map(|line| line.strip_prefix("NONCE="))
            .unwrap_or_default()
            .to_owned();
        self.console.replace('@', &format!("imgbake-seal:{nonce}:"))
    }
    fn access(&self) -> Access {
        unreachable!("a seal needs no person")
    }
    fn keep(&mut self) {}
    async fn end(&mut self) {}
}

/// Seals; gives the result and the events' kinds.
async fn seal(
    login: Login,
    console: &'static str,
    panics: bool,
) -> (Result<SealReport, BuildError>, Vec<EventKind>) {
    let dir = tempfile::tempdir().expect("makes a folder");
    let home = Home::new(Utf8Path::from_path(dir.path()).expect("text").to_owned());
    let (events, mut listener) = Events::channel("build-1", Secrets::default());
    let job =
        Job::begin(&home, "build-1", Cancel::new(), events, Secrets::default()).expect("begins");
    let mut guest = Guest { login: Arc::new(login), console, panics, off_expected: false };
    let comm = guest.connect(Duration::ZERO).await.expect("connects");
    let seed = Seed::new("build-1", "build", "debian", true);
    let context = SealContext {
        job: &job,
        spec: &spec(&[], &[]),
        seed: &seed,
        planted: &Planted::default(),
        power_off_limit: Duration::from_secs(1),
    };
    let report = GuestSealer::new().seal(&context, &mut guest, &*comm).await;
    job.end().expect("ends");
    let mut kinds = Vec::new();
    while let Ok(event) = listener.try_recv() {
        kinds.push(event.kind);
    }
    (report, kinds)
}

const FIRST: &str =
    "machine-id\t0123456789abcdef0123456789abcdef\nop\tlogs\nitem\t5\t/var/log/a\nop\tmail\nend\n";
const CONSOLE: &str = "boot\r\n@op\tlogs\r\n@item\t7\t/var/log/b\r\n@op\ttrim\r\n@item\t4096\t/\r\n@note\tmind this\r\n@end\r\n";

#[tokio::test]
async fn both_phases_are_reported() {
    // The connection may well be cut when the machine powers off.
    let (report, events) = seal(Login::new(FIRST, Exit::Lost), CONSOLE, false).await;
    let report = report.expect("seals");
    let items =
        |name: &str, removed, bytes| SealedItems { operation: name.to_owned(), removed, bytes };
    let SealRecord { operations, warnings, .. } = report.record;
    assert_eq!(operations, [items("logs", 2, 12), items("mail", 0, 0), items("trim", 1, 0)]);
    assert_eq!(warnings, ["rm: /tmp/y: Read-only file system", "mind this"]);
    assert_eq!(report.residues.len(), 1);
    let reported: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            EventKind::SealOperation { operation, bytes, .. } => Some((operation.as_str(), *bytes)),
            _ => None,
        })
        .collect();
    assert_eq!(reported, [("logs", 5), ("logs", 7), ("trim", 4096)]);
    let notices: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            EventKind::Notice { message, .. } => Some(message.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(notices, ["seal: rm: /tmp/y: Read-only file system", "seal: mind this"]);
}

#[tokio::test]
async fn a_seal_that_did_not_end_is_an_error() {
    let ok = || Exit::Code(0);
    for (first, exit, console, panics, expected) in [
        ("op\tlogs\n", Exit::Lost, "", false, "sealing the machine ended early: rm: /tmp/y"),
        ("op\tlogs\nfail\tcannot write the hook\n", ok(), "", false, "cannot write the hook"),
        // It reads on, and the sender has nothing more for it.
        ("op\tlogs\nfail\thangs\n", ok(), "", false, "hangs"),
        (FIRST, ok(), "@op\tlogs\r\n", false, "did not report on the console"),
        (
            FIRST,
            ok(),
            "@fail\tcannot write to /\r\n",
            false,
            "while it powered off: cannot write to /",
        ),
    ] {
        let (report, _) = seal(Login::new(first, exit), console, panics).await;
        let error = report.expect_err("fails");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_panic_ends_it_at_once() {
    let hangs = Login::new("", Exit::Lost);
    let (report, _) = seal(hangs, "", true).await;
    let error = report.expect_err("fails");
    assert_eq!(error.kind(), BuildErrorKind::Machine, "{error}");
}
