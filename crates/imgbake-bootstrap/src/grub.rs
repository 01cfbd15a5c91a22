//! GRUB without grub-install: images from grub-mkimage, written where firmware looks for them.
//!
//! Formats: GRUB 2.06, `grub-core/boot/i386/pc/boot.S` and `diskboot.S`, and
//! `include/grub/i386/pc/boot.h` for the fields that grub-install patches.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_disk::fat::{FatSpec, write_fat};
use imgbake_disk::gpt::SECTOR;
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Job, RuntimeError, Tool};
use imgbake_types::Arch;
use uuid::Uuid;

use crate::DiskLayout;
use crate::error::BootstrapError;

/// `grub-mkimage`
pub(crate) const GRUB_MKIMAGE: Tool = Tool::new("grub-mkimage", "grub-common");

/// Where Debian and Ubuntu have GRUB's platforms.
pub(crate) const GRUB_FOLDER: &str = "/usr/lib/grub";

/// What the images hold: enough to read the root and to load a kernel from it.
const MODULES: [&str; 14] = [
    "part_gpt",
    "ext2",
    "fat",
    "normal",
    "linux",
    "search",
    "search_fs_uuid",
    "configfile",
    "serial",
    "terminal",
    "echo",
    "test",
    "minicmd",
    "reboot",
];
/// Bytes of the MBR that are code; the disk's signature and the partition table follow.
const MBR_CODE: usize = 440;
/// `GRUB_BOOT_MACHINE_KERNEL_SECTOR`: where boot.img finds the core's first sector.
const KERNEL_SECTOR: usize = 0x5c;
/// `GRUB_BOOT_MACHINE_DRIVE_CHECK`: a jump that grub-install replaces so that the BIOS's drive is kept.
const DRIVE_CHECK: usize = 0x66;
/// The core's first block list: the last entry of its first sector.
const BLOCK_LIST: usize = 0x1f4;
/// `GRUB_BOOT_MACHINE_KERNEL_SEG` and one sector: the segment that the rest is loaded to.
const KERNEL_SEGMENT: u16 = 0x820;

/// One GRUB platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Platform {
    /// grub-mkimage's name for it, and its folder's.
    pub(crate) name: &'static str,
    /// The package that holds it.
    pub(crate) package: &'static str,
    /// The loader's file on the ESP; none for BIOS.
    pub(crate) loader: Option<&'static str>,
    modules: &'static [&'static str],
}

const PC: Platform =
    Platform { name: "i386-pc", package: "grub-pc-bin", loader: None, modules: &["biosdisk"] };
const EFI_X86_64: Platform = Platform {
    name: "x86_64-efi",
    package: "grub-efi-amd64-bin",
    loader: Some("EFI/BOOT/BOOTX64.EFI"),
    modules: &["efi_gop"],
};
const EFI_ARM64: Platform = Platform {
    name: "arm64-efi",
    package: "grub-efi-arm64-bin",
    loader: Some("EFI/BOOT/BOOTAA64.EFI"),
    modules: &["efi_gop"],
};

impl Platform {
    /// What a machine of an architecture may boot by.
    pub(crate) const fn of(arch: Arch) -> &'static [Self] {
        match arch {
            Arch::X86_64 => &[PC, EFI_X86_64],
            Arch::Aarch64 => &[EFI_ARM64],
        }
    }

    /// Whether its modules are there.
    pub(crate) fn check(self, grub: &Utf8Path) -> Result<(), BootstrapError> {
        let folder = grub.join(self.name);
        if folder.join("normal.mod").is_file() {
            return Ok(());
        }
        Err(BootstrapError::NoGrub { platform: self.name, folder, package: self.package })
    }
}

/// The menu: one entry, at once. The serial port shows it where there is one.
pub(crate) fn menu(root: Uuid, kernel: &str, initrd: &str, cmdline: &str) -> String {
    format!(
        "set timeout=0\nif serial --unit=0 --speed=115200; then\n  terminal_input serial console\n  \
         terminal_output serial console\nfi\nmenuentry Linux {{\n  search --no-floppy --fs-uuid --set=root {root}\n  \
         linux {kernel} {cmdline}\n  initrd {initrd}\n}}\n"
    )
}

