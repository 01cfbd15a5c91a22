//! A registry's folder that others wrote: each of its documents, and all that commands do with it.
#![no_main]
#![expect(clippy::unwrap_used, reason = "a target that lacks its ground has failed")]

use std::fs::{self, File};
use std::sync::LazyLock;

use imgbake_build::{LayerShare, Registry, Whole};
use imgbake_fuzz::store::{Ground, SIZE};
use imgbake_fuzz::{choose, names_in, seed};
use imgbake_registry::{Depth, LayoutShare, Repair};
use libfuzzer_sys::fuzz_target;

static GROUND: LazyLock<Ground> = LazyLock::new(Ground::new);

/// Everything that reads versions.
async fn use_versions(ground: &Ground) {
    let layout = &ground.layout;
    let _ = layout.versions(None).await;
    let _ = layout.known("web", None).await;
    let Ok(version) = layout.resolve(&"web:1".parse().unwrap()).await else { return };
    let _ = layout.table(&version.digest).await;
    let path = ground.dir.join("restored.raw");
    let file = File::create(&path).unwrap();
    let restored = layout.restore(&version.digest, file, Whole::Skip, Box::new(|_| {})).await;
    if restored.is_ok() {
        assert_eq!(path.metadata().unwrap().len(), version.disk.virtual_size);
    }
    let _ = layout.image("web").history(&"dev".parse().unwrap()).await;
}

/// A layer's files come into one folder, or nothing does.
async fn use_layers(ground: &Ground) {
    let outer = ground.dir.join("pulled");
    let into = outer.join("in");
    fs::create_dir_all(&into).unwrap();
    let share = LayoutShare::open_existing(ground.layout.root()).unwrap();
    let _ = share.has(&ground.job, std::slice::from_ref(&ground.key)).await;
    let pulled = share.pull(&ground.job, &ground.key, &into).await;
    assert_eq!(names_in(&outer), ["in"], "nothing is written elsewhere");
    assert!(
        pulled.is_ok() || names_in(&into).is_empty(),
        "nothing is left of a layer that is none"
    );
    for entry in into.read_dir_utf8().unwrap() {
        assert!(entry.unwrap().metadata().unwrap().len() <= SIZE);
    }
    fs::remove_dir_all(outer).unwrap();
}

fuzz_target!(init: seed(GROUND.sound()), |input: &[u8]| {
    let Some((document, bytes)) = choose(input, GROUND.documents()) else { return };
    let ground = &*GROUND;
    let written = ground.replace(document, bytes);
    ground.runtime.block_on(async {
        match ground.of_layer(document) {
            Some(true) => use_layers(ground).await,
            Some(false) => use_versions(ground).await,
            None => {
                use_versions(ground).await;
                use_layers(ground).await;
            }
        }
        let _ = ground.layout.read_again(None, Depth::Presence, Repair::default(), |_, _| {}).await;
    });
    for path in written {
        fs::remove_file(path).unwrap();
    }
});
