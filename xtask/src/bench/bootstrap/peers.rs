//! The floor, and the other builders.

use std::fs;
use std::process::Command;

use camino::Utf8Path;

use super::disk::{SIZE, SUITE, Work};
use crate::Result;
use crate::bench::options::Options;
use crate::bench::{commands, files};

/// Arguments: the folder, the packages, the suite, the disk's size.
const FLOOR: &str = r#"
mkdir -p "$1/floor"
mount -t tmpfs -o mode=0755,size=90% floor "$1/floor"
mmdebstrap --quiet --mode=root --variant=minbase --format=directory --dpkgopt=force-unsafe-io \
    --skip=check/signed-by --include="$2" "$3" "$1/floor/tree" - < "$1/sources.list"
truncate -s "$4" "$1/floor.raw"
mke2fs -q -F -t ext4 -d "$1/floor/tree" "$1/floor.raw"
zstd -q -3 -T2 -f "$1/floor.raw" -o "$1/floor.zst"
"#;

/// Arguments: the folder, the disk's size. vmdb2 asks for partitions as kpartx gives them, through a device
/// mapper; those of a loop device serve as well.
const VMDB2: &str = r#"
truncate -s "$2" "$1/vmdb2.raw"
loop=$(losetup --find --show "$1/vmdb2.raw")
trap 'losetup --detach "$loop"' EXIT
vmdb2 "$1/vmdb2.yaml" --image "$loop" --log "$1/vmdb2.log"
"#;

/// mmdebstrap, `mke2fs -d` and `zstd`; gives the seconds.
pub(super) fn floor(work: &Work) -> Result<f64> {
    fs::write(work.dir.join("sources.list"), &work.sources)?;
    files::remove_file(work.dir.join("floor.raw").as_std_path())?;
    let mut command = Command::new("unshare");
    command.args(["--fork", "--kill-child", "--pid", "--mount", "--mount-proc"]);
    if !commands::output(Command::new("id").arg("-u"))?.trim().eq("0") {
        command.args(["--map-root-user", "--map-auto"]);
    }
    command.args(["sh", "-euc", FLOOR, "floor"]).arg(&work.dir);
    command.args([&work.packages.join(","), SUITE, &SIZE.to_string()]);
    commands::seconds(&mut command)
}

/// Another builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    Mkosi,
    Vmdb2,
}

impl Peer {
    pub(super) const ALL: [Self; 2] = [Self::Mkosi, Self::Vmdb2];

    /// Its program, and the name of its figures.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mkosi => "mkosi",
            Self::Vmdb2 => "vmdb2",
        }
    }

    /// Makes a disk; gives the seconds.
    fn run(self, work: &Work) -> Result<f64> {
        let disk = work.dir.join(format!("{}.raw", self.name()));
        files::remove_file(disk.as_std_path())?;
        let mut command = match self {
            Self::Mkosi => mkosi(work, &disk)?,
            Self::Vmdb2 => vmdb2(work)?,
        };
        let seconds = commands::seconds(&mut command)?;
        let mut zstd = Command::new("zstd");
        zstd.args(["-q", "-3", "-T2", "-f"]).arg(&disk).arg("-o").arg(disk.with_extension("zst"));
        let seconds = seconds + commands::seconds(&mut zstd)?;
        files::remove_file(disk.as_std_path())?;
        Ok(seconds)
    }
}

fn mkosi(work: &Work, disk: &Utf8Path) -> Result<Command> {
    // A folder of its own: mkosi reads what lies in the one that it is started in.
    let folder = work.dir.join("mkosi");
    fs::create_dir_all(&folder)?;
    let mut command = Command::new("mkosi");
    command.current_dir(folder).args(["--distribution", "debian", "--release", SUITE]);
    command.args(["--mirror", &work.mirror()?, "--format", "gpt_ext4", "--force"]);
    command.args(["--nspawn-keep-unit", "--bootable=no", "--without-unified-kernel-images"]);
    command.args(["--root-size", &(SIZE - (8 << 20)).to_string()]);
    command.args(["--package", &work.packages.join(",")]).arg("--output").arg(disk);
    Ok(command)
}

fn vmdb2(work: &Work) -> Result<Command> {
    let mirror = work.mirror()?;
    let packages = work.packages.join("\n      - ");
    let spec = format!(
        "steps:\n  - mklabel: gpt\n    device: \"{{{{ image }}}}\"\n\
         \x20 - mkpart: primary\n    device: \"{{{{ image }}}}\"\n    start: 1M\n    end: 100%\n    tag: root\n\
         \x20 - mkfs: ext4\n    partition: root\n  - mount: root\n\
         \x20 - debootstrap: {SUITE}\n    mirror: {mirror}\n    target: root\n    variant: minbase\n\
         \x20 - virtual-filesystems: root\n\
         \x20 - apt: install\n    recommends: false\n    packages:\n      - {packages}\n    tag: root\n    clean: true\n"
    );
    fs::write(work.dir.join("vmdb2.yaml"), spec)?;
    let mut command = Command::new("sh");
    command.args(["-euc", VMDB2, "vmdb2"]).arg(&work.dir).arg(SIZE.to_string());
    Ok(command)
}

/// The other builders, as far as they run here.
pub(super) struct Peers<'a> {
    work: &'a Work,
    skipped: Vec<(Peer, String)>,
}

impl<'a> Peers<'a> {
    /// None was tried yet.
    pub(super) fn new(work: &'a Work) -> Self {
        Self { work, skipped: Vec::new() }
    }

    /// Runs each that did not fail before.
    pub(super) fn run(&mut self, options: &Options) -> Vec<(Peer, f64)> {
        let mut done = Vec::new();
        for peer in Peer::ALL {
            if self.skipped.iter().any(|(one, _)| *one == peer) {
                continue;
            }
            match peer.run(self.work) {
                Ok(seconds) => done.push((peer, seconds)),
                Err(error) => {
                    options.say(&format!("{} is left out: {error}", peer.name()));
                    self.skipped.push((peer, reason(&error.to_string(), &self.work.dir)));
                }
            }
        }
        done
    }

    /// Those that do not run here, and why.
    pub(super) fn skipped(&self) -> &[(Peer, String)] {
        &self.skipped
    }
}

/// The last line of an error that says anything, without this machine's paths and mirrors.
fn reason(error: &str, dir: &Utf8Path) -> String {
    let line = error.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let words = line.split_whitespace().map(|word| {
        if word.contains("://") { "MIRROR".to_owned() } else { word.replace(dir.as_str(), "DIR") }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_neither_folder_nor_mirror() {
        let error = "vmdb2 failed (exit status: 1):\nE: /bench/x: cannot fetch http://m.test/debian now\n\n";
        let words = reason(error, Utf8Path::new("/bench"));
        assert_eq!(words, "E: DIR/x: cannot fetch MIRROR now");
    }
}
