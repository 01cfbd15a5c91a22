//! Channels and their histories.

use imgbake_build::{BuildErrorKind, Registry};

use crate::common::{Fixture, entry, scribble};

#[tokio::test]
async fn a_history_tells_each_move_newest_first() {
    let fixture = Fixture::new();
    let (first, second) = (fixture.publish("web", 1).await, fixture.publish("web", 2).await);
    for (version, from) in [(&first, None), (&second, Some(&first)), (&first, Some(&second))] {
        let moved = fixture.move_to("web", "prod", version).await;
        assert_eq!(moved.from.map(|from| from.digest), from.map(|from| from.digest.clone()));
        assert_eq!(fixture.resolve("web:prod").await.unwrap().digest, version.digest);
    }
    fixture.move_to("web", "dev", &second).await;
    let history = fixture.layout.history("web", "prod").await.unwrap();
    let digests: Vec<_> = history.iter().map(|entry| &entry.to.digest).collect();
    assert_eq!(digests, [&first.digest, &second.digest, &first.digest]);
    assert!(history[2].from.is_none());
    assert_eq!(fixture.layout.versions(None).await.unwrap().len(), 2, "records are no versions");
    assert_eq!(fixture.layout.history("web", "dev").await.unwrap().len(), 1);
}

#[tokio::test]
async fn moves_at_once_are_all_in_the_history() {
    let fixture = Fixture::new();
    let version = fixture.publish("web", 1).await;
    let tasks: Vec<_> = (0..10)
        .map(|number| {
            let (layout, mut entry) = (fixture.layout.clone(), entry("dev", &version));
            entry.reason = Some(number.to_string());
            tokio::spawn(async move { layout.move_channel("web", entry).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let history = fixture.layout.history("web", "dev").await.unwrap();
    let reasons: std::collections::BTreeSet<_> =
        history.iter().map(|entry| entry.reason.clone()).collect();
    assert_eq!((history.len(), reasons.len()), (10, 10));
}

#[tokio::test]
async fn a_channel_moves_only_to_a_version_that_is_there() {
    let fixture = Fixture::new();
    let (web, other) = (fixture.publish("web", 1).await, fixture.publish("web", 2).await);
    let mut lost = entry("dev", &web);
    lost.to.version = "2026.11.23-9".parse().unwrap();
    let mut mixed = entry("dev", &web);
    mixed.to.digest = other.digest.clone();
    for (entry, kind) in [(lost, BuildErrorKind::NotFound), (mixed, BuildErrorKind::Failed)] {
        assert_eq!(fixture.layout.move_channel("web", entry).await.unwrap_err().kind(), kind);
    }
    let none = fixture.layout.history("web", "dev").await.unwrap_err();
    assert_eq!(none.kind(), BuildErrorKind::NotFound);
    assert!(fixture.resolve("web").await.unwrap().channels.is_empty());
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
        let damaged = fixture.layout.history("web", "dev").await;
        std::fs::remove_file(&path).unwrap();
        let missing = fixture.layout.history("web", "dev").await;
        // The empty config is nobody's content.
        if kept != b"{}" {
            for error in [damaged.unwrap_err(), missing.unwrap_err()] {
                assert!(error.to_string().contains("the history of web:dev"), "{error}");
            }
        }
        std::fs::write(&path, kept).unwrap();
    }
    assert_eq!(fixture.layout.history("web", "dev").await.unwrap().len(), 2);
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
    let error = fixture.layout.move_channel("web", entry("dev", &version)).await.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Usage);
    assert!(error.to_string().contains("web:dev is no version"), "{error}");
    assert!(error.help_text().unwrap().contains("IMGBAKE_HOME"));
    fixture.move_to("web", "prod", &version).await;
}
