//! What is pushed is there, once, and comes back.

use std::os::unix::fs::MetadataExt;

use imgbake_build::{BuildErrorKind, LayerShare, SharedLayer, Versions};
use imgbake_oci::{CredentialSettings, FixedLogin, RemoteOptions};
use imgbake_registry::{LayoutShare, RemoteImage, RemoteShare};
use imgbake_testkit::{Accepts, Habits, TestRegistry};
use imgbake_types::Digest;

use super::layer::{NAME, comes, key, layer, names_in, pull, share, tag};
use crate::fixture::{Fixture, INDEX, MANIFEST, VERSION, job, seed};

#[tokio::test]
async fn a_layer_is_the_same_in_a_layout_and_in_a_repository() {
    let (fixture, registry) = (Fixture::new(), TestRegistry::start(Habits::default()).await);
    let (remote, layer) = (share(&registry.host()), layer(&fixture.dir, "a", 1));
    let layout = LayoutShare::open(fixture.layout.root()).unwrap();
    let grew = layout.push(&fixture.job, layer.clone()).await.unwrap();
    assert_eq!(remote.push(&fixture.job, layer.clone()).await.unwrap(), grew);
    let repository = fixture.repository(&registry.host(), NAME).await;
    let tagged = repository.tagged(&tag("a")).await.unwrap().unwrap();
    assert_eq!(fixture.label(&tag("a")).unwrap()["digest"], tagged.to_string());
    assert_eq!(registry.tags(NAME), [tag("a")]);
    assert_eq!(names_in(fixture.job.work()), Vec::<String>::new());

    // The name comes when all else is there; what is there is not sent again.
    let requests = registry.requests();
    let named = format!("PUT /v2/{NAME}/manifests/{}", tag("a"));
    let last = requests.iter().rposition(|request| *request == named).unwrap();
    assert!(!requests[last..].iter().any(|request| request.contains("/blobs/uploads/")));
    assert_eq!(remote.push(&fixture.job, layer.clone()).await.unwrap(), 0);
    let again = SharedLayer { key: key("same disk"), ..layer };
    assert!(remote.push(&fixture.job, again).await.unwrap() < 64 << 10);

    let other = Fixture::new();
    comes(&share(&registry.host()), &other, "a", 1).await;
    let (_, folder) = pull(&remote, &fixture.job, &fixture.dir, "a").await.unwrap();
    let disk = folder.join("disk.qcow2").metadata().unwrap();
    assert_eq!(disk.mode() & 0o777, 0o600);
    assert!(disk.blocks() * 512 < 8 << 20, "{} blocks", disk.blocks());
    let full = remote.pull(&fixture.job, &key("a"), &folder).await.unwrap_err();
    assert_eq!((full.kind(), names_in(&folder).len()), (BuildErrorKind::Usage, 3));
}

#[tokio::test]
async fn layers_live_with_bad_habits() {
    for (name, habits) in [
        ("cuts", Habits { cuts: 12, ..Habits::default() }),
        ("no ranges", Habits { ignores_range: true, ..Habits::default() }),
        ("cuts and no ranges", Habits { cuts: 3, ignores_range: true, ..Habits::default() }),
        ("busy", Habits { busy_every: 3, ..Habits::default() }),
        ("wrong headers", Habits { wrong_headers: true, ..Habits::default() }),
        ("redirects", Habits { redirects: true, ..Habits::default() }),
        ("limits", Habits { largest_upload: 1 << 20, ..Habits::default() }),
        ("cut uploads", Habits { upload_cuts: 4, ..Habits::default() }),
    ] {
        let cuts = habits.cuts > 0;
        let (fixture, registry) = (Fixture::new(), TestRegistry::start(habits).await);
        let share = share(&registry.host());
        let sent = share.push(&fixture.job, layer(&fixture.dir, "a", 1)).await.unwrap();
        assert_eq!(share.has(&fixture.job, &[key("a")]).await.unwrap(), [key("a")], "{name}");
        comes(&share, &fixture, "a", 1).await;
        let came = registry.sent_bytes();
        assert!(cuts || came < sent + sent / 10, "{name}: {came} of {sent}");
        assert!(!registry.leaked(), "{name}");
        let left = registry.habits();
        assert_eq!((left.cuts, left.upload_cuts), (0, 0), "{name}");
    }
}

