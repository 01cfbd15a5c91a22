//! What a template may not say.

use imgbake_types::spec::{HostPath, ProvisionSpec};
use serde_json::{Value, json};

/// The codes of the mistakes in a step's settings.
fn mistakes(kind: &str, settings: &Value) -> Vec<&'static str> {
    let kinds = imgbake_provision::kinds();
    let kind = kinds.iter().find(|one| one.name == kind).unwrap();
    let found = kind.check(settings.as_object().unwrap());
    assert!(found.iter().all(|one| !one.message.is_empty() && !one.message.ends_with('.')));
    found.iter().map(|one| one.code).collect()
}

/// Checks the settings of steps, each with the codes of its mistakes.
fn check(cases: &[(&str, Value, &[&str])]) {
    for (kind, settings, expected) in cases {
        assert_eq!(mistakes(kind, settings), *expected, "{kind} {settings}");
    }
}

#[test]
fn mistakes_of_packages_and_users_are_found() {
    let key = "ssh-ed25519 A";
    check(&[
        ("packages", json!({"install": ["a"], "remove": ["b"]}), &[]),
        ("packages", json!({"upgrade": true}), &[]),
        ("packages", json!({}), &["missing-key"]),
        ("packages", json!({"install": []}), &["bad-value"]),
        ("packages", json!({"install": ["a=1", "b"], "remove": ["a"]}), &["twice"]),
        ("packages", json!({"hold": ["a"], "unhold": ["a"], "install": ["a"]}), &["twice"]),
        (
            "repository",
            json!({"repository": "a", "uris": ["u"], "suites": ["s"], "components": ["c"]}),
            &[],
        ),
        ("repository", json!({"repository": "a", "uris": ["u"], "suites": ["./"]}), &[]),
        ("repository", json!({"repository": "a", "uris": ["u"]}), &[]),
        ("repository", json!({"uris": ["u"], "suites": ["s"]}), &["missing-key"]),
        (
            "repository",
            json!({"uris": ["u"], "suites": ["./"], "components": ["c"]}),
            &["bad-value"],
        ),
        ("repository", json!({"uris": ["u"], "suites": ["./", "s"]}), &["bad-value"]),
        (
            "repository",
            json!({"uris": ["u"], "build_only": true, "types": ["deb"]}),
            &["needs-suites", "needs-suites"],
        ),
        (
            "repository",
            json!({"uris": ["u"], "suites": ["./"], "key": "k", "signed_by": "/k"}),
            &["at-most-one"],
        ),
        (
            "user",
            json!({"user": "a", "authorized_keys": [key], "password": "$6$x", "sudo": "none"}),
            &[],
        ),
        ("user", json!({"user": "a", "password": "hunter2"}), &["bad-value"]),
        ("user", json!({"user": "a", "password": "⟦secret:x⟧"}), &[]),
        (
            "user",
            json!({"user": "a", "absent": true, "uid": 1, "sudo": "none"}),
            &["senseless", "senseless"],
        ),
        ("user", json!({"user": "a", "remove_home": true}), &["senseless"]),
        ("user", json!({"user": "a", "groups": [], "home": "x"}), &["bad-value", "bad-value"]),
    ]);
}

#[test]
fn mistakes_of_services_and_files_are_found() {
    check(&[
        ("service", json!({"enable": ["a"], "start": ["a"]}), &[]),
        ("service", json!({"stop": ["a"], "disable": ["a"], "mask": ["a"]}), &[]),
        ("service", json!({}), &["missing-key"]),
        ("service", json!({"enable": ["a"], "disable": ["a.service"]}), &["twice"]),
        ("service", json!({"enable": ["a", "a"]}), &["twice"]),
        ("service", json!({"mask": ["a"], "start": ["a"]}), &["twice"]),
        (
            "sysctl",
            json!({"settings": {"vm.swappiness": 1, "net": {"ipv4": {"ip_forward": "1"}}}}),
            &[],
        ),
        ("sysctl", json!({"settings": {"vm.swappiness": null}}), &[]),
        ("sysctl", json!({"settings": {}}), &["bad-value"]),
        (
            "sysctl",
            json!({"settings": {"a b": 1, "c": 1.5, "d": "1\n2", "e": true}}),
            &["bad-value"; 4],
        ),
        (
            "files",
            json!({"files": [{"destination": "/a", "content": ""}, {"destination": "/b", "link": "a"}]}),
            &[],
        ),
        ("files", json!({"files": []}), &["bad-value"]),
        ("files", json!({"files": [{"destination": "/a"}]}), &["exactly-one"]),
        (
            "files",
            json!({"files": [{"destination": "/a", "content": "", "link": "x"}]}),
            &["exactly-one"],
        ),
        ("files", json!({"files": [{"destination": "/a", "directory": false}]}), &["bad-value"]),
        (
            "files",
            json!({"files": [{"destination": "/a", "absent": true, "mode": "644"}]}),
            &["senseless"],
        ),
        ("files", json!({"files": [{"destination": "//", "absent": true}]}), &["bad-value"]),
        (
            "files",
            json!({"files": [{"destination": "/a", "content": ""}, {"destination": "/a", "absent": true}]}),
            &["twice"],
        ),
        ("locale", json!({"timezone": "Etc/UTC"}), &[]),
        ("locale", json!({}), &["missing-key"]),
        ("certificate", json!({"files": ["a.pem"], "certificate": "x"}), &[]),
        ("certificate", json!({"files": ["a.pem", "b.pem"], "certificate": "x"}), &["bad-value"]),
        ("certificate", json!({"files": []}), &["bad-value"]),
    ]);
}

#[test]
fn files_of_the_host_decide_the_key() {
    let kinds = imgbake_provision::kinds();
    for (name, settings, paths) in [
        ("repository", json!({"repository": "a", "uris": ["u"], "key": "k.asc"}), &["key"][..]),
        ("certificate", json!({"files": ["a.pem", "b.pem"]}), &["files[0]", "files[1]"]),
        (
            "files",
            json!({"files": [{"destination": "/a", "content": ""}, {"destination": "/b", "source": "b"}]}),
            &["files[1].source"],
        ),
        ("user", json!({"user": "a"}), &[]),
    ] {
        let kind = kinds.iter().find(|one| one.name == name).unwrap();
        let step = kind.resolve(&ProvisionSpec::of(name, &settings).unwrap()).unwrap();
        let found: Vec<String> = step.host_paths.iter().map(HostPath::setting).collect();
        assert_eq!(found, paths, "{name}");
        assert!(kind.results);
    }
}
