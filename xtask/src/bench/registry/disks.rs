//! The disks that are stored: made once by imgbake, and kept in the bench's folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::bench::ground::Ground;
use crate::bench::imgbake::Imgbake;
use crate::bench::{commands, mirror};

/// The disks.
pub(super) struct Disks {
    /// Debian without the suite's updates.
    pub(super) first: PathBuf,
    /// The same with them, on a file system of its own.
    pub(super) rebuild: PathBuf,
    /// The first with two packages more.
    pub(super) child: PathBuf,
    /// The first on 4 GiB.
    pub(super) big: PathBuf,
    /// An overlay on that with 16 MiB of other bytes.
    pub(super) patch: PathBuf,
    /// Packages that have another version in the rebuild.
    pub(super) newer: f64,
}

/// Packages that fill the disk to some 0.8 GiB.
const PACKAGES: &str = r#""curl", "gcc", "git", "nginx", "vim""#;

impl Disks {
    /// Makes what is missing.
    pub(super) fn make(ground: &Ground) -> Result<Self> {
        let dir = ground.dir.join("registry");
        fs::create_dir_all(&dir)?;
        let imgbake = Imgbake { binary: ground.binary.clone(), home: dir.join("home") };
        let path = |name: &str| dir.join(name);
        let disks = |newer| Self {
            first: path("first.raw"),
            rebuild: path("rebuild.raw"),
            child: path("child.raw"),
            big: path("big.raw"),
            patch: path("patch.qcow2"),
            newer,
        };
        let made = disks(0.0);
        for (disk, updates) in [(&made.first, "false"), (&made.rebuild, "true")] {
            let source = format!(
                "bootstrap = {{ distribution = \"debian\", suite = \"bookworm\", updates = {updates}, \
                 packages = [{PACKAGES}] }}"
            );
            build(&imgbake, disk, "bench-debian", &source, "")?;
        }
        let environment: Vec<String> = mirror::environment()
            .iter()
            .map(|(name, value)| format!("{name} = \"{value}\""))
            .collect();
        let step = format!(
            "[[provision]]\nname = \"packages\"\ntype = \"shell\"\nscript = \"{}\"\nenv = {{ {} }}\n",
            script(&dir)?.display(),
            environment.join(", ")
        );
        let source = "image = \"bench-debian:first\"";
        build(&imgbake, &made.child, "bench-child", source, &step)?;
        big(&made)?;
        Ok(disks(newer(&made)?))
    }
}

/// Builds an image into a raw disk, unless it is there.
fn build(imgbake: &Imgbake, disk: &Path, name: &str, source: &str, steps: &str) -> Result<()> {
    if disk.exists() {
        return Ok(());
    }
    let version = disk.file_stem().and_then(|stem| stem.to_str()).unwrap_or("disk");
    let template = disk.with_extension("toml");
    let text = format!(
        "[image]\nname = \"{name}\"\n[source]\n{source}\n[builder.qemu]\naccel = \"tcg\"\n\
         memory = \"1GiB\"\ncpus = 2\ndisk = \"3GiB\"\n[verify]\nenabled = false\n\
         [publish]\nversion = \"{version}\"\n{steps}"
    );
    fs::write(&template, text)?;
    commands::output(imgbake.command().arg("build").arg(&template).arg("--output").arg(disk))?;
    Ok(())
}

/// The step of the child: as a fleet's image adds to its base.
fn script(dir: &Path) -> Result<PathBuf> {
    let path = dir.join("packages.sh");
    fs::write(&path, include_str!("../steps/child.sh"))?;
    Ok(path)
}

fn big(disks: &Disks) -> Result<()> {
    if disks.patch.exists() {
        return Ok(());
    }
    commands::output(Command::new("cp").arg("--sparse=always").arg(&disks.first).arg(&disks.big))?;
    fs::File::options().write(true).open(&disks.big)?.set_len(4 << 30)?;
    let mut create = Command::new("qemu-img");
    create.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(&disks.big);
    commands::output(create.arg(&disks.patch))?;
    // Bytes that do not compress, the same in every run.
    let dir = disks.patch.with_extension("noise");
    fs::create_dir_all(&dir)?;
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(16 << 20)
    .collect();
    let mut write = Command::new("qemu-io");
    write.args(["-f", "qcow2"]);
    for place in 0..16_u32 {
        let part = dir.join(format!("noise-{place}"));
        let start = usize::try_from(place)? << 20;
        fs::write(&part, &bytes[start..start + (1 << 20)])?;
        write.arg("-c").arg(format!("write -s {} {}M 1M", part.display(), 150 + 45 * place));
    }
    commands::output(write.arg(&disks.patch))?;
    Ok(())
}

/// How many packages have another version in the rebuild than in the first.
fn newer(disks: &Disks) -> Result<f64> {
    let (first, rebuild) = (packages(&disks.first)?, packages(&disks.rebuild)?);
    let differ = first.iter().filter(|(name, version)| rebuild.get(*name) != Some(version)).count();
    Ok(f64::from(u32::try_from(differ)?))
}

/// The packages on a disk with their versions, out of dpkg's list.
fn packages(disk: &Path) -> Result<BTreeMap<String, String>> {
    let table = commands::output(Command::new("sfdisk").arg("--json").arg(disk))?;
    let table: serde_json::Value = serde_json::from_str(&table)?;
    let partitions = table["partitiontable"]["partitions"].as_array().ok_or("no partitions")?;
    let root = partitions.iter().max_by_key(|partition| partition["size"].as_u64());
    let start = root.and_then(|root| root["start"].as_u64()).ok_or("no root partition")?;
    let place = format!("{}?offset={}", disk.display(), start * 512);
    let mut debugfs = Command::new("debugfs");
    let status = commands::output(debugfs.args(["-R", "cat /var/lib/dpkg/status"]).arg(place))?;
    let mut found = BTreeMap::new();
    let mut name = "";
    for line in status.lines() {
        if let Some(package) = line.strip_prefix("Package: ") {
            name = package;
        } else if let Some(version) = line.strip_prefix("Version: ") {
            found.insert(name.to_owned(), version.to_owned());
        }
    }
    Ok(found)
}
