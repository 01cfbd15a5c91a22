//! A full file system: a small tmpfs in a mount namespace of its own.

use std::fs;

use camino::Utf8PathBuf;
use imgbake_build::{BuildErrorKind, Registry, Whole};
use imgbake_registry::Layout;
use imgbake_runtime::process::Output;
use imgbake_runtime::{Job, Tool, space::free_bytes};

use crate::common::{Fixture, disk, names_in, publish};
use crate::processes::exe;

const UNSHARE: Tool = Tool::new("unshare", "util-linux");

#[tokio::test]
async fn a_full_file_system_is_named_and_left_clean() {
    let fixture = Fixture::new();
    let job = fixture.job();
    // One has no room for bytes, the other for files: the first is refused, the second is undone.
    for mount in ["size=3m", "size=64m,nr_inodes=22"] {
        let output = in_small(&fixture, mount, "full::child_fills", &job).await;
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{mount}: {said}{}", output.stderr);
    }
    job.end().unwrap();
}

/// Runs one of these tests beside a small file system, `small`.
pub(crate) async fn in_small(fixture: &Fixture, mount: &str, test: &str, job: &Job) -> Output {
    fs::create_dir_all(fixture.dir.join("small")).unwrap();
    let exe = exe();
    let script =
        format!("mount -t tmpfs -o {mount} none small && exec {exe} --ignored --exact {test}");
    let args = ["--user", "--map-root-user", "--mount", "sh", "-ec", &script];
    let command = UNSHARE.command().unwrap().args(args).current_dir(fixture.dir.clone());
    command.output(job).await.unwrap()
}

/// Publishes until the file system is full.
#[tokio::test]
#[ignore = "started by a_full_file_system_is_named_and_left_clean"]
async fn child_fills() {
    if !fs::exists("small").unwrap() {
        return;
    }
    let dir = Utf8PathBuf::from_path_buf(std::env::current_dir().unwrap()).unwrap();
    let layout = Layout::open(dir.join("small/registry")).unwrap();
    let blobs = layout.root().join("blobs/sha256");
    let first = publish(&layout, &dir, "web", 1).await.unwrap();
    let mut kept = names_in(&blobs);
    let error = loop {
        match publish(&layout, &dir, "web", kept.len() as u64).await {
            Ok(_) => kept = names_in(&blobs),
            Err(error) => break error,
        }
        assert!(kept.len() < 100, "it fills");
    };
    assert_eq!(error.kind(), BuildErrorKind::Full, "{error}");
    assert!(error.to_string().contains(dir.join("small").as_str()), "{error}");
    assert!(error.to_string().contains("needed"), "{error}");
    assert_eq!(names_in(&blobs), kept, "nothing of the failed version is left");
    assert!(names_in(&layout.root().join("publishing")).is_empty());
    let raw = dir.join("first.raw");
    let _ = fs::remove_file(&raw);
    let file = fs::File::options().read(true).write(true).create_new(true).open(&raw).unwrap();
    layout.restore(&first.digest, file, Whole::Hash, Box::new(|_| {})).await.unwrap();
    assert!(fs::read(&raw).unwrap() == disk(1));

    // A disk that does not fit is reported as well.
    let path = dir.join("small/disk.raw");
    if free_bytes(&path).unwrap() < first.disk.data_bytes {
        let file = fs::File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let error =
            layout.restore(&first.digest, file, Whole::Hash, Box::new(|_| {})).await.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Full, "{error}");
    }
}
