//! Runs that change nothing because they were told so: they must not count as runs.

use imgbake_build::BuildErrorKind;
use imgbake_types::spec::ProvisionSpec;
use serde_json::{Value, json};

use crate::local::LocalGuest;

/// Each kind, what it needs, and arguments with which its tool changes nothing.
fn cases() -> Vec<(&'static str, Value, &'static [&'static str])> {
    vec![
        (
            "ansible",
            json!({"playbook": "/t/a.yml"}),
            &["--check", "-vC", "--list-tasks", "--syntax-check"],
        ),
        ("ansible-local", json!({"playbook": "/t/a.yml"}), &["--chec", "-C", "--list-hosts"]),
        ("puppet", json!({"manifest": "/t/a.pp"}), &["--noop"]),
        ("puppet-agent", json!({"server": "puppet"}), &["--noop"]),
        ("salt", json!({"states": "/t"}), &["test=True", "mock=True"]),
        ("chef", json!({"cookbooks": ["/t"], "run_list": ["recipe[a]"]}), &["--why-run", "-W"]),
    ]
}

#[tokio::test]
async fn arguments_that_change_nothing_are_refused() {
    let local = LocalGuest::new();
    let provisioners = imgbake_provision::provisioners();
    for (kind, settings, args) in cases() {
        let provisioner = provisioners.iter().find(|one| one.kind().name == kind).unwrap();
        for arg in args {
            let mut settings = settings.clone();
            settings["args"] = json!(["--verbose", arg]);
            let found = provisioner.kind().check(settings.as_object().unwrap());
            assert!(found.iter().any(|one| one.message.contains(arg)), "{kind} {arg}: {found:?}");
            // A variable may have brought it.
            let spec = ProvisionSpec {
                name: Some(local.root.to_string()),
                ..ProvisionSpec::of(kind, &settings).unwrap()
            };
            let error = local.run(&spec).await.unwrap_err();
            assert_eq!(error.kind(), BuildErrorKind::Usage, "{kind}: {error}");
            assert!(error.to_string().contains("would change nothing"), "{kind}: {error}");
        }
        let mut settings = settings.clone();
        settings["args"] = json!(["--verbose"]);
        let found = provisioner.kind().check(settings.as_object().unwrap());
        assert!(found.is_empty(), "{kind}: {found:?}");
    }
    assert_eq!(local.comm.commands.lock().unwrap().len(), 0, "no machine was touched");
}
