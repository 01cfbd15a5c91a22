//! The kernel of a disk, taken out so that QEMU can load it directly: firmware and boot loader are
//! spared while building. A verified clone always starts from its firmware.

use std::fs::File;
use std::io::Write;

use camino::{Utf8Path, Utf8PathBuf};
use ext4_view::{Ext4, Ext4Read};
use imgbake_build::{KernelFiles, MachineRequest};
use imgbake_disk::gpt::{Partition, TYPE_BIOS_BOOT, TYPE_ESP, read_partitions};
use imgbake_disk::{DiskImage, DiskSource};
use imgbake_runtime::Job;
use imgbake_types::Arch;
use imgbake_types::spec::Boot;

use crate::grub::{self, Entry};
use crate::saves::saves;

/// A kernel or initial RAM disk larger than this is no such thing.
const LARGEST: u64 = 1 << 30;

/// A `grub.cfg` larger than this is no such thing.
const LARGEST_CONFIG: u64 = 1 << 20;

/// Where a `grub.cfg` is, on a root partition and on one for `/boot`.
const CONFIGS: [&str; 4] =
    ["/boot/grub/grub.cfg", "/boot/grub2/grub.cfg", "/grub/grub.cfg", "/grub2/grub.cfg"];

/// The serial console's name in the kernel.
pub(crate) const fn console(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "ttyS0",
        Arch::Aarch64 => "ttyAMA0",
    }
}

/// The kernel to load directly, where the template lets us and the disk has one.
pub(crate) fn direct(
    job: &Job,
    request: &MachineRequest,
    prefix: &Utf8Path,
) -> Option<KernelFiles> {
    if request.boot == Boot::Firmware {
        return None;
    }
    // A saved machine has the kernel that it was booted with, whatever its disk has by now.
    let disk = request.saved.as_ref().map_or(&request.disk, |saved| &saved.booted_from);
    let found = match &disk.kernel {
        Some(kernel) => Ok(kernel.clone()),
        None => take_out(&disk.path, prefix),
    };
    match found {
        Ok(mut kernel) => {
            kernel.cmdline = grub::with_console(&kernel.cmdline, console(request.arch));
            if saves(&request.spec).is_ok() {
                kernel.cmdline = grub::with_zeroed_memory(&kernel.cmdline);
            }
            Some(kernel)
        }
        Err(reason) => {
            let name = &request.name;
            job.events()
                .info(format!("machine `{name}` starts from its firmware, not directly: {reason}"));
            None
        }
    }
}

/// Copies the kernel that a disk's boot loader starts first to `PREFIX-vmlinuz` and `PREFIX-initrd`, or
/// says why that cannot be done.
pub(crate) fn take_out(disk: &Utf8Path, prefix: &Utf8Path) -> Result<KernelFiles, String> {
    let image = std::sync::Arc::new(DiskImage::open(disk).map_err(|error| error.to_string())?);
    let partitions = read_partitions(&*image).map_err(|error| error.to_string())?;
    let mut reason = "no partition of it is an ext4 file system with a grub.cfg".to_owned();
    for partition in
        partitions.iter().filter(|p| ![TYPE_ESP, TYPE_BIOS_BOOT].contains(&p.type_guid))
    {
        let Ok(system) = Ext4::load(Box::new(Slice::new(&image, partition))) else { continue };
        match take_from(&system, prefix) {
            Some(Ok(files)) => return Ok(files),
            Some(Err(why)) => reason = why,
            None => {}
        }
    }
    Err(reason)
}

/// `None` where the file system has no `grub.cfg`.
fn take_from(system: &Ext4, prefix: &Utf8Path) -> Option<Result<KernelFiles, String>> {
    let config = CONFIGS.into_iter().find(|path| system.exists(*path).unwrap_or(false))?;
    Some(read_config(system, config).and_then(|entry| copy_entry(system, &entry, prefix)))
}

fn read_config(system: &Ext4, path: &str) -> Result<Entry, String> {
    let size = system.metadata(path).map_err(|error| error.to_string())?.len();
    if size > LARGEST_CONFIG {
        return Err(format!("{path} has {size} bytes"));
    }
    let text = system.read(path).map_err(|error| format!("{path}: {error}"))?;
    grub::first_entry(&String::from_utf8_lossy(&text))
}

fn copy_entry(system: &Ext4, entry: &Entry, prefix: &Utf8Path) -> Result<KernelFiles, String> {
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

fn copy(system: &Ext4, from: &str, to: &Utf8Path) -> Result<(), String> {
    let mut file = system.open(from).map_err(|error| format!("{from}: {error}"))?;
    let size = file.metadata().len();
    if size > LARGEST {
        return Err(format!("{from} has {size} bytes"));
    }
    let mut out = File::create(to).map_err(|error| format!("{to}: {error}"))?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = file.read_bytes(&mut buffer).map_err(|error| format!("{from}: {error}"))?;
        if read == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..read]).map_err(|error| format!("{to}: {error}"))?;
    }
}

/// One partition of a disk.
struct Slice {
    image: std::sync::Arc<DiskImage>,
    offset: u64,
    len: u64,
}

impl Slice {
    fn new(image: &std::sync::Arc<DiskImage>, partition: &Partition) -> Self {
        Self {
            image: std::sync::Arc::clone(image),
            offset: partition.offset(),
            len: partition.len(),
        }
    }
}

impl Ext4Read for Slice {
    fn read(
        &mut self,
        start: u64,
        dst: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let end = start.checked_add(dst.len() as u64).filter(|&end| end <= self.len);
        end.ok_or("past the partition's end")?;
        Ok(self.image.read_at(self.offset + start, dst)?)
    }
}

#[cfg(test)]
mod tests;
