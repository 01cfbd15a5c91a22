//! Resources outside this host are removed by cleaners, whenever their maker was killed, and one that
//! cannot be removed is never forgotten. The cloud is a folder: a file for each resource, named by its
//! id, with its mark in it.
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use imgbake_runtime::journal::{Cleaner, Cleaners, RemoteResource, Swept, sweep};
use imgbake_runtime::{Cancel, Events, Home, Job, RuntimeError, RuntimeErrorKind, Secrets};
use serde_json::{Value, json};

const KIND: &str = "folder-machine";

/// A cloud of files.
struct Cloud(Utf8PathBuf);

impl Cloud {
    fn make(&self, mark: &str) -> String {
        let id = format!("i-{}", fs::read_dir(&self.0).unwrap().count());
        fs::write(self.0.join(&id), mark).unwrap();
        id
    }

    fn remove(&self, resource: &RemoteResource) {
        for entry in self.0.read_dir_utf8().unwrap().flatten() {
            let same = match &resource.id {
                Some(id) => entry.file_name() == id,
                None => fs::read_to_string(entry.path()).is_ok_and(|mark| mark == resource.mark),
            };
            if same {
                // Another sweep may have been quicker.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn count(&self) -> usize {
        fs::read_dir(&self.0).unwrap().count()
    }
}

/// The cloud's cleaner; one that is out of order fails.
struct FolderCleaner {
    cloud: Cloud,
    in_order: bool,
    asked: AtomicUsize,
}

#[async_trait]
impl Cleaner for FolderCleaner {
    fn kind(&self) -> &str {
        KIND
    }

    async fn remove(&self, resource: &RemoteResource) -> Result<(), RuntimeError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        assert_eq!(resource.settings, json!({ "region": "moon" }));
        if !self.in_order {
            return Err(RuntimeError::new(RuntimeErrorKind::Failed, "the cloud is closed"));
        }
        self.cloud.remove(resource);
        Ok(())
    }
}

struct Fixture {
    _temp: tempfile::TempDir,
    home: Home,
    cloud: Cloud,
}

fn fixture() -> Fixture {
    let temp = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(temp.path()).unwrap();
    let cloud = Cloud(root.join("cloud"));
    fs::create_dir(&cloud.0).unwrap();
    Fixture { home: Home::new(root.join("home")), cloud, _temp: temp }
}

impl Fixture {
    fn cleaner(&self, in_order: bool) -> Arc<FolderCleaner> {
        let cloud = Cloud(self.cloud.0.clone());
        Arc::new(FolderCleaner { cloud, in_order, asked: AtomicUsize::new(0) })
    }

    fn journals(&self) -> Vec<Utf8PathBuf> {
        let dir = self.home.journal();
        let Ok(entries) = dir.read_dir_utf8() else { return Vec::new() };
        entries.flatten().map(|entry| entry.path().to_owned()).collect()
    }

    /// A job that was killed when it had made a resource.
    fn killed(&self, id: &str) {
        let job = job(&self.home, id);
        let mut resource = intend(&job);
        resource.made(&self.cloud.make(&resource.resource().mark)).unwrap();
    }

    async fn sweep(&self, all: bool, cleaner: &Arc<FolderCleaner>) -> Vec<Swept> {
        let cleaners = Cleaners::default().with(Arc::<FolderCleaner>::clone(cleaner));
        sweep(&self.home, all, &cleaners).await.unwrap()
    }

