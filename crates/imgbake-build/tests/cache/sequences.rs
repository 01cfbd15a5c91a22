//! Whatever is done in whatever order: a layer that is found has all that it is based on.

use std::collections::BTreeMap;

use imgbake_build::cache::{Found, Layer};
use imgbake_disk::DiskImage;
use imgbake_types::Size;
use proptest::prelude::*;

use crate::common::{Fixture, key};

#[derive(Debug, Clone)]
enum Action {
    Make { name: u8, below: u8, state: bool },
    Use { name: u8 },
    Release { name: u8 },
    Remove { name: u8 },
    Prune { kib: u64 },
    Sweep,
}

fn action() -> impl Strategy<Value = Action> {
    let name = || 0..12_u8;
    prop_oneof![
        8 => (name(), name(), any::<bool>())
            .prop_map(|(name, below, state)| Action::Make { name, below, state }),
        2 => name().prop_map(|name| Action::Use { name }),
        4 => name().prop_map(|name| Action::Release { name }),
        1 => name().prop_map(|name| Action::Remove { name }),
        2 => (0..400_u64).prop_map(|kib| Action::Prune { kib }),
        1 => Just(Action::Sweep),
    ]
}

fn find(fixture: &Fixture, name: u8) -> Option<Layer> {
    match fixture.cache.find(&key(&name.to_string())) {
        Found::Layer(layer) => Some(layer),
        Found::None | Found::Damaged(_) => None,
    }
}

fn check(fixture: &Fixture, held: &BTreeMap<u8, Layer>) {
    for info in fixture.cache.list() {
        // Only what was based on a layer that was removed or made anew is damaged.
        let Found::Layer(layer) = fixture.cache.find(&info.key) else { continue };
        for below in std::iter::once(&layer).chain(layer.ancestors()) {
            assert!(below.disk_path().exists());
            assert!(below.dir().join("layer.json").exists());
            assert_eq!(below.state().is_some(), below.dir().join("state").exists());
        }
        assert!(
            layer.ancestors().any(|below| below.key() == &key("source"))
                || layer.parent().is_none()
        );
        DiskImage::open(&layer.disk_path()).unwrap();
    }
    for layer in held.values() {
        assert!(layer.disk_path().exists());
        assert!(layer.state_path().is_none_or(|path| path.exists()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_is_found_has_all_below_it(actions in prop::collection::vec(action(), 1..40)) {
        let fixture = Fixture::new();
        let source = fixture.source("source");
        let mut held = BTreeMap::new();
        for action in actions {
            match action {
                Action::Make { name, below, state } if below < name => {
                    let parent = find(&fixture, below).unwrap_or_else(|| source.clone());
                    if find(&fixture, name).is_none() && !held.contains_key(&name) {
                        let layer = fixture.layer(&name.to_string(), &parent, 8, if state { 16 } else { 0 });
                        held.insert(name, layer);
                    }
                }
                Action::Make { .. } => {}
                Action::Use { name } => {
                    if let Some(layer) = find(&fixture, name) {
                        layer.touch().unwrap();
                        held.insert(name, layer);
                    }
                }
                Action::Release { name } => drop(held.remove(&name)),
                Action::Remove { name } => {
                    let removed = fixture.cache.remove(&key(&name.to_string())).unwrap();
                    prop_assert!(!removed || !held.contains_key(&name));
                }
                Action::Prune { kib } => drop(fixture.cache.prune(Size::bytes(kib << 10)).unwrap()),
                Action::Sweep => drop(fixture.cache.sweep().unwrap()),
            }
            check(&fixture, &held);
        }
        held.clear();
        drop(source);
        fixture.cache.prune(Size::bytes(0)).unwrap();
        prop_assert_eq!(fixture.folders(), ["format"]);
    }
}
