//! A small tree becomes a disk: for the same tree and times the same, and readable by others.

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_bootstrap::{DiskLayout, DiskRequest, assemble};
use imgbake_build::BuildErrorKind;
use imgbake_disk::DiskImage;
use imgbake_disk::gpt::{TYPE_BIOS_BOOT, TYPE_ESP, TYPE_ROOT_X86_64, read_partitions};
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets, Tool};
use imgbake_types::{Arch, Digest, Size};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn job(root: &Utf8Path) -> Result<Job, Box<dyn std::error::Error>> {
    let (events, _) = Events::channel("test", Secrets::default());
    let id = imgbake_runtime::job::new_id("test");
    Ok(Job::begin(&Home::new(root.join("home")), &id, Cancel::new(), events, Secrets::default())?)
}

fn tree(at: &Utf8Path) -> Outcome {
    fs::create_dir_all(at.join("boot"))?;
    fs::create_dir_all(at.join("etc"))?;
    fs::write(at.join("boot/vmlinuz-1"), "a kernel")?;
    fs::write(at.join("boot/initrd.img-1"), "an initramfs")?;
    symlink("boot/vmlinuz-1", at.join("vmlinuz"))?;
    symlink("boot/initrd.img-1", at.join("initrd.img"))?;
    fs::write(at.join("etc/hostname"), "tiny\n")?;
    fs::write(at.join("large"), vec![7; 3 << 20])?;
    Ok(())
}

fn request<'a>(key: &'a Digest, out: &'a Utf8Path) -> DiskRequest<'a> {
    DiskRequest { arch: Arch::X86_64, key, size: None, cmdline: "console=ttyS0", grub: None, out }
}

#[tokio::test]
async fn the_same_tree_gives_the_same_disk() -> Outcome {
    let dir = tempfile::tempdir()?;
    let root = Utf8PathBuf::from_path_buf(dir.path().to_path_buf()).map_err(|_| "not UTF-8")?;
    let (job, key) = (job(&root)?, Digest::sha256("a key"));
    let mut disks = Vec::new();
    for name in ["one", "two"] {
        let (files, out) = (root.join(name), root.join(format!("{name}-out")));
        tree(&files)?;
        Tool::new("find", "findutils")
            .command()?
            .args([files.as_str(), "-exec", "touch", "-h", "-d", "@1700000000", "{}", "+"])
            .run(&job)
            .await?;
        let made = assemble(&job, &files, &request(&key, &out)).await?;
        assert_eq!(fs::read_to_string(&made.kernel.kernel)?, "a kernel");
        assert_eq!(fs::read_to_string(made.kernel.initrd.ok_or("no initramfs")?)?, "an initramfs");
        assert!(made.kernel.cmdline.ends_with(" ro console=ttyS0"));
        assert_eq!(fs::read_dir(&out)?.count(), 3, "disk, kernel and initramfs alone");
        assert!(fs::metadata(&made.path)?.blocks() * 512 < made.layout.size / 4, "sparse");
        disks.push(made.path);
    }
    assert!(fs::read(&disks[0])? == fs::read(&disks[1])?, "the same twice");

    let partitions = read_partitions(&DiskImage::open(&disks[0])?)?;
    let types: Vec<_> = partitions.iter().map(|partition| partition.type_guid).collect();
    assert_eq!(types, [TYPE_BIOS_BOOT, TYPE_ESP, TYPE_ROOT_X86_64]);
    let file = fs::File::open(&disks[0])?;
    let mut sector = [0; 512];
    file.read_exact_at(&mut sector, 0)?;
    assert_eq!(sector[510..], [0x55, 0xAA]);
    assert_eq!(sector[0x5c..0x64], 2048_u64.to_le_bytes());

    let at = format!("{}?offset={}", disks[0], DiskLayout::ROOT_OFFSET);
    Tool::new("e2fsck", "e2fsprogs").command()?.args(["-fn", at.as_str()]).run(&job).await?;
    let shown = Tool::new("debugfs", "e2fsprogs")
        .command()?
        .args(["-R", "cat /boot/grub/grub.cfg", at.as_str()])
        .run(&job)
        .await?;
    let menu = String::from_utf8(shown)?;
    assert!(
        menu.contains("linux /vmlinuz root=UUID=") && menu.contains("initrd /initrd.img"),
        "{menu}"
    );
    job.end()?;
    Ok(())
}

#[tokio::test]
async fn what_cannot_boot_is_refused() -> Outcome {
    let dir = tempfile::tempdir()?;
    let root = Utf8PathBuf::from_path_buf(dir.path().to_path_buf()).map_err(|_| "not UTF-8")?;
    let (job, key) = (job(&root)?, Digest::sha256("a key"));
    let (files, out) = (root.join("tree"), root.join("out"));
    tree(&files)?;
    for (size, kind) in [
        (DiskLayout::MIN_SIZE - 1, BuildErrorKind::Usage),
        (DiskLayout::MIN_SIZE, BuildErrorKind::Failed),
    ] {
        fs::write(files.join("large"), vec![7; 40 << 20])?;
        let small = DiskRequest { size: Some(Size::bytes(size)), ..request(&key, &out) };
        let error = assemble(&job, &files, &small).await.err().ok_or("it fits")?;
        assert_eq!(error.kind(), kind, "{error}");
    }
    fs::remove_file(files.join("vmlinuz"))?;
    let error =
        assemble(&job, &files, &request(&key, &out)).await.err().ok_or("no kernel is needed")?;
    assert!(error.to_string().contains("no kernel"), "{error}");
    job.end()?;
    Ok(())
}
