//! Why a key is not what it was.

use imgbake_plan::{difference, differences};
use imgbake_types::Plan;

use crate::common::{Case, files};

fn plan(case: &Case) -> Plan {
    case.plan().expect("a plan")
}

/// Every input that a plan's steps have, by step.
#[test]
fn inputs_have_names_that_people_know() {
    let case =
        Case::edit("suite = \"bookworm\"", "suite = \"bookworm\", packages = [\"a\", \"b\"]");
    let plan = plan(&Case { pin: Some("sha256:1"), ..case });
    let shown: Vec<String> = plan
        .steps
        .iter()
        .map(|step| {
            let names: Vec<&str> = step.inputs.keys().map(String::as_str).collect();
            format!("{}: {}", step.name, names.join(", "))
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn the_first_input_that_differs_is_named() {
    let edit = Case::edit;
    let with = |path: &str, text: &str, mode: u32| Case {
        files: files().with(path, text, mode),
        ..Case::default()
    };
    let env = |text: &str| edit("env = {", &format!("env = {{ LISTEN = \"{text}\","));
    let pinned = |pin| Case { pin: Some(pin), ..Case::default() };
    let both = Case { tool: "imgbake 2", ..edit("bookworm", "trixie") };
    let moved_on = Case { pin: Some("2"), ..edit("bookworm", "trixie") };
    let packages = || edit("suite = \"bookworm\"", "suite = \"bookworm\", packages = [\"a\"]");
    let renamed = Case {
        files: files().with("/t/pages", "<p>", 0o644),
        ..edit("source = \"site\"", "source = \"pages\"")
    };
    let base = Case::default;
    let cases = [
        (base(), with("/t/site", "<q>", 0o644), "site", "file site changed"),
        (base(), with("/t/../p/nginx.sh", "x", 0o755), "shell-1", "file ../p/nginx.sh changed"),
        (base(), with("/t/site", "<p>", 0o600), "site", "mode of file site changed"),
        (base(), renamed, "site", "file pages added"),
        (env("80"), env("81"), "shell-2", "env.LISTEN changed"),
        (base(), env("80"), "shell-2", "env.LISTEN added"),
        (env("80"), base(), "shell-2", "env.LISTEN removed"),
        (base(), edit("login", "log in"), "shell-2", "inline changed"),
        (base(), packages(), "source", "packages added"),
        (packages(), base(), "source", "packages removed"),
        (base(), edit("bookworm", "trixie"), "source", "suite changed"),
        (base(), edit("1GiB", "2GiB"), "boot", "memory changed"),
        (base(), Case { token: "x", ..base() }, "shell-2", "sensitive variable token changed"),
        (pinned("1"), pinned("2"), "source", "the source itself changed since"),
        (pinned("1"), moved_on, "source", "suite changed"),
        (base(), both, "source", "imgbake is another version"),
        (base(), edit("channel = \"dev\"", ""), "publish", "channel removed"),
        (base(), edit("a = \"b\"", "a = \"c\""), "publish", "image.labels.a changed"),
        (base(), edit("run = \"true\"", "run = \"false\""), "verify", "test second changed"),
    ];
    for (before, now, first, why) in cases {
        let (before, now) = (plan(&before), plan(&now));
        let found = differences(&now, &before);
        let step = now.steps.iter().find(|step| found.contains_key(&step.name)).expect("one");
        assert_eq!((step.name.as_str(), found[&step.name].as_str()), (first, why));
    }
}

#[test]
fn what_follows_a_change_says_so() {
    let before = plan(&Case::default());
    assert_eq!(differences(&before, &before).len(), 0);
    let now = plan(&Case::edit("/var/www", "/srv"));
    let found = differences(&now, &before);
    assert_eq!(found["site"], "destination changed");
    for name in ["shell-2", "seal", "capture", "publish", "verify"] {
        assert_eq!(found[name], "a step before it changed", "{name}");
    }
    assert_eq!(found.len(), 6);
    let more = "[[provision]]\ntype = \"shell\"\nname = \"more\"\ninline = [\"x\"]\n[[test]]\nrun = \"curl";
    let found = differences(&plan(&Case::edit("[[test]]\nrun = \"curl", more)), &before);
    assert_eq!(found["more"], "it is new");
    assert_eq!(found["seal"], "a step before it changed");
}

/// The promise of [`difference`]: two keys differ exactly where an input or the parent does.
#[test]
fn no_key_changes_without_a_name_for_it() {
    let plans: Vec<Plan> = [
        Case::default(),
        Case::edit("bookworm", "trixie"),
        Case::edit("1GiB", "2GiB"),
        Case::edit("/var/www", "/srv"),
        Case { token: "other", ..Case::default() },
        Case { secret_key: b"other", ..Case::default() },
        Case { pin: Some("1"), ..Case::default() },
    ]
    .iter()
    .map(plan)
    .collect();
    for (one, other) in plans.iter().flat_map(|one| plans.iter().map(move |other| (one, other))) {
        let mut parents_differ = false;
        for (now, before) in one.steps.iter().zip(&other.steps) {
            let reported = difference(now, before).is_some();
            assert_eq!(now.key != before.key, reported || parents_differ, "{}", now.name);
            parents_differ = now.key != before.key;
        }
    }
}
