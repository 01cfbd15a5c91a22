//! Reading everything again.

use std::fs;

use imgbake_registry::{DeepReport, Depth, Layout, ReadBlobs, Repair};
use imgbake_types::Digest;

use crate::common::{Fixture, scribble};

async fn read(
    fixture: &Fixture,
    reference: Option<&str>,
    sources: Vec<Box<dyn ReadBlobs>>,
) -> DeepReport {
    let reference = reference.map(|text| text.parse().unwrap());
    let repair = Repair { sources, ..Repair::default() };
    fixture.layout.read_again(reference.as_ref(), Depth::Bytes, repair, |_, _| {}).await.unwrap()
}

/// The largest blob: a piece of the disk.
fn largest(fixture: &Fixture) -> Digest {
    let sized =
        |name: &String| fs::metadata(fixture.path("blobs/sha256").join(name)).unwrap().len();
    let name = fixture.blobs().into_iter().max_by_key(sized).unwrap();
    format!("sha256:{name}").parse().unwrap()
}

#[tokio::test]
async fn a_sound_registry_is_sound() {
    let fixture = Fixture::new();
    let version = fixture.publish("web", 1).await;
    fixture.move_to("web", "prod", &version).await;
    fixture.publish("db", 2).await;
    let report = read(&fixture, None, Vec::new()).await;
    assert!(report.is_sound() && report.damaged.is_empty());
    assert_eq!(report.blobs, fixture.blobs().len(), "every blob is read");
    let sizes = fixture.blobs();
    let size = |name: &String| fs::metadata(fixture.path("blobs/sha256").join(name)).unwrap().len();
    assert_eq!(report.bytes, sizes.iter().map(size).sum::<u64>());
    let one = read(&fixture, Some("web"), Vec::new()).await;
    assert!(one.blobs < report.blobs && one.blobs > 2);
}

#[tokio::test]
async fn a_damaged_blob_is_named_with_what_it_breaks_and_put_back() {
    let fixture = Fixture::new();
    let version = fixture.publish("web", 1).await;
    fixture.move_to("web", "prod", &version).await;
    let copy = fixture.dir.join("copy");
    for dir in ["", "blobs", "blobs/sha256", "publishing"] {
        fs::create_dir_all(copy.join(dir)).unwrap();
    }
    for name in ["oci-layout", "index.json"] {
        fs::copy(fixture.path(name), copy.join(name)).unwrap();
    }
    for name in fixture.blobs() {
        fs::copy(fixture.path("blobs/sha256").join(&name), copy.join("blobs/sha256").join(&name))
            .unwrap();
    }
    let piece = largest(&fixture);
    fixture.publish("db", 2).await;
    scribble(&fixture.blob(&piece), 100, b"rust");

    let report = read(&fixture, None, Vec::new()).await;
    assert!(!report.is_sound());
    let [damage] = &report.damaged[..] else { panic!("{report:?}") };
    assert_eq!((&damage.digest, &damage.repaired_from), (&piece, &None));
    assert_eq!(damage.breaks, ["web:2026.11.23-1", "web:prod"]);
    assert!(damage.why.starts_with("its bytes are"), "{}", damage.why);

    // A source whose own copy is damaged is no help; the next one is.
    let bad = Fixture::new();
    bad.publish("web", 1).await;
    scribble(&bad.blob(&piece), 7, b"rot");
    let sound = Layout::open(copy.clone()).unwrap();
    let sources: Vec<Box<dyn ReadBlobs>> = vec![Box::new(bad.layout.clone()), Box::new(sound)];
    let report = read(&fixture, Some("web"), sources).await;
    assert!(report.is_sound());
    assert_eq!(report.damaged[0].repaired_from.as_deref(), Some(copy.as_str()));
    assert!(read(&fixture, None, Vec::new()).await.damaged.is_empty());
}

#[tokio::test]
async fn missing_and_cut_blobs_are_told_and_manifests_too() {
    let fixture = Fixture::new();
    let version = fixture.publish("web", 1).await;
    let piece = largest(&fixture);
    fs::remove_file(fixture.blob(&piece)).unwrap();
    let report = read(&fixture, None, Vec::new()).await;
    assert!(report.damaged[0].why.starts_with("it is missing; "), "{report:?}");
    let shallow =
        fixture.layout.read_again(None, Depth::Presence, Repair::default(), |_, _| {}).await;
    assert_eq!(shallow.unwrap(), report, "what is missing is seen without reading all");
    fs::write(fixture.blob(&piece), b"short").unwrap();
    let report = read(&fixture, None, Vec::new()).await;
    assert!(report.damaged[0].why.starts_with("it has 5 bytes, not"), "{report:?}");
    scribble(&fixture.blob(&version.digest), 0, b"#");
    let report = read(&fixture, None, Vec::new()).await;
    assert_eq!(report.damaged[0].digest, version.digest, "{report:?}");
}
