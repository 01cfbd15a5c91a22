//! A folder that stands for a machine's `/`, and the shells that run scripts on it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Output, Stdio};

use imgbake_types::spec::SealSpec;
use tempfile::TempDir;

use crate::Selection;
use crate::script::{self, Facts, Tree};

/// The public key of the build, in the tree's files.
pub(crate) const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIMn0+/buildkey";
/// What the seal's lines on the console begin with.
pub(crate) const NONCE: &str = "n0nce";

/// Which programs a script finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shell {
    /// dash and coreutils.
    Dash,
    /// busybox alone.
    Busybox,
}

/// Both.
pub(crate) const SHELLS: [Shell; 2] = [Shell::Dash, Shell::Busybox];

/// A machine's tree.
pub(crate) struct Machine {
    dir: TempDir,
    shell: Shell,
}

impl Machine {
    /// An empty one, with the few files that every machine has.
    pub(crate) fn new(shell: Shell) -> Self {
        let dir = tempfile::tempdir().expect("makes a folder");
        let machine = Self { dir, shell };
        for folder in
            ["tmp", "var/tmp", "var/lib", "var/log", "root", "run", "dev", "bin-stubs", "bin"]
        {
            fs::create_dir_all(machine.path(folder)).expect("makes a folder");
        }
        machine.write(
            "proc/mounts",
            "/dev/vda3 / ext4 rw,relatime 0 0\nproc /proc proc rw 0 0\ntmpfs /run tmpfs rw 0 0\n\
             /dev/vda2 /boot/efi vfat rw,umask=0077 0 0\n/dev/vda3 /mnt/again ext4 rw 0 0\n/dev/sr0 /cd iso9660 ro 0 0\n",
        );
        machine.write("sys/class/tty/console/active", "tty0 ttyS0\n");
        machine.write("dev/ttyS0", "");
        machine.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        let stubs = ["mount", "umount", "swapoff", "mkswap", "logger", "fallocate"];
        // Those of this host must not be called.
        for stub in stubs.into_iter().chain(["apt-get", "apt-mark", "dpkg-query", "apk"]) {
            machine.stub(stub, "");
        }
        machine.stub("perl", "");
        machine.stub("fstrim", "echo \"$2: 1.2 GiB (1234 bytes) trimmed\"");
        if shell == Shell::Busybox {
            let install =
                machine.command("busybox", &["--install", "-s", &machine.text("bin")]).output();
            assert!(install.expect("runs busybox").status.success());
            let link = machine.path("bin/busybox");
            if !link.exists() {
                symlink("/usr/bin/busybox", link).expect("links");
            }
        }
        machine
    }

    /// Puts a program in the way that only notes how it was called, then runs `body`.
    pub(crate) fn stub(&self, name: &str, body: &str) {
        let calls = self.text("calls");
        let path = self.path(&format!("bin-stubs/{name}"));
        let note = format!("printf '%s' \"{name} $*\" | tr '\\n' ' ' >>{calls}; echo >>{calls}");
        fs::write(&path, format!("#!/bin/sh\n{note}\n{body}\n")).expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("sets the mode");
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    fn text(&self, relative: &str) -> String {
        self.path(relative).to_string_lossy().into_owned()
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("a parent")).expect("makes folders");
        fs::write(path, text).expect("writes");
    }

    /// A file's text; nothing if it is not there.
    pub(crate) fn read(&self, relative: &str) -> Option<String> {
        fs::read(self.path(relative)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn tree(&self) -> Tree {
        let rest = match self.shell {
            Shell::Dash => "/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            Shell::Busybox => self.text("bin"),
        };
        Tree {
            root: self.dir.path().to_string_lossy().into_owned(),
            path: format!("{}:{rest}", self.text("bin-stubs")),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a test that starts a shell has no job")]
    fn command(&self, program: &str, args: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(program);
        command.args(args).env("PATH", format!("{}:/usr/bin:/bin", self.tree().path));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Makes a script call the stubs: busybox's shell prefers its own programs to those in `PATH`.
    fn stubbed(&self, script: &str) -> String {
        let stubs = fs::read_dir(self.path("bin-stubs")).expect("lists");
        let names =
            stubs.map(|stub| stub.expect("lists").file_name().to_string_lossy().into_owned());
        let call =
            |name: String| format!("{name}() {{ {}/{name} \"$@\"; }}\n", self.text("bin-stubs"));
        // No function can have a `-` in its name, and no program of busybox has.
        names.filter(|name| !name.contains('-')).map(call).collect::<String>() + script
    }

    /// Runs a shell that reads its script from standard input.
    pub(crate) fn feed(&self, script: &str) -> Output {
        let mut command = match self.shell {
            Shell::Dash => self.command("/bin/dash", &["-s"]),
            Shell::Busybox => self.command("/usr/bin/busybox", &["sh", "-s"]),
        };
        let mut child = command.spawn().expect("starts a shell");
        child
            .stdin
            .take()
            .expect("a pipe")
            .write_all(self.stubbed(script).as_bytes())
            .expect("writes");
        child.wait_with_output().expect("waits")
    }

    /// Runs the first phase; gives what it reported, without the tree's own path.
    pub(crate) fn seal(&self, spec: &SealSpec) -> String {
        let output = self.feed(&script::seal(&self.tree(), &facts(), &selection(spec)));
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(err, "", "{:?}", self.shell);
        self.without_root(&String::from_utf8_lossy(&output.stdout))
    }

    /// Runs the planting script.
    pub(crate) fn plant(&self, canaries: &[crate::plant::Canary]) -> String {
        let output = self.feed(&script::plant(&self.tree(), canaries));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        self.without_root(&String::from_utf8_lossy(&output.stdout))
    }

    /// Runs the hook as systemd-shutdown does; gives all that the console shows.
    pub(crate) fn power_off(&self, word: &str) -> String {
        let late = self.read("run/imgbake/late").expect("was installed");
        self.write("run/imgbake/late", &self.stubbed(&late));
        let hook = self.text("usr/lib/systemd/system-shutdown/zz-imgbake-seal");
        let status = match self.shell {
            Shell::Dash => self.command("/bin/dash", &[&hook, word]).status(),
            Shell::Busybox => self.command("/usr/bin/busybox", &["sh", &hook, word]).status(),
        };
        status.expect("runs the hook");
        self.without_root(&self.read("dev/ttyS0").unwrap_or_default())
    }

    /// How the stubs were called, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        let calls = self.without_root(&self.read("calls").unwrap_or_default());
        calls.lines().map(|line| line.trim_end().to_owned()).collect()
    }

    fn without_root(&self, text: &str) -> String {
        text.replace(self.dir.path().to_string_lossy().as_ref(), "")
    }
}

/// What the scripts know of the build.
pub(crate) fn facts() -> Facts {
    Facts {
        user: "deb.ian".into(),
        key: KEY.into(),
        hostname: "imgbake-build".into(),
        resolv_conf: "nameserver 10.0.2.3\n".into(),
        nonce: NONCE.into(),
    }
}

/// Skips operations, and asks for others.
pub(crate) fn spec(skip: &[&str], also: &[&str]) -> SealSpec {
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    SealSpec { skip: owned(skip), also: owned(also), ..SealSpec::default() }
}

fn selection(spec: &SealSpec) -> Selection {
    crate::check(spec).expect("selects")
}
