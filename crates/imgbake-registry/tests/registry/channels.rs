//! Channels and their histories.

use imgbake_build::{BuildErrorKind, Registry};
use imgbake_testkit::channel_move;
use imgbake_types::Digest;
use imgbake_types::record::{ChannelState, ComposedMove, Swap};
use serde_json::Value;

use crate::common::{Fixture, json_of, scribble, version_ref};

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// What was composed is what is stored, byte for byte.
#[tokio::test]
async fn a_record_holds_the_bytes_that_its_caller_composed() {
    let fixture = Fixture::new();
    let version = fixture.publish("web", 1).await;
    let composed = ComposedMove::new(fixture.compose("web", "dev", &version).await).unwrap();
    let swapped = fixture.layout.image("web").swap(&composed).await.unwrap();
    let Swap::Moved(moved) = swapped else { panic!("{swapped:?}") };
    let record = json_of(&fixture, &moved.record.to_string().into());
    let document = record["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
    assert_eq!(std::fs::read(fixture.blob(&document)).unwrap(), composed.bytes());
}

/// Records of an imgbake that gave them no number: they are counted, and the chain goes on after them.
#[tokio::test]
async fn records_without_numbers_are_counted() {
    let fixture = Fixture::new();
    let (first, second) = (fixture.publish("web", 1).await, fixture.publish("web", 2).await);
    fixture.move_to("web", "dev", &first).await;
    fixture.move_to("web", "dev", &second).await;
    forget_numbers(&fixture, "web:dev.history");
    let history = fixture.history("web", "dev").await.unwrap();
    assert_eq!(history.iter().map(|moved| moved.entry.number).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(history[0].entry.previous, None);
    let moved = fixture.move_to("web", "dev", &first).await;
    assert_eq!((moved.number, moved.previous.as_ref()), (3, Some(&history[0].record)));
    assert_eq!(moved.from.map(|from| from.digest), Some(second.digest));
    let history = fixture.history("web", "dev").await.unwrap();
    assert_eq!(history.iter().map(|moved| moved.entry.number).collect::<Vec<_>>(), [3, 2, 1]);
}

/// Writes a channel's records as they were before they had numbers.
fn forget_numbers(fixture: &Fixture, head: &str) {
    let path = fixture.path("index.json");
    let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let entries = index["manifests"].as_array_mut().unwrap();
    let named = |entry: &&mut Value| entry["annotations"][REF_NAME] == head;
    let entry = entries.iter_mut().find(named).unwrap();
    let (digest, size) = forgotten(fixture, &entry["digest"]);
    entry["digest"] = digest.into();
    entry["size"] = size.into();
    std::fs::write(&path, serde_json::to_vec(&index).unwrap()).unwrap();
}

fn forgotten(fixture: &Fixture, digest: &Value) -> (String, usize) {
    let store = |value: &Value| {
        let bytes = serde_json::to_vec(value).unwrap();
        let digest = Digest::sha256(&bytes);
        std::fs::write(fixture.blob(&digest), &bytes).unwrap();
        (digest.to_string(), bytes.len())
    };
    let mut record = json_of(fixture, digest);
    let mut document = json_of(fixture, &record["layers"][0]["digest"]);
    for key in ["number", "previous"] {
        document.as_object_mut().unwrap().remove(key);
    }
    let (digest, size) = store(&document);
    record["layers"][0]["digest"] = digest.into();
    record["layers"][0]["size"] = size.into();
    let previous = record["annotations"]["io.imgbake.previous"].clone();
    if !previous.is_null() {
        record["annotations"]["io.imgbake.previous"] = forgotten(fixture, &previous).0.into();
    }
    store(&record)
}

#[tokio::test]
async fn a_damaged_history_is_told() {
    let fixture = Fixture::new();
    let version = fixture.publish("web", 1).await;
    let before = fixture.blobs();
    fixture.move_to("web", "dev", &version).await;
    let first: Vec<_> = fixture.blobs().into_iter().filter(|name| !before.contains(name)).collect();
    fixture.move_to("web", "dev", &version).await;
    for name in first {
        let path = fixture.path("blobs/sha256").join(name);
        let kept = std::fs::read(&path).unwrap();
        scribble(&path, 1, b"?");
        let damaged = fixture.history("web", "dev").await;
        std::fs::remove_file(&path).unwrap();
        let missing = fixture.history("web", "dev").await;
        // The empty config is nobody's content.
        if kept != b"{}" {
            for error in [damaged.unwrap_err(), missing.unwrap_err()] {
                assert!(error.to_string().contains("the history of web:dev"), "{error}");
            }
        }
        std::fs::write(&path, kept).unwrap();
    }
    assert_eq!(fixture.history("web", "dev").await.unwrap().len(), 2);
}

/// As a layout of another format has it: the tag is no version's.
#[tokio::test]
async fn a_tag_that_cannot_be_read_is_not_moved_and_says_what_helps() {
    let fixture = Fixture::new();
    let version = fixture.publish("web", 1).await;
    let path = fixture.path("index.json");
    let mut index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let document: serde_json::Value =
        serde_json::from_slice(&std::fs::read(fixture.blob(&version.digest)).unwrap()).unwrap();
    let mut foreign = document["manifests"][0].clone();
    foreign["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": "web:dev"});
    index["manifests"].as_array_mut().unwrap().push(foreign);
    std::fs::write(&path, serde_json::to_vec(&index).unwrap()).unwrap();
    let entry = channel_move(&ChannelState::default(), "dev", version_ref(&version));
    let error = fixture.swap("web", entry).await.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Usage);
    assert!(error.to_string().contains("web:dev is no version"), "{error}");
    assert!(error.help_text().unwrap().contains("IMGBAKE_HOME"));
    fixture.move_to("web", "prod", &version).await;
}
