//! cloud-init steps, with a program that stands for cloud-init: it writes what 22.4.2 of Debian 12 wrote in a root of its
//! own, where the real one ran.

use std::fs;

use imgbake_build::BuildErrorKind;
use imgbake_provision::{CloudInit, provisioners};
use imgbake_types::Outcome;
use imgbake_types::record::step::ResourceOutcome as Is;
use imgbake_types::secret::marker;
use imgbake_types::spec::ProvisionSpec;
use serde_json::{Value, json};

use crate::local::{Local, LocalGuest, outcomes, text};

/// The program: `how` has the lines of Python that a test adds before it writes its results. What it is given goes
/// into the test's folder.
fn program(how: &str) -> String {
    format!(
        r#"#!/usr/bin/python3
import json, os, sys, shutil
cfg = json.load(open(os.environ["CLOUD_CFG"]))
cloud = cfg["system_info"]["paths"]["cloud_dir"]
seed = cloud + "/seed/nocloud"
out = os.environ["OUT"]
stage = {{"init --local": "init-local", "init": "init", "modules --mode config": "modules-config",
    "modules --mode final": "modules-final"}}[" ".join(sys.argv[1:])]
errors, source, exit_code = [], "DataSourceNoCloud [seed=%s][dsmode=net]" % seed, None
log = open(cfg["logcfg"].split('args=("')[1].split('"')[0], "a")
at = [1796048590.0]
def say(message, level="DEBUG", file="handlers.py"):
    at[0] += 0.25
    log.write("%f|%s|%s|%s\n" % (at[0], level, file, message))
def module(name, where=None, result="SUCCESS", inside=lambda: None):
    if stage != (where or "modules-config"): return
    at_stage = "init-network" if stage == "init" else stage
    say("start: %s/config-%s: running config-%s with frequency once-per-instance" % (at_stage, name, name))
    inside()
    say("finish: %s/config-%s: %s: config-%s ran successfully" % (at_stage, name, result, name))
def fail(name, error):
    if stage != "modules-config": return
    module(name, result="FAIL")
    say("Running module %s (<module>) failed\nTraceback (most recent call last):\n  File x" % name, "WARNING")
    errors.append("('%s', %s)" % (name, error))
say("start: %s: searching" % stage)
if stage == "init":
    shutil.copy(seed + "/user-data", out + "/user-data")
    shutil.copy(seed + "/meta-data", out + "/meta-data")
    shutil.copy(os.environ["CLOUD_CFG"], out + "/cfg")
    open(out + "/mode", "w").write("%o" % os.stat(cloud + "/..").st_mode)
{how}
module("write-files", "init")
module("locale", inside=lambda: say("Skipping module named locale, disabled by config: False", file="cc_locale.py"))
module("runcmd")
say("finish: %s: SUCCESS: done" % stage)
os.makedirs(cloud + "/data", exist_ok=True)
path = cloud + "/data/status.json"
status = json.load(open(path)) if stage != "init-local" else {{"v1": {{"stage": None}}}}
status["v1"]["datasource"] = source
status["v1"][stage] = {{"errors": errors, "start": 1.0, "finished": 2.0}}
json.dump(status, open(path, "w"), indent=1)
sys.exit(len(errors) if exit_code is None else exit_code)
"#
    )
}

impl LocalGuest {
    fn cloud_init(&self, how: &str, settings: &Value) -> ProvisionSpec {
        self.script("bin/cloud-init", &program(how));
        let mut spec = ProvisionSpec::of("cloud-init", settings).unwrap();
        let env = json!({"PATH": format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.at("bin")), "OUT": self.root});
        spec.settings.insert("env".to_owned(), env);
        // Each test has a folder of its own in /run.
        spec.name = Some(self.root.to_string());
        spec
    }
}

