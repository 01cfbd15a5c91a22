//! The kernel of a disk, taken out so that QEMU can load it directly: firmware and boot loader are
//! skipped while building. A verified clone always starts from its firmware.

use std::fs::File;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{KernelFiles, MachineRequest, Purpose};
use imgbake_disk::DiskFormat;
use imgbake_disk::fs::Ext4;
use imgbake_runtime::Job;
use imgbake_runtime::error::io_at;
use imgbake_types::Arch;

use crate::error::QemuError;
use crate::grub::{self, Entry};
use crate::saves::saves;
use crate::spec::{Boot, QemuSpec};
use crate::volumes::Volumes;

/// A kernel or initial RAM disk larger than this is no such thing.
const LARGEST: u64 = 1 << 30;

/// A `grub.cfg` larger than this is no such thing.
const LARGEST_CONFIG: u64 = 1 << 20;

/// The serial console's name in the kernel.
pub(crate) const fn console(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "ttyS0",
        Arch::Aarch64 => "ttyAMA0",
    }
}

/// The kernel to load directly, where the template allows it and the disk has one.
pub(crate) fn direct(
    job: &Job,
    request: &MachineRequest,
    spec: &QemuSpec,
    prefix: &Utf8Path,
) -> Option<KernelFiles> {
    if request.purpose != Purpose::Build || spec.boot == Boot::Firmware {
        return None;
    }
    // A saved machine has the kernel that it was booted with, whatever its disk has by now.
    let disk = request.booted_from().local()?;
    let found = match &disk.kernel {
        Some(kernel) => Ok(kernel.clone()),
        None => take_out(&disk.path, disk.format, prefix),
    };
    match found {
        Ok(mut kernel) => {
            kernel.cmdline = grub::with_console(&kernel.cmdline, console(request.arch));
            if saves(spec).is_ok() {
                kernel.cmdline = grub::with_zeroed_memory(&kernel.cmdline);
                kernel.cmdline = grub::with_early_writes(&kernel.cmdline);
            }
            Some(kernel)
        }
        Err(error) => {
            let (name, reason) = (&request.name, error.reason());
            job.events()
                .info(format!("machine `{name}` starts from its firmware, not directly: {reason}"));
            None
        }
    }
}

/// Copies the kernel that a disk's boot loader starts first to `PREFIX-vmlinuz` and `PREFIX-initrd`.
pub(crate) fn take_out(
    disk: &Utf8Path,
    format: DiskFormat,
    prefix: &Utf8Path,
) -> Result<KernelFiles, QemuError> {
    let volumes = Volumes::open(disk, format)?;
    let mut error =
        QemuError::unsuitable("no partition of it is an ext4 file system with a grub.cfg");
    for (system, config) in volumes.boot() {
        match read_config(system, config).and_then(|entry| copy_entry(system, &entry, prefix)) {
            Ok(files) => return Ok(files),
            Err(other) => error = other,
        }
    }
    Err(error)
}

fn read_config(system: &Ext4, path: &str) -> Result<Entry, QemuError> {
    let text = system.read(path, LARGEST_CONFIG)?;
    grub::first_entry(&String::from_utf8_lossy(&text))
}

fn copy_entry(system: &Ext4, entry: &Entry, prefix: &Utf8Path) -> Result<KernelFiles, QemuError> {
    let kernel = Utf8PathBuf::from(format!("{prefix}-vmlinuz"));
    copy(system, &entry.kernel, &kernel)?;
    let initrd = match &entry.initrd {
        Some(path) => {
            let to = Utf8PathBuf::from(format!("{prefix}-initrd"));
            copy(system, path, &to)?;
            Some(to)
        }
        None => None,
    };
    Ok(KernelFiles { kernel, initrd, cmdline: entry.cmdline.clone() })
}

fn copy(system: &Ext4, from: &str, to: &Utf8Path) -> Result<(), QemuError> {
    let mut file = system.open_file(from)?;
    if file.len() > LARGEST {
        return Err(QemuError::unsuitable(format!("{from} has {} bytes", file.len())));
    }
    let mut out = File::create(to).map_err(io_at("make the file", to))?;
    io::copy(&mut file, &mut out).map_err(io_at(&format!("copy {from} to"), to))?;
    Ok(())
}

#[cfg(test)]
mod tests;
