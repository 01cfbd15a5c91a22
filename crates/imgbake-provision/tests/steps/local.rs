//! A communicator that runs commands on this host, and what a step needs around it.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{Access, BuildError, StepContext, StepEnd, StepRecorder};
use imgbake_comm::exec::OutputSink;
use imgbake_comm::{CommError, CommErrorKind, Communicator, Exec, Exit};
use imgbake_runtime::retry::Backoff;
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets};
use imgbake_types::event::{EventKind, Stream};
use imgbake_types::record::step::{Resource, ResourceOutcome, StepReport};
use imgbake_types::spec::ProvisionSpec;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Runs commands on this host as root.
#[derive(Default)]
pub(crate) struct Local {
    /// Every command line so far.
    pub(crate) commands: Mutex<Vec<String>>,
    /// The connection is lost once this is in the output.
    pub(crate) cut_at: Option<&'static str>,
    /// Command lines with this in them fail.
    pub(crate) fail_at: Option<&'static str>,
    /// The program that runs command lines, and its arguments before them. Default: `sh -c`.
    pub(crate) shell: Option<Vec<String>>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "this host plays the machine: its processes are no job's"
)]
fn start(shell: Option<&[String]>, command: &str) -> tokio::process::Child {
    let own = ["sh", "-c"].map(str::to_owned);
    let shell = shell.unwrap_or(&own);
    tokio::process::Command::new(&shell[0])
        .args(&shell[1..])
        .arg(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap()
}

#[async_trait]
impl Communicator for Local {
    fn user(&self) -> &'static str {
        "root"
    }

    async fn run(&self, exec: Exec, output: OutputSink<'_>) -> Result<Exit, CommError> {
        self.commands.lock().unwrap().push(exec.command.clone());
        if self.fail_at.is_some_and(|text| exec.command.contains(text)) {
            return Ok(Exit::Code(1));
        }
        let late = CommError::new(CommErrorKind::TimedOut, "late");
        tokio::time::timeout(exec.timeout, self.run_now(exec.command, exec.stdin, output))
            .await
            .map_err(|_| late)
    }
}

impl Local {
    async fn run_now(
        &self,
        command: String,
        stdin: Option<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
        output: OutputSink<'_>,
    ) -> Exit {
        let mut child = start(self.shell.as_deref(), &command);
        let (mut input, mut out, mut err) = (
            child.stdin.take().unwrap(),
            child.stdout.take().unwrap(),
            child.stderr.take().unwrap(),
        );
        let feed = async move {
            if let Some(mut stdin) = stdin {
                let _ = tokio::io::copy(&mut stdin, &mut input).await;
            }
            let _ = input.shutdown().await;
            drop(input);
            std::future::pending::<()>().await;
        };
        let read = async {
            // Small pieces: what is split must still be found.
            let (mut a, mut b, mut seen) = ([0; 7], [0; 7], String::new());
            let (mut a_open, mut b_open) = (true, true);
            while a_open || b_open {
                let (stream, piece) = tokio::select! {
                    len = out.read(&mut a), if a_open => (Stream::Stdout, &a[..len.unwrap()]),
                    len = err.read(&mut b), if b_open => (Stream::Stderr, &b[..len.unwrap()]),
                };
                if piece.is_empty() {
                    if stream == Stream::Stdout { a_open = false } else { b_open = false }
                }
                output(stream, piece);
                seen.push_str(&String::from_utf8_lossy(piece));
                if self.cut_at.is_some_and(|text| seen.contains(text)) {
                    return Exit::Lost;
                }
            }
            let status = child.wait().await.unwrap();
            status
                .code()
                .map_or_else(|| Exit::Signal(status.signal().unwrap().to_string()), Exit::Code)
        };
        tokio::select! {
            exit = read => exit,
            () = feed => Exit::Lost,
        }
    }
}

/// A job, a machine and a folder for a test.
pub(crate) struct LocalGuest {
    pub(crate) comm: Local,
    pub(crate) job: Job,
    pub(crate) root: Utf8PathBuf,
    /// How a program of this host reaches the machine.
    pub(crate) access: Access,
    events: imgbake_runtime::EventReceiver,
    _held: Held,
    _dir: tempfile::TempDir,
}

