//! Who may, who may not, and where the login came from.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use camino::Utf8PathBuf;
use imgbake_oci::{CredentialSettings, FixedLogin, RemoteOptions};
use imgbake_registry::transfer::End;
use imgbake_testkit::{Accepts, Habits, PASSWORD, TestRegistry, USER};

use crate::fixture::{Fixture, VERSION, seed};

fn options(credentials: CredentialSettings) -> RemoteOptions {
    RemoteOptions { credentials, ..RemoteOptions::default() }
}

pub(crate) fn fixed(password: &str) -> RemoteOptions {
    let fixed = FixedLogin {
        user: USER.to_owned(),
        password: password.to_owned().into(),
        host: None,
        origin: "IMGBAKE_REGISTRY_USER".to_owned(),
    };
    options(CredentialSettings { fixed: Some(fixed), files: Vec::new() })
}

pub(crate) fn with_file(path: Utf8PathBuf) -> RemoteOptions {
    options(CredentialSettings { fixed: None, files: vec![path] })
}

#[tokio::test]
async fn logins_and_tokens_are_shown() {
    for accepts in [
        Accepts::Login(USER, PASSWORD),
        Accepts::Token(USER, PASSWORD, Duration::from_secs(300)),
        // Each is over before the copy is.
        Accepts::Token(USER, PASSWORD, Duration::from_millis(100)),
    ] {
        let fixture = Fixture::new();
        let slow = Duration::from_millis(5);
        let habits =
            Habits { accepts: accepts.clone(), redirects: true, slow, ..Habits::default() };
        let registry = TestRegistry::start(habits).await;
        let digest = seed(&registry, "team/web", VERSION, 7);
        let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
        let file = fixture.dir.join("auth.json");
        let text = format!(r#"{{"auths": {{"{}/team": {{"auth": "{auth}"}}}}}}"#, registry.host());
        fs::write(&file, text).unwrap();
        let place = async |name: &str, options: &RemoteOptions| {
            End::remote(
                &fixture.job,
                fixture.repository_with(&registry.host(), name, options).await.unwrap(),
            )
        };
        let from = place("team/web", &with_file(file)).await;
        let local = fixture.local("web");
        assert_eq!(fixture.copy(&from, &local).await.unwrap().digest, digest, "{accepts:?}");
        let to = place("mirror/web", &fixed(PASSWORD)).await;
        assert_eq!(fixture.copy(&local, &to).await.unwrap().digest, digest, "{accepts:?}");
        // Mounting needs the right to read the one and to write the other.
        let from = place("mirror/web", &fixed(PASSWORD)).await;
        let to = place("third", &fixed(PASSWORD)).await;
        assert_eq!(fixture.copy(&from, &to).await.unwrap().mounted, 7, "{accepts:?}");
        assert!(!registry.leaked(), "{accepts:?}");
        // What a registry repeats of a token is not shown; nor is an image searched for it.
        if matches!(accepts, Accepts::Token(..)) {
            let secrets = fixture.job.secrets();
            let masked = (1..500).any(|n| secrets.found_in(&format!("got Bearer token-{n}.")));
            assert!(masked, "{accepts:?}");
            assert!(secrets.patterns().iter().all(|(name, _)| !name.contains("token")));
        }
    }
}

/// The login goes wherever the registry itself is asked, and nowhere else.
#[tokio::test]
async fn logins_stay_with_the_registry() {
    for accepts in
        [Accepts::Login(USER, PASSWORD), Accepts::Token(USER, PASSWORD, Duration::from_secs(60))]
    {
        for (redirects, uploads_elsewhere) in [(false, false), (true, true)] {
            let fixture = Fixture::new();
            let redirects_here = !redirects;
            let habits = Habits {
                accepts: accepts.clone(),
                redirects,
                redirects_here,
                uploads_elsewhere,
                upload_cuts: 2,
                largest_upload: 1 << 20,
                ..Habits::default()
            };
            let registry = TestRegistry::start(habits).await;
            let digest = seed(&registry, "web", VERSION, 7);
            let place = async |name: &str| {
                let options = fixed(PASSWORD);
                let found = fixture.repository_with(&registry.host(), name, &options).await;
                End::remote(&fixture.job, found.unwrap())
            };
            let local = fixture.local("web");
            assert_eq!(fixture.copy(&place("web").await, &local).await.unwrap().digest, digest);
            assert_eq!(fixture.copy(&local, &place("out").await).await.unwrap().digest, digest);
            assert_eq!(registry.blobs("out"), registry.blobs("web"));
            assert!(!registry.leaked(), "{accepts:?} {redirects}");
            // Uploads end where they were sent.
            let ended =
                registry.requests().iter().any(|line| line.starts_with("PUT /v2/out/blobs"));
            assert_eq!(ended, !uploads_elsewhere);
        }
    }
}

#[tokio::test]
async fn a_refusal_says_who_and_from_where() {
    for accepts in
        [Accepts::Login(USER, PASSWORD), Accepts::Token(USER, PASSWORD, Duration::from_secs(60))]
    {
        let fixture = Fixture::new();
        let registry = TestRegistry::start(Habits { accepts, ..Habits::default() }).await;
        let host = registry.host();
        let ask = async |options: &RemoteOptions| {
            let repository = fixture.repository_with(&host, "team/web", options).await.unwrap();
            let error = repository.tags().await.unwrap_err();
            format!("{error} / {}", error.help_text().unwrap_or_default())
        };
        let reported = ask(&fixed("wrong-password")).await;
        for part in [host.as_str(), USER, "team/web", "IMGBAKE_REGISTRY_USER"] {
            assert!(reported.contains(part), "{part}: {reported}");
        }
        assert!(!reported.contains("wrong-password"));
        assert!(fixture.job.secrets().found_in("wrong-password"), "it is redacted");
        let none = fixture.dir.join("none.json");
        let reported = ask(&with_file(none.clone())).await;
        for part in [host.as_str(), "wants a login", none.as_str(), "skopeo login"] {
            assert!(reported.contains(part), "{part}: {reported}");
        }
        // A login for others is not shown, and which entry of a file it was is reported.
        let mut others = fixed("wrong-password");
        others.credentials.fixed.as_mut().unwrap().host = Some("elsewhere.example".to_owned());
        let file = fixture.dir.join("auth.json");
        others.credentials.files = vec![none, file.clone()];
        fs::write(&file, "{}").unwrap();
        let reported = ask(&others).await;
        for part in ["wants a login", "elsewhere.example", "there is no", "auth.json has none"] {
            assert!(reported.contains(part), "{part}: {reported}");
        }
        let auth = STANDARD.encode("bob:wrong-password");
        let text =
            format!(r#"{{"auths": {{"{host}": {{}}, "{host}/team": {{"auth": "{auth}"}}}}}}"#);
        fs::write(&file, text).unwrap();
        let reported = ask(&others).await;
        for part in ["`bob`", "auth.json", &format!("`{host}/team`"), &host] {
            assert!(reported.contains(part), "{part}: {reported}");
        }
        assert!(!reported.contains("wrong-password"));
        let broken = fixture.dir.join("broken.json");
        fs::write(&broken, "hunter2").unwrap();
        let reported = ask(&with_file(broken)).await;
        assert!(reported.contains("broken.json") && !reported.contains("hunter2"), "{reported}");
    }
}

#[tokio::test]
async fn a_helper_is_asked() {
    let fixture = Fixture::new();
    let accepts = Accepts::Login(USER, PASSWORD);
    let registry = TestRegistry::start(Habits { accepts, ..Habits::default() }).await;
    seed(&registry, "web", VERSION, 7);
    let answer = format!(r#"{{"ServerURL":"x","Username":"{USER}","Secret":"{PASSWORD}"}}"#);
    // A helper is found by its name in PATH, which a test shall not change: one with a name of its own
    // in a folder that PATH has anyway would stay behind. So the file names one that is not there.
    let name = format!("imgbake-test-{}", std::process::id());
    let file = fixture.dir.join("config.json");
    fs::write(&file, format!(r#"{{"credHelpers": {{"{}": "{name}"}}}}"#, registry.host())).unwrap();
    let repository =
        fixture.repository_with(&registry.host(), "web", &with_file(file.clone())).await;
    let error = repository.unwrap().tags().await.unwrap_err();
    let error = format!("{error} / {}", error.help_text().unwrap_or_default());
    assert!(
        error.contains(&format!("docker-credential-{name}")) && error.contains("config.json"),
        "{error}"
    );
    let helper = fixture.dir.join("docker-credential-x");
    fs::write(&helper, format!("#!/bin/sh\ncat >/dev/null\necho '{answer}'\n")).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    // A name that leads elsewhere is none.
    let path = format!("/../../..{}/x", fixture.dir);
    fs::write(&file, format!(r#"{{"credsStore": "{path}"}}"#)).unwrap();
    let repository = fixture.repository_with(&registry.host(), "web", &with_file(file)).await;
    let error = repository.unwrap().tags().await.unwrap_err();
    let error = format!("{error} / {}", error.help_text().unwrap_or_default());
    assert!(error.contains("cannot be a credential helper"), "{error}");
}
