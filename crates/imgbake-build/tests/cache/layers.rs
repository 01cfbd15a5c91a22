//! Making layers and finding them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use imgbake_build::cache::CacheErrorKind::{self, Invalid, Io, Parent};
use imgbake_build::{BaseDisk, BuildErrorKind};
use imgbake_disk::{DiskFormat, DiskImage};
use imgbake_runtime::Cancel;
use imgbake_types::{Size, Stage};

use crate::common::{
    DISK, Fixture, KIB, base_disk, bytes, draft, key, new_layer, new_state, overlay, report,
};

#[test]
fn a_chain_is_found_as_it_was_made() {
    let fixture = Fixture::new();
    let source = fixture.source("source");
    let boot = fixture.layer("boot", &source, 20, 30);
    let step = fixture.layer("nginx", &boot, 40, 50);
    let made = (source.disk(), boot.disk(), step.disk(), step.saved());
    drop((source, boot, step));

    let step = fixture.found("nginx");
    let names: Vec<_> = step.ancestors().map(|layer| layer.record().name.clone()).collect();
    assert_eq!(names, ["boot", "source"]);
    let boot = step.parent().unwrap();
    let source = boot.parent().unwrap();
    assert_eq!((source.disk(), boot.disk(), step.disk()), (made.0, made.1, made.2));

    let record = step.record();
    assert_eq!((record.seconds, record.bytes, record.shareable), (1.25, 77, true));
    assert_eq!((record.disk.format, record.disk.virtual_size), (DiskFormat::Qcow2, DISK));
    assert_eq!(record.report.as_deref(), Some(&report("nginx")));
    assert!(record.disk.file.allocated >= 40 * KIB as u64);
    assert_eq!(record.created, step.reference().created);
    assert!(step.age() < 60.0);

    // The base disk and its kernel are in the source's folder; above it no kernel is given.
    let base = source.disk();
    assert!(base.local().unwrap().path.starts_with(source.dir()) && base.cached && base.bytes == 0);
    assert_eq!(base.parent.kind, "bootstrap");
    let kernel = base.local().unwrap().kernel.clone().unwrap();
    assert_eq!(fs::read(&kernel.kernel).unwrap(), bytes("kernel", 9 * KIB));
    assert_eq!(fs::read(kernel.initrd.unwrap()).unwrap(), bytes("initrd", 5 * KIB));
    assert_eq!(kernel.cmdline, "quiet");
    assert_eq!(step.local_disk().kernel, None);
    assert_eq!(step.disk().parent, base.parent);
    DiskImage::open(&step.disk_path()).unwrap();

    // The machine is the one that was saved, with its keys.
    let (saved, again) = (step.saved().unwrap(), made.3.unwrap());
    assert_eq!(saved.state, again.state);
    assert_eq!(saved.booted_from, source.disk());
    assert_eq!(fs::read(&saved.state).unwrap(), bytes("state", 50 * KIB));
    let state = step.state().unwrap();
    assert_eq!(state.uuid.as_u128(), 7);
    assert!(state.seed.user_key.private_openssh().contains("PRIVATE KEY"));
    assert!(source.saved().is_none());
}

#[test]
fn files_are_private_to_the_user() {
    let fixture = Fixture::new();
    let source = fixture.source("source");
    let mode = |path: &camino::Utf8Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let layer = fixture.layer("boot", &source, 20, 30);
    for dir in [fixture.home.cache().join("layers"), fixture.home.cache().join("locks")] {
        assert_eq!(mode(&dir), 0o700, "{dir}");
    }
    for layer in [&source, &layer] {
        assert_eq!(mode(layer.dir()), 0o700);
        for name in ["layer.json", "state", "disk.qcow2", "disk.raw", "kernel"] {
            let path = layer.dir().join(name);
            assert!(!path.exists() || mode(&path) == 0o600, "{path}");
        }
    }
}

#[test]
fn a_base_disk_elsewhere_is_referred_to() {
    let fixture = Fixture::new();
    let base = base_disk(&fixture.dir, "mine");
    let draft = fixture.cache.begin(fixture.claim("source"), None).unwrap();
    assert_eq!(draft.take_base(&base, &fixture.job).unwrap(), base);
    drop(draft.commit(new_layer(Stage::Source, "source")).unwrap());
    let found = fixture.found("source");
    assert_eq!(found.disk(), BaseDisk { bytes: 0, cached: true, ..base.clone() });
    drop(found);
    fs::write(&base.local().unwrap().path, "another disk").unwrap();
    assert!(fixture.damaged("source").contains("disk is not what was saved"));
    assert!(base.local().unwrap().path.exists() && fixture.is_gone("source"));
}

#[test]
fn a_base_disk_that_cannot_be_taken_stays_where_it_is() {
    let fixture = Fixture::new();
    let mut base = base_disk(fixture.job.work(), "base");
    let mut disk = base.local().unwrap().clone();
    let draft = fixture.cache.begin(fixture.claim("source"), None).unwrap();
    disk.kernel.as_mut().unwrap().initrd = Some(fixture.job.work().join("missing"));
    base.location = disk.clone().into();
    let error = draft.take_base(&base, &fixture.job).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    assert!(disk.path.exists() && disk.kernel.unwrap().kernel.exists());
}

