//! What a kill can leave, at each moment of a publish.

use std::fs;

use imgbake_build::Registry;
use serde_json::{Value, json};

use crate::common::{Fixture, disk, names_in};

/// The moments, by what is there: the intent, this many of the blobs, `index.json`.
#[tokio::test]
async fn a_kill_at_any_moment_leaves_nothing_or_the_version() {
    let donor = Fixture::new();
    donor.publish("web", 2).await;
    let new = donor.blobs();
    for (blobs, named) in (0..=new.len()).map(|count| (count, false)).chain([(new.len(), true)]) {
        let fixture = Fixture::new();
        let first = fixture.publish("old", 1).await;
        let before = fixture.blobs();
        // Blobs of the killed publish were there before.
        let digests: Vec<String> =
            new.iter().chain(&before).map(|name| format!("sha256:{name}")).collect();
        fs::write(
            fixture.path("publishing/intent-x.json"),
            json!({ "blobs": digests }).to_string(),
        )
        .unwrap();
        fs::write(fixture.path("publishing/.tmpHalf"), "half a blob").unwrap();
        for name in &new[..blobs] {
            fs::copy(
                donor.path("blobs/sha256").join(name),
                fixture.path("blobs/sha256").join(name),
            )
            .unwrap();
        }
        if named {
            let read = |fixture: &Fixture| -> Value {
                serde_json::from_slice(&fs::read(fixture.path("index.json")).unwrap()).unwrap()
            };
            let mut index = read(&fixture);
            let theirs = read(&donor)["manifests"].as_array().unwrap().clone();
            index["manifests"].as_array_mut().unwrap().extend(theirs);
            fs::write(fixture.path("index.json"), index.to_string()).unwrap();
        }
        fixture.layout.sweep().await.unwrap();
        assert!(names_in(&fixture.path("publishing")).is_empty(), "{blobs} {named}");
        assert!(fixture.restore(&first.digest).await.unwrap() == disk(1));
        if named {
            let version = fixture.resolve("web").await.unwrap();
            assert!(fixture.restore(&version.digest).await.unwrap() == disk(2));
        } else {
            assert_eq!(fixture.blobs(), before, "{blobs}");
        }
    }
}

#[tokio::test]
async fn an_intent_that_was_cut_goes_and_the_next_publish_works() {
    let fixture = Fixture::new();
    fs::write(fixture.path("publishing/intent-x.json"), "{\"blobs\":[\"sha2").unwrap();
    fixture.publish("web", 1).await;
    assert!(names_in(&fixture.path("publishing")).is_empty());
}

#[tokio::test]
async fn a_registry_whose_making_was_cut_is_made() {
    for cut in ["", "blobs", "publishing", "index.json"] {
        let fixture = Fixture::new();
        fs::remove_file(fixture.path("oci-layout")).unwrap();
        match cut {
            "" => {}
            "index.json" => fs::remove_file(fixture.path(cut)).unwrap(),
            dir => fs::remove_dir_all(fixture.path(dir)).unwrap(),
        }
        let layout = imgbake_registry::Layout::open(fixture.layout.root()).unwrap();
        assert!(layout.versions(None).await.unwrap().is_empty());
        fixture.publish("web", 1).await;
    }
}

/// While names lead to what cannot be read, nobody knows what may go.
#[tokio::test]
async fn a_damaged_registry_is_not_swept() {
    let fixture = Fixture::new();
    let version = fixture.publish("web", 1).await;
    let kept = fs::read(fixture.blob(&version.digest)).unwrap();
    let blobs: Vec<String> = fixture.blobs().iter().map(|name| format!("sha256:{name}")).collect();
    fs::write(fixture.path("publishing/intent-x.json"), json!({ "blobs": blobs }).to_string())
        .unwrap();
    fs::write(fixture.blob(&version.digest), "damaged").unwrap();
    fixture.layout.sweep().await.unwrap();
    fs::write(fixture.blob(&version.digest), kept).unwrap();
    assert!(fixture.restore(&version.digest).await.unwrap() == disk(1));
}
