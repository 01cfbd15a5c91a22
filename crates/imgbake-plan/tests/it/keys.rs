//! A key changes with all that decides its step's result, and with nothing else.

use proptest::prelude::*;

use crate::common::{Case, files};

/// The names of the steps whose keys differ from those of the unchanged template.
fn changed(case: &Case) -> Vec<String> {
    let before = Case::default().plan().expect("a plan");
    let after = case.plan().expect("a plan");
    let keys: Vec<_> = before.steps.iter().map(|step| &step.key).collect();
    after
        .steps
        .iter()
        .filter(|step| !keys.contains(&&step.key))
        .map(|step| step.name.clone())
        .collect()
}

const ALL: [&str; 8] =
    ["source", "shell-1", "site", "shell-2", "seal", "capture", "publish", "verify"];

#[test]
fn one_change_at_a_time() {
    let edit = Case::edit;
    let with = |path: &str, text: &str, mode: u32| Case {
        files: files().with(path, text, mode),
        ..Case::default()
    };
    let moved = Case {
        folder: "/u",
        files: files().with("/u/../p/nginx.sh", "echo", 0o755).with("/u/site", "<p>", 0o644),
        ..Case::default()
    };
    let cases = [
        ("nothing", Case::default(), &ALL[8..]),
        ("suite", edit("bookworm", "trixie"), &ALL[..]),
        ("tool", Case { tool: "imgbake 2", ..Case::default() }, &ALL[..]),
        ("pin", Case { pin: Some("sha256:1"), ..Case::default() }, &ALL[..]),
        ("architecture", edit("name = \"web\"", "name = \"web\"\narch = \"aarch64\""), &ALL[..]),
        ("memory", edit("1GiB", "2GiB"), &ALL[1..]),
        ("ssh user", edit("[builder.qemu]", "[ssh]\nuser = \"me\"\n[builder.qemu]"), &ALL[1..]),
        ("timeout of the machine", edit("5m", "6m"), &ALL[8..]),
        ("script's bytes", with("/t/../p/nginx.sh", "echo 2", 0o755), &ALL[1..]),
        ("script's mode", with("/t/../p/nginx.sh", "echo", 0o700), &ALL[8..]),
        ("file's bytes", with("/t/site", "<q>", 0o644), &ALL[2..]),
        ("file's mode", with("/t/site", "<p>", 0o600), &ALL[2..]),
        ("file's destination", edit("/var/www", "/srv"), &ALL[2..]),
        ("secret", Case { token: "hunter3", ..Case::default() }, &ALL[3..]),
        ("host's secret", Case { secret_key: b"other", ..Case::default() }, &ALL[3..]),
        ("the template's folder", moved, &ALL[8..]),
        ("a step's name", edit("name = \"site\"", "name = \"pages\""), &ALL[8..]),
        ("seal", edit("[publish]", "[seal]\nresidue = \"warn\"\n[publish]"), &ALL[4..]),
        ("channel", edit("channel = \"dev\"", ""), &ALL[6..]),
        ("description", edit("one", "two"), &ALL[6..]),
        ("labels", edit("a = \"b\"", "a = \"c\""), &ALL[6..]),
        ("name", edit("name = \"web\"", "name = \"www\""), &ALL[6..]),
        ("tests", edit("run = \"true\"", "run = \"false\""), &ALL[7..]),
    ];
    for (what, case, expected) in cases {
        assert_eq!(changed(&case), expected, "{what}");
    }
}

#[test]
fn steps_out_of_the_template_change_what_follows() {
    let without = Case::edit("[[provision]]\ntype = \"shell\"\nscript = \"../p/nginx.sh\"\n", "");
    assert_eq!(changed(&without), ["site", "shell-1", "seal", "capture", "publish", "verify"]);
}

#[test]
fn proven_bytes_may_come_from_anywhere() {
    let digest = "a".repeat(64);
    let key = |text: &str| Case::source(text).plan().unwrap().steps[0].key.clone();
    let proven = |url: &str| format!("url = \"https://{url}\"\nchecksum = \"sha256:{digest}\"");
    assert_eq!(key(&proven("a/x")), key(&proven("b/y")));
    let listed = |url: &str| format!("url = \"https://{url}\"\nchecksum = \"file:https://s\"");
    assert_ne!(key(&listed("a/x")), key(&listed("b/y")));
    assert_ne!(key("image = \"a:prod\""), key("image = \"a:dev\""));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// No plan holds a sensitive value, whatever it is.
    #[test]
    fn a_plan_holds_no_secret(token in "[A-Z]{12,20}") {
        let token: &'static str = token.leak();
        let plan = Case { token, ..Case::default() }.plan().unwrap();
        prop_assert!(!serde_json::to_string(&plan).unwrap().contains(token));
        prop_assert_eq!(&plan.secrets, &["token"]);
    }
}
