//! Processes that publish at once.

use std::fs;

use camino::Utf8PathBuf;
use imgbake_build::Registry;
use imgbake_registry::Layout;
use imgbake_runtime::Command;

use crate::common::{Fixture, disk, publish};

#[tokio::test]
async fn ten_processes_publish_ten_versions() {
    let fixture = Fixture::new();
    let job = fixture.job();
    fs::write(fixture.dir.join("child"), "").unwrap();
    let exe = Utf8PathBuf::from_path_buf(std::env::current_exe().unwrap()).unwrap();
    let command = Command::new(exe)
        .args(["--ignored", "--exact", "processes::child_publishes"])
        .current_dir(fixture.dir.clone());
    let children = (0..10).map(|_| command.run(&job));
    let ended: Vec<_> = futures_join(children).await;
    assert_eq!(ended.len(), 10);
    let versions = fixture.layout.versions(Some("web")).await.unwrap();
    let names: Vec<_> = versions.iter().map(|version| version.version.to_string()).collect();
    assert_eq!(names, (1..=10).map(|n| format!("2026.11.23-{n}")).collect::<Vec<_>>());
    assert!(fixture.restore(&versions[9].digest).await.unwrap() == disk(1));
    job.end().unwrap();
}

async fn futures_join<T, E: std::fmt::Debug>(
    work: impl Iterator<Item = impl Future<Output = Result<T, E>>>,
) -> Vec<T> {
    let mut done = Vec::new();
    for result in futures::future::join_all(work).await {
        done.push(result.unwrap());
    }
    done
}

/// One of the ten, started by the test above in its folder.
#[tokio::test]
#[ignore = "started by ten_processes_publish_ten_versions"]
async fn child_publishes() {
    if !fs::exists("child").unwrap() {
        return;
    }
    let dir = Utf8PathBuf::from_path_buf(std::env::current_dir().unwrap()).unwrap();
    let layout = Layout::open(dir.join("registry")).unwrap();
    publish(&layout, &dir, "web", 1).await.unwrap();
}
