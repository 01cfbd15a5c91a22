//! Collecting under a hostile star: killed, beside others, on a full file system.

use std::fs;

use camino::Utf8PathBuf;
use imgbake_build::{BuildErrorKind, Naming, Registry};
use imgbake_registry::{Depth, GcRequest, Layout, Repair, Retention};
use imgbake_types::record::VersionView;
use jiff::{SignedDuration, Timestamp};

use crate::common::{DAY, Fixture, capture_knowing, config, disk, names_in, publish};
use crate::full::in_small;
use crate::processes::{STRACE, exe};

const CHILD: [&str; 3] = ["--ignored", "--exact", "collect::child_collects"];

/// Keeps one version, some hours from now.
fn request(hours: i64) -> GcRequest {
    GcRequest {
        retention: Retention { keep: Some(1), ..Retention::default() },
        grace: GcRequest::GRACE,
        dry_run: false,
        now: Timestamp::now() + SignedDuration::from_hours(hours),
        clock: None,
    }
}

/// All that has a name is whole.
async fn check(layout: &Layout) {
    let read = layout.read_again(None, Depth::Bytes, Repair::default(), |_, _| {}).await.unwrap();
    assert!(read.damaged.is_empty(), "{read:?}");
}

/// `kill -9` as gc is about to make something durable, name it or take it away, at every one of these
/// calls; and gc again.
#[tokio::test]
async fn a_collection_that_is_killed_at_any_call_is_done_by_the_next() {
    let calls = ["fsync", "?rename", "?renameat", "?renameat2", "?unlink", "unlinkat"];
    let mut kills = 0;
    for call in calls {
        for number in 1.. {
            let fixture = Fixture::new();
            let job = fixture.job();
            // The first is condemned, the second has its name still: all that gc does is to do.
            fixture.publish("web", 1).await;
            let second = fixture.publish("web", 2).await;
            fixture.layout.gc(request(25)).await.unwrap();
            let third = fixture.publish("web", 3).await;
            let inject = format!("inject={call}:signal=SIGKILL:when={number}");
            let command =
                STRACE.command().unwrap().args(["-f", "-qq", "-o", "/dev/null", "-e", &inject]);
            let command = command.arg(exe()).args(CHILD).current_dir(fixture.dir.clone());
            let survived = command.output(&job).await.unwrap().status.success();
            job.end().unwrap();
            check(&fixture.layout).await;
            assert!(fixture.restore(&third.digest).await.unwrap() == disk(3), "{call} {number}");
            if let Ok(found) = fixture.resolve("web:2026.11.23-2").await {
                assert!(!survived && found.digest == second.digest);
                assert!(fixture.restore(&second.digest).await.unwrap() == disk(2));
            }
            for hours in [60, 90] {
                fixture.layout.gc(request(hours)).await.unwrap();
            }
            let versions = fixture.layout.versions(None).await.unwrap();
            assert_eq!(versions.len(), 1, "{call} {number}: {versions:?}");
            let alone = Fixture::new();
            alone.publish("web", 3).await;
            assert_eq!(fixture.blobs().len(), alone.blobs().len(), "{call} {number}");
            assert!(names_in(&fixture.path("publishing")).is_empty(), "{call} {number}");
            // What was once given stays given, wherever the kill was.
            let again = fixed(&fixture, "2026.11.23-2").await.unwrap_err();
            assert_eq!(again.kind(), BuildErrorKind::Usage, "{again}");
            if survived {
                break;
            }
            kills += 1;
            assert!(kills < 100, "it ends");
        }
    }
    assert!(kills >= 12, "only {kills} kills: was gc traced?");
}

async fn fixed(fixture: &Fixture, version: &str) -> Result<VersionView, imgbake_build::BuildError> {
    let capture = capture_knowing(&fixture.dir, &disk(9), imgbake_build::KnownChunks::default());
    fixture.layout.publish(&capture, config("web"), &Naming::Fixed(version.parse().unwrap())).await
}

#[tokio::test]
#[ignore = "started by other tests"]
async fn child_collects() {
    let dir = Utf8PathBuf::from_path_buf(std::env::current_dir().unwrap()).unwrap();
    if !dir.join("registry").exists() {
        return;
    }
    Layout::open(dir.join("registry")).unwrap().gc(request(60)).await.unwrap();
}

