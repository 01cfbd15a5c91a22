//! Layers to push, and pulls of them.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BuildError, LayerShare, SharedLayer};
use imgbake_oci::RemoteOptions;
use imgbake_registry::RemoteShare;
use imgbake_runtime::Job;
use imgbake_types::Digest;
use serde_json::{Value, json};

use crate::fixture::{Fixture, MIB, noise};

pub(super) const NAME: &str = "team/layers";

pub(super) fn share(host: &str) -> RemoteShare {
    RemoteShare::new(host, NAME, RemoteOptions::default()).unwrap()
}

pub(super) fn key(name: &str) -> Digest {
    Digest::sha256(name)
}

/// The tag of a key's layer.
pub(super) fn tag(name: &str) -> String {
    format!("layer-{}", &key(name).hex()[..40])
}

pub(super) fn record(name: &str) -> Value {
    json!({ "step": name, "nested": { "b": [1, null], "a": u64::MAX } })
}

/// A disk of 64 MiB and an odd byte, with 3 MiB of noise, a piece of it twice, and holes.
pub(super) fn disk(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; 64 * MIB + 1];
    bytes[..3 * MIB].copy_from_slice(&noise(seed, 3 * MIB));
    bytes.copy_within(..MIB, 20 * MIB);
    bytes[64 * MIB] = 7;
    bytes
}

/// A layer of a disk, a small file and an empty one.
pub(super) fn layer(dir: &Utf8Path, name: &str, seed: u64) -> SharedLayer {
    let file = |end: &str, bytes: &[u8]| {
        let path = dir.join(format!("{}-{seed}.{end}", name.replace(' ', "-")));
        let sparse = File::create(&path).unwrap();
        sparse.set_len(bytes.len() as u64).unwrap();
        for (number, block) in bytes.chunks(MIB).enumerate() {
            if block.iter().any(|byte| *byte != 0) {
                sparse.write_all_at(block, (number * MIB) as u64).unwrap();
            }
        }
        path
    };
    let files = [
        ("disk.qcow2", file("disk", &disk(seed))),
        ("kernel", file("kernel", b"a kernel")),
        ("empty", file("empty", b"")),
    ];
    SharedLayer {
        key: key(name),
        parent: Some(key("parent")),
        record: record(name).to_string().into_bytes(),
        files: files.map(|(name, path)| (name.to_owned(), path)).into(),
    }
}

/// The names in a folder, in order.
pub(super) fn names_in(folder: &Utf8Path) -> Vec<String> {
    let entries = folder.read_dir_utf8().unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_owned()).collect();
    names.sort();
    names
}

/// Pulls into a new folder, which must be empty after an error.
pub(super) async fn pull(
    share: &dyn LayerShare,
    job: &Job,
    dir: &Utf8Path,
    name: &str,
) -> Result<(Value, Utf8PathBuf), BuildError> {
    let folder = tempfile::Builder::new().prefix("pulled-").tempdir_in(dir).unwrap().keep();
    let folder = Utf8PathBuf::from_path_buf(folder).unwrap();
    let pulled = share.pull(job, &key(name), &folder).await;
    if pulled.is_err() {
        assert!(names_in(&folder).is_empty(), "{:?}", names_in(&folder));
    }
    Ok((serde_json::from_slice(&pulled?).unwrap(), folder))
}

/// A layer of `name` and `seed` comes with all its bytes.
pub(super) async fn comes(share: &dyn LayerShare, fixture: &Fixture, name: &str, seed: u64) {
    let (reported, folder) = pull(share, &fixture.job, &fixture.dir, name).await.unwrap();
    assert_eq!(reported, record(name));
    assert_eq!(names_in(&folder), ["disk.qcow2", "empty", "kernel"]);
    assert!(fs::read(folder.join("disk.qcow2")).unwrap() == disk(seed));
    assert_eq!(fs::read(folder.join("kernel")).unwrap(), b"a kernel");
    assert_eq!(fs::read(folder.join("empty")).unwrap(), b"");
}