#[tokio::test]
async fn modules_are_resources() {
    let local = LocalGuest::new();
    let file = local.at("it's user data.yaml");
    let data = "#cloud-config\nruncmd: ['true']\npower_state: {mode: reboot}\n";
    fs::write(&file, data).unwrap();
    let how = "if stage == 'modules-final': say('Deprecated cloud-config provided:\\napt: old', 'WARNING')";
    let settings = json!({"user_data": file, "meta_data": {"local-hostname": "web"}});
    let (end, report) = local.report(&local.cloud_init(how, &settings)).await;
    end.unwrap();
    let expected = [("write-files", Is::Changed), ("locale", Is::Skipped), ("runcmd", Is::Changed)];
    assert_eq!(outcomes(&report), expected);
    assert_eq!(report.resources[1].message.as_deref(), Some("disabled by config: False"));
    assert_eq!((report.resources[1].seconds, report.resources[2].seconds), (Some(0.5), Some(0.25)));
    assert_eq!(report.outcome, Outcome::Warning);
    assert!(report.warnings[0].contains("`power_state`"), "{report:?}");
    assert_eq!(report.warnings[1..], ["Deprecated cloud-config provided:\napt: old"]);

    assert_eq!(text(&local.at("user-data")), data);
    let meta: Value = serde_json::from_str(&text(&local.at("meta-data"))).unwrap();
    assert_eq!(meta["local-hostname"], "web");
    assert!(meta["instance-id"].as_str().unwrap().starts_with("imgbake-"));
    let cfg: Value = serde_json::from_str(&text(&local.at("cfg"))).unwrap();
    assert_eq!(cfg["ssh_deletekeys"], false);
    assert_eq!(cfg["power_state"]["condition"], false);
    // Nothing is left of it.
    let dir = cfg["system_info"]["paths"]["cloud_dir"].as_str().unwrap();
    assert!(dir.starts_with("/run/imgbake/") && !fs::exists(dir).unwrap());
    assert_eq!(text(&local.at("mode")), "40700");
}

#[tokio::test]
async fn a_module_that_fails_is_named_with_its_error() {
    let local = LocalGuest::new();
    let settings = json!({"content": "#cloud-config\ntimezone: x\n"});
    let how = "fail('timezone', \"OSError('Invalid timezone x')\")";
    let (end, report) = local.report(&local.cloud_init(how, &settings)).await;
    let error = end.unwrap_err();
    assert_eq!(
        error.to_string(),
        "step `step`: module[timezone] failed: OSError('Invalid timezone x')"
    );
    assert_eq!((report.counts.failed, report.counts.changed), (1, 2), "{report:?}");
    assert!(report.warnings.is_empty(), "{report:?}");
}

