//! Files both ways through a real OpenSSH server. The owner is the test's own user where the test
//! does not run as root.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::support::Sshd;
use camino::{Utf8Path, Utf8PathBuf};
use imgbake_comm::transfer::{
    Uploaded, UploadedFile, download_dir, download_file, upload_bytes, upload_dir, upload_file,
};
use imgbake_comm::{CommErrorKind, Communicator, Ssh};
use rustix::fs::{XattrFlags, getxattr, setxattr};

struct Fixture {
    _sshd: Sshd,
    ssh: Ssh,
    _dir: tempfile::TempDir,
    root: Utf8PathBuf,
}

impl Fixture {
    async fn new() -> Self {
        Self::on(Sshd::start()).await
    }

    async fn on(sshd: Sshd) -> Self {
        let ssh = sshd.connect().await;
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        Self { _sshd: sshd, ssh, _dir: dir, root }
    }

    fn comm(&self) -> &dyn Communicator {
        &self.ssh
    }

    fn at(&self, name: &str) -> Utf8PathBuf {
        self.root.join(name)
    }
}

fn mode(path: &Utf8Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

/// Nothing but these names is in a folder.
fn holds(dir: &Utf8Path, names: &[&str]) {
    let mut found: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, names);
}

#[tokio::test]
async fn bytes_land_whole() {
    let place = Fixture::new().await;
    let path = place.at("new folder/it's a file");
    for changed in [true, false] {
        let bytes = b"one\0\n".to_vec();
        let uploaded =
            upload_bytes(place.comm(), path.as_str(), 0o640, "daemon", bytes).await.unwrap();
        let file = UploadedFile { path: path.to_string(), changed };
        assert_eq!(uploaded, Uploaded { bytes: 5, files: vec![file], warnings: Vec::new() });
    }
    assert_eq!(fs::read(&path).unwrap(), b"one\0\n");
    assert_eq!((mode(&path), path.metadata().unwrap().uid()), (0o640, 1));
    assert_eq!(mode(&place.at("new folder")), 0o755);

    // Other bytes, another mode, another owner: each is a change.
    for (mode, owner) in [(0o600, "daemon"), (0o640, "daemon"), (0o640, "root:root")] {
        let uploaded =
            upload_bytes(place.comm(), path.as_str(), mode, owner, Vec::new()).await.unwrap();
        assert!(uploaded.files[0].changed, "{mode:o} {owner}");
    }
    assert_eq!(path.metadata().unwrap().len(), 0);
    holds(&place.at("new folder"), &["it's a file"]);
}

#[tokio::test]
async fn refuses_what_cannot_be_a_file() {
    let place = Fixture::new().await;
    let (folder, slash) = (place.at("f"), format!("{}/", place.at("f")));
    fs::create_dir(&folder).unwrap();
    fs::write(place.at("keep"), "old").unwrap();
    let keep = place.at("keep");
    for (path, owner, expected) in [
        ("relative", "root", "absolute"),
        (folder.as_str(), "root", "there is a folder of that name"),
        (slash.as_str(), "root", "names a folder"),
        (keep.as_str(), "no-such-user", "no-such-user"),
    ] {
        let error =
            upload_bytes(place.comm(), path, 0o644, owner, b"new".to_vec()).await.unwrap_err();
        assert_eq!(error.kind(), CommErrorKind::Failed);
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert_eq!(fs::read(keep).unwrap(), b"old");
    holds(&place.root, &["f", "keep"]);
}

#[tokio::test]
async fn a_file_goes_and_comes_back() {
    let place = Fixture::new().await;
    let (host, guest, back) = (place.at("host"), place.at("in/guest"), place.at("back"));
    let bytes: Vec<u8> =
        (0..50_u32 << 18).flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_le_bytes()).collect();
    fs::write(&host, &bytes).unwrap();
    fs::set_permissions(&host, fs::Permissions::from_mode(0o750)).unwrap();
    let size = bytes.len() as u64;
    assert_eq!(
        upload_file(place.comm(), &host, guest.as_str(), None, "root:root").await.unwrap().bytes,
        size
    );
    assert_eq!(mode(&guest), 0o750);
    assert_eq!(download_file(place.comm(), guest.as_str(), &back).await.unwrap(), size);
    assert!(fs::read(&back).unwrap() == bytes);

    let error = download_file(place.comm(), "/no/such/file", &back).await.unwrap_err();
    assert!(
        error.to_string().contains("/no/such/file") && error.to_string().contains("back"),
        "{error}"
    );
    assert!(!back.exists());
    let error =
        upload_file(place.comm(), &place.at("nothing"), "/x", None, "root").await.unwrap_err();
    assert!(error.to_string().contains("nothing"), "{error}");
}

#[tokio::test]
async fn a_folder_goes_and_comes_back() {
    folder_both_ways(Fixture::new().await).await;
}

#[tokio::test]
async fn busybox_will_do() {
    let place = Fixture::on(Sshd::start_with_busybox()).await;
    let path = place.at("a b/file");
    upload_bytes(place.comm(), path.as_str(), 0o4755, "daemon:sys", b"hello".to_vec())
        .await
        .unwrap();
    assert_eq!((mode(&path), path.metadata().unwrap().gid()), (0o4755, 3));
    folder_both_ways(place).await;
}