#[tokio::test]
async fn layers_are_found_by_key_beside_versions() {
    let (fixture, registry) = (Fixture::new(), TestRegistry::start(Habits::default()).await);
    let share = share(&registry.host());
    assert!(share.has(&fixture.job, &[key("a")]).await.unwrap().is_empty(), "no repository yet");
    let version = seed(&registry, NAME, VERSION, 5);
    for name in ["a", "b"] {
        share.push(&fixture.job, layer(&fixture.dir, name, 1)).await.unwrap();
    }
    let keys = ["none", "a", "other", "b"].map(key);
    assert_eq!(share.has(&fixture.job, &keys).await.unwrap(), [key("a"), key("b")]);
    let error = pull(&share, &fixture.job, &fixture.dir, "none").await.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::NotFound);
    // A key that begins alike is another key.
    let mut hex = key("a").hex().to_owned();
    hex.replace_range(60.., "0000");
    let alike = Digest::from_hex(&hex).unwrap();
    assert!(share.has(&fixture.job, &[alike]).await.unwrap().is_empty());
    // Something else under a layer's tag is no layer, nor is a layer a version.
    for (name, media_type) in [("index", INDEX), ("manifest", MANIFEST)] {
        let document = format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[],"layers":[],"config":{{
            "mediaType":"x","size":1,"digest":"{version}"}}}}"#
        );
        registry.put_manifest(NAME, &tag(name), media_type, document.as_bytes());
    }
    let odd = ["a", "index", "manifest", "b"].map(key);
    assert_eq!(share.has(&fixture.job, &odd).await.unwrap(), [key("a"), key("b")]);
    let before = registry.requests().len();
    let repository = fixture.repository(&registry.host(), NAME).await;
    let _ = RemoteImage::new(&fixture.job, repository).versions().await;
    let asked = registry.requests().split_off(before);
    assert!(!asked.iter().any(|request| request.contains("layer-")), "{asked:?}");
}

#[tokio::test]
async fn jobs_and_writers_at_once_lose_nothing() {
    let (fixture, registry) = (Fixture::new(), TestRegistry::start(Habits::default()).await);
    let share = share(&registry.host());
    let pushes = (0..8_u64).map(|number| {
        let (share, name) = (share.clone(), format!("layer {}", number % 4));
        let dir = fixture.dir.join(number.to_string());
        std::fs::create_dir(&dir).unwrap();
        let (layer, job) = (layer(&dir, &name, number % 2), job(&dir));
        async move {
            share.push(&job, layer).await.unwrap();
            job.end().unwrap();
        }
    });
    futures::future::join_all(pushes).await;
    for number in 0..4 {
        comes(&share, &fixture, &format!("layer {number}"), number % 2).await;
    }
}

#[tokio::test]
async fn logins_are_shown() {
    let accepts = Accepts::Token("ada", "enchantress", std::time::Duration::from_secs(60));
    let registry = TestRegistry::start(Habits { accepts, ..Habits::default() }).await;
    let fixture = Fixture::new();
    let nobody = share(&registry.host());
    let layer = layer(&fixture.dir, "a", 1);
    for error in [
        nobody.push(&fixture.job, layer.clone()).await.unwrap_err(),
        nobody.has(&fixture.job, &[key("a")]).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("login"), "{error}");
    }
    assert!(registry.tags(NAME).is_empty() && registry.blobs(NAME).is_empty());
    let credentials = CredentialSettings {
        fixed: Some(FixedLogin {
            user: "ada".to_owned(),
            password: "enchantress".to_owned().into(),
            host: Some(registry.host()),
            origin: "test".to_owned(),
        }),
        files: Vec::new(),
    };
    let options = RemoteOptions { credentials, ..RemoteOptions::default() };
    let ada = RemoteShare::new(&registry.host(), NAME, options).unwrap();
    ada.push(&fixture.job, layer).await.unwrap();
    comes(&ada, &fixture, "a", 1).await;
}

#[tokio::test]
async fn what_cannot_be_a_layer_sends_nothing() {
    let (fixture, registry) = (Fixture::new(), TestRegistry::start(Habits::default()).await);
    let share = share(&registry.host());
    for name in ["", "..", "a/b", "/etc/x", "a\nb", "kernel"] {
        let mut layer = layer(&fixture.dir, "a", 1);
        layer.files[0].0 = name.to_owned();
        let error = share.push(&fixture.job, layer).await.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Usage, "{name:?}");
    }
    let no_json = SharedLayer { record: b"{".to_vec(), ..layer(&fixture.dir, "a", 1) };
    assert!(share.push(&fixture.job, no_json).await.is_err());
    assert!(registry.blobs(NAME).is_empty() && registry.tags(NAME).is_empty());
    for (host, name) in [("r.example", "Upper"), ("r.example", ""), ("a b", "x"), ("", "x")] {
        let error = RemoteShare::new(host, name, RemoteOptions::default()).unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Usage, "{host} {name}");
    }
    let ca = Some(fixture.dir.join("none.pem"));
    let options = RemoteOptions { ca, ..RemoteOptions::default() };
    assert!(RemoteShare::new("r.example", "x", options).unwrap_err().to_string().contains("none"));
}
