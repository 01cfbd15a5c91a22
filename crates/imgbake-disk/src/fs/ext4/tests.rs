//! On file systems that mke2fs made of a tree.

use std::{fs, os::unix::fs::FileExt as _, process::Command, sync::Arc};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::XattrFlags;

use super::*;
use crate::DiskImage;

/// Linux, `include/uapi/linux/capability.h`: revision 2, effective, `CAP_NET_RAW`.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn tree(dir: &Utf8Path) -> Utf8PathBuf {
    let tree = dir.join("tree");
    fs::create_dir_all(tree.join("usr/bin")).unwrap();
    fs::create_dir_all(tree.join("many")).unwrap();
    fs::write(tree.join("usr/bin/ping"), "ping\n").unwrap();
    fs::write(tree.join("usr/bin/plain"), vec![7; 100_000]).unwrap();
    std::os::unix::fs::symlink("usr/bin", tree.join("bin")).unwrap();
    std::os::unix::fs::symlink("loop", tree.join("loop")).unwrap();
    for number in 0..700 {
        fs::write(tree.join(format!("many/a-file-with-a-long-name-{number:04}")), "").unwrap();
    }
    tree
}

fn mke2fs(tree: &Utf8Path, options: &[&str]) -> Utf8PathBuf {
    let path = tree.with_file_name("fs.img");
    let _ = fs::remove_file(&path);
    #[expect(clippy::disallowed_methods, reason = "floor 1 has no other way to start a process")]
    let mut mke2fs = Command::new("mke2fs");
    let made = mke2fs.args(options).args(["-q", "-F", "-d", tree.as_str(), path.as_str(), "16m"]);
    assert!(made.status().unwrap().success());
    path
}

/// Sets attributes by debugfs: any name, whatever the host's own file system takes.
fn set(image: &Utf8Path, path: &str, name: &str, value: &[u8]) {
    let file = image.with_file_name("value");
    fs::write(&file, value).unwrap();
    debugfs(image, &format!("ea_set -f {file} {path} {name}"));
}

fn debugfs(image: &Utf8Path, request: &str) {
    #[expect(clippy::disallowed_methods, reason = "floor 1 has no other way to start a process")]
    let mut debugfs = Command::new("debugfs");
    let output = debugfs.args(["-w", "-R", request, image.as_str()]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn open(path: &Utf8Path) -> Ext4 {
    Ext4::open(Volume::whole(Arc::new(DiskImage::open(path).unwrap()))).unwrap()
}

fn xattr(name: &str, value: &[u8]) -> Xattr {
    Xattr { name: name.into(), value: value.to_vec() }
}

#[test]
fn reads_names_data_and_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(Utf8Path::from_path(dir.path()).unwrap());
    let system = open(&mke2fs(&tree, &["-t", "ext4"]));
    assert_eq!(system.read("/bin/ping", 100).unwrap(), b"ping\n");
    assert_eq!(system.metadata("/bin/plain").unwrap().len, 100_000);
    assert_eq!(system.metadata("/bin").unwrap().kind, FileKind::Folder);
    assert_eq!(system.link_metadata("/bin").unwrap().kind, FileKind::Link);
    assert_eq!(system.link_target("/bin").unwrap(), b"usr/bin");
    assert_eq!(system.list("/many").unwrap().len(), 700);
    let mut names: Vec<_> = system.list("/bin").unwrap().into_iter().map(|e| e.name).collect();
    names.sort();
    assert_eq!(names, [b"ping".to_vec(), b"plain".to_vec()]);
    assert!(system.exists("/usr/bin").unwrap() && !system.exists("/usr/lib").unwrap());
    for (path, kind) in [
        ("/none", DiskErrorKind::NotFound),
        ("/bin/ping/none", DiskErrorKind::NotFound),
        ("/bin/plain", DiskErrorKind::Unsupported),
        ("/loop", DiskErrorKind::Unsupported),
        ("/many", DiskErrorKind::Unsupported),
    ] {
        assert_eq!(system.read(path, 99_999).unwrap_err().kind(), kind, "{path}");
    }
}

#[test]
fn reads_attributes_from_inodes_blocks_and_inodes_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(Utf8Path::from_path(dir.path()).unwrap());
    let long = vec![b'x'; 1000];
    // Whether a long value has room: in a block, or in an inode of its own.
    for (options, has_room) in [
        (&["-t", "ext4", "-b", "4096"][..], true),
        (&["-t", "ext4", "-b", "1024", "-O", "^64bit"], false),
        (&["-t", "ext4", "-I", "1024", "-b", "4096", "-O", "^metadata_csum"], true),
        (&["-t", "ext3", "-I", "128", "-b", "4096"], true),
        (&["-t", "ext2", "-b", "4096"], true),
        (&["-t", "ext4", "-b", "1024", "-O", "ea_inode,metadata_csum_seed"], true),
    ] {
        let image = mke2fs(&tree, options);
        let path = "/many/a-file-with-a-long-name-0699";
        set(&image, "/usr/bin/ping", "security.capability", &CAPABILITY);
        set(&image, "/usr/bin/ping", "user.note", b"short");
        set(&image, path, "trusted.a", b"");
        if has_room {
            set(&image, "/usr/bin/ping", "user.long", &long);
        }
        let system = open(&image);
        let mut expected =
            vec![xattr("security.capability", &CAPABILITY), xattr("user.note", b"short")];
        if has_room {
            expected.insert(1, xattr("user.long", &long));
        }
        assert!(system.xattrs("/bin/ping").unwrap() == expected, "{options:?}");
        assert_eq!(system.xattrs(path).unwrap(), [xattr("trusted.a", b"")], "{options:?}");
        for path in ["/", "/bin", "/bin/plain", "/usr/bin/"] {
            assert_eq!(system.xattrs(path).unwrap(), [], "{options:?}: {path}");
        }
        let missing = system.xattrs("/usr/none").unwrap_err();
        assert_eq!(missing.kind(), DiskErrorKind::NotFound, "{missing}");
    }
}

