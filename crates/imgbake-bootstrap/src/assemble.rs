//! From a folder tree to a disk that boots.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::KernelFiles;
use imgbake_disk::gpt::write_gpt;
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Command, Job, Tool};
use imgbake_types::{Arch, Digest, Size};

use crate::error::BootstrapError;
use crate::{DiskLayout, grub};

/// `mke2fs`
const MKE2FS: Tool = Tool::new("mke2fs", "e2fsprogs");
/// `debugfs`
const DEBUGFS: Tool = Tool::new("debugfs", "e2fsprogs");
/// `unshare`
pub(crate) const UNSHARE: Tool = Tool::new("unshare", "util-linux");
/// `sh`
const SH: Tool = Tool::new("sh", "dash");

/// The time, in seconds since 1970, of whatever an assembled disk has that no package brought:
/// 2025-01-01.
pub const EPOCH: u64 = 1_735_689_600;

const MKE2FS_CONFIG: &str = include_str!("scripts/mke2fs.conf");
const DISK_SCRIPT: &str = include_str!("scripts/disk.sh");

/// What a disk is assembled from.
#[derive(Debug, Clone, Copy)]
pub struct DiskRequest<'a> {
    /// The machine's architecture.
    pub arch: Arch,
    /// Decides every identifier on the disk.
    pub key: &'a Digest,
    /// The disk's size; without it, what the files need, a quarter more, and 128 MiB.
    pub size: Option<Size>,
    /// The kernel's command line, behind `root=UUID=… ro`.
    pub cmdline: &'a str,
    /// A folder with GRUB's platforms, where it is not the host's `/usr/lib/grub`.
    pub grub: Option<&'a Utf8Path>,
    /// The folder for `disk.raw`, `vmlinuz` and `initrd.img`; it is made where it is missing.
    pub out: &'a Utf8Path,
}

/// A disk that was assembled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// The raw, sparse file.
    pub path: Utf8PathBuf,
    /// Its partitions and identifiers.
    pub layout: DiskLayout,
    /// The kernel and initramfs beside it.
    pub kernel: KernelFiles,
    /// Bytes that the file takes.
    pub bytes: u64,
}

/// Makes a disk from a folder tree that holds a root file system: GPT, EFI system partition, ext4,
/// GRUB for every firmware of the architecture. The tree has `vmlinuz` and `initrd.img` in `/` or in
/// `/boot`; it is given `/boot/grub/grub.cfg`. Where imgbake is not root, the user's files are root's on
/// the disk.
///
/// # Errors
/// A program is missing, the tree has no kernel, or the disk is too small for it.
pub async fn assemble(
    job: &Job,
    tree: &Utf8Path,
    request: &DiskRequest<'_>,
) -> Result<Assembled, BootstrapError> {
    check_tools()?;
    check_grub(request.arch, grub_folder(request))?;
    let command = if rustix::process::geteuid().is_root() {
        SH.command()?
    } else {
        UNSHARE.command()?.args(["--map-root-user", "sh"])
    };
    let command = command.args(["-c", DISK_SCRIPT]).env("BAKE_TREE", tree);
    prepare(request, command)?.run(job).await?;
    finish(job, request).await
}

/// Whether this machine has the programs that assemble a disk.
pub(crate) fn check_tools() -> Result<(), BootstrapError> {
    for tool in [MKE2FS, DEBUGFS, SH, UNSHARE, grub::GRUB_MKIMAGE] {
        tool.find()?;
    }
    Ok(())
}

/// Whether GRUB is here for every firmware of an architecture.
pub(crate) fn check_grub(arch: Arch, folder: &Utf8Path) -> Result<(), BootstrapError> {
    grub::Platform::of(arch).iter().try_for_each(|platform| platform.check(folder))
}

/// The words that the kernel is given on every boot.
pub(crate) fn cmdline(request: &DiskRequest<'_>) -> String {
    let root = format!("root=UUID={} ro", DiskLayout::root_uuid(request.key));
    if request.cmdline.is_empty() { root } else { format!("{root} {}", request.cmdline) }
}

/// Gives a command what `disk.sh` asks for, but for the tree.
pub(crate) fn prepare(
    request: &DiskRequest<'_>,
    command: Command,
) -> Result<Command, BootstrapError> {
    if request.size.is_some_and(|size| size.as_bytes() < DiskLayout::MIN_SIZE) {
        return Err(BootstrapError::TooSmall(Size::bytes(DiskLayout::MIN_SIZE)));
    }
    fs::create_dir_all(request.out).map_err(io_at("make the folder", request.out))?;
    let config = request.out.join("mke2fs.conf");
    fs::write(&config, MKE2FS_CONFIG).map_err(io_at("write", &config))?;
    let root = DiskLayout::root_uuid(request.key);
    Ok(command
        .env("BAKE_DISK", disk_path(request))
        .env("BAKE_OFFSET", DiskLayout::ROOT_OFFSET.to_string())
        .env("BAKE_TAIL", DiskLayout::TAIL.to_string())
        .env("BAKE_SIZE", request.size.unwrap_or_default().as_bytes().to_string())
        .env("BAKE_FS_UUID", root.to_string())
        .env("BAKE_EPOCH", EPOCH.to_string())
        .env("MKE2FS_CONFIG", config)
        .env("BAKE_GRUB_CFG", grub::menu(root, "@KERNEL@", "@INITRD@", &cmdline(request)))
        .env("BAKE_KERNELS", request.out)
        .env("LC_ALL", "C.UTF-8"))
}

/// Partitions and boot loaders, once `disk.sh` has made the root.
pub(crate) async fn finish(
    job: &Job,
    request: &DiskRequest<'_>,
) -> Result<Assembled, BootstrapError> {
    use std::os::unix::fs::MetadataExt as _;
    let path = disk_path(request);
    let size = fs::metadata(&path).map_err(io_at("read", &path))?.len();
    let layout = DiskLayout::new(request.arch, request.key, size);
    grub::install(job, request.arch, grub_folder(request), &layout, &path).await?;
    write_gpt(&path, layout.disk_guid, &layout.partitions)?;
    imgbake_runtime::job::remove_path(&request.out.join("mke2fs.conf"))?;
    let bytes = fs::metadata(&path).map_err(io_at("read", &path))?.blocks() * 512;
    let kernel = KernelFiles {
        kernel: request.out.join("vmlinuz"),
        initrd: Some(request.out.join("initrd.img")),
        cmdline: cmdline(request),
    };
    Ok(Assembled { path, layout, kernel, bytes })
}

pub(crate) fn grub_folder<'a>(request: &DiskRequest<'a>) -> &'a Utf8Path {
    request.grub.unwrap_or(Utf8Path::new(grub::GRUB_FOLDER))
}

fn disk_path(request: &DiskRequest<'_>) -> Utf8PathBuf {
    request.out.join("disk.raw")
}
