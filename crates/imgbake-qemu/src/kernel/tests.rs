//! Kernels out of disks that mke2fs made.

use std::fs;

use imgbake_disk::gpt::{PartitionSpec, TYPE_ROOT_X86_64, guid_from_seed, write_gpt};
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets, Tool};

use super::*;

const START: u64 = 2048;
const SECTORS: u64 = 32 * 1024;

async fn disk(dir: &Utf8Path, config: &str) -> Utf8PathBuf {
    let tree = dir.join("tree");
    fs::create_dir_all(tree.join("boot/grub")).unwrap();
    fs::write(tree.join("boot/grub/grub.cfg"), config).unwrap();
    fs::write(tree.join("boot/vmlinuz-6.1"), vec![7; 3_000_000]).unwrap();
    fs::write(tree.join("boot/initrd.img-6.1"), vec![8; 1_000_001]).unwrap();
    let path = dir.join("disk.raw");
    let file = File::create(&path).unwrap();
    file.set_len((START + SECTORS + 2048) * 512).unwrap();
    let events = Events::channel("test", Secrets::default()).0;
    let home = Home::new(dir.join("home"));
    let job = Job::begin(&home, "test", Cancel::new(), events, Secrets::default()).unwrap();
    let offset = format!("offset={}", START * 512);
    Tool::new("mke2fs", "e2fsprogs")
        .command()
        .unwrap()
        .args([
            "-q",
            "-F",
            "-t",
            "ext4",
            "-b",
            "4096",
            "-E",
            &offset,
            "-d",
            tree.as_str(),
            path.as_str(),
        ])
        .arg((SECTORS / 8).to_string())
        .run(&job)
        .await
        .unwrap();
    let root = PartitionSpec {
        type_guid: TYPE_ROOT_X86_64,
        unique_guid: guid_from_seed("a", "root"),
        name: "root".into(),
        first_lba: START,
        sectors: SECTORS,
    };
    write_gpt(&path, guid_from_seed("a", "disk"), &[root]).unwrap();
    path
}

#[tokio::test]
async fn takes_out_what_the_boot_loader_starts() {
    let dir = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(dir.path()).unwrap();
    let config =
        "menuentry d {\n linux /boot/vmlinuz-6.1 root=UUID=1 ro\n initrd /boot/initrd.img-6.1\n}\n";
    let disk = disk(dir, config).await;
    let files = take_out(&disk, DiskFormat::Raw, &dir.join("build")).unwrap();
    assert_eq!(files.cmdline, "root=UUID=1 ro");
    assert_eq!(fs::read(&files.kernel).unwrap(), vec![7; 3_000_000]);
    assert_eq!(fs::read(files.initrd.unwrap()).unwrap(), vec![8; 1_000_001]);
}

#[tokio::test]
async fn says_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(dir.path()).unwrap();
    let missing = "linux /boot/vmlinuz-6.2 root=UUID=1\n";
    let error =
        take_out(&disk(dir, missing).await, DiskFormat::Raw, &dir.join("build")).unwrap_err();
    assert!(error.to_string().contains("/boot/vmlinuz-6.2"), "{error}");
    let empty = dir.join("empty.raw");
    File::create(&empty).unwrap().set_len(1 << 20).unwrap();
    let error = take_out(&empty, DiskFormat::Raw, &dir.join("build")).unwrap_err();
    assert!(error.to_string().contains("GPT"), "{error}");
}
