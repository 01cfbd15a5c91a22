//! What comes from a registry into a file system that fills: a small tmpfs in a mount namespace.

use std::fs::{self, File};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_oci::{Remote, RemoteOptions, Repository};
use imgbake_registry::Layout;
use imgbake_registry::transfer::{End, copy};
use imgbake_runtime::{Command, Job, Tool, space::free_bytes};
use imgbake_testkit::{Habits, TestRegistry};
use imgbake_types::{Digest, Target};
use rustix::fs::{FallocateFlags, fallocate};

use crate::fixture::{Fixture, MIB, job};
use crate::pulls::disks::{With, disk, fetch, push};

const UNSHARE: Tool = Tool::new("unshare", "util-linux");
/// What is left free: less than the disk that comes has.
const LEFT: u64 = 3 << 20;

/// A version in a registry that takes its time, and a child in a namespace where `small` is small.
async fn in_a_small_file_system(child: &str) {
    let (fixture, registry) = (Fixture::new(), TestRegistry::start(Habits::default()).await);
    let version = push(&fixture, &registry.host(), "web", &disk(1)).await;
    registry.change(|habits| habits.slow = Duration::from_millis(5));
    fs::create_dir(fixture.dir.join("small")).unwrap();
    let orders = format!("{} {} {}", registry.host(), version.digest, version.version);
    fs::write(fixture.dir.join("child"), orders).unwrap();
    let exe = Utf8PathBuf::from_path_buf(std::env::current_exe().unwrap()).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=40m none small && exec {exe} --ignored --exact full::{child}"
    );
    let args = ["--user", "--map-root-user", "--mount", "sh", "-ec", &script];
    let command: Command = UNSHARE.command().unwrap().args(args).current_dir(fixture.dir.clone());
    let output = command.output(&fixture.job).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", output.stderr);
}

/// What a child was given, and its places.
struct Child {
    dir: Utf8PathBuf,
    job: Job,
    repository: Repository,
    digest: Digest,
    version: String,
}

impl Child {
    async fn new() -> Option<Self> {
        let orders = fs::read_to_string("child").ok()?;
        let [host, digest, version] = orders.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let dir = Utf8PathBuf::from_path_buf(std::env::current_dir().unwrap()).unwrap();
        let dir = dir.join("small");
        let job = job(&dir);
        let remote = Remote::connect(&job, host, &RemoteOptions::default()).await.unwrap();
        let repository = remote.repository("web").unwrap();
        let (digest, version) = (digest.parse().unwrap(), version.to_owned());
        Some(Self { dir, job, repository, digest, version })
    }

    /// Takes all room but a little once a test says so.
    async fn fill(&self, now: impl Fn() -> bool) {
        let waiting = async {
            while !now() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap();
        let room = free_bytes(&self.dir).unwrap() - LEFT;
        let filler = File::create(self.dir.join("filler")).unwrap();
        fallocate(&filler, FallocateFlags::empty(), 0, room).unwrap();
    }

    fn make_room(&self) {
        fs::remove_file(self.dir.join("filler")).unwrap();
    }

    fn is_named(&self, error: &BuildError) {
        assert_eq!(error.kind(), BuildErrorKind::Full, "{error}");
        for part in [self.dir.as_str(), "needed"] {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
    }
}

fn bytes_in(folder: &Utf8Path) -> u64 {
    let entries = folder.read_dir_utf8().unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| entry.metadata().unwrap().len()).sum()
}

#[tokio::test]
async fn a_copy_into_a_full_layout_is_told_and_goes_on() {
    in_a_small_file_system("child_copies").await;
}

#[tokio::test]
#[ignore = "started by a_copy_into_a_full_layout_is_told_and_goes_on"]
async fn child_copies() {
    let Some(child) = Child::new().await else { return };
    let layout = Layout::open(child.dir.join("registry")).unwrap();
    let blobs = layout.root().join("blobs/sha256");
    let transfers = child.job.home().cache().join("transfers");
    let copying = async || {
        let from = End::remote(&child.job, child.repository.clone());
        let to = End::local(&layout, "web").unwrap();
        copy(&child.job, &from, &Target::Tag(child.version.clone()), &to, None).await
    };
    let index = || fs::read_to_string(layout.root().join("index.json")).unwrap_or_default();

    // What is known not to fit is not begun.
    child.fill(|| true).await;
    child.is_named(&copying().await.unwrap_err());
    assert_eq!((bytes_in(&transfers), bytes_in(&blobs)), (0, 0));
    child.make_room();

    // Somebody else takes the room meanwhile.
    let begun = || transfers.read_dir_utf8().is_ok_and(|entries| entries.count() > 1);
    let (copied, ()) = tokio::join!(copying(), child.fill(begun));
    let error = copied.unwrap_err();
    child.is_named(&error);
    assert!(error.help_text().is_some_and(|help| help.contains("continues")), "{error:?}");
    assert!(!index().contains(&child.version) && bytes_in(&blobs) == 0);
    child.make_room();
    let kept = bytes_in(&transfers);
    assert!(kept > MIB as u64, "{kept}");

    let copied = copying().await.unwrap();
    assert_eq!(copied.digest, child.digest);
    assert!(copied.moved_bytes + kept < 13 * MIB as u64, "{copied:?}, {kept} were there");
    assert!(index().contains(&child.version) && bytes_in(&transfers) == 0);
    child.job.end().unwrap();
}

#[tokio::test]
async fn a_pull_into_a_full_file_system_is_told_and_goes_on() {
    in_a_small_file_system("child_pulls").await;
}

#[tokio::test]
#[ignore = "started by a_pull_into_a_full_file_system_is_told_and_goes_on"]
async fn child_pulls() {
    let Some(child) = Child::new().await else { return };
    let pulling = async || {
        fetch(&child.job, &child.dir, &child.repository, &child.digest, With::default()).await
    };
    child.fill(|| true).await;
    child.is_named(&pulling().await.unwrap_err());
    child.make_room();

    // The file has its size once the room was looked for.
    let part = child.dir.join("part");
    let begun = || fs::metadata(&part).is_ok_and(|metadata| metadata.len() > 0);
    let (pulled, ()) = tokio::join!(pulling(), child.fill(begun));
    child.is_named(&pulled.unwrap_err());
    child.make_room();

    let (came, bytes) = pulling().await.unwrap();
    assert!(bytes == disk(1));
    assert!(came.kept > 0 && came.moved + came.kept < 14 * MIB as u64, "{came:?}");
    child.job.end().unwrap();
}