#[test]
fn reads_the_attributes_that_a_tree_brings() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(Utf8Path::from_path(dir.path()).unwrap());
    let ping = tree.join("usr/bin/ping");
    // Not every file system that holds temporary files has attributes of users.
    if rustix::fs::setxattr(ping.as_std_path(), "user.note", b"kept", XattrFlags::empty()).is_err()
    {
        return;
    }
    let system = open(&mke2fs(&tree, &["-t", "ext4"]));
    assert_eq!(system.xattrs("/usr/bin/ping").unwrap(), [xattr("user.note", b"kept")]);
}

#[test]
fn links_are_followed_as_linux_does() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(Utf8Path::from_path(dir.path()).unwrap());
    let long = format!("{}usr/bin", "./".repeat(50));
    for (name, target) in [
        ("absolute", "/usr/bin/ping"),
        ("above", "../../../bin/ping"),
        ("usr/up", "../bin"),
        ("usr/long", &format!("../{long}")),
        ("usr/chain", "long/../up/./ping"),
    ] {
        std::os::unix::fs::symlink(target, tree.join(name)).unwrap();
    }
    let system = open(&mke2fs(&tree, &["-t", "ext4"]));
    for path in ["/absolute", "/above", "//usr/up/ping", "/usr/long/ping", "/usr/./up/../chain"] {
        assert_eq!(system.read(path, 100).unwrap(), b"ping\n", "{path}");
        assert!(system.exists(path).unwrap(), "{path}");
    }
    assert_eq!(system.link_target("/usr/long").unwrap(), format!("../{long}").as_bytes());
    assert_eq!(system.list("/usr/up/").unwrap().len(), 2);
    for path in ["bin/ping", "", "absolute"] {
        assert!(system.link_metadata(path).is_err(), "{path}");
    }
}

#[test]
fn a_link_of_any_length_takes_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(Utf8Path::from_path(dir.path()).unwrap());
    std::os::unix::fs::symlink("x".repeat(80), tree.join("usr/cut")).unwrap();
    std::os::unix::fs::symlink("/usr/cut/more", tree.join("to-cut")).unwrap();
    let image = mke2fs(&tree, &["-t", "ext4"]);
    debugfs(&image, &format!("set_inode_field /usr/cut size {}", 1_u64 << 41));
    let system = open(&image);
    assert_eq!(system.link_metadata("/usr/cut").unwrap().len, 1 << 41);
    for path in ["/usr/cut", "/usr/cut/more", "/to-cut", "/bin/../cut"] {
        let corrupt = |error: DiskError| error.kind() == DiskErrorKind::Corrupt;
        assert!(system.metadata(path).is_err_and(corrupt), "{path}");
        assert!(system.exists(path).is_err_and(corrupt), "{path}");
        assert!(system.open_file(path).is_err_and(corrupt), "{path}");
        assert!(system.list(path).is_err_and(corrupt), "{path}");
    }
    assert!(system.link_target("/usr/cut").is_err());
    assert!(system.xattrs("/usr/cut/more").is_err());
}

#[test]
fn damage_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(Utf8Path::from_path(dir.path()).unwrap());
    let image = mke2fs(&tree, &["-t", "ext4", "-b", "4096", "-O", "^metadata_csum"]);
    set(&image, "/usr/bin/ping", "user.long", &[b'x'; 1000]);
    let whole = fs::read(&image).unwrap();
    let block = whole
        .chunks(4096)
        .position(|block| {
            block.starts_with(&[0, 0, 2, 0xEA]) && block.windows(4).any(|w| w == b"long")
        })
        .unwrap();
    let file = fs::File::options().write(true).open(&image).unwrap();
    let entry = (block * 4096 + 32) as u64;
    for (what, offset, bytes) in [
        ("magic", -32, &[1][..]),
        ("kind", 1, &[77]),
        ("value's place", 2, &[0xFF, 0xFF]),
        ("value's inode", 4, &[0xFF, 0xFF, 0xFF, 0xFF]),
        ("value's length", 8, &[0xFF, 0xFF, 0xFF, 0xFF]),
    ] {
        let at = entry.checked_add_signed(offset).unwrap();
        file.write_all_at(bytes, at).unwrap();
        let error = open(&image).xattrs("/usr/bin/ping").unwrap_err();
        assert!(error.to_string().contains("/usr/bin/ping"), "{what}: {error}");
        file.write_all_at(&whole, 0).unwrap();
    }
    // `s_feature_incompat`: the journal is to be replayed.
    file.write_all_at(&[whole[1024 + 0x60] | 4], 1024 + 0x60).unwrap();
    let volume = Volume::whole(Arc::new(DiskImage::open(&image).unwrap()));
    let error = Ext4::open(volume).unwrap_err();
    assert_eq!(error.kind(), DiskErrorKind::Unsupported, "{error}");
    for (at, bytes) in [(0x38, &[0, 0][..]), (0x18, &[9]), (0x150, &[1]), (0x20, &[1, 0, 0, 0])] {
        file.write_all_at(&whole, 0).unwrap();
        file.write_all_at(bytes, 1024 + at).unwrap();
        let volume = Volume::whole(Arc::new(DiskImage::open(&image).unwrap()));
        assert!(Ext4::open(volume).is_err(), "{at:#x}");
    }
}
