//! A pull that is cut goes on where it was cut.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use camino::Utf8PathBuf;
use imgbake_oci::{Remote, RemoteOptions};
use imgbake_registry::pull::Part;
use imgbake_runtime::{Cancel, Command, retry};
use imgbake_testkit::{Habits, TestRegistry};
use rustix::process::{Pid, Signal, kill_process};

use super::disks::{With, child, disk, fetch, manifest, push};
use crate::fixture::{Fixture, MIB, job};

const CHILD: [&str; 3] = ["--ignored", "--exact", "pulls::resumed::child_pulls"];

#[tokio::test]
async fn twenty_cuts_change_nothing() {
    let (fixture, registry) = (Fixture::new(), TestRegistry::start(Habits::default()).await);
    let version = push(&fixture, &registry.host(), "web", &disk(1)).await;
    registry.change(|habits| {
        (habits.busy_every, habits.slow) = (7, Duration::from_millis(2));
    });
    let pack = manifest(&fixture, &version)["layers"][1]["digest"].as_str().unwrap().to_owned();
    // A seed that has every second piece, so that there are many requests.
    let other = Fixture::new();
    let seed = other.dir.join("seed.raw");
    let mut bytes = disk(1);
    bytes.chunks_mut(MIB / 2).step_by(2).for_each(|piece| piece[..MIB / 4].fill(0));
    fs::write(&seed, bytes).unwrap();
    // Of documents a cut soon leaves too little to be cut again: the packs' bytes are what is cut.
    let cutting = async {
        let is_pack = |line: &String| line.starts_with("GET") && line.ends_with(&pack);
        while !registry.requests().iter().any(is_pack) {
            tokio::task::yield_now().await;
        }
        registry.change(|habits| habits.cuts = 20);
    };
    let repository = other.repository(&registry.host(), "web").await;
    let with = With { seeds: vec![seed], ..With::default() };
    let pulling = fetch(&other.job, &other.dir, &repository, &version.digest, with);
    let (pulled, ()) = tokio::join!(pulling, cutting);
    assert!(pulled.unwrap().1 == disk(1));
    assert_eq!(registry.habits().cuts, 0);
}

#[tokio::test]
async fn what_an_earlier_pull_left_is_used_and_proved() {
    let (fixture, registry) = (Fixture::new(), TestRegistry::start(Habits::default()).await);
    let old = push(&fixture, &registry.host(), "web", &disk(1)).await;
    let new = push(&fixture, &registry.host(), "web", &child(disk(1))).await;
    let repository = fixture.repository(&registry.host(), "web").await;
    let pulled = async |version| {
        fetch(&fixture.job, &fixture.dir, &repository, version, With::default()).await.unwrap()
    };
    pulled(&old.digest).await;
    // Of another version, longer, with wrong bytes both in chunks and between them.
    let part = File::options().write(true).open(fixture.dir.join("part")).unwrap();
    for at in [5 * MIB, 12 * MIB, 15 * MIB, 23 * MIB + 5, 30 * MIB] {
        part.write_all_at(b"wrong", at as u64).unwrap();
    }
    let (came, bytes) = pulled(&new.digest).await;
    assert!(bytes == child(disk(1)));
    assert!(came.kept > 11 * MIB as u64 && came.moved < 2 * MIB as u64, "{came:?}");
    let (came, bytes) = pulled(&new.digest).await;
    assert!(bytes == child(disk(1)) && came.moved < 64 << 10, "{came:?}");
}

#[tokio::test]
async fn one_file_is_one_pull() {
    let fixture = Fixture::new();
    let path = fixture.dir.join("part");
    let part = Part::open(&path).unwrap().unwrap();
    assert!(Part::open(&path).unwrap().is_none());
    drop(part);
    assert!(Part::open(&path).unwrap().is_some());
    // A name that leads elsewhere is nobody's part.
    let link = fixture.dir.join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(Part::open(&link).is_err());
}

#[tokio::test]
async fn killed_pulls_go_on() {
    let slow = Duration::from_millis(5);
    let (fixture, registry) = (Fixture::new(), TestRegistry::start(Habits::default()).await);
    let version = push(&fixture, &registry.host(), "web", &disk(1)).await;
    registry.change(|habits| habits.slow = slow);
    let other = Fixture::new();
    let orders = format!("{} {}", registry.host(), version.digest);
    fs::write(other.dir.join("child"), orders).unwrap();
    for _ in 0..4 {
        let exe = Utf8PathBuf::from_path_buf(std::env::current_exe().unwrap()).unwrap();
        let command = Command::new(exe).args(CHILD).current_dir(other.dir.clone());
        let mut pulling = command.spawn(&fixture.job).unwrap();
        let sent = registry.sent_bytes();
        let begun = async || (registry.sent_bytes() > sent + 200_000).then_some(());
        let limit = Duration::from_secs(60);
        retry::poll(&Cancel::new(), limit, "bytes", begun).await.unwrap();
        let id = Pid::from_raw(i32::try_from(pulling.id().unwrap()).unwrap()).unwrap();
        // One that ended by itself is none that can be killed.
        let _ = kill_process(id, Signal::KILL);
        pulling.ended().await.unwrap();
    }
    let repository = other.repository(&registry.host(), "web").await;
    let (_, bytes) =
        fetch(&other.job, &other.dir, &repository, &version.digest, With::default()).await.unwrap();
    assert!(bytes == disk(1));
}

/// Pulls into its folder: started by the test above.
#[tokio::test]
#[ignore = "started by other tests"]
async fn child_pulls() {
    let Ok(orders) = fs::read_to_string("child") else { return };
    let (host, digest) = orders.split_once(' ').unwrap();
    let dir = Utf8PathBuf::from_path_buf(std::env::current_dir().unwrap()).unwrap();
    let job = job(&dir);
    let remote = Remote::connect(&job, host, &RemoteOptions::default()).await.unwrap();
    let repository = remote.repository("web").unwrap();
    fetch(&job, &dir, &repository, &digest.parse().unwrap(), With::default()).await.unwrap();
}
