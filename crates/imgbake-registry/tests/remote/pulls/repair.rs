//! Damaged blobs are put back from a registry that has them whole.

use std::fs;

use imgbake_registry::{Depth, ReadBlobs, Repair};
use imgbake_testkit::{Habits, TestRegistry};

use super::disks::{disk, push};
use crate::fixture::Fixture;

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_comes_back_from_a_registry() {
    let (fixture, registry) = (Fixture::new(), TestRegistry::start(Habits::default()).await);
    push(&fixture, &registry.host(), "web", &disk(1)).await;
    let blobs = fixture.layout.root().join("blobs/sha256");
    let entries: Vec<_> = blobs.read_dir_utf8().unwrap().map(Result::unwrap).collect();
    let largest = entries.iter().max_by_key(|entry| entry.metadata().unwrap().len()).unwrap();
    let whole = fs::read(largest.path()).unwrap();
    fs::write(largest.path(), &whole[1..]).unwrap();
    let read = async |name: &str| {
        let repository = fixture.repository(&registry.host(), name).await;
        let sources: Vec<Box<dyn ReadBlobs>> = vec![Box::new(repository)];
        fixture
            .layout
            .read_again(None, Depth::Bytes, Repair { sources, ..Repair::default() }, |_, _| {})
            .await
    };
    let other = read("other").await.unwrap();
    assert_eq!(other.damaged[0].repaired_from, None, "it has no such blob");
    // One that gives wrong bytes is no help, and spoils nothing.
    registry.change(|now| now.wrong_blobs = true);
    let lied = read("web").await.unwrap();
    assert!(!lied.is_sound() && lied.damaged[0].why.contains("gives wrong bytes"), "{lied:?}");
    registry.change(|now| now.wrong_blobs = false);
    let report = read("web").await.unwrap();
    assert!(report.is_sound() && report.damaged.len() == 1, "{report:?}");
    assert_eq!(fs::read(largest.path()).unwrap(), whole);
}