/// Two collections at once, beside publishes that take over packs of what goes: each publish works or
/// says what went, and what it published is whole.
#[tokio::test(flavor = "multi_thread")]
async fn collections_beside_publishes_take_nothing_that_is_named() {
    let fixture = Fixture::new();
    fixture.publish("web", 0).await;
    let collect = async |hours: i64| {
        for round in 0..12 {
            let mut request = request(hours + 30 * round);
            if round % 3 == 2 {
                request.grace = SignedDuration::ZERO;
            }
            fixture.layout.gc(request).await.unwrap();
        }
    };
    let publish = async {
        let mut published = 0;
        for seed in 0..24 {
            let known = fixture.layout.known("web", None).await.unwrap();
            let capture = capture_knowing(&fixture.dir, &disk(seed % 3), known);
            let naming = Naming::Dated { day: DAY.to_owned() };
            match fixture.layout.publish(&capture, config("web"), &naming).await {
                Ok(_) => published += 1,
                Err(error) => assert!(error.to_string().contains("went while"), "{error}"),
            }
        }
        published
    };
    let ((), (), published) = futures::join!(collect(25), collect(26), publish);
    assert!(published > 0);
    check(&fixture.layout).await;
    let newest = fixture.resolve("web").await.unwrap();
    assert!(fixture.restore(&newest.digest).await.unwrap() == disk(23 % 3) || published < 24);
    // Each number was given once.
    assert_eq!(newest.version.to_string(), format!("2026.11.23-{}", published + 1));
}

/// What a running build took over from a version a moment ago waits its whole time once the version goes,
/// though it had been condemned before the version came.
#[tokio::test]
async fn a_blob_that_was_wanted_until_now_waits_anew() {
    let fixture = Fixture::new();
    fixture.publish("web", 1).await;
    fixture.publish("web", 2).await;
    let first = fixture.layout.gc(request(25)).await.unwrap();
    assert!(first.waiting_blobs > 0);
    // The same disk again, and another after it: then the first one's blobs are unwanted once more.
    fixture.publish("web", 1).await;
    fixture.publish("web", 3).await;
    let before = fixture.blobs();
    let second = fixture.layout.gc(request(50)).await.unwrap();
    let left = fixture.blobs();
    let largest = |names: &[String]| {
        let size = |name: &&String| {
            fs::metadata(fixture.path("blobs/sha256").join(name)).map_or(0, |file| file.len())
        };
        names.iter().filter(|name| size(name) > 1 << 20).count()
    };
    assert_eq!((largest(&before), largest(&left)), (3, 3), "{second:?}");
    fixture.layout.gc(request(75)).await.unwrap();
    assert_eq!(largest(&fixture.blobs()), 1);
}

/// A full file system ends gc before a name goes; what is due makes room first.
#[tokio::test]
async fn a_full_file_system_is_no_end() {
    let fixture = Fixture::new();
    let job = fixture.job();
    let output = in_small(&fixture, "size=16m", "collect::child_collects_when_full", &job).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", output.stderr);
    job.end().unwrap();
}

#[tokio::test]
#[ignore = "started by a_full_file_system_is_no_end"]
async fn child_collects_when_full() {
    if !fs::exists("small").unwrap() {
        return;
    }
    let dir = Utf8PathBuf::from_path_buf(std::env::current_dir().unwrap()).unwrap();
    let layout = Layout::open(dir.join("small/registry")).unwrap();
    for seed in 1..=3 {
        publish(&layout, &dir, "web", seed).await.unwrap();
    }
    let filler = dir.join("small/filler");
    fill(&filler);
    let error = layout.gc(request(25)).await.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Full, "{error}");
    assert_eq!(layout.versions(None).await.unwrap().len(), 3, "no name went");
    assert!(names_in(&layout.root().join("publishing")).is_empty());
    check(&layout).await;
    fs::remove_file(&filler).unwrap();
    // Two go; then it is full again, and one more is to go when they are due.
    layout.gc(request(25)).await.unwrap();
    publish(&layout, &dir, "web", 4).await.unwrap();
    fill(&filler);
    let report = layout.gc(request(50)).await.unwrap();
    assert!(report.deleted_bytes > 2 << 20, "{report:?}");
    assert_eq!(layout.versions(None).await.unwrap().len(), 1);
    check(&layout).await;
}

/// Writes until there is no room for a byte.
fn fill(path: &Utf8PathBuf) {
    use std::io::Write;
    let mut file = fs::File::create(path).unwrap();
    let zeros = [0; 4096];
    while file.write_all(&zeros).is_ok() {}
    while file.write_all(&zeros[..1]).is_ok() {}
}
