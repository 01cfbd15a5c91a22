//! Publishing a disk in a process of its own, so that its peak memory is its own too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use imgbake_build::capture::{CaptureRequest, Changed, NoTap, capture};
use imgbake_build::{Naming, Registry};
use imgbake_disk::DiskImage;
use imgbake_registry::Layout;
use imgbake_runtime::Cancel;
use imgbake_types::record::{ImageConfig, PlanRecord, Proof, VerifySettings};
use imgbake_types::spec::Firmware;
use imgbake_types::{Arch, Digest, MachineSpec};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::bench::{commands, files};

/// `cargo xtask store`: publishes a disk, for a bench.
#[derive(Args)]
pub(crate) struct StoreArgs {
    /// The registry's folder
    registry: Utf8PathBuf,
    /// The image's name
    name: String,
    /// The disk, raw or qcow2
    disk: Utf8PathBuf,
    /// The version that it was built on
    #[arg(long)]
    parent: Option<String>,
    /// That version's disk: the disk is an overlay on this file
    #[arg(long)]
    base: Option<Utf8PathBuf>,
}

/// What publishing took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// From opening the disk to the durable version.
    pub(crate) seconds: f64,
    /// Bytes of the disk that were read.
    pub(crate) read_bytes: u64,
    /// Bytes of new packs and of the table.
    pub(crate) new_bytes: u64,
    /// The most memory that the process had, files that it mapped aside.
    pub(crate) peak_bytes: u64,
}

/// A registry that a bench fills.
pub(in crate::bench) struct Store(PathBuf);

impl Store {
    /// An empty one, in a home of its own.
    pub(in crate::bench) fn fresh(home: &Path) -> Result<Self> {
        files::remove(home)?;
        fs::create_dir_all(home)?;
        Ok(Self(home.to_owned()))
    }

    /// The home.
    pub(super) fn home(&self) -> PathBuf {
        self.0.clone()
    }

    /// Publishes a disk; with a parent, and perhaps the parent's disk, on which it is an overlay.
    pub(in crate::bench) fn publish(
        &self,
        name: &str,
        disk: &Path,
        parent: Option<(&str, Option<&Path>)>,
    ) -> Result<Stored> {
        // All find the disk in the page cache.
        fs::File::open(disk).and_then(|mut file| std::io::copy(&mut file, &mut std::io::sink()))?;
        let before = size(&self.0.join("registry/blobs"))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("store").arg(self.0.join("registry")).arg(name).arg(disk);
        if let Some((reference, base)) = parent {
            command.args(["--parent", reference]);
            if let Some(base) = base {
                command.arg("--base").arg(base);
            }
        }
        let mut stored: Stored = serde_json::from_str(&commands::output(&mut command)?)?;
        stored.new_bytes = size(&self.0.join("registry/blobs"))? - before;
        Ok(stored)
    }
}

/// Bytes of all files below a folder; none where there is no folder.
pub(super) fn size(folder: &Path) -> Result<u64> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(0) };
    let mut bytes = 0;
    for entry in entries {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// Publishes, and prints what it took.
pub(crate) fn store(args: &StoreArgs) -> Result<()> {
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let layout = Layout::open(&args.registry)?;
    let parent = match &args.parent {
        Some(reference) => Some(runtime.block_on(layout.resolve(&reference.parse()?))?.digest),
        None => None,
    };
    let there = runtime.block_on(layout.versions(Some(&args.name)))?.len();
    let (read_bytes, new_bytes) = publish(&runtime, &layout, args, parent.as_ref(), there + 1)?;
    let stored = Stored {
        seconds: started.elapsed().as_secs_f64(),
        read_bytes,
        new_bytes,
        peak_bytes: peak()?,
    };
    println!("{}", serde_json::to_string(&stored)?);
    Ok(())
}

fn publish(
    runtime: &tokio::runtime::Runtime,
    layout: &Layout,
    args: &StoreArgs,
    parent: Option<&Digest>,
    number: usize,
) -> Result<(u64, u64)> {
    let disk = DiskImage::open(&args.disk)?;
    let work = tempfile::tempdir_in(args.registry.parent().unwrap_or(Utf8Path::new(".")))?;
    let folder = Utf8Path::from_path(work.path()).ok_or("a path that is not UTF-8")?;
    let known = runtime.block_on(layout.known(&args.name, parent))?;
    let changed = match (&args.base, parent) {
        (Some(base), Some(parent)) => disk.extents_above(base)?.map(|extents| {
            let table = runtime.block_on(layout.table(parent))?;
            Ok::<_, imgbake_build::BuildError>(Changed { table: Arc::new(table), extents })
        }),
        _ => None,
    };
    let request = CaptureRequest {
        disk: &disk,
        folder,
        known,
        changed: changed.transpose()?,
        tap: Box::new(NoTap),
        cancel: &Cancel::new(),
        progress: &|_| {},
    };
    let (captured, _) = capture(request)?;
    let naming = Naming::Fixed(number.to_string().parse()?);
    let config = config(&args.name, captured.disk_record(&[]))?;
    runtime.block_on(layout.publish(&captured, config, &naming))?;
    Ok((captured.read_bytes, captured.new_bytes()))
}

fn config(name: &str, disk: imgbake_types::record::DiskRecord) -> Result<ImageConfig> {
    Ok(ImageConfig {
        name: name.to_owned(),
        version: "unnamed".parse()?,
        description: None,
        created: jiff::Timestamp::now(),
        arch: Arch::X86_64,
        firmware: Firmware::Bios,
        disk,
        parent: None,
        plan: PlanRecord { digest: Digest::sha256("bench") },
        proof: Proof {
            machine: MachineSpec::default(),
            verify: VerifySettings::default(),
            tests: Vec::new(),
        },
        stages: Vec::new(),
        labels: std::collections::BTreeMap::new(),
        imgbake: "bench".to_owned(),
        origin: None,
    })
}

/// The peak of anonymous and file-backed memory of this process (proc(5), `VmHWM`).
fn peak() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 =
        line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no VmHWM")?.parse()?;
    Ok(kib << 10)
}
