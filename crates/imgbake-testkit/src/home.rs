//! A home, a folder for templates, and the program run in them.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

/// A test's own `IMGBAKE_HOME` and working folder; both go when it is dropped.
pub struct TestHome {
    dir: tempfile::TempDir,
}

/// What a finished command left.
#[derive(Debug)]
pub struct Run {
    /// Its exit code; -1 where a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Run {
    /// Its standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// The same run, if its exit code is this one.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "exit code {}\n--- stdout\n{}\n--- stderr\n{}",
            self.code, self.stdout, self.stderr
        )
    }
}

/// The program under test: built into the same folder as the tests.
pub fn program() -> Utf8PathBuf {
    let own = Utf8PathBuf::from_path_buf(std::env::current_exe().unwrap()).unwrap();
    let target =
        own.ancestors().find(|dir| dir.file_name() == Some("deps")).and_then(Utf8Path::parent);
    let program = target.expect("a test binary is in target/*/deps").join("imgbake");
    assert!(program.exists(), "{program} is not built: cargo build --bin imgbake");
    program
}

impl TestHome {
    /// A new, empty home.
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        Self { dir: tempfile::Builder::new().prefix("imgbake-test-").tempdir().unwrap() }
    }

    /// The folder for templates and outputs.
    pub fn dir(&self) -> &Utf8Path {
        Utf8Path::from_path(self.dir.path()).unwrap()
    }

    /// The `IMGBAKE_HOME`.
    pub fn home(&self) -> Utf8PathBuf {
        self.dir().join("home")
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, text: &str) -> Utf8PathBuf {
        let path = self.dir().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// The program with this home, in this folder, without the caller's own settings.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.tool(program().as_str());
        command.args(args);
        command
    }

    /// Another program, in the same surroundings.
    pub(crate) fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("IMGBAKE_") {
                command.env_remove(name);
            }
        }
        command
            .env("IMGBAKE_HOME", self.home())
            .env("NO_COLOR", "1")
            .current_dir(self.dir())
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str]) -> Run {
        finish(&mut self.command(args))
    }

    /// Starts the program; its output goes to files in the folder.
    pub fn spawn(&self, name: &str, args: &[&str]) -> Child {
        let log = |end: &str| fs::File::create(self.dir().join(format!("{name}.{end}"))).unwrap();
        self.command(args).stdout(log("out")).stderr(log("err")).spawn().unwrap()
    }

    /// The events that a command wrote so far.
    pub fn events(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.dir().join(name)).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until a running command's events hold one that `matches`; `false` if it ended before.
    pub fn wait_for(
        &self,
        events: &str,
        child: &mut Child,
        matches: impl Fn(&Value) -> bool,
    ) -> bool {
        let limit = Instant::now() + Duration::from_secs(300);
        let mut wait = Duration::from_millis(5);
        while Instant::now() < limit {
            if self.events(events).iter().any(&matches) {
                return true;
            }
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(wait);
            wait = (wait * 2).min(Duration::from_millis(50));
        }
        panic!("the command neither came there nor ended");
    }

    /// Processes that carry the mark of one of this home's jobs, files that a job left, half layers and
    /// locks that are held: what must be empty after the next command.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = self.half_layers();
        left.extend(self.held_locks());
        let home = self.home();
        for dir in ["work", "journal", "registry/publishing"] {
            let entries = fs::read_dir(home.join(dir)).into_iter().flatten().flatten();
            left.extend(entries.map(|entry| entry.path().display().to_string()));
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        left.extend(mounts.lines().filter(|line| line.contains(home.as_str())).map(str::to_owned));
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(environ) = fs::read(entry.path().join("environ")) else { continue };
            let environ = String::from_utf8_lossy(&environ).into_owned();
            let ours = format!("IMGBAKE_HOME={home}\0");
            if environ.contains(&ours) && environ.contains("\0IMGBAKE_JOB=") {
                left.push(format!("process {}", entry.path().display()));
            }
        }
        left
    }
}

impl Drop for TestHome {
    fn drop(&mut self) {
        // Whatever a failed test left running.
        let _ = self.run(&["clean"]);
    }
}

pub(crate) fn finish(command: &mut Command) -> Run {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// Runs one of the users' tools to its end.
pub fn run_tool(program: &str, args: &[&str]) -> Run {
    finish(Command::new(program).args(args).stdin(Stdio::null()))
}
