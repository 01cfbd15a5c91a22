//! Many processes at once, and processes that are killed.

use std::fs;

use camino::Utf8PathBuf;
use imgbake_build::LayerCache;
use imgbake_build::cache::Found;
use imgbake_runtime::{Cancel, Command, Home, Tool};
use imgbake_types::{Size, Stage};

use crate::common::{Fixture, append, bytes, draft, key, layer, names_in, new_layer, overlay};

const STRACE: Tool = Tool::new("strace", "strace");

fn child(name: &str) -> Command {
    let exe = Utf8PathBuf::from_path_buf(std::env::current_exe().unwrap()).unwrap();
    Command::new(exe).args(["--ignored", "--exact", &format!("processes::{name}")])
}

fn here() -> Option<LayerCache> {
    let dir = Utf8PathBuf::from("home").canonicalize_utf8().ok()?;
    Some(LayerCache::open(&Home::new(dir), Size::mib(100)).unwrap())
}

/// `kill -9` as a process is about to make something durable, name it or take it away: at every one
/// of these calls of a commit and of a prune.
#[tokio::test]
async fn a_maker_that_is_killed_at_any_call_leaves_no_half_layer() {
    let fixture = Fixture::new();
    drop(fixture.source("source"));
    let mut kills = 0;
    for call in ["flock", "mkdir", "?rename", "?renameat", "?unlink", "unlinkat"] {
        for number in 1.. {
            let inject = format!("inject={call}:signal=SIGKILL:when={number}");
            let exe = std::env::current_exe().unwrap();
            let output = STRACE
                .command()
                .unwrap()
                .args(["-f", "-qq", "-o", "/dev/null", "-e", &inject])
                .arg(exe)
                .args(["--ignored", "--exact", "processes::child_makes"])
                .current_dir(fixture.dir.clone())
                .output(&fixture.job)
                .await
                .unwrap();
            check_after(&fixture, &format!("{call} {number}"));
            if output.status.success() {
                break;
            }
            kills += 1;
            assert!(kills < 200, "it ends");
        }
    }
    assert!(kills >= 12, "only {kills} kills: was the commit traced?");
}

/// Makes a layer, and takes it away.
#[test]
#[ignore = "started by other tests"]
fn child_makes() {
    let Some(cache) = here() else { return };
    let Found::Layer(source) = cache.find(&key("source")) else { panic!("it is there") };
    let killed = draft(&cache, "draft", &source, 4).unwrap();
    append(&killed.disk(), &bytes("more", 9000)).unwrap();
    drop(layer(&cache, "step", &source, 20, 20).unwrap());
    drop(killed);
    cache.prune(Size::bytes(30 << 10)).unwrap();
    drop(source);
}

/// A swept cache holds whole layers and nothing else, and makes new ones.
fn check_after(fixture: &Fixture, when: &str) {
    fixture.cache.sweep().unwrap();
    for folder in fixture.folders().iter().filter(|name| *name != "format") {
        let path = fixture.home.cache().join("layers").join(folder);
        assert!(path.join("layer.json").exists(), "{when}: {folder}");
    }
    for name in fixture.locks() {
        assert!(!name.contains(".make"), "{when}: {name}");
    }
    match fixture.cache.find(&key("step")) {
        Found::Damaged(reason) => panic!("{when}: {reason}"),
        Found::Layer(layer) => {
            assert!(layer.disk_path().exists());
            assert!(layer.state().is_none() || layer.state_path().unwrap().exists());
        }
        Found::None => {}
    }
    fixture.cache.remove(&key("step")).unwrap();
    let source = match fixture.cache.find(&key("source")) {
        Found::Layer(source) => source,
        other => {
            // A prune in the child may have come that far.
            assert!(matches!(other, Found::None), "{when}: {other:?}");
            fixture.source("source")
        }
    };
    drop(fixture.layer("step", &source, 4, 4));
    assert!(fixture.cache.remove(&key("step")).unwrap(), "{when}");
}

/// A maker that is killed in the midst of its work lets its claim go.
#[tokio::test]
async fn the_claim_of_a_killed_maker_is_free() {
    let fixture = Fixture::new();
    drop(fixture.source("source"));
    let mut maker =
        child("child_hangs").current_dir(fixture.dir.clone()).spawn(&fixture.job).unwrap();
    let ready = fixture.dir.join("ready");
    let mut backoff = imgbake_runtime::retry::Backoff::default();
    while !ready.exists() {
        backoff.wait().await;
    }
    assert!(fixture.cache.try_claim(&key("step")).unwrap().is_none());
    fixture.cache.sweep().unwrap();
    fixture.cache.prune(Size::bytes(0)).unwrap();
    assert_eq!(fixture.folders().len(), 3, "the draft, the source below it, the format");
    let step = key("step");
    let waiting = fixture.cache.claim(fixture.job.cancel(), &step);
    // SIGKILL.
    let ((), claim) = tokio::join!(maker.end(), waiting);
    let draft = fixture.cache.begin(claim.unwrap(), Some(&key("source"))).unwrap();
    assert!(names_in(draft.dir()).is_empty(), "what the killed one left is gone");
}

#[test]
#[ignore = "started by the_claim_of_a_killed_maker_is_free"]
fn child_hangs() {
    let Some(cache) = here() else { return };
    let Found::Layer(source) = cache.find(&key("source")) else { panic!("it is there") };
    let _draft = draft(&cache, "step", &source, 4).unwrap();
    fs::write("ready", "").unwrap();
    loop {
        std::thread::park();
    }
}

/// Eight processes want the same chain of layers while others prune: each layer that is found is
/// whole, and no layer is made while it is there.
#[tokio::test]
async fn processes_share_layers() {
    let fixture = Fixture::new();
    drop(fixture.source("source"));
    let run = |name: &'static str| {
        let command = child(name).current_dir(fixture.dir.clone());
        let job = fixture.job.clone();
        tokio::spawn(async move { command.run(&job).await })
    };
    let children: Vec<_> = (0..8)
        .map(|number| run(if number % 4 == 3 { "child_prunes" } else { "child_shares" }))
        .collect();
    for child in children {
        child.await.unwrap().unwrap();
    }
    fixture.cache.sweep().unwrap();
    for info in fixture.cache.list() {
        assert!(!info.in_use);
        assert!(matches!(fixture.cache.find(&info.key), Found::Layer(_)));
    }
}

#[tokio::test]
#[ignore = "started by processes_share_layers"]
async fn child_shares() {
    let Some(cache) = here() else { return };
    for round in 0..12 {
        let Found::Layer(mut below) = cache.find(&key("source")) else { return };
        for name in ["a", "b", "c"] {
            let name = format!("{name}{}", round % 3);
            let claim = cache.claim(&Cancel::new(), &key(&name)).await.unwrap();
            below = match cache.find(&key(&name)) {
                Found::Layer(layer) => layer,
                Found::None => {
                    let draft = cache.begin(claim, Some(below.key())).unwrap();
                    overlay(&draft, &below.disk_path(), &name, 4).unwrap();
                    draft.commit(new_layer(Stage::Provision, &name)).unwrap()
                }
                Found::Damaged(reason) => panic!("{name}: {reason}"),
            };
            imgbake_disk::DiskImage::open(&below.disk_path()).unwrap();
        }
    }
}

#[test]
#[ignore = "started by processes_share_layers"]
fn child_prunes() {
    let Some(cache) = here() else { return };
    let Found::Layer(_source) = cache.find(&key("source")) else { return };
    for _ in 0..40 {
        cache.prune(Size::bytes(100 << 10)).unwrap();
        cache.sweep().unwrap();
    }
}
