//! Identity tokens, and tokens that end while they are needed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_oci::{CredentialSettings, Remote, RemoteOptions};
use imgbake_registry::transfer::End;
use imgbake_runtime::Command;
use imgbake_testkit::{Accepts, Habits, PASSWORD, TestRegistry, USER};

use crate::fixture::{Fixture, VERSION, job, seed};
use crate::logins::{fixed, with_file};

const IDENTITY: &str = "identity-of-ada";
const CHILD: [&str; 3] = ["--ignored", "--exact", "identity::child_asks_a_helper"];

/// Docker's `config.json` with an identity token.
fn config(dir: &Utf8Path, host: &str, identity: &str) -> RemoteOptions {
    let path = dir.join("config.json");
    let text = format!(r#"{{"auths": {{"{host}": {{"identitytoken": "{identity}"}}}}}}"#);
    fs::write(&path, text).unwrap();
    with_file(path)
}

fn exchanges(registry: &TestRegistry) -> usize {
    registry.requests().iter().filter(|line| line.ends_with(" /token")).count()
}

#[tokio::test]
async fn an_identity_token_is_exchanged() {
    for rotates in [false, true] {
        let fixture = Fixture::new();
        let accepts = Accepts::Identity(IDENTITY, Duration::from_secs(300));
        let habits = Habits { accepts, rotates, redirects: true, ..Habits::default() };
        let registry = TestRegistry::start(habits).await;
        let digest = seed(&registry, "web", VERSION, 7);
        let options = config(&fixture.dir, &registry.host(), IDENTITY);
        let remote = Remote::connect(&fixture.job, &registry.host(), &options).await.unwrap();
        let place = |name: &str| End::remote(&fixture.job, remote.repository(name).unwrap());
        let local = fixture.local("web");
        assert_eq!(fixture.copy(&place("web"), &local).await.unwrap().digest, digest);
        // Each scope is an exchange; what an exchange gave in the identity token's place is used then.
        assert_eq!(fixture.copy(&local, &place("mirror")).await.unwrap().digest, digest);
        assert!(registry.requests().contains(&"POST /token".to_owned()));
        assert!(!registry.requests().contains(&"GET /token".to_owned()));
        assert!(!registry.leaked());
    }
}

/// Tokens of one second, of a few requests, of one request each: every one of them ends within a copy.
#[tokio::test]
async fn tokens_that_end_in_a_copy_are_asked_for_again() {
    let (long, short) = (Duration::from_secs(300), Duration::from_secs(1));
    let slow = Duration::from_millis(25);
    for (accepts, token_uses, slow) in [
        (Accepts::Token(USER, PASSWORD, short), 0, slow),
        (Accepts::Identity(IDENTITY, short), 0, slow),
        (Accepts::Token(USER, PASSWORD, long), 3, Duration::ZERO),
        (Accepts::Identity(IDENTITY, long), 3, Duration::ZERO),
        (Accepts::Token(USER, PASSWORD, long), 1, Duration::ZERO),
        (Accepts::Identity(IDENTITY, long), 1, Duration::ZERO),
    ] {
        let fixture = Fixture::new();
        let rotates = true;
        let what = format!("{accepts:?}, {token_uses} uses");
        let never_mounts = true;
        let habits = Habits {
            accepts: accepts.clone(),
            token_uses,
            rotates,
            slow,
            never_mounts,
            ..Habits::default()
        };
        let registry = TestRegistry::start(habits).await;
        let digest = seed(&registry, "web", VERSION, 7);
        let options = match accepts {
            Accepts::Identity(..) => config(&fixture.dir, &registry.host(), IDENTITY),
            _ => fixed(PASSWORD),
        };
        let remote = Remote::connect(&fixture.job, &registry.host(), &options).await.unwrap();
        let place = |name: &str| End::remote(&fixture.job, remote.repository(name).unwrap());
        let copied = fixture.copy(&place("web"), &place("mirror")).await.unwrap();
        assert_eq!((&copied.digest, copied.moved), (&digest, 7), "{what}");
        // Reading the one, reading and writing the other, mounting: four scopes.
        let given = exchanges(&registry);
        assert!(given > 4, "{what}: {given} tokens");
    }
}

#[tokio::test]
async fn a_refused_identity_token_is_told_and_not_shown() {
    let fixture = Fixture::new();
    let accepts = Accepts::Identity(IDENTITY, Duration::from_secs(300));
    let registry = TestRegistry::start(Habits { accepts, ..Habits::default() }).await;
    let options = config(&fixture.dir, &registry.host(), "stolen-identity");
    let repository = fixture.repository_with(&registry.host(), "web", &options).await.unwrap();
    let error = repository.tags().await.unwrap_err();
    let reported = format!("{error} / {}", error.help_text().unwrap_or_default());
    for part in ["the identity token", "serves no more", "/token", "config.json", &registry.host()]
    {
        assert!(reported.contains(part), "{part}: {reported}");
    }
    assert!(!reported.contains("stolen-identity"), "{reported}");
    assert!(fixture.job.secrets().found_in("stolen-identity"), "it is redacted");
}

/// What a registry says to somebody whose login a helper knows, which is this script.
async fn with_helper(registry: &TestRegistry, script: &str) -> String {
    let fixture = Fixture::new();
    let helper = fixture.dir.join("docker-credential-test");
    fs::write(&helper, format!("#!/bin/sh\nread -r host\n{script}\n")).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(fixture.dir.join("config.json"), r#"{"auths": {}, "credsStore": "test"}"#).unwrap();
    fs::write(fixture.dir.join("child"), registry.host()).unwrap();
    // Helpers are found in PATH, which is a process's own.
    let exe = Utf8PathBuf::from_path_buf(std::env::current_exe().unwrap()).unwrap();
    let command = Command::new(exe).args(CHILD).current_dir(fixture.dir.clone());
    let path = format!("{}:/usr/bin:/bin", fixture.dir);
    command.env("PATH", path).run(&fixture.job).await.unwrap();
    fs::read_to_string(fixture.dir.join("reported")).unwrap()
}

#[tokio::test]
async fn a_helper_gives_an_identity_token() {
    let accepts = Accepts::Identity(IDENTITY, Duration::from_secs(300));
    let registry = TestRegistry::start(Habits { accepts, ..Habits::default() }).await;
    seed(&registry, "web", VERSION, 7);
    let answer = format!(r#"echo '{{"Username":"<token>","Secret":"{IDENTITY}"}}'"#);
    let reported = with_helper(&registry, &answer).await;
    assert!(reported.contains(VERSION), "{reported}");
    assert!(registry.requests().contains(&"POST /token".to_owned()), "{:?}", registry.requests());
}

#[tokio::test]
async fn a_refusal_names_the_helper() {
    let accepts = Accepts::Login(USER, PASSWORD);
    let registry = TestRegistry::start(Habits { accepts, ..Habits::default() }).await;
    let host = registry.host();
    let wrong = r#"echo '{"Username":"bob","Secret":"wrong-password"}'"#;
    let reported = with_helper(&registry, wrong).await;
    for part in [&host, "`bob`", "docker-credential-test, which", "config.json"] {
        assert!(reported.contains(part), "{part}: {reported}");
    }
    assert!(!reported.contains("wrong-password"), "{reported}");
    // One that knows nobody says so in these words.
    let reported =
        with_helper(&registry, "echo credentials not found in native keychain; exit 1").await;
    for part in ["wants a login", "docker-credential-test, which", "has none of", &host] {
        assert!(reported.contains(part), "{part}: {reported}");
    }
}

/// Lists tags with the login that a helper gives: started by the tests above.
#[tokio::test]
#[ignore = "started by other tests"]
async fn child_asks_a_helper() {
    let Ok(host) = fs::read_to_string("child") else { return };
    let dir = Utf8PathBuf::from_path_buf(std::env::current_dir().unwrap()).unwrap();
    let job = job(&dir);
    let credentials = CredentialSettings { fixed: None, files: vec![dir.join("config.json")] };
    let options = RemoteOptions { credentials, ..RemoteOptions::default() };
    let remote = Remote::connect(&job, &host, &options).await.unwrap();
    let reported = match remote.repository("web").unwrap().tags().await {
        Ok(tags) => format!("{tags:?}"),
        Err(error) => format!("{error} / {}", error.help_text().unwrap_or_default()),
    };
    fs::write("reported", reported).unwrap();
    job.end().unwrap();
}
