//! The native steps, with the tools of this host in a root of the test: a copy of this host's files on write, or
//! busybox alone.

mod certificate;
mod files;
mod locale;
mod packages;
mod repository;
mod results;
mod service;
mod settings;
mod sysctl;
mod user;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use camino::Utf8PathBuf;
use imgbake_types::StepReport;
use imgbake_types::record::step::{Resource, ResourceOutcome};
use imgbake_types::spec::ProvisionSpec;
use serde_json::Value;

use crate::local::LocalGuest;

/// Enters a root whose files are those of this host and, in place of them, what was changed; both are the test's.
const DEBIAN: &str = r#"
mount -t overlay overlay -o "lowerdir=/,upperdir=$0/root,workdir=$0/work" "$0/merged" || exit"#;

/// Enters a root of the test.
const PLAIN: &str = r#"
mount --bind "$0/root" "$0/merged" || exit"#;

/// Both: the kernel's settings are this host's, and can only be read.
const ENTER: &str = r#"
mount --rbind /dev "$0/merged/dev" && mount --bind /proc "$0/merged/proc" &&
    mount -o remount,bind,ro "$0/merged/proc" && exec chroot "$0/merged" /bin/sh -c "$1""#;

/// A machine that is a root on this host.
pub(super) struct Machine {
    pub(super) guest: LocalGuest,
}

impl Machine {
    fn entered_by(script: &str) -> Self {
        let mut guest = LocalGuest::new();
        for name in ["root", "work", "merged"] {
            fs::create_dir(guest.at(name)).unwrap();
        }
        let root = guest.root.as_str();
        let enter = format!("{script}{ENTER}");
        let shell = ["unshare", "-m", "/bin/sh", "-c", &enter, root].map(str::to_owned);
        guest.comm.shell = Some(shell.to_vec());
        Self { guest }
    }

    /// One with the programs of this host, which is Debian.
    pub(super) fn debian() -> Self {
        Self::entered_by(DEBIAN)
    }

    /// One with busybox alone; its shell takes busybox's own programs, whatever is in the way.
    pub(super) fn busybox() -> Self {
        let machine = Self::entered_by(PLAIN);
        for name in ["bin", "dev", "proc", "etc", "tmp", "run", "root", "sbin", "usr/bin"] {
            fs::create_dir_all(machine.at(name)).unwrap();
        }
        machine.copy_program("busybox");
        for name in [
            "sh",
            "awk",
            "cat",
            "chmod",
            "chown",
            "sha256sum",
            "cmp",
            "cp",
            "cut",
            "diff",
            "env",
            "find",
            "grep",
            "head",
            "id",
            "ln",
            "ls",
            "mkdir",
            "mktemp",
            "mv",
            "readlink",
            "rm",
            "rmdir",
            "sed",
            "sort",
            "stat",
            "tail",
            "tar",
            "tee",
            "tr",
            "uniq",
            "wc",
            "sleep",
            "touch",
            "true",
            "false",
        ] {
            symlink("busybox", machine.at("bin").join(name)).unwrap();
        }
        machine.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        machine.write("/etc/group", "root:x:0:\n");
        machine
    }

    /// Copies a program of this host into `/bin`, with the libraries that it needs where it is not static.
    #[expect(clippy::disallowed_methods, reason = "a test that starts a shell has no job")]
    fn copy_program(&self, name: &str) {
        let script = "path=$(command -v \"$1\") && cp -L \"$path\" \"$2/bin/$1\" || exit
            ldd \"$path\" 2>/dev/null | sed -n 's#^[^/]*\\(/[^ ]*\\) (0x.*#\\1#p' | while read -r library; do
                mkdir -p \"$2${library%/*}\" && cp -L \"$library\" \"$2$library\" || exit
            done";
        let root = self.guest.at("root");
        let mut shell = std::process::Command::new("/bin/sh");
        let copied = shell.args(["-c", script, "sh", name, root.as_str()]).output().unwrap();
        assert!(copied.status.success(), "{copied:?}");
    }

    /// A path of the machine as one of this host.
    pub(super) fn at(&self, path: &str) -> Utf8PathBuf {
        self.guest.at("root").join(path.trim_start_matches('/'))
    }

    /// Puts a file into the machine.
    pub(super) fn write(&self, path: &str, text: &str) {
        let at = self.at(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        // A link to a program would be written through.
        let _ = fs::remove_file(&at);
        fs::write(at, text).unwrap();
    }

    /// Puts a program into the machine, for `/bin/sh`.
    pub(super) fn program(&self, path: &str, script: &str) {
        self.write(path, &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A file of the machine.
    pub(super) fn text(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    /// What is in a folder of the machine, the changes alone where it is a copy of this host's.
    pub(super) fn sorted_names(&self, path: &str) -> Vec<String> {
        let entries = self.at(path).read_dir_utf8().unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_owned()).collect();
        names.sort();
        names
    }

    /// Runs a shell step.
    pub(super) async fn sh(&self, script: &str) {
        let (end, report) = self.run("shell", serde_json::json!({"inline": [script]})).await;
        end.unwrap_or_else(|error| panic!("{error}: {report:?}"));
    }

    /// Runs a step.
    pub(super) async fn run(
        &self,
        kind: &str,
        settings: Value,
    ) -> (Result<(), String>, StepReport) {
        let spec = ProvisionSpec::of(kind, &settings).unwrap();
        let (end, report) = self.guest.report(&spec).await;
        (end.map(drop).map_err(|error| error.to_string()), report)
    }

    /// Runs a step that must succeed: gives `OUTCOME TYPE[NAME]` of what it changed. A second run must change nothing,
    /// and have the same declared resources.
    pub(super) async fn converges(&self, kind: &str, settings: Value) -> Vec<String> {
        let (end, first) = self.run(kind, settings.clone()).await;
        end.unwrap_or_else(|error| panic!("{error}: {first:?}"));
        let (end, second) = self.run(kind, settings).await;
        end.unwrap_or_else(|error| panic!("{error}: {second:?}"));
        assert_eq!(changed(&second), [""; 0], "{:?}", second.resources);
        assert!(second.counts.total() > 0 && second.counts.failed == 0, "{second:?}");
        changed(&first)
    }
}

/// What a run changed: `TYPE[NAME]`.
pub(super) fn changed(report: &StepReport) -> Vec<String> {
    let is_changed = |one: &&Resource| one.outcome == ResourceOutcome::Changed;
    report.resources.iter().filter(is_changed).map(Resource::title).collect()
}

/// A resource of a report.
pub(super) fn find<'r>(report: &'r StepReport, title: &str) -> &'r Resource {
    let found = report.resources.iter().find(|one| one.title() == title);
    found.unwrap_or_else(|| panic!("{title}: {:?}", report.resources))
}
