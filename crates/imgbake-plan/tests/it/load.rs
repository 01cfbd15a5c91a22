//! Digests of real files and folders.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use camino::Utf8Path;
use imgbake_plan::{FileHasher, FsHasher};
use imgbake_types::Digest;

#[test]
fn a_files_digest_is_that_of_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = Utf8Path::from_path(folder.path()).unwrap();
    let bytes = vec![7_u8; 300_000];
    fs::write(folder.join("a"), &bytes).unwrap();
    assert_eq!(FsHasher::new().digest(&folder.join("a")).unwrap(), Digest::sha256(&bytes));
    fs::set_permissions(folder.join("a"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(FsHasher::new().mode(&folder.join("a")).unwrap(), 0o640);
    let error = FsHasher::new().digest(&folder.join("b")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn a_folders_digest_knows_names_modes_bytes_and_links() {
    let root = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(root.path()).unwrap();
    let make = |name: &str| {
        let folder = root.join(name);
        fs::create_dir_all(folder.join("sub")).unwrap();
        fs::write(folder.join("a"), "1").unwrap();
        fs::write(folder.join("sub/b"), "2").unwrap();
        symlink("a", folder.join("link")).unwrap();
        folder
    };
    let digest = |folder: &Utf8Path| FsHasher::new().digest(folder).unwrap();
    let first = digest(&make("first"));
    assert_eq!(first, digest(&make("second")));

    let bytes = make("bytes");
    fs::write(bytes.join("sub/b"), "3").unwrap();
    let name = make("name");
    fs::rename(name.join("a"), name.join("c")).unwrap();
    let mode = make("mode");
    fs::set_permissions(mode.join("a"), fs::Permissions::from_mode(0o700)).unwrap();
    let link = make("link");
    fs::remove_file(link.join("link")).unwrap();
    symlink("b", link.join("link")).unwrap();
    let empty = make("empty");
    fs::create_dir(empty.join("more")).unwrap();
    for folder in [bytes, name, mode, link, empty] {
        assert_ne!(first, digest(&folder), "{folder}");
    }
}
