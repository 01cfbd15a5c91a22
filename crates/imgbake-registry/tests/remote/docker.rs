//! The real registry of Debian's package, and skopeo beside it.

use imgbake_oci::{CredentialSettings, FixedLogin, RemoteOptions};
use imgbake_registry::transfer::{End, copy};
use imgbake_runtime::Tool;
use imgbake_testkit::{DockerRegistry, DockerSettings, Habits, PASSWORD, TestRegistry, USER};
use imgbake_types::{Digest, Target};

use crate::fixture::{Fixture, VERSION, seed};

const SKOPEO: Tool = Tool::new("skopeo", "skopeo");

async fn skopeo(fixture: &Fixture, args: &[&str]) {
    let command = SKOPEO.command().unwrap().arg("--insecure-policy").args(args);
    command.run(&fixture.job).await.unwrap();
}

/// A version in a real registry, pushed from the layout.
async fn pushed(fixture: &Fixture, docker: &DockerRegistry, name: &str) -> Digest {
    let source = TestRegistry::start(Habits::default()).await;
    let digest = seed(&source, "web", VERSION, 7);
    let local = fixture.local("web");
    fixture.copy(&fixture.remote(&source.host(), "web").await, &local).await.unwrap();
    let copied = fixture.copy(&local, &fixture.remote(&docker.host(), name).await).await.unwrap();
    assert_eq!((copied.moved, copied.referrers), (7, 2));
    digest
}

#[tokio::test]
async fn docker_registry_and_skopeo_keep_digests() {
    let docker = DockerRegistry::start(DockerSettings::default());
    let fixture = Fixture::new();
    let digest = pushed(&fixture, &docker, "team/web").await;
    docker.collect_garbage();
    // Mounted under another name.
    let from = fixture.remote(&docker.host(), "team/web").await;
    let mirror = fixture.remote(&docker.host(), "mirror").await;
    let copied = fixture.copy(&from, &mirror).await.unwrap();
    assert_eq!((copied.mounted, copied.referrers), (7, 2));
    // Out with skopeo, and back into the registry under a third name.
    let out = fixture.dir.join("out");
    let layout = format!("oci:{out}:web:{VERSION}");
    let remote = |name: &str| format!("docker://{}/{name}:{VERSION}", docker.host());
    skopeo(&fixture, &["copy", "--all", "--src-tls-verify=false", &remote("mirror"), &layout])
        .await;
    skopeo(&fixture, &["copy", "--all", "--dest-tls-verify=false", &layout, &remote("third")])
        .await;
    let repository = fixture.repository(&docker.host(), "third").await;
    assert_eq!(repository.tagged(VERSION).await.unwrap(), Some(digest.clone()));
    // Pulled with nothing at hand.
    let other = Fixture::new();
    let from = other.remote(&docker.host(), "mirror").await;
    let copied = other.copy(&from, &other.local("web")).await.unwrap();
    assert_eq!((&copied.digest, copied.referrers), (&digest, 2));
    assert_eq!(other.blobs(), fixture.blobs());
    // By digest as well.
    let target = Target::Digest(digest.clone());
    let to = other.remote(&docker.host(), "fourth").await;
    assert_eq!(copy(&other.job, &from, &target, &to, None).await.unwrap().tag, VERSION);
}

#[tokio::test]
async fn docker_registry_lists_tags_and_gives_pieces() {
    let docker = DockerRegistry::start(DockerSettings::default());
    let fixture = Fixture::new();
    let digest = pushed(&fixture, &docker, "web").await;
    let repository = fixture.repository(&docker.host(), "web").await;
    let tags = repository.tags().await.unwrap();
    assert!(
        tags.contains(VERSION) && tags.contains(&format!("sha256-{}", digest.hex())),
        "{tags:?}"
    );
    let big = &crate::fixture::version(VERSION, 7).blobs[1];
    let size = big.len() as u64;
    let piece = repository.piece(&Digest::sha256(big), size, 1000..70_000).await.unwrap();
    assert!(piece == big[1000..70_000]);
    assert!(!repository.ignores_ranges());
    let none = fixture.repository(&docker.host(), "nothing").await;
    assert!(none.tags().await.unwrap().is_empty());
    assert_eq!(none.tagged("x").await.unwrap(), None);
}

#[tokio::test]
async fn docker_registry_with_tls_and_logins() {
    let docker = DockerRegistry::start(DockerSettings { tls: true, logins: true });
    let fixture = Fixture::new();
    let source = TestRegistry::start(Habits::default()).await;
    let digest = seed(&source, "web", VERSION, 7);
    let from = fixture.remote(&source.host(), "web").await;
    let credentials = CredentialSettings {
        fixed: Some(FixedLogin {
            user: USER.to_owned(),
            password: PASSWORD.to_owned().into(),
            host: Some(docker.host()),
            origin: "test".to_owned(),
        }),
        files: Vec::new(),
    };
    let known = RemoteOptions { ca: Some(docker.ca()), insecure_http: false, credentials };
    let to = fixture.repository_with(&docker.host(), "web", &known).await.unwrap();
    assert_eq!(fixture.copy(&from, &End::remote(&fixture.job, to)).await.unwrap().digest, digest);
    // Without the certificate of its authority nobody is spoken to.
    let unknown = RemoteOptions { ca: None, ..known.clone() };
    let error = fixture.repository_with(&docker.host(), "web", &unknown).await.unwrap_err();
    let reported = format!("{error} {}", error.help_text().unwrap_or_default());
    assert!(reported.contains("certificate") && reported.contains("--ca"), "{reported}");
    // A login for another registry is not shown to this one.
    let mut other = known;
    other.credentials.fixed.as_mut().unwrap().host = Some("elsewhere.example".to_owned());
    let to = fixture.repository_with(&docker.host(), "web", &other).await.unwrap();
    let error = to.tags().await.unwrap_err();
    assert!(error.to_string().contains("wants a login"), "{error}");
}
