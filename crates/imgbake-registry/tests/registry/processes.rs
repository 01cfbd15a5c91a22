//! Processes that publish at once, and processes that are killed.

use std::collections::BTreeSet;
use std::fs;

use camino::Utf8PathBuf;
use imgbake_build::Registry;
use imgbake_registry::{Depth, Layout, Repair};
use imgbake_runtime::{Command, Tool};
use imgbake_types::Digest;

use crate::common::{Fixture, disk, json_of, manifest_of, names_in, publish};

pub(crate) const STRACE: Tool = Tool::new("strace", "strace");
pub(crate) const CHILD: [&str; 3] = ["--ignored", "--exact", "processes::child_publishes"];

#[tokio::test]
async fn ten_processes_publish_ten_versions() {
    let fixture = Fixture::new();
    let job = fixture.job();
    let command = Command::new(exe()).args(CHILD).current_dir(fixture.dir.clone());
    fs::write(fixture.dir.join("child"), "1").unwrap();
    for ended in futures::future::join_all((0..10).map(|_| command.run(&job))).await {
        ended.unwrap();
    }
    let versions = fixture.listed(Some("web")).await;
    let names: Vec<_> = versions.iter().map(|version| version.version.to_string()).collect();
    assert_eq!(names, (1..=10).map(|n| format!("2026.11.23-{n}")).collect::<Vec<_>>());
    assert!(fixture.restore(&versions[9].digest).await.unwrap() == disk(1));
    job.end().unwrap();
}

/// `kill -9` as a process is about to make something durable, name it or take it away: at every one
/// of these calls of a publish.
#[tokio::test]
async fn a_publish_that_is_killed_at_any_call_leaves_nothing_or_the_version() {
    let fixture = Fixture::new();
    let job = fixture.job();
    let mut seed = 0;
    let mut kills = 0;
    let calls = ["fsync", "?rename", "?renameat", "?renameat2", "?unlink", "unlinkat"];
    // Twice: the second time there are versions, and what killed publishes left.
    for call in calls.repeat(2) {
        for number in 1.. {
            seed += 1;
            fs::write(fixture.dir.join("child"), seed.to_string()).unwrap();
            let inject = format!("inject={call}:signal=SIGKILL:when={number}");
            let command =
                STRACE.command().unwrap().args(["-f", "-qq", "-o", "/dev/null", "-e", &inject]);
            let command = command.arg(exe()).args(CHILD).current_dir(fixture.dir.clone());
            let survived = command.output(&job).await.unwrap().status.success();
            check_after(&fixture, seed, survived).await;
            if survived {
                break;
            }
            kills += 1;
            assert!(kills < 100, "it ends");
        }
    }
    assert!(kills >= 20, "only {kills} kills: was the publish traced?");
    job.end().unwrap();
}

/// A swept layout holds whole versions and nothing else.
async fn check_after(fixture: &Fixture, seed: u64, survived: bool) {
    fixture.layout.sweep().await.unwrap();
    assert!(names_in(&fixture.path("publishing")).is_empty());
    let read =
        fixture.layout.read_again(None, Depth::Bytes, Repair::default(), |_, _| {}).await.unwrap();
    assert!(read.damaged.is_empty(), "{read:?}");
    let versions = fixture.listed(None).await;
    let mut needed = BTreeSet::new();
    for version in &versions {
        needed.insert(version.digest.hex().to_owned());
        let index = json_of(fixture, &version.digest.to_string().into());
        needed.insert(index["manifests"][0]["digest"].as_str().unwrap().replace("sha256:", ""));
        let manifest = manifest_of(fixture, &version.digest);
        for part in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
            needed.insert(part["digest"].as_str().unwrap().replace("sha256:", ""));
        }
    }
    assert_eq!(fixture.blobs(), needed.into_iter().collect::<Vec<_>>());
    let last = versions.last();
    let is_there =
        last.is_some_and(|version| version.disk.sha256 == Some(Digest::sha256(disk(seed))));
    assert!(is_there || !survived);
    if let Some(version) = last.filter(|_| is_there) {
        assert!(fixture.restore(&version.digest).await.unwrap() == disk(seed));
    }
}

pub(crate) fn exe() -> Utf8PathBuf {
    Utf8PathBuf::from_path_buf(std::env::current_exe().unwrap()).unwrap()
}

/// Publishes one version: started by the tests above in their folder.
#[tokio::test]
#[ignore = "started by other tests"]
async fn child_publishes() {
    let Ok(seed) = fs::read_to_string("child") else { return };
    let dir = Utf8PathBuf::from_path_buf(std::env::current_dir().unwrap()).unwrap();
    let layout = Layout::open(dir.join("registry")).unwrap();
    publish(&layout, &dir, "web", seed.parse().unwrap()).await.unwrap();
}