    /// Sweeps until there is something: a process that another test of this binary has just forked holds
    /// a copy of every lock until it runs its program.
    async fn swept(&self, all: bool, cleaner: &Arc<FolderCleaner>) -> Swept {
        loop {
            let mut swept = self.sweep(all, cleaner).await;
            if let Some(one) = swept.pop() {
                assert!(swept.is_empty(), "{swept:?}");
                return one;
            }
            tokio::task::yield_now().await;
        }
    }
}

fn job(home: &Home, id: &str) -> Job {
    let (events, _) = Events::channel(id, Secrets::default());
    Job::begin(home, id, Cancel::new(), events, Secrets::default()).unwrap()
}

fn intend(job: &Job) -> imgbake_runtime::RemoteGuard {
    job.intend(KIND, "folder:cloud", json!({ "region": "moon" })).unwrap()
}

/// Where a builder can be killed, and how many resources are in the cloud then.
const POINTS: [(&str, usize); 4] = [("intent", 0), ("made", 1), ("completed", 1), ("destroyed", 0)];

/// Runs as a process of its own, whose environment says what to do: makes a resource and destroys it,
/// and waits at one point to be killed.
#[test]
#[ignore = "the process that the next test kills"]
#[expect(clippy::disallowed_methods, reason = "what the parent process says")]
fn builder() {
    let home = Home::new(std::env::var("TEST_HOME").unwrap());
    let cloud = Cloud(std::env::var("TEST_CLOUD").unwrap().into());
    let point = std::env::var("TEST_POINT").unwrap();
    let arrive = |at: &str| {
        if point == at {
            println!("\narrived");
            std::io::stdout().flush().unwrap();
            loop {
                std::thread::park();
            }
        }
    };
    let job = job(&home, "build-1");
    let mut resource = intend(&job);
    arrive("intent");
    let id = cloud.make(&resource.resource().mark);
    arrive("made");
    resource.made(&id).unwrap();
    arrive("completed");
    cloud.remove(resource.resource());
    arrive("destroyed");
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a process to kill, without a job around it")]
async fn a_builder_that_is_killed_at_any_point_leaves_nothing() {
    for (point, there) in POINTS {
        let fixture = fixture();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["builder", "--exact", "--ignored", "--nocapture"])
            .env("TEST_HOME", fixture.home.root())
            .env("TEST_CLOUD", &fixture.cloud.0)
            .env("TEST_POINT", point)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "arrived"), "{point}");
        let cleaner = fixture.cleaner(true);
        assert!(fixture.sweep(true, &cleaner).await.is_empty(), "{point}: its job runs");
        assert_eq!(fixture.cloud.count(), there, "{point}");
        child.kill().unwrap();
        child.wait().unwrap();
        let swept = fixture.swept(false, &cleaner).await;
        assert_eq!(swept.remotes, 1, "{point}: {swept:?}");
        assert_eq!(fixture.cloud.count(), 0, "{point}");
        assert!(fixture.journals().is_empty(), "{point}");
    }
}

#[tokio::test]
async fn a_resource_that_cannot_be_removed_is_kept_and_reported() {
    let fixture = fixture();
    fixture.killed("build-2");
    // Nobody removes its kind.
    let mut reports = 0;
    while reports < 2 {
        let swept = sweep(&fixture.home, false, &Cleaners::default()).await.unwrap();
        let Some(one) = swept.first() else { continue };
        reports += 1;
        let left = &one.left[0];
        assert_eq!(left.what, "folder-machine i-0 at folder:cloud");
        assert!(left.why.contains("no builder that removes"), "{left:?}");
    }
    // Its cleaner fails; the next command does not try again at once, `imgbake clean` does.
    let closed = fixture.cleaner(false);
    for (all, asked) in [(false, 1), (false, 1), (true, 2)] {
        let swept = fixture.swept(all, &closed).await;
        assert_eq!(swept.left[0].why, "the cloud is closed");
        assert_eq!(closed.asked.load(Ordering::Relaxed), asked);
    }
    // Ten minutes later: the journal says when.
    let journal = fixture.journals().remove(0);
    let text = fs::read_to_string(&journal).unwrap();
    let year = jiff::Timestamp::now().to_string()[..4].to_owned();
    fs::write(&journal, text.replace(&format!("\"at\":\"{year}"), "\"at\":\"2020")).unwrap();
    fixture.swept(false, &closed).await;
    assert_eq!(closed.asked.load(Ordering::Relaxed), 3);
    let open = fixture.cleaner(true);
    assert_eq!(fixture.swept(true, &open).await.remotes, 1);
    assert!(fixture.cloud.count() == 0 && fixture.journals().is_empty());
}