/// Makes the images from a folder of platforms and writes them to their places on a disk.
pub(crate) async fn install(
    job: &Job,
    arch: Arch,
    grub: &Utf8Path,
    layout: &DiskLayout,
    disk: &Utf8Path,
) -> Result<(), BootstrapError> {
    let work = tempfile::tempdir_in(job.work()).map_err(io_at("make a folder in", job.work()))?;
    let work =
        Utf8PathBuf::from_path_buf(work.path().to_path_buf()).map_err(BootstrapError::NotUtf8)?;
    let early = work.join("early.cfg");
    let search =
        format!("search.fs_uuid {} root\nset prefix=($root)/boot/grub\n", layout.root_uuid);
    fs::write(&early, search).map_err(io_at("write", &early))?;
    let mut loaders = Vec::new();
    for platform in Platform::of(arch) {
        let image = work.join(platform.name);
        GRUB_MKIMAGE
            .command()?
            .args([
                "-d",
                grub.join(platform.name).as_str(),
                "-O",
                platform.name,
                "-p",
                "/boot/grub",
                "-c",
                early.as_str(),
                "-o",
                image.as_str(),
            ])
            .args(MODULES)
            .args(platform.modules)
            .run(job)
            .await?;
        let bytes = fs::read(&image).map_err(io_at("read", &image))?;
        match platform.loader {
            Some(loader) => loaders.push((loader, bytes)),
            None => install_bios(grub, disk, bytes)?,
        }
    }
    let files: Vec<(&str, &[u8])> =
        loaders.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    let esp = FatSpec {
        offset: DiskLayout::ESP_OFFSET,
        len: DiskLayout::ESP_LEN,
        label: "ESP".to_owned(),
        volume_id: layout.esp_id,
    };
    Ok(write_fat(disk, &esp, &files)?)
}

fn install_bios(grub: &Utf8Path, disk: &Utf8Path, mut core: Vec<u8>) -> Result<(), BootstrapError> {
    let path = grub.join(PC.name).join("boot.img");
    let boot = fs::read(&path).map_err(io_at("read", &path))?;
    let mbr = boot_code(boot, DiskLayout::CORE_SECTOR)
        .ok_or_else(|| BootstrapError::NotBootImage(path.clone()))?;
    patch_core(&mut core, DiskLayout::CORE_SECTOR, DiskLayout::CORE_LEN)
        .ok_or_else(|| BootstrapError::CoreTooLarge(core.len()))?;
    let write = |error| RuntimeError::io("write", disk, error);
    let file = OpenOptions::new().write(true).open(disk).map_err(write)?;
    file.write_all_at(&mbr, 0).map_err(write)?;
    file.write_all_at(&core, DiskLayout::CORE_SECTOR * SECTOR).map_err(write)?;
    Ok(())
}

/// The MBR's code from boot.img, given the place of the core. `None`: it is too short.
fn boot_code(mut boot: Vec<u8>, core_sector: u64) -> Option<Vec<u8>> {
    if boot.len() < MBR_CODE {
        return None;
    }
    boot.truncate(MBR_CODE);
    boot[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&core_sector.to_le_bytes());
    boot[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]); // two nop
    Some(boot)
}

/// Shows a core where the rest of it is: start, sectors, segment. `None`: it is too short or too long.
fn patch_core(core: &mut [u8], core_sector: u64, room: u64) -> Option<()> {
    let len = u64::try_from(core.len()).ok()?;
    let sectors = u16::try_from(len.div_ceil(SECTOR).checked_sub(1)?).ok()?;
    if sectors == 0 || len > room {
        return None;
    }
    let list = core.get_mut(BLOCK_LIST..BLOCK_LIST + 12)?;
    list[..8].copy_from_slice(&(core_sector + 1).to_le_bytes());
    list[8..10].copy_from_slice(&sectors.to_le_bytes());
    list[10..].copy_from_slice(&KERNEL_SEGMENT.to_le_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_learns_where_the_rest_of_it_is() {
        for (len, sectors) in [
            (513, Some(1)),
            (1024, Some(1)),
            (40_000, Some(78)),
            (512, None),
            (0, None),
            (65_537, None),
        ] {
            let mut core = vec![0xEE; len];
            let patched = patch_core(&mut core, 2048, 65_536);
            assert_eq!(patched.is_some(), sectors.is_some(), "{len}");
            if let Some(sectors) = sectors {
                assert_eq!(core[0x1f4..0x1fc], 2049_u64.to_le_bytes());
                assert_eq!(core[0x1fc..0x1fe], u16::to_le_bytes(sectors));
                assert_eq!(core[0x1fe..0x200], [0x20, 0x08]);
                assert!(core[..0x1f4].iter().chain(&core[0x200..]).all(|byte| *byte == 0xEE));
            }
        }
    }

    #[test]
    fn boot_code_leaves_the_table_alone() {
        let code = boot_code(vec![7; 512], 2048).unwrap();
        assert_eq!(code.len(), 440);
        assert_eq!(code[0x5c..0x64], 2048_u64.to_le_bytes());
        assert_eq!(code[0x66..0x68], [0x90, 0x90]);
        assert!(boot_code(vec![0; 439], 2048).is_none());
    }

    #[test]
    fn the_menu_boots_at_once() {
        let text = menu(Uuid::nil(), "/vmlinuz", "/initrd.img", "root=UUID=0 ro");
        assert!(text.starts_with("set timeout=0\n"));
        assert!(text.contains("  linux /vmlinuz root=UUID=0 ro\n  initrd /initrd.img\n"));
        assert!(text.contains(&Uuid::nil().to_string()));
    }
}
