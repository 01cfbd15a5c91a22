//! What goes first when there is too little room, and what never goes.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use imgbake_build::LayerCache;
use imgbake_build::cache::{CacheErrorKind, Pruned};
use imgbake_types::Size;

use crate::common::{Fixture, draft, key};

impl Fixture {
    /// Says that a layer was used last so many minutes ago.
    fn used(&self, name: &str, minutes: u64) {
        let file = File::options().write(true).open(self.file(name, "used")).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60 * minutes)).unwrap();
    }

    fn kib(&self) -> u64 {
        self.cache.list().iter().map(|info| info.disk_bytes + info.state_bytes).sum::<u64>() / 1024
    }

    /// Which layers there are, with an `s` for those with a state.
    fn layers(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .cache
            .list()
            .into_iter()
            .map(|info| format!("{}{}", info.name, if info.state_bytes > 0 { " s" } else { "" }))
            .collect();
        names.sort();
        names
    }
}

/// source ← boot ← a ← b, and boot ← c: `c` was used last, then `b`, `a`, `boot`.
fn tree() -> Fixture {
    let fixture = Fixture::new();
    let source = fixture.source("source");
    let boot = fixture.layer("boot", &source, 100, 200);
    let a = fixture.layer("a", &boot, 100, 200);
    drop(fixture.layer("b", &a, 100, 200));
    drop(fixture.layer("c", &boot, 100, 200));
    for (name, minutes) in [("c", 1), ("b", 2), ("a", 3), ("boot", 4), ("source", 9)] {
        fixture.used(name, minutes);
    }
    fixture
}

#[test]
fn states_go_first_then_layers_that_none_stands_on() {
    let steps: [&[&str]; 8] = [
        &["a s", "b s", "boot", "c s", "source"],
        &["a", "b s", "boot", "c s", "source"],
        &["a", "b", "boot", "c s", "source"],
        &["a", "b", "boot", "c", "source"],
        &["a", "boot", "c", "source"],
        &["boot", "c", "source"],
        &["boot", "source"],
        &["source"],
    ];
    let fixture = tree();
    for expected in steps {
        let before = fixture.kib();
        let pruned = fixture.cache.prune(Size::bytes((before - 1) << 10)).unwrap();
        assert_eq!(fixture.layers(), expected);
        assert_eq!(pruned.states + pruned.layers, 1, "no more than is needed");
        assert_eq!(pruned.bytes >> 10, before - fixture.kib());
        for name in expected {
            drop(fixture.found(name.trim_end_matches(" s")));
        }
    }
}

#[test]
fn what_fits_stays() {
    let fixture = tree();
    let pruned = fixture.cache.prune(Size::bytes(fixture.kib() << 10)).unwrap();
    assert_eq!(pruned, Pruned::default());
    assert_eq!(fixture.layers(), ["a s", "b s", "boot s", "c s", "source"]);
}

#[test]
fn what_is_used_stays_with_all_below_it() {
    let fixture = tree();
    let held = fixture.found("a");
    let in_use = |name: &str| {
        fixture.cache.list().iter().find(|info| info.name == name).is_some_and(|info| info.in_use)
    };
    assert!(in_use("a") && in_use("boot") && in_use("source") && !in_use("b") && !in_use("c"));
    fixture.cache.prune(Size::bytes(0)).unwrap();
    assert_eq!(fixture.layers(), ["a s", "boot s", "source"]);
    let clone = held.clone();
    drop(held);
    fixture.cache.prune(Size::bytes(0)).unwrap();
    assert_eq!(fixture.layers(), ["a s", "boot s", "source"]);
    drop(clone);
    fixture.cache.prune(Size::bytes(0)).unwrap();
    assert_eq!(fixture.folders(), ["format"]);
    fixture.cache.sweep().unwrap();
    assert!(fixture.locks().is_empty());
}