async fn folder_both_ways(place: Fixture) {
    let (host, guest, back) = (place.at("host"), place.at("guest"), place.at("back"));
    let deep = host.join("d".repeat(90)).join("e".repeat(90));
    fs::create_dir_all(&deep).unwrap();
    fs::create_dir_all(host.join("etc/empty")).unwrap();
    fs::write(deep.join("long"), "long name").unwrap();
    fs::write(host.join("etc/it's"), vec![7; 3 << 20]).unwrap();
    symlink("it's", host.join("etc/link")).unwrap();
    fs::set_permissions(host.join("etc"), fs::Permissions::from_mode(0o700)).unwrap();
    // A folder that is there keeps its mode and what is in it.
    fs::create_dir_all(guest.join("etc")).unwrap();
    fs::set_permissions(guest.join("etc"), fs::Permissions::from_mode(0o711)).unwrap();
    fs::write(guest.join("etc/other"), "stays").unwrap();

    let moved =
        upload_dir(place.comm(), &host, guest.as_str(), Some(0o604), "daemon:sys").await.unwrap();
    let files = moved.files.iter().map(|file| file.path.rsplit('/').next().unwrap());
    assert_eq!(files.collect::<Vec<_>>(), ["it's", "link", "long"]);
    let moved = moved.bytes;
    assert_eq!(moved, (3 << 20) + 9);
    holds(&guest.join("etc"), &["empty", "it's", "link", "other"]);
    assert_eq!((mode(&guest.join("etc")), mode(&guest.join("etc/it's"))), (0o711, 0o604));
    let file = guest.join("etc/it's").metadata().unwrap();
    assert_eq!((file.uid(), file.gid()), (1, 3));
    let folder = guest.join("etc/empty").metadata().unwrap();
    assert_eq!((folder.uid(), folder.gid()), (1, 3));
    assert_eq!(fs::read_link(guest.join("etc/link")).unwrap().to_str(), Some("it's"));
    holds(&guest, &[&"d".repeat(90), "etc"]);

    assert_eq!(download_dir(place.comm(), guest.as_str(), &back).await.unwrap(), moved + 5);
    holds(&back.join("etc"), &["empty", "it's", "link", "other"]);
    assert_eq!(fs::read(back.join("etc/it's")).unwrap(), vec![7; 3 << 20]);
    let long = back.join("d".repeat(90)).join("e".repeat(90)).join("long");
    assert_eq!(fs::read_to_string(long).unwrap(), "long name");
}

/// Hard links, extended attributes and holes: kept, or named.
#[tokio::test]
async fn what_cannot_be_carried_is_said() {
    for (place, keeps) in
        [(Fixture::new().await, true), (Fixture::on(Sshd::start_with_busybox()).await, false)]
    {
        let (host, guest) = (place.at("host"), place.at("guest"));
        fs::create_dir(&host).unwrap();
        fs::write(host.join("one"), "hello").unwrap();
        fs::hard_link(host.join("one"), host.join("two")).unwrap();
        fs::write(host.join("own"), "x").unwrap();
        File::create(host.join("holes")).unwrap().set_len(8 << 20).unwrap();
        let own = host.join("own");
        setxattr(own.as_std_path(), "user.note", b"kept\0", XattrFlags::empty()).unwrap();

        let uploaded = upload_dir(place.comm(), &host, guest.as_str(), None, "root").await.unwrap();
        assert_eq!(uploaded.bytes, (8 << 20) + 6, "a file of two names is sent once");
        let inode = |name: &str| guest.join(name).metadata().unwrap().ino();
        assert_eq!(inode("one"), inode("two"));
        assert_eq!(fs::read_to_string(guest.join("two")).unwrap(), "hello");
        let words = uploaded.warnings.join("\n");
        assert!(words.contains("holes is sparse here, and is written in full there"), "{words}");
        let mut value = [0; 16];
        let found = getxattr(guest.join("own").as_std_path(), "user.note", &mut value[..]);
        if keeps {
            assert_eq!(&value[..found.unwrap()], b"kept\0");
            assert!(!words.contains("attributes"), "{words}");
        } else {
            found.unwrap_err();
            assert!(
                words.contains("extended attributes were not copied: own (user.note)"),
                "{words}"
            );
        }
        let one = upload_file(place.comm(), &own, guest.join("alone").as_str(), None, "root").await;
        assert!(one.unwrap().warnings[0].ends_with("/own (user.note)"));
    }
}

#[tokio::test]
async fn a_folder_that_would_leave_its_place_is_refused() {
    let place = Fixture::new().await;
    let (guest, back) = (place.at("guest"), place.at("back"));
    fs::create_dir(&guest).unwrap();
    symlink("/etc", guest.join("away")).unwrap();
    let error = download_dir(place.comm(), guest.as_str(), &back).await.unwrap_err();
    assert!(error.to_string().contains("away") && error.to_string().contains("/etc"), "{error}");
    holds(&back, &[]);

    let error = download_dir(place.comm(), "/no/such/folder", &back).await.unwrap_err();
    assert!(error.to_string().contains("/no/such/folder"), "{error}");
    let error = upload_dir(place.comm(), &place.at("nothing"), guest.as_str(), None, "root")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("nothing"), "{error}");
}