#[tokio::test]
async fn a_script_that_fails_is_shown_with_what_it_printed() {
    let local = LocalGuest::new();
    let how = "if stage == 'modules-config':\n    print('no such mirror', flush=True)\n    \
               fail('scripts-user', \"RuntimeError('Runparts: 1 failures (runcmd)')\")";
    let settings = json!({"content": "#cloud-config\nruncmd: ['false']\n"});
    let error = local.report(&local.cloud_init(how, &settings)).await.0.unwrap_err().to_string();
    for part in ["module[scripts-user] failed: RuntimeError(", "no such mirror"] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn what_cannot_be_judged_is_no_success() {
    let settings = json!({"content": "#cloud-config\nruncmd: [ls]\n"});
    for (how, part) in [
        ("errors = ['no module said so']", "cloud-init failed: no module said so"),
        (
            "source = 'DataSourceNone'",
            "is unknown: it took its data from another source: DataSourceNone",
        ),
        (
            "exit_code = 3",
            "is unknown: its stage init-local ended with exit code 3, and it has no errors",
        ),
        (
            "if stage == 'modules-final': os._exit(0)",
            "is unknown: its stage modules-final did not come to its end",
        ),
        ("os._exit(0)", "is unknown: its status cannot be read"),
        ("module = lambda *a, **k: None", "is unknown: its log names no module"),
        (
            "if stage == 'init': say(\"Unhandled non-multipart (text/x-not-multipart) userdata: 'b'x'\", 'WARNING')",
            "module[user-data] failed: Unhandled non-multipart",
        ),
        (
            "if stage == 'init': say('Failed at merging in cloud config part from part-001: empty', 'WARNING')",
            "module[user-data] failed: Failed at merging",
        ),
    ] {
        let local = LocalGuest::new();
        let (end, report) = local.report(&local.cloud_init(how, &settings)).await;
        let error = end.unwrap_err().to_string();
        assert!(error.contains(part) && report.outcome == Outcome::Failed, "{how}: {error}");
    }
}

#[tokio::test]
async fn one_that_hangs_is_ended() {
    let local = LocalGuest::new();
    let settings = json!({"content": "#cloud-config\nruncmd: [ls]\n"});
    let how =
        "if stage == 'init':\n    open(out + '/begun', 'w')\n    import time; time.sleep(3600)";
    let spec = local.cloud_init(how, &settings);
    local.hangs(&spec, "10s", local.at("bin/cloud-init").as_str()).await;
}

#[tokio::test]
async fn secrets_reach_it_and_are_shown_nowhere() {
    let local = LocalGuest::new();
    let settings = json!({
        "content": format!("#cloud-config\nwrite_files:\n  - content: |\n      {}\n    path: /x\n", marker("token")),
        "meta_data": {"key": marker("token")},
    });
    let how = "print(open(seed + '/user-data').read())\nif stage == 'init': say('it is ' + json.load(open(seed + '/meta-data'))['key'], 'WARNING')";
    let (end, report) = local.report(&local.cloud_init(how, &settings)).await;
    end.unwrap();
    assert!(text(&local.at("user-data")).contains("hunter2'\"$HOME`x`"));
    let shown = serde_json::to_string(&report).unwrap();
    assert!(!shown.contains("hunter2") && shown.contains("it is ***"), "{shown}");
    assert!(!local.comm.commands.lock().unwrap().join("\n").contains("hunter2"));
}

#[tokio::test]
async fn user_data_that_cannot_be_is_refused_before_it_runs() {
    let local = LocalGuest::new();
    let provisioners = provisioners();
    let kind = provisioners.iter().find(|one| one.kind().name == CloudInit::KIND.name).unwrap();
    for (content, parts) in [
        ("#cloud-config\na: [1\nb: 2\n", &["cannot be read as YAML", "line 3"][..]),
        ("#cloud-confg\na: 1\n", &["begins with `#cloud-confg`", "`#cloud-config`"]),
    ] {
        for settings in [json!({"content": content}), {
            fs::write(local.at("data"), content).unwrap();
            json!({"user_data": local.at("data")})
        }] {
            let spec = local.cloud_init("", &settings);
            let error = kind.check(&local.job, "step", &spec).await.unwrap_err();
            assert_eq!(error.kind(), BuildErrorKind::Usage);
            let error = error.to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
            // The machine's own reader finds it as well.
            let error = local.report(&spec).await.0.unwrap_err();
            assert_eq!(error.kind(), BuildErrorKind::Usage);
            let error = error.to_string();
            assert!(parts[1..].iter().all(|part| error.contains(part)), "{error}");
        }
        let settings = serde_json::from_value(json!({"content": content})).unwrap();
        let is_known = !CloudInit::KIND.check(&settings).is_empty();
        assert_eq!(is_known, content.starts_with("#cloud-confg"));
    }
    let good = local.cloud_init("", &json!({"content": "#!/bin/sh\n: [\n"}));
    kind.check(&local.job, "step", &good).await.unwrap();
    let gone = local.cloud_init("", &json!({"user_data": local.at("gone")}));
    let error = kind.check(&local.job, "step", &gone).await.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Usage);
    let message = format!("step `step`: cannot read the user-data {}: ", local.at("gone"));
    assert!(error.to_string().starts_with(&message), "{error}");
}

#[tokio::test]
async fn a_step_that_cannot_be_prepared_leaves_nothing_in_the_machine() {
    let local = LocalGuest::new();
    // A folder is no user-data: it cannot be read, and a file that is gone cannot be copied.
    let file = local.put("data", "\u{1f}\u{8b}");
    fs::write(&file, b"\x1f\x8b\xff").unwrap();
    let settings = json!({"user_data": file, "meta_data": {"a": "b"}});
    let spec = local.cloud_init("os._exit(9)", &settings);
    local.ran(&spec).await.0.unwrap_err();
    let mut cut = LocalGuest::with(Local { fail_at: Some("user-data"), ..Local::default() });
    let spec = cut.cloud_init("", &json!({"content": "#!/bin/sh\n"}));
    let error = cut.ran(&spec).await.0.unwrap_err();
    assert!(error.contains("user-data"), "{error}");
    cut.emitted();
}

#[tokio::test]
async fn a_machine_without_it_says_what_to_set() {
    let local = LocalGuest::new();
    let mut spec = local.cloud_init("", &json!({"content": "#!/bin/sh\n"}));
    // Only there: this host may have one.
    fs::create_dir(local.at("empty")).unwrap();
    spec.settings["env"]["PATH"] = json!(local.at("empty"));
    let (end, _) = local.report(&spec).await;
    let error = end.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Usage);
    assert!(error.to_string().contains("no program `cloud-init`: set `install = true`"), "{error}");
}