#[test]
fn the_list_tells_what_there_is() {
    let fixture = tree();
    let list = fixture.cache.list();
    let names: Vec<_> = list.iter().map(|info| (&*info.name, info.children)).collect();
    assert_eq!(names, [("c", 0), ("b", 0), ("a", 1), ("boot", 2), ("source", 1)]);
    let b = &list[1];
    assert_eq!((b.key.clone(), b.parent.clone(), &*b.image), (key("b"), Some(key("a")), "web"));
    assert!(b.state_bytes >= 200 << 10 && b.disk_bytes >= 100 << 10 && b.disk_bytes < 200 << 10);
    fixture.found("boot").touch().unwrap();
    assert_eq!(fixture.cache.list()[0].name, "boot");
}

#[test]
fn a_commit_keeps_to_the_budget() {
    let fixture = Fixture::with_budget(Size::mib(1));
    let source = fixture.source("source");
    for number in 0..20 {
        let name = format!("step {number}");
        drop(fixture.layer(&name, &source, 100, 100));
        assert!(fixture.kib() <= 1024, "{} KiB", fixture.kib());
        fixture.found(&name);
    }
    let list = fixture.cache.list();
    let newest = list.iter().find(|info| info.name == "step 19").unwrap();
    assert!(newest.state_bytes > 0, "the oldest go first");
    // What alone is larger than the budget stays while it is used.
    let large = fixture.layer("large", &source, 2000, 100);
    assert!(large.state_path().unwrap().exists());
    assert_eq!(fixture.layers(), ["large s", "source"]);
}

#[test]
fn what_can_never_be_used_goes_whatever_the_budget() {
    let fixture = tree();
    // A half layer of a killed build, one that is being made, a broken record, a layer gone below.
    fs::create_dir(fixture.cache.folder(&key("half"))).unwrap();
    fs::write(fixture.file("half", "disk.qcow2"), "half").unwrap();
    let source = fixture.found("source");
    let making = draft(&fixture.cache, "making", &source, 4).unwrap();
    fs::write(fixture.file("c", "layer.json"), "{}").unwrap();
    assert!(fixture.cache.remove(&key("a")).unwrap());
    let pruned = fixture.cache.prune(Size::mib(100)).unwrap();
    assert_eq!((pruned.halves, pruned.layers, pruned.states), (1, 2, 0));
    assert_eq!(fixture.layers(), ["boot s", "source"]);
    assert!(making.disk().exists());
}

#[test]
fn a_sweep_takes_half_layers_and_locks_that_nobody_needs() {
    let fixture = tree();
    fs::create_dir(fixture.cache.folder(&key("half"))).unwrap();
    fs::write(fixture.file("half", "state"), vec![7; 9000]).unwrap();
    let locks = fixture.home.cache().join("locks");
    let stale = [
        format!("{}.make", key("half").hex()),
        format!("{}.use", key("half").hex()),
        format!("{}.make", key("a").hex()),
    ];
    for name in &stale {
        fs::write(locks.join(name), "").unwrap();
    }
    let claim = fixture.claim("claimed");
    let used = fixture.found("boot");
    let swept = fixture.cache.sweep().unwrap();
    assert_eq!(swept.halves, 1);
    assert!(swept.bytes >= 9000);
    assert!(!fixture.cache.folder(&key("half")).exists());
    let left = fixture.locks();
    for name in &stale {
        assert!(!left.contains(name), "{name}");
    }
    assert!(left.contains(&format!("{}.make", key("claimed").hex())));
    assert!(left.contains(&format!("{}.use", key("boot").hex())));
    assert_eq!(fixture.layers(), ["a s", "b s", "boot s", "c s", "source"]);
    drop((claim, used));
    assert_eq!(fixture.cache.sweep().unwrap().halves, 0);
}

#[test]
fn a_cache_is_cleared_unless_it_is_used() {
    let fixture = tree();
    let held = fixture.found("boot");
    let error = LayerCache::clear(&fixture.home).unwrap_err();
    assert_eq!(error.kind(), CacheErrorKind::InUse);
    assert_eq!(fixture.layers(), ["boot s", "source"]);
    drop(held);
    let pruned = LayerCache::clear(&fixture.home).unwrap();
    assert_eq!(pruned.layers, 2);
    assert_eq!(fixture.folders(), ["format"]);
    drop(fixture.source("source"));
}
