//! A stand-in for Chef, which no test can install: it reads the real configuration, and calls the real handler with
//! resources as Chef's documentation describes them ("Custom handlers", "Resource: common functionality").

use std::fs;

use imgbake_build::BuildErrorKind;
use imgbake_types::record::step::ResourceOutcome as Is;
use imgbake_types::secret::marker;
use imgbake_types::spec::{ProvisionSpec, ProvisionerSettings};
use serde_json::{Value, json};

use crate::local::{LocalGuest, changed, find, outcomes, with};

/// What the client requires of Chef.
const HANDLER: &str = r"
class Chef
  class Handler
    attr_reader :run_status
    def run_with(status)
      @run_status = status
      report
    end
  end
end
";

/// The client. What it did is in a file of the test.
const CLIENT: &str = include_str!("chef_client.rb");

impl LocalGuest {
    /// A step in which Chef does what `run` says.
    fn chef(&self, run: &Value, settings: &Value) -> ProvisionSpec {
        self.put("chef/lib/chef/handler.rb", HANDLER);
        self.put("chef/run.json", &run.to_string());
        self.put("cookbooks/web/recipes/default.rb", "file '/tmp/never'\n");
        let bin = self.script("chef/client", CLIENT);
        let mut all = json!({
            "chef_bin": bin,
            "cookbooks": [self.at("cookbooks")],
            "run_list": ["recipe[web]"],
        });
        for (key, value) in settings.as_object().unwrap() {
            all[key] = value.clone();
        }
        all.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.step("chef", &all)
    }

    fn seen(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.at("chef/seen.json")).unwrap()).unwrap()
    }
}

#[tokio::test]
async fn resources_are_those_of_the_handler() {
    let local = LocalGuest::new();
    local.job.secrets().add("deploy", "Zq7-kLm0pWy9vT3s");
    let run = json!({"resources": [
        {"type": "file", "name": "/etc/it's \"page\"\n", "updated": true, "line": 3,
         "diff": "+token Zq7-kLm0pWy9vT3s"},
        {"type": "file", "name": "secret", "updated": true, "line": 5, "sensitive": true, "diff": "+x"},
        {"type": "package", "name": "nginx", "line": 7},
        {"type": "service", "name": "nginx", "action": "nothing", "line": 9},
    ]});
    let attributes = json!({"web": {"token": marker("deploy")}});
    let spec = local.chef(&run, &json!({"attributes": attributes, "args": ["--once"]}));
    let (end, report) = local.ran(&spec).await;
    end.unwrap();
    let expected = [
        ("/etc/it's \"page\"\n", Is::Changed),
        ("secret", Is::Changed),
        ("nginx", Is::Unchanged),
        ("nginx", Is::Skipped),
    ];
    assert_eq!(outcomes(&report), expected);
    let page = &report.resources[0];
    let recipe = local.at("cookbooks/web/recipes/default.rb");
    assert_eq!((page.file.as_deref(), page.line), (Some(recipe.as_str()), Some(3)));
    assert_eq!((page.kind.as_str(), page.seconds), ("file", Some(0.25)));
    assert_eq!(page.diff.as_deref(), Some("+token ***"));
    assert_eq!(find(&report, "secret").diff, None);
    assert_eq!(changed(&report).len(), 2);
    let seen = local.seen();
    assert_eq!(seen["attributes"]["run_list"], json!(["recipe[web]"]));
    assert_eq!(seen["attributes"]["web"]["token"], "Zq7-kLm0pWy9vT3s");
    assert_eq!(seen["config"]["local_mode"], true);
    assert!(seen["argv"].as_array().unwrap().contains(&json!("--once")));
    assert!(!serde_json::to_string(&report).unwrap().contains("Zq7-kLm"));
    assert!(local.comm.commands.lock().unwrap().iter().all(|line| !line.contains("Zq7-kLm")));
}

#[tokio::test]
async fn what_chef_finds_where() {
    let local = LocalGuest::new();
    for folder in ["roles", "bags", "export/.chef"] {
        fs::create_dir_all(local.at(folder)).unwrap();
    }
    let settings =
        json!({"roles": local.at("roles"), "data_bags": local.at("bags"), "environment": "it's"});
    local.ran(&local.chef(&json!({"resources": []}), &settings)).await.0.unwrap();
    let config = &local.seen()["config"];
    assert!(config["role_path"].as_str().unwrap().ends_with("/roles"), "{config}");
    assert!(config["data_bag_path"].as_str().unwrap().ends_with("/data_bags"), "{config}");
    assert_eq!(config["environment"], "it's");
    for key in ["node_path", "cache_path", "file_cache_path", "file_backup_path", "chef_repo_path"]
    {
        assert!(config[key].as_str().unwrap().starts_with("/run/imgbake/"), "{key}: {config}");
    }
    let settings = json!({"policy": local.at("export"), "policy_name": "web", "cookbooks": null, "run_list": null});
    local.ran(&local.chef(&json!({"resources": []}), &settings)).await.0.unwrap();
    let seen = local.seen();
    assert!(seen["config"]["chef_repo_path"].as_str().unwrap().ends_with("/policy"), "{seen}");
    assert_eq!((&seen["config"]["policy_name"], &seen["attributes"]), (&json!("web"), &json!({})));
    assert_eq!(seen["config"]["use_policyfile"], true);
}

