//! Puppet's agent: without a server, and with a program that stands for the run against one.

use std::fs;

use imgbake_build::BuildErrorKind;
use imgbake_types::record::step::ResourceOutcome as Is;
use serde_json::json;

use super::{CONVERGES, OWN_FOLDERS};
use crate::local::{LocalGuest, find, text};

/// The machine's private keys.
fn keys(local: &LocalGuest) -> Vec<String> {
    let keys = local.at("ssldir/private_keys").read_dir_utf8().unwrap();
    keys.map(|key| key.unwrap().file_name().to_owned()).collect()
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_named_and_the_machines_keys_stay() {
    let local = LocalGuest::new();
    local.put("ssldir/private_keys/old.pem", "a key");
    let mut args = local.own_folders();
    args.as_array_mut().unwrap().extend([json!("--masterport"), json!("1")]);
    let settings = json!({"server": "127.0.0.1", "certname": "web.example", "args": args});
    let spec = local.step("puppet-agent", &settings);
    let (end, report) = local.ran(&spec).await;
    let error = end.unwrap_err();
    assert!(error.contains("(exit code 1)"), "{error}");
    assert!(error.contains("Connection to https://127.0.0.1:1/puppet-ca/v1 failed"), "{error}");
    assert_eq!((report.exit_code, report.kind.as_str()), (Some(1), "puppet-agent"));
    assert_eq!(keys(&local), ["old.pem"], "those of the machine stay, and no other is there");
}

#[tokio::test]
async fn an_agents_report_has_the_same_results() {
    let local = LocalGuest::new();
    // It applies a manifest and leaves a report, as an agent does with a server's catalog.
    let agent = local.script(
        "agent",
        "[ \"$1\" = agent ] || exec puppet \"$@\" $OWN\n\
         printf '%s\\n' \"$@\" >DIR/args\n\
         for arg; do shift; case $before in --lastrunreport) report=$arg ;; --ssldir) ssl=$arg ;; esac; before=$arg; done\n\
         ls -R \"$ssl\" >>DIR/keys; mkdir -p \"$ssl/private_keys\"; echo new >\"$ssl/private_keys/new.pem\"\n\
         exec puppet apply --detailed-exitcodes --show_diff --color=false $OWN --ssldir \"$ssl\" --lastrunreport \"$report\" DIR/t/site.pp",
    );
    local.put("t/site.pp", CONVERGES);
    local.put("ssldir/private_keys/old.pem", "a key");
    let own: Vec<String> =
        OWN_FOLDERS.iter().map(|name| format!("--{name} {}", local.at(name))).collect();
    let settings = json!({
        "server": "puppet.example", "certname": "web.example", "environment": "lab", "waitforcert": "90s",
        "puppet_bin": agent, "args": local.own_folders(), "env": {"OWN": own.join(" ")},
    });
    let spec = local.step("puppet-agent", &settings);
    let first = local.applied(&spec).await;
    assert_eq!((first.exit_code, first.counts.changed), (Some(2), 5));
    let conf = find(&first, local.at("conf").as_str());
    assert_eq!((conf.kind.as_str(), conf.line, conf.outcome), ("File", Some(2), Is::Changed));
    let args = text(&local.at("args"));
    for part in [
        "--onetime\n--no-daemonize\n",
        "--server\npuppet.example\n",
        "--certname\nweb.example\n",
        "--environment\nlab\n",
        "--waitforcert\n90\n",
        "--detailed-exitcodes\n",
    ] {
        assert!(args.contains(part), "{part}: {args}");
    }
    assert!(text(&local.at("keys")).contains("old.pem"), "the machine's own keys are used");

    assert!(
        !args.contains("--report\n") && !args.contains("--no-report"),
        "the report is the machine's"
    );

    // The second run is that of the same node, whatever became of the machine's keys.
    assert_eq!(keys(&local), ["old.pem"], "those of the machine stay, and no other is there");
    fs::remove_dir_all(local.at("ssldir")).unwrap();
    local.put("keys", "");
    let second = local.applied(&spec).await;
    assert_eq!((second.counts.changed, second.counts.unchanged), (0, 5), "{second:?}");
    let keys = text(&local.at("keys"));
    assert!(keys.contains("old.pem") && keys.contains("new.pem"), "{keys}");
}

#[tokio::test]
async fn a_machine_without_reports_says_so() {
    let local = LocalGuest::new();
    local.put("confdir/puppet.conf", "[agent]\nreport = false\n");
    let settings = json!({"server": "127.0.0.1", "args": local.own_folders()});
    let (end, _) = local.report(&local.step("puppet-agent", &settings)).await;
    let error = end.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Usage);
    assert!(error.to_string().contains("`report = false`"), "{error}");
}
