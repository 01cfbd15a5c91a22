//! File systems on foreign disks: ext2, ext4 with extended attributes, FAT. An input is bytes at places of a
//! sound file system.
#![no_main]
#![expect(clippy::unwrap_used, reason = "a target that lacks its ground has failed")]

use std::fs;
use std::process::Command;
use std::sync::{Arc, LazyLock};

use camino::Utf8Path;
use imgbake_disk::fat::{FatSpec, create_fat};
use imgbake_disk::fs::ext4::FileKind;
use imgbake_disk::fs::{Ext4, Fat, Volume};
use imgbake_disk::{DiskSource, Extent};
use imgbake_fuzz::{choose, folder, seed, tagged};
use libfuzzer_sys::fuzz_target;

/// What is read of a file.
const LIMIT: u64 = 64 << 10;
/// Folders that are looked into.
const FOLDERS: usize = 32;
/// Bytes of a patch before those that it writes: three for the place, one for their number.
const HEAD: usize = 4;

static SOUND: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    let dir = folder();
    let images = [ext(&dir, "ext4", "extent,ea_inode"), ext(&dir, "ext2", ""), fat(&dir)];
    fs::remove_dir_all(dir).unwrap();
    images
});

fn ext(dir: &Utf8Path, kind: &str, features: &str) -> Vec<u8> {
    let (tree, image, value) = (dir.join(kind), dir.join("fs.img"), dir.join("value"));
    fs::create_dir_all(tree.join("bin/deep")).unwrap();
    fs::write(tree.join("bin/ping"), vec![7; 5000]).unwrap();
    std::os::unix::fs::symlink("bin/ping", tree.join("link")).unwrap();
    fs::write(&value, vec![b'x'; 300]).unwrap();
    let _ = fs::remove_file(&image);
    let features = format!("^has_journal,^metadata_csum,^resize_inode,^64bit,{features}");
    let options = ["-q", "-F", "-b", "1024", "-N", "16", "-O", features.trim_end_matches(',')];
    run(
        "mke2fs",
        &[&["-t", kind], &options[..], &["-d", tree.as_str(), image.as_str(), "128"]].concat(),
    );
    for set in ["user.long", "security.capability"] {
        let request = format!("ea_set -f {value} /bin/ping {set}");
        run("debugfs", &["-w", "-R", &request, image.as_str()]);
    }
    fs::read(&image).unwrap()
}

fn run(program: &str, arguments: &[&str]) {
    #[expect(clippy::disallowed_methods, reason = "a target has no job to start processes in")]
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
}

fn fat(dir: &Utf8Path) -> Vec<u8> {
    let path = dir.join("fat.img");
    let spec = FatSpec { offset: 0, len: 64 << 10, label: "ESP".into(), volume_id: 1 };
    create_fat(&path, &spec, &[("EFI/BOOT/a-long-name.efi", &[7; 3000]), ("b", b"b")]).unwrap();
    fs::read(&path).unwrap()
}

fn sound() -> Vec<Vec<u8>> {
    // Patches of the superblock, a group descriptor, and where inodes and folders are.
    let places = [0x0B, 0x43A, 0x80A, 0x1400, 0x2000, 0x2400, 0x3000];
    let patch = |at: u32| [&at.to_le_bytes()[..3], &[1, 0]].concat();
    let all = places.iter().flat_map(|&at| patch(at)).collect::<Vec<u8>>();
    (0..3).flat_map(|choice| [tagged(choice, []), tagged(choice, &all)]).collect()
}

/// A disk in memory.
struct Memory(Vec<u8>);

impl DiskSource for Memory {
    fn virtual_size(&self) -> u64 {
        self.0.len() as u64
    }

    fn extents(&self) -> imgbake_disk::Result<Vec<Extent>> {
        Ok(vec![Extent { offset: 0, len: self.virtual_size() }])
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> imgbake_disk::Result<()> {
        let at = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&self.0[at..at + buffer.len()]);
        Ok(())
    }
}

fn patched(mut disk: Vec<u8>, mut patches: &[u8]) -> Vec<u8> {
    while let Some((head, rest)) = patches.split_at_checked(HEAD) {
        let at = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
        let (bytes, rest) = rest.split_at(usize::from(head[3]).min(rest.len()));
        if let Some(place) = disk.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        patches = rest;
    }
    disk
}

fn walk_ext(system: &Ext4) {
    let mut folders = vec![b"/".to_vec()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        let _ = system.xattrs(&folder);
        for entry in system.list(&folder).unwrap_or_default() {
            assert!(!entry.name.is_empty());
            let path = [&folder[..], b"/", &entry.name].concat();
            let _ = system.link_metadata(&path);
            let _ = system.link_target(&path);
            if let Ok(bytes) = system.read(&path, LIMIT) {
                assert!(bytes.len() as u64 <= LIMIT);
            }
            let values = system.xattrs(&path).unwrap_or_default();
            assert!(values.iter().all(|xattr| xattr.value.len() <= 64 << 10));
            if entry.kind == FileKind::Folder && seen < FOLDERS {
                seen += 1;
                folders.push(path);
            }
        }
    }
}

fn walk_fat(fat: &Fat) {
    for folder in ["", "EFI", "EFI/BOOT"] {
        for entry in fat.list(folder).unwrap_or_default() {
            if let Ok(bytes) = fat.read(&format!("{folder}/{}", entry.name), LIMIT) {
                assert!(bytes.len() as u64 <= LIMIT);
            }
        }
    }
}

fuzz_target!(init: seed(sound()), |input: &[u8]| {
    let Some((kind, patches)) = choose(input, 3) else { return };
    let disk = patched(SOUND[usize::from(kind)].clone(), patches);
    let volume = Volume::whole(Arc::new(Memory(disk)));
    if kind == 2 {
        let _ = Fat::open(volume).map(|fat| walk_fat(&fat));
    } else {
        let _ = Ext4::open(volume).map(|system| walk_ext(&system));
    }
});