#[tokio::test]
async fn a_run_that_ends_badly_says_why() {
    let local = LocalGuest::new();
    let resources = json!([
        {"type": "file", "name": "/a", "updated": true, "line": 1},
        {"type": "execute", "name": "boom", "line": 2},
        {"type": "file", "name": "/b", "line": 3},
    ]);
    let boom = "execute[boom] (web::default line 2) had an error: Mixlib::ShellOut::ShellCommandFailed: why";
    let failing = json!({"resources": resources, "exception": boom, "exit": 1});
    let (end, report) = local.ran(&local.chef(&failing, &json!({}))).await;
    let error = end.unwrap_err();
    assert!(error.contains("/recipes/default.rb:2) failed: execute[boom]"), "{error}");
    assert!(error.contains("ShellCommandFailed: why"), "{error}");
    let expected = [("/a", Is::Changed), ("boom", Is::Failed), ("/b", Is::Skipped)];
    assert_eq!((outcomes(&report).as_slice(), report.exit_code), (&expected[..], Some(1)));

    let recipe = format!("{}:7: syntax error", local.at("cookbooks/web/recipes/default.rb"));
    for (run, words) in [
        (
            json!({"resources": resources, "exception": boom}),
            "is unknown: it ended well, and counts 1",
        ),
        (json!({"dies": true}), "is unknown: its results end before"),
        (
            json!({"exit": 37, "resources": []}),
            "asks for a restart of the machine: restart it in a step of `type = \"shell\"` with `reboot` (exit code 37)",
        ),
        (json!({"dies": true, "exit": 1}), recipe.as_str()),
        // No recipe was read.
        (
            json!({"exception": "no such cookbook", "exit": 1}),
            "`chef-client` failed with exit code 1",
        ),
    ] {
        let (end, _) = local.ran(&local.chef(&run, &json!({}))).await;
        let error = end.unwrap_err();
        assert!(error.contains(words), "{run}: {error}");
        assert!(!error.contains("/run/imgbake/"), "{error}");
    }

    let hangs = json!({"resources": [], "sleep": 4245, "begun": local.at("begun")});
    let client = local.at("chef/client");
    local.hangs(&local.chef(&hangs, &json!({})), "10s", client.as_str()).await;

    let absent = local.chef(&json!({}), &json!({"chef_bin": "no such chef"}));
    let error = local.report(&absent).await.0.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Usage);
    assert!(
        error.to_string().contains("`chef_bin` names `no such chef`, which is no program"),
        "{error}"
    );
}

#[tokio::test]
async fn of_two_resources_with_one_name_the_one_that_ran_last_failed() {
    let local = LocalGuest::new();
    let boom = |place: &str| format!("execute[boom] ({place}) had an error: why");
    let all = |ran: [bool; 4]| {
        json!([
            {"type": "execute", "name": "boom", "updated": true, "line": 1, "ran": ran[0]},
            {"type": "file", "name": "/a", "line": 2, "ran": ran[1]},
            {"type": "execute", "name": "boom", "updated": true, "line": 3, "ran": ran[2]},
            {"type": "execute", "name": "boom", "line": 4, "ran": ran[3]},
        ])
    };
    for (ran, place, outcomes_of) in [
        // By where it stands,
        (
            [true, true, true, false],
            "web::default line 3",
            [Is::Changed, Is::Unchanged, Is::Failed, Is::Skipped],
        ),
        // after all others, by a notification,
        (
            [true, true, true, true],
            "web::default line 1",
            [Is::Failed, Is::Unchanged, Is::Changed, Is::Unchanged],
        ),
        // and without a place.
        (
            [true, true, true, false],
            "dynamically defined",
            [Is::Changed, Is::Unchanged, Is::Failed, Is::Skipped],
        ),
    ] {
        let run = json!({"resources": all(ran), "exception": boom(place), "exit": 1});
        let (end, report) = local.ran(&local.chef(&run, &json!({}))).await;
        assert!(end.unwrap_err().contains("had an error: why"), "{place}");
        let found: Vec<Is> = report.resources.iter().map(|one| one.outcome).collect();
        assert_eq!(found, outcomes_of, "{place}");
    }
}

#[tokio::test]
async fn a_client_is_found_where_its_packages_put_it() {
    let local = LocalGuest::new();
    let run = json!({"resources": [{"type": "file", "name": "/a", "updated": true, "line": 1}]});
    let spec = local.chef(&run, &json!({"chef_bin": null, "install": true}));
    let client = local.at("chef/client");
    let folder = local.at("chef");
    // With `install`, the same is found, and nothing is installed.
    std::os::unix::fs::symlink(client, folder.join("cinc-client")).unwrap();
    let path = format!("{folder}:/usr/bin:/bin");
    let (end, report) = local.ran(&with(&spec, "env", json!({"PATH": path}))).await;
    end.unwrap();
    assert_eq!(report.counts.changed, 1, "{report:?}");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for (settings, codes) in [
        (json!({"cookbooks": ["a"], "run_list": ["b"]}), &[][..]),
        (json!({"policy": "a", "policy_name": "b"}), &[]),
        (json!({}), &["exactly-one"]),
        (
            json!({"cookbooks": ["a"], "policy": "b", "run_list": ["c"], "policy_name": "d"}),
            &["exactly-one"],
        ),
        (json!({"cookbooks": ["a"]}), &["missing-key"]),
        (json!({"cookbooks": [], "run_list": ["a"]}), &["bad-value"]),
        (json!({"policy": "a", "policy_name": "b", "run_list": ["c"]}), &["bad-value"]),
    ] {
        let found = imgbake_provision::ChefSpec::check(settings.as_object().unwrap());
        let found: Vec<&str> = found.iter().map(|mistake| mistake.code).collect();
        assert_eq!(found, codes, "{settings}");
    }
}
