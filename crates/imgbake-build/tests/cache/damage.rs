//! A layer that is not what was saved is never used, nor what is based on it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};

use camino::Utf8Path;
use imgbake_build::LayerCache;
use imgbake_build::cache::{CacheErrorKind, Found};
use imgbake_runtime::Home;
use imgbake_runtime::retry::Backoff;
use imgbake_types::{Size, Stage};

use crate::common::{Fixture, draft, key, new_layer};

fn flip(path: &Utf8Path) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    let middle = file.metadata().unwrap().len() / 2 + 3;
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[byte[0] ^ 1], middle).unwrap();
}

fn cut(path: &Utf8Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
}

fn grow(path: &Utf8Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() + 1).unwrap();
}

fn remove(path: &Utf8Path) {
    fs::remove_file(path).unwrap();
}

fn link(path: &Utf8Path) {
    let elsewhere = path.with_extension("elsewhere");
    fs::rename(path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, path).unwrap();
}

fn folder(path: &Utf8Path) {
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
}

/// A chain of three; `boot` is damaged in turn.
fn chain() -> Fixture {
    let fixture = Fixture::new();
    let source = fixture.source("source");
    let boot = fixture.layer("boot", &source, 20, 30);
    drop(fixture.layer("step", &boot, 4, 4));
    fixture
}

#[test]
fn damage_is_noticed_and_goes_with_all_that_stands_on_it() {
    type Damage = fn(&Utf8Path);
    let cases: [(&str, &str, Damage, &str); 16] = [
        ("boot", "disk.qcow2", flip, "disk is not what was saved"),
        ("boot", "disk.qcow2", cut, "disk is not what was saved"),
        ("boot", "disk.qcow2", grow, "disk is not what was saved"),
        ("boot", "disk.qcow2", remove, "disk is gone"),
        ("boot", "disk.qcow2", link, "disk is not what was saved"),
        ("boot", "disk.qcow2", folder, "disk is not what was saved"),
        ("boot", "state", flip, "state is not what was saved"),
        ("boot", "state", cut, "state is not what was saved"),
        ("boot", "state", remove, "state is gone"),
        ("boot", "layer.json", flip, "layer.json was changed"),
        ("boot", "layer.json", cut, "layer.json is not one that imgbake wrote"),
        ("boot", "layer.json", grow, "layer.json is not one that imgbake wrote"),
        ("source", "disk.raw", flip, "disk is not what was saved"),
        ("source", "kernel", flip, "kernel is not what was saved"),
        ("source", "initrd", remove, "initrd is gone"),
        ("source", "layer.json", remove, "is gone"),
    ];
    for (layer, file, damage, words) in cases {
        let fixture = chain();
        fixture.found("step");
        damage(&fixture.file(layer, file));
        let reason = fixture.damaged("step");
        assert!(reason.contains(words), "{layer}/{file}: {reason}");
        assert!(reason.contains("below it"), "{layer}/{file}: {reason}");
        for name in ["step", "boot"] {
            assert!(fixture.is_gone(name), "{layer}/{file}: {name}");
            assert!(!fixture.cache.folder(&key(name)).exists(), "{layer}/{file}: {name}");
        }
        if layer == "boot" {
            fixture.found("source");
        } else {
            assert!(fixture.is_gone("source"), "{layer}/{file}");
        }
        // What was lost is made again.
        if layer == "boot" {
            let boot = fixture.layer("boot", &fixture.found("source"), 20, 30);
            fixture.layer("step", &boot, 4, 4);
            fixture.found("step");
        }
    }
}

#[test]
fn what_somebody_stands_on_is_refused_but_stays() {
    let fixture = chain();
    let held = fixture.found("step");
    flip(&held.disk_path());
    assert!(fixture.damaged("step").contains("not what was saved"));
    assert!(held.disk_path().exists());
    let error = fixture.cache.begin(fixture.claim("step"), Some(&key("boot"))).unwrap_err();
    assert_eq!(error.kind(), CacheErrorKind::InUse);
    drop(held);
    // Whoever has the claim makes it anew in its place.
    let claim = fixture.claim("step");
    assert!(fixture.damaged("step").contains("not what was saved"));
    assert!(fixture.cache.folder(&key("step")).exists());
    let draft = fixture.cache.begin(claim, Some(&key("boot"))).unwrap();
    assert_eq!(fs::read_dir(draft.dir()).unwrap().count(), 0);
}

#[test]
fn a_layer_on_one_that_was_made_anew_is_dead() {
    let fixture = chain();
    assert!(fixture.cache.remove(&key("boot")).unwrap());
    let source = fixture.found("source");
    let boot = draft(&fixture.cache, "boot", &source, 24).unwrap();
    drop(boot.commit(new_layer(Stage::Boot, "boot")).unwrap());
    assert!(fixture.damaged("step").contains("made anew"));
    assert!(fixture.is_gone("step"));
    fixture.found("boot");
}

#[test]
fn a_layer_in_another_layers_folder_is_not_taken_for_it() {
    let fixture = chain();
    fs::rename(fixture.cache.folder(&key("step")), fixture.cache.folder(&key("wrong"))).unwrap();
    assert!(fixture.damaged("wrong").contains("its folder holds the layer"));
    assert!(fixture.is_gone("step") && fixture.is_gone("wrong"));
}

#[test]
fn a_home_that_was_moved_or_copied_is_noticed() {
    let fixture = chain();
    let moved = Home::new(fixture.dir.join("moved"));
    fs::rename(fixture.home.root(), moved.root()).unwrap();
    let cache = LayerCache::open(&moved, Size::mib(100)).unwrap();
    assert!(matches!(cache.find(&key("source")), Found::Layer(_)), "it is based on nothing");
    let Found::Damaged(reason) = cache.find(&key("step")) else { panic!("it names the old home") };
    assert!(reason.contains("its disk is based on"), "{reason}");
}

/// Bytes that this thread has read so far (proc(5), `/proc/PID/io`).
fn bytes_read() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap();
    line.parse().unwrap()
}

/// Bytes that finding a layer reads.
fn cost(fixture: &Fixture, name: &str) -> u64 {
    let before = bytes_read();
    drop(fixture.found(name));
    bytes_read() - before
}

#[tokio::test]
async fn files_are_read_again_only_when_they_were_touched() {
    let fixture = chain();
    // What was just written is not trusted by its times.
    let mut backoff = Backoff::default();
    while cost(&fixture, "step") > 30 << 10 {
        backoff.wait().await;
    }
    let disk = fixture.file("boot", "disk.qcow2");
    let size = disk.metadata().unwrap().len();
    assert!(cost(&fixture, "step") < size, "each record, and no file");
    let proved = fixture.file("boot", "proved.json");
    let touched: [(&str, &dyn Fn()); 4] = [
        ("a copy in its place", &|| {
            let copy = disk.with_extension("copy");
            fs::copy(&disk, &copy).unwrap();
            fs::rename(&copy, &disk).unwrap();
        }),
        ("another mode", &|| fs::set_permissions(&disk, Permissions::from_mode(0o400)).unwrap()),
        ("nothing remembered", &|| fs::remove_file(&proved).unwrap()),
        ("nonsense remembered", &|| fs::write(&proved, "{ nothing").unwrap()),
    ];
    for (what, touch) in touched {
        touch();
        assert!(cost(&fixture, "step") > size, "{what}");
        let mut backoff = Backoff::default();
        while cost(&fixture, "step") > 30 << 10 {
            backoff.wait().await;
        }
    }
}
