//! A stand-in for Chef, which no test can install: it reads the real configuration, and calls the real handler with
//! resources as Chef's documentation describes them ("Custom handlers", "Resource: common functionality").

use std::fs;
use std::os::unix::fs::PermissionsExt;

use imgbake_build::BuildErrorKind;
use imgbake_types::StepReport;
use imgbake_types::record::step::ResourceOutcome as Is;
use imgbake_types::secret::marker;
use imgbake_types::spec::{ProvisionSpec, ProvisionerSettings};
use serde_json::{Value, json};

use crate::local::{LocalGuest, changed, find, no_process, outcomes};

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
        let bin = self.at("chef/client");
        for (path, text) in [
            ("chef/lib/chef/handler.rb", HANDLER),
            ("chef/client", CLIENT),
            ("chef/run.json", &run.to_string()),
            ("cookbooks/web/recipes/default.rb", "file '/tmp/never'\n"),
        ] {
            fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
            fs::write(self.at(path), text).unwrap();
        }
        fs::set_permissions(&bin, fs::Permissions::from_mode(0o755)).unwrap();
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

    async fn cooked(&self, spec: &ProvisionSpec) -> (Result<(), String>, StepReport) {
        let (end, report) = self.report(spec).await;
        (end.map(drop).map_err(|error| error.to_string()), report)
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
    let (end, report) = local.cooked(&spec).await;
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
    local.cooked(&local.chef(&json!({"resources": []}), &settings)).await.0.unwrap();
    let config = &local.seen()["config"];
    assert!(config["role_path"].as_str().unwrap().ends_with("/roles"), "{config}");
    assert!(config["data_bag_path"].as_str().unwrap().ends_with("/data_bags"), "{config}");
    assert_eq!(config["environment"], "it's");
    for key in ["node_path", "cache_path", "file_cache_path", "file_backup_path", "chef_repo_path"]
    {
        assert!(config[key].as_str().unwrap().starts_with("/run/imgbake/"), "{key}: {config}");
    }
    let settings = json!({"policy": local.at("export"), "policy_name": "web", "cookbooks": null, "run_list": null});
    local.cooked(&local.chef(&json!({"resources": []}), &settings)).await.0.unwrap();
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
    let (end, report) = local.cooked(&local.chef(&failing, &json!({}))).await;
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
        (json!({"exit": 37, "resources": []}), "asks for a restart"),
        (json!({"dies": true, "exit": 1}), recipe.as_str()),
        // No recipe was read.
        (json!({"exception": "no such cookbook", "exit": 1}), "Chef failed with exit code 1"),
    ] {
        let (end, _) = local.cooked(&local.chef(&run, &json!({}))).await;
        let error = end.unwrap_err();
        assert!(error.contains(words), "{run}: {error}");
        assert!(!error.contains("/run/imgbake/"), "{error}");
    }

    let hangs = json!({"resources": [], "sleep": 4245});
    let (end, _) = local.cooked(&local.chef(&hangs, &json!({"timeout": "3s"}))).await;
    assert!(end.unwrap_err().contains("it timed out after 3s and was ended"));
    no_process(local.at("chef/client").as_str()).await;

    let absent = local.chef(&json!({}), &json!({"chef_bin": "no such chef"}));
    let error = local.report(&absent).await.0.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Usage);
    assert!(error.to_string().contains("not in the machine (`no such chef`)"), "{error}");
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
