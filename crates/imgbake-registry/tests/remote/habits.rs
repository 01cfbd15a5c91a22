//! Registries that cut, stall, refuse and redirect.

use imgbake_oci::RemoteOptions;
use imgbake_testkit::{Habits, TestRegistry};
use imgbake_types::Digest;

use crate::fixture::{Fixture, MIB, VERSION, noise, seed};

/// Every habit that a copy must live with: in, and out again to a registry that has it too.
#[tokio::test]
async fn a_copy_lives_with_bad_habits() {
    let bad: [(&str, Habits); 8] = [
        ("cuts", Habits { cuts: 20, ..Habits::default() }),
        ("cuts and no ranges", Habits { cuts: 5, ignores_range: true, ..Habits::default() }),
        ("busy", Habits { busy_every: 3, ..Habits::default() }),
        ("wrong headers", Habits { wrong_headers: true, ..Habits::default() }),
        ("redirects", Habits { redirects: true, ..Habits::default() }),
        (
            "limits",
            Habits { largest_manifest: 4 << 20, largest_upload: 1 << 20, ..Habits::default() },
        ),
        ("cut uploads", Habits { upload_cuts: 6, ..Habits::default() }),
        (
            "all pages at once",
            Habits { ignores_pages: true, no_referrers: true, ..Habits::default() },
        ),
    ];
    for (name, habits) in bad {
        let fixture = Fixture::new();
        let registry = TestRegistry::start(habits).await;
        let digest = seed(&registry, "web", VERSION, 5);
        let (from, local) = (fixture.remote(&registry.host(), "web").await, fixture.local("web"));
        let copied = fixture.copy(&from, &local).await.unwrap();
        assert_eq!(copied.digest, digest, "{name}");
        fixture.blobs(); // proved by their names
        let out = fixture.remote(&registry.host(), "out").await;
        assert_eq!(fixture.copy(&local, &out).await.unwrap().digest, digest, "{name}");
        assert!(!registry.leaked(), "{name}");
        let left = registry.habits();
        assert_eq!((left.cuts, left.upload_cuts), (0, 0), "{name}");
    }
}

/// The issue's own measure: cut twenty times at random, byte-identical in the end.
#[tokio::test]
async fn a_blob_cut_twenty_times_is_whole() {
    let fixture = Fixture::new();
    let registry = TestRegistry::start(Habits { cuts: 20, ..Habits::default() }).await;
    let bytes = noise(9, 4 * MIB + 3);
    let digest: Digest = registry.put_blob("web", &bytes).parse().unwrap();
    let repository = fixture.repository(&registry.host(), "web").await;
    let size = bytes.len() as u64;
    let got = repository.piece(&digest, size, 0..size).await.unwrap();
    assert!(got == bytes);
    assert_eq!(registry.habits().cuts, 0);
}

#[tokio::test]
async fn pieces_come_with_and_without_ranges() {
    for ignores_range in [false, true] {
        let fixture = Fixture::new();
        let registry = TestRegistry::start(Habits { ignores_range, ..Habits::default() }).await;
        let bytes = noise(9, MIB);
        let digest: Digest = registry.put_blob("web", &bytes).parse().unwrap();
        let repository = fixture.repository(&registry.host(), "web").await;
        let size = bytes.len() as u64;
        for range in [0..1, 100..5000, size - 7..size, 0..size, 9..9] {
            let (from, to) =
                (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
            let got = repository.piece(&digest, size, range).await.unwrap();
            assert!(got == bytes[from..to], "{from}..{to}");
        }
        assert_eq!(repository.ignores_ranges(), ignores_range);
        let beyond = repository.piece(&digest, size, 0..size + 1).await;
        assert!(beyond.is_err());
    }
}

#[tokio::test]
async fn a_big_upload_goes_on_where_it_was_cut() {
    let fixture = Fixture::new();
    let source = TestRegistry::start(Habits::default()).await;
    let target = TestRegistry::start(Habits { upload_cuts: 3, ..Habits::default() }).await;
    let big = noise(1, 20 * MIB);
    let digest = source.put_blob("web", &big);
    let config = source.put_blob("web", b"{}");
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": crate::fixture::MANIFEST,
        "config": { "mediaType": crate::fixture::EMPTY, "digest": config, "size": 2 },
        "layers": [{ "mediaType": "application/x", "digest": digest, "size": big.len() }]
    });
    let manifest = serde_json::to_vec(&manifest).unwrap();
    source.put_manifest("web", VERSION, crate::fixture::MANIFEST, &manifest);
    let from = fixture.remote(&source.host(), "web").await;
    let to = fixture.remote(&target.host(), "web").await;
    fixture.copy(&from, &to).await.unwrap();
    assert!(target.blobs("web").contains(&digest));
    let pieces = target.requests().iter().filter(|line| line.starts_with("PATCH")).count();
    assert!(pieces >= 2, "{pieces} pieces");
}

#[tokio::test]
async fn who_does_not_answer_is_named() {
    let fixture = Fixture::new();
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let host = format!("127.0.0.1:{port}");
    let options = RemoteOptions { insecure_http: true, ..RemoteOptions::default() };
    let error = fixture.repository_with(&host, "web", &options).await.unwrap_err();
    assert!(error.to_string().contains(&host) && error.help_text().is_some(), "{error}");
    let many = RemoteOptions { ca: Some(fixture.dir.join("none.pem")), ..RemoteOptions::default() };
    let error = fixture.repository_with(&host, "web", &many).await.unwrap_err();
    assert!(error.to_string().contains("none.pem"), "{error}");
}