/// Keeps the folder in which steps make theirs: another test's step would take it away when it is empty.
struct Held(Utf8PathBuf);

impl Held {
    fn new(name: &str) -> Self {
        let path = Utf8Path::new("/run/imgbake").join(name);
        // Between its two steps, another test may take the folder away.
        while let Err(error) = std::fs::create_dir_all(&path) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{path}: {error}");
        }
        Self(path)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
        let _ = std::fs::remove_dir("/run/imgbake");
    }
}

impl LocalGuest {
    pub(crate) fn new() -> Self {
        Self::with(Local::default())
    }

    pub(crate) fn with(comm: Local) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        let secrets = Secrets::default();
        secrets.add("token", "hunter2'\"$HOME`x`");
        let (events, listener) = Events::channel("test", secrets.clone());
        let home = Home::new(root.join("home"));
        let job = Job::begin(&home, "test", Cancel::new(), events, secrets).unwrap();
        let held = Held::new(root.file_name().unwrap());
        Self { comm, job, root, access: nowhere(), events: listener, _held: held, _dir: dir }
    }

    pub(crate) fn at(&self, name: &str) -> Utf8PathBuf {
        self.root.join(name)
    }

    /// Writes a file in the test's folder; `DIR` in its text is that folder.
    pub(crate) fn put(&self, name: &str, text: &str) -> Utf8PathBuf {
        let path = self.at(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text.replace("DIR", self.root.as_str())).unwrap();
        path
    }

    /// A program in the test's folder, for `/bin/sh` where its text has no `#!` line.
    pub(crate) fn script(&self, name: &str, text: &str) -> Utf8PathBuf {
        let begin = if text.starts_with("#!") { "" } else { "#!/bin/sh\n" };
        let path = self.put(name, &format!("{begin}{text}\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// A folder with links to programs of this host, for a `PATH` with nothing else.
    pub(crate) fn few_programs(&self, names: &[&str]) -> Utf8PathBuf {
        let folder = self.at("few");
        std::fs::create_dir_all(&folder).unwrap();
        for name in names {
            let found = ["/bin", "/usr/bin"].iter().map(|dir| format!("{dir}/{name}"));
            let found = found.into_iter().find(|path| Utf8Path::new(path).exists()).unwrap();
            std::os::unix::fs::symlink(found, folder.join(name)).unwrap();
        }
        folder
    }

    /// A step with a name of its own: its folder in the machine is that of no other test.
    pub(crate) fn step(&self, kind: &str, settings: &impl Serialize) -> ProvisionSpec {
        let name = Some(self.root.to_string());
        ProvisionSpec { name, ..ProvisionSpec::of(kind, settings).unwrap() }
    }

    /// Runs a step with the provisioner that knows it.
    pub(crate) async fn run(&self, spec: &ProvisionSpec) -> Result<(StepEnd, u64), BuildError> {
        let (end, report) = self.report(spec).await;
        end.map(|end| (end, report.bytes))
    }

    /// Runs a step and gives its report as well.
    pub(crate) async fn report(
        &self,
        spec: &ProvisionSpec,
    ) -> (Result<StepEnd, BuildError>, StepReport) {
        self.shuffled(spec, None).await
    }

    /// Runs a step; gives the text of its error, and its report.
    pub(crate) async fn ran(&self, spec: &ProvisionSpec) -> (Result<(), String>, StepReport) {
        let (end, report) = self.report(spec).await;
        assert!(!self.folder(spec).exists(), "{} is left in the machine", self.folder(spec));
        (end.map(drop).map_err(|error| error.to_string()), report)
    }

    /// The folder that a step has in the machine.
    fn folder(&self, spec: &ProvisionSpec) -> Utf8PathBuf {
        let name = spec.name.as_deref().unwrap_or(self.root.as_str());
        Utf8Path::new("/run/imgbake").join(imgbake_types::Digest::sha256(name).short())
    }

    /// Runs a step that hangs once it has made the file `begun` in the test's folder, and has a time limit: the end of it
    /// is that limit, and what it started, with this in its command line, is gone.
    pub(crate) async fn hangs(&self, spec: &ProvisionSpec, limit: &str, words: &str) {
        let mut spec = spec.clone();
        spec.settings.insert("timeout".to_owned(), serde_json::json!(limit));
        let (end, report) = self.ran(&spec).await;
        let error = end.unwrap_err();
        assert!(self.at("begun").exists(), "it had not begun: {error}");
        assert!(error.contains(&format!("it timed out after {limit} and was ended")), "{error}");
        assert!(report.exit_code.is_none(), "{report:?}");
        no_process(words).await;
    }

    /// The same with its resources in another order.
    pub(crate) async fn shuffled(
        &self,
        spec: &ProvisionSpec,
        shuffle: Option<u32>,
    ) -> (Result<StepEnd, BuildError>, StepReport) {
        // Every test's machine is this host: a step's processes and folder are told by its name.
        let named = ProvisionSpec { name: Some(self.root.to_string()), ..spec.clone() };
        let spec = if spec.name.is_some() { spec } else { &named };
        let recorder = StepRecorder::begin(&self.job, "step", &spec.kind);
        let (job, comm, recorder_ref) = (&self.job, &self.comm, &recorder);
        let access = &self.access;
        let context =
            StepContext { job, name: "step", spec, comm, access, recorder: recorder_ref, shuffle };
        let provisioners = imgbake_provision::provisioners();
        let provisioner = provisioners.iter().find(|one| one.kind().name == spec.kind).unwrap();
        let end = provisioner.provision(&context).await;
        let report = recorder.finish(end.as_ref().err());
        (end, report)
    }

    /// The lines of output so far, and the warnings.
    pub(crate) fn emitted(&mut self) -> (Vec<(Stream, String)>, Vec<String>) {
        let (mut lines, mut warnings) = (Vec::new(), Vec::new());
        while let Ok(event) = self.events.try_recv() {
            match event.kind {
                EventKind::Output { name, stream, line } => {
                    assert_eq!(name, "step");
                    lines.push((stream, line));
                }
                EventKind::Notice { message, .. } => warnings.push(message),
                EventKind::StepReport { name, cached, .. } => {
                    assert!(name == "step" && !cached);
                }
                other => panic!("{other:?}"),
            }
        }
        (lines, warnings)
    }
}

/// Each resource and what was done with it.
pub(crate) fn outcomes(report: &StepReport) -> Vec<(&str, ResourceOutcome)> {
    report.resources.iter().map(|one| (one.name.as_str(), one.outcome)).collect()
}

/// The resources that were changed.
pub(crate) fn changed(report: &StepReport) -> Vec<&str> {
    let changed = |outcome| outcome == ResourceOutcome::Changed;
    outcomes(report).into_iter().filter(|(_, is)| changed(*is)).map(|(name, _)| name).collect()
}

/// The same with its type before each name: `TYPE[NAME]`.
pub(crate) fn titled(report: &StepReport) -> Vec<(String, ResourceOutcome)> {
    let title = |one: &Resource| format!("{}[{}]", one.kind, one.name);
    report.resources.iter().map(|one| (title(one), one.outcome)).collect()
}

/// A step of which a setting is another one.
pub(crate) fn with(spec: &ProvisionSpec, key: &str, value: serde_json::Value) -> ProvisionSpec {
    let mut spec = spec.clone();
    spec.settings.insert(key.to_owned(), value);
    spec
}

/// The resource with this name.
pub(crate) fn find<'r>(report: &'r StepReport, name: &str) -> &'r Resource {
    report.resources.iter().find(|one| one.name == name).unwrap()
}

/// Waits until no process has this in its command line, whose words end with a zero byte.
pub(crate) async fn no_process(words: &str) {
    let runs = || {
        std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(words)
        })
    };
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(200));
    for _ in 0..50 {
        if !runs() {
            return;
        }
        backoff.wait().await;
    }
    panic!("what it started runs on");
}

/// A file's text.
pub(crate) fn text(path: &Utf8Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// The access of a machine that only its communicator reaches.
fn nowhere() -> Access {
    Access {
        host: "127.0.0.1".to_owned(),
        port: 1,
        user: "root".to_owned(),
        key: "/nonexistent".into(),
        host_key: "ssh-ed25519 AAAA".to_owned(),
    }
}
