//! A copy that is killed leaves nothing under a name, and what it has is not fetched again.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use camino::Utf8PathBuf;
use imgbake_build::BuildErrorKind;
use imgbake_oci::{Remote, RemoteOptions};
use imgbake_registry::Layout;
use imgbake_registry::transfer::{End, copy};
use imgbake_runtime::{Cancel, Command, retry};
use imgbake_testkit::{Habits, TestRegistry};
use imgbake_types::Target;

use crate::fixture::{Fixture, MIB, VERSION, job, seed};

const CHILD: [&str; 3] = ["--ignored", "--exact", "kills::child_fetches"];

#[tokio::test]
async fn a_killed_copy_goes_on() {
    let slow = Duration::from_millis(30);
    let registry = TestRegistry::start(Habits { slow, ..Habits::default() }).await;
    let digest = seed(&registry, "web", VERSION, 7);
    let fixture = Fixture::new();
    fs::write(fixture.dir.join("child"), registry.host()).unwrap();
    let exe = Utf8PathBuf::from_path_buf(std::env::current_exe().unwrap()).unwrap();
    let command = Command::new(exe).args(CHILD).current_dir(fixture.dir.clone());
    let mut child = command.spawn(&fixture.job).unwrap();
    let kept = fixture.job.home().cache().join("transfers");
    let size = || {
        let entries = kept.read_dir_utf8().into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.metadata().ok())
            .map(|metadata| metadata.len())
            .sum::<u64>()
    };
    let cancel = fixture.job.cancel();
    let begun = async || (size() > MIB as u64).then_some(());
    retry::poll(cancel, Duration::from_secs(60), "bytes", begun).await.unwrap();
    let id = i32::try_from(child.id().unwrap()).unwrap();
    let id = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
    assert_eq!(child.ended().await.unwrap().signal(), Some(9));
    assert!(fixture.blobs().is_empty() && fixture.label(&format!("web:{VERSION}")).is_none());

    // What is kept may be anything up to all but the last bytes.
    let (have, before) = (size(), registry.sent_bytes());
    registry.change(|habits| *habits = Habits::default());
    let from = fixture.remote(&registry.host(), "web").await;
    let copied = fixture.copy(&from, &fixture.local("web")).await.unwrap();
    assert_eq!(copied.digest, digest);
    assert!(have > MIB as u64 && copied.moved_bytes + have < 5 * MIB as u64, "{have} {copied:?}");
    assert_eq!(registry.sent_bytes() - before, copied.moved_bytes);
    fixture.blobs();
}

#[tokio::test]
async fn a_copy_that_is_interrupted_ends_at_once() {
    let habits = Habits { slow: Duration::from_secs(3600), ..Habits::default() };
    let registry = TestRegistry::start(habits).await;
    seed(&registry, "web", VERSION, 7);
    let fixture = Fixture::new();
    let (from, local) = (fixture.remote(&registry.host(), "web").await, fixture.local("web"));
    let interrupt = async {
        let asked = || registry.requests().iter().any(|line| line.contains("GET /v2/web/blobs"));
        let begun = async || asked().then_some(());
        retry::poll(&Cancel::new(), Duration::from_secs(60), "a blob", begun).await.unwrap();
        fixture.job.cancel().cancel();
    };
    let (copied, ()) = tokio::join!(fixture.copy(&from, &local), interrupt);
    assert_eq!(copied.unwrap_err().kind(), BuildErrorKind::Cancelled);
    assert!(fixture.blobs().is_empty());
    assert_eq!(registry.tags("web").len(), 4, "what the fixture put there");
}

/// Copies into the layout of its folder: started by the test above.
#[tokio::test]
#[ignore = "started by other tests"]
async fn child_fetches() {
    let Ok(host) = fs::read_to_string("child") else { return };
    let dir = Utf8PathBuf::from_path_buf(std::env::current_dir().unwrap()).unwrap();
    let job = job(&dir);
    let remote = Remote::connect(&job, &host, &RemoteOptions::default()).await.unwrap();
    let layout = Layout::open(dir.join("registry")).unwrap();
    let to = End::local(&layout, "web").unwrap();
    let from = End::remote(&job, remote.repository("web").unwrap());
    copy(&job, &from, &Target::Tag(VERSION.to_owned()), &to, None).await.unwrap();
}