#[tokio::test]
async fn of_two_resources_the_one_that_stays_is_left_alone() {
    let fixture = fixture();
    let job = job(&fixture.home, "build-3");
    for _ in 0..2 {
        let mut resource = intend(&job);
        resource.made(&fixture.cloud.make(&resource.resource().mark)).unwrap();
    }
    let other = job.intend("moon-base", "moon", Value::Null).unwrap();
    drop(other);
    drop(job);
    let cleaner = fixture.cleaner(true);
    let swept = fixture.swept(false, &cleaner).await;
    assert_eq!((swept.remotes, swept.left.len()), (2, 1), "{swept:?}");
    assert!(swept.left[0].what.starts_with("moon-base marked build-3-"), "{swept:?}");
    // What was removed is written down: it is not removed again.
    let swept = fixture.swept(false, &cleaner).await;
    assert_eq!((swept.remotes, swept.left.len()), (0, 1), "{swept:?}");
    assert_eq!(cleaner.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn two_sweeps_at_once_do_it_once() {
    let fixture = fixture();
    for job in ["build-4", "build-5", "build-6"] {
        fixture.killed(job);
    }
    let cleaner = fixture.cleaner(true);
    let mut removed = 0;
    while !fixture.journals().is_empty() {
        let (one, two) = tokio::join!(fixture.sweep(true, &cleaner), fixture.sweep(true, &cleaner));
        removed += one.iter().chain(&two).map(|swept| swept.remotes).sum::<usize>();
    }
    assert_eq!((removed, cleaner.asked.load(Ordering::Relaxed)), (3, 3));
    assert_eq!(fixture.cloud.count(), 0);
}

#[tokio::test]
async fn a_job_that_ends_tells_what_it_left() {
    let fixture = fixture();
    let tidy = job(&fixture.home, "build-7");
    let mut resource = intend(&tidy);
    resource.made(&fixture.cloud.make(&resource.resource().mark)).unwrap();
    fixture.cloud.remove(resource.resource());
    resource.removed().unwrap();
    tidy.end().unwrap();
    assert!(fixture.journals().is_empty());
    let untidy = job(&fixture.home, "build-8");
    let mut resource = intend(&untidy);
    resource.made(&fixture.cloud.make(&resource.resource().mark)).unwrap();
    let error = untidy.end().unwrap_err().to_string();
    assert!(error.starts_with("not removed: folder-machine i-0 at folder:cloud"), "{error}");
    drop((resource, untidy));
    assert_eq!(fixture.swept(false, &fixture.cleaner(true)).await.remotes, 1);
    assert_eq!(fixture.cloud.count(), 0);
}

#[tokio::test]
async fn a_newer_journal_keeps_what_is_not_known_and_a_cut_line_is_no_line() {
    let fixture = fixture();
    fixture.home.ensure().unwrap();
    let work = fixture.home.work().join("build-9");
    fs::create_dir(&work).unwrap();
    let journal = fixture.home.journal().join("build-9.jsonl");
    let remote = json!({ "made": "remote", "kind": KIND, "endpoint": "folder:cloud", "mark": "m",
        "settings": { "region": "moon" }, "later": true });
    let text = format!(
        "{{\"made\":\"path\",\"path\":\"{work}\"}}\n{{\"made\":\"moon\"}}\n{remote}\n{{\"made\":\"rem"
    );
    fs::write(&journal, text).unwrap();
    fixture.cloud.make("m");
    let cleaner = fixture.cleaner(true);
    for (paths, remotes) in [(1, 1), (0, 0)] {
        let swept = fixture.swept(false, &cleaner).await;
        assert_eq!((swept.paths, swept.remotes), (paths, remotes), "{swept:?}");
        assert!(swept.left[0].what.starts_with("an entry `moon` of "), "{swept:?}");
        assert_eq!(swept.left.len(), 1, "{swept:?}");
    }
    assert!(journal.exists() && fixture.cloud.count() == 0);
}