#[test]
fn what_does_not_fit_together_is_no_layer() {
    let fixture = Fixture::new();
    let source = fixture.source("source");
    let other = fixture.source("other");
    let provision = || new_layer(Stage::Provision, "step");
    let refused = |draft: imgbake_build::cache::Draft, new, kind, words: &str| {
        let error = draft.commit(new).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(fixture.is_gone("step"));
        assert!(!fixture.cache.folder(&key("step")).exists(), "the folder went with the draft");
        assert!(fixture.cache.try_claim(&key("step")).unwrap().is_some());
    };

    let nothing = fixture.cache.begin(fixture.claim("step"), None).unwrap();
    refused(nothing, provision(), Invalid, "has no base disk");
    let no_disk = fixture.cache.begin(fixture.claim("step"), Some(source.key())).unwrap();
    refused(no_disk, provision(), Io, "disk.qcow2");
    let on_none = fixture.cache.begin(fixture.claim("step"), Some(&key("none"))).unwrap();
    refused(on_none, provision(), Parent, "was not made");
    let wrong = fixture.cache.begin(fixture.claim("step"), Some(source.key())).unwrap();
    overlay(&wrong, &other.disk_path(), "step", 4).unwrap();
    refused(wrong, provision(), Invalid, "not the layer below it");
    let mut stateless = provision();
    stateless.state = Some(new_state(source.key()));
    refused(draft(&fixture.cache, "step", &source, 4).unwrap(), stateless, Io, "state");
    let with_state = draft(&fixture.cache, "step", &source, 4).unwrap();
    fs::write(with_state.state(), "memory").unwrap();
    let mut from_other = provision();
    from_other.state = Some(new_state(other.key()));
    refused(with_state, from_other, Invalid, "booted from");
}

#[test]
fn a_state_that_nobody_speaks_of_goes() {
    let fixture = Fixture::new();
    let source = fixture.source("source");
    let draft = draft(&fixture.cache, "step", &source, 4).unwrap();
    fs::write(draft.state(), "half a state").unwrap();
    let layer = draft.commit(new_layer(Stage::Provision, "step")).unwrap();
    assert!(layer.state().is_none() && !layer.dir().join("state").exists());
}

#[test]
fn a_parent_may_be_committed_after_its_child_was_begun() {
    let fixture = Fixture::new();
    let source = fixture.source("source");
    let parent = draft(&fixture.cache, "boot", &source, 4).unwrap();
    let child = fixture.cache.begin(fixture.claim("step"), Some(&key("boot"))).unwrap();
    overlay(&child, &parent.disk(), "step", 4).unwrap();
    let boot = parent.commit(new_layer(Stage::Boot, "boot")).unwrap();
    let step = child.commit(new_layer(Stage::Provision, "step")).unwrap();
    assert_eq!(step.parent().unwrap().key(), boot.key());
}

#[test]
fn a_folder_that_is_held_outlives_a_commit_that_fails() {
    let fixture = Fixture::new();
    let source = fixture.source("source");
    let draft = draft(&fixture.cache, "step", &source, 4).unwrap();
    let (hold, disk) = (draft.hold(), draft.disk());
    let mut new = new_layer(Stage::Provision, "step");
    new.state = Some(new_state(source.key()));
    draft.commit(new).unwrap_err();
    assert!(disk.exists(), "a machine is based on it");
    fixture.cache.sweep().unwrap();
    fixture.cache.prune(Size::bytes(0)).unwrap();
    assert!(disk.exists() && fixture.is_gone("step"));
    assert!(fixture.cache.try_claim(&key("step")).unwrap().is_none());
    drop(hold);
    assert!(!disk.exists());
    assert!(fixture.cache.try_claim(&key("step")).unwrap().is_some());
}

#[test]
fn a_layer_is_made_once() {
    let fixture = Fixture::new();
    let first = fixture.claim("source");
    assert!(fixture.cache.try_claim(&key("source")).unwrap().is_none());
    drop(first);
    let source = fixture.source("source");
    let error = fixture.cache.begin(fixture.claim("source"), None).unwrap_err();
    assert_eq!(error.kind(), CacheErrorKind::Exists);
    assert!(!fixture.cache.remove(source.key()).unwrap(), "it is in use");
    drop(source);
    assert!(fixture.cache.remove(&key("source")).unwrap());
    drop(fixture.source("source"));
    assert_eq!(fixture.folders().len(), 2);
}

#[tokio::test]
async fn a_claim_is_waited_for() {
    let fixture = Arc::new(Fixture::new());
    let first = fixture.claim("source");
    let waiting = tokio::spawn({
        let cache = fixture.cache.clone();
        async move { cache.claim(&Cancel::new(), &key("source")).await }
    });
    let cancel = Cancel::new();
    let cancelled = fixture.cache.clone();
    let cancelled = tokio::spawn({
        let cancel = cancel.clone();
        async move { cancelled.claim(&cancel, &key("source")).await }
    });
    cancel.cancel();
    let error = cancelled.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Cancelled);
    drop(first);
    let claim = tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap();
    assert_eq!(claim.unwrap().unwrap().key(), &key("source"));
}

/// Sets the flag however its scope ends: a panic must not let the other thread run for ever.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_committed_layer_is_in_use_without_a_gap() {
    let fixture = Fixture::new();
    let source = fixture.source("source");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _done = Done(&done);
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                fixture.cache.prune(Size::bytes(0)).unwrap();
            }
        });
        for number in 0..60 {
            let layer = fixture.layer(&format!("step {number}"), &source, 4, 4);
            assert!(layer.disk_path().exists() && layer.state_path().unwrap().exists());
            assert!(layer.dir().join("layer.json").exists());
        }
    });
}
