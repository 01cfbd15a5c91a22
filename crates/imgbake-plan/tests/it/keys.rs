//! A key changes with all that decides its step's result, and with nothing else.

use std::collections::BTreeMap;

use imgbake_plan::differences;
use imgbake_types::{Digest, Plan};
use proptest::prelude::*;

use crate::common::{Case, Files, files};

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

const ALL: [&str; 9] =
    ["source", "boot", "shell-1", "site", "shell-2", "seal", "capture", "publish", "verify"];

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
        ("nothing", Case::default(), &ALL[9..]),
        ("suite", edit("bookworm", "trixie"), &ALL[..]),
        ("tool", Case { tool: "imgbake 2", ..Case::default() }, &ALL[..]),
        ("pin", Case { pin: Some("sha256:1"), ..Case::default() }, &ALL[..]),
        ("architecture", edit("name = \"web\"", "name = \"web\"\narch = \"aarch64\""), &ALL[..]),
        ("memory", edit("1GiB", "2GiB"), &ALL[1..]),
        ("ssh user", edit("[builder.qemu]", "[ssh]\nuser = \"me\"\n[builder.qemu]"), &ALL[1..]),
        ("timeout of the machine", edit("5m", "6m"), &ALL[9..]),
        ("restore timeout", edit("5m\"", "5m\"\nrestore_timeout = \"9s\""), &ALL[9..]),
        ("script's bytes", with("/t/../p/nginx.sh", "echo 2", 0o755), &ALL[2..]),
        ("script's mode", with("/t/../p/nginx.sh", "echo", 0o700), &ALL[9..]),
        ("file's bytes", with("/t/site", "<q>", 0o644), &ALL[3..]),
        ("file's mode", with("/t/site", "<p>", 0o600), &ALL[3..]),
        ("file's destination", edit("/var/www", "/srv"), &ALL[3..]),
        ("secret", Case { token: "hunter3", ..Case::default() }, &ALL[4..]),
        ("host's secret", Case { secret_key: b"other", ..Case::default() }, &ALL[4..]),
        ("the template's folder", moved, &ALL[9..]),
        ("a step's name", edit("name = \"site\"", "name = \"pages\""), &ALL[9..]),
        ("caching", edit("name = \"site\"", "name = \"site\"\ncache = false"), &ALL[9..]),
        ("cache key", edit("name = \"site\"", "name = \"site\"\ncache_key = \"1\""), &ALL[3..]),
        (
            "memory of secrets",
            edit("[publish]", "[cache]\nsensitive_memory = true\n[publish]"),
            &ALL[9..],
        ),
        ("seal's skip", edit("[publish]", "[seal]\nskip = [\"trim\"]\n[publish]"), &ALL[1..]),
        ("seal", edit("[publish]", "[seal]\nresidue = \"warn\"\n[publish]"), &ALL[5..]),
        ("channel", edit("channel = \"dev\"", ""), &ALL[7..]),
        ("description", edit("one", "two"), &ALL[7..]),
        ("labels", edit("a = \"b\"", "a = \"c\""), &ALL[7..]),
        ("name", edit("name = \"web\"", "name = \"www\""), &ALL[7..]),
        ("tests", edit("run = \"true\"", "run = \"false\""), &ALL[8..]),
    ];
    for (what, case, expected) in cases {
        assert_eq!(changed(&case), expected, "{what}");
    }
}

/// `inputs` of the step `site`: files by their bytes, others by what they were found to be.
#[test]
fn inputs_decide_their_step() {
    let case = |version: &str, index: &str| {
        let list = "[\"file:version\", \"url:https://h/InRelease\", \"command:git describe\"]";
        let site = "name = \"site\"";
        let asked = BTreeMap::from([
            ("url:https://h/InRelease".to_owned(), Digest::sha256(index)),
            ("command:git describe".to_owned(), Digest::sha256("v1")),
        ]);
        let files = files().with("/t/version", version, 0o644);
        Case { files, asked, ..Case::edit(site, &format!("{site}\ninputs = {list}")) }
            .plan()
            .unwrap()
    };
    let before = case("1", "a");
    let why =
        |now: &Plan| -> Vec<(String, String)> { differences(now, &before).into_iter().collect() };
    assert!(why(&case("1", "a")).is_empty());
    for (now, reason) in [
        (case("2", "a"), "file version changed"),
        (case("1", "b"), "input url:https://h/InRelease changed"),
    ] {
        let found = why(&now);
        assert!(found.contains(&("site".to_owned(), reason.to_owned())), "{found:?}");
        assert_eq!(found.len(), ALL[3..].len(), "{found:?}");
    }
    assert_eq!(before.steps[3].files.len(), 2, "they are read when the build begins, and shown");
    let Err(error) =
        Case::edit("name = \"site\"", "name = \"site\"\ninputs = [\"file:gone\"]").plan()
    else {
        panic!("there is no such file")
    };
    assert!(error.to_string().contains("there is no file `/t/gone`"), "{error}");
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

/// Steps with every setting of their kinds.
const EVERY_SETTING: &str = r#"
[variables.token]
sensitive = true
[[provision]]
type = "shell"
name = "one"
script = "./a.sh"
interpreter = ["/bin/bash", "-e"]
user = "daemon"
workdir = "/tmp"
timeout = "90m"
retry = { attempts = 3, backoff = "2000ms" }
exit_codes = [0, 3]
reboot = "expected"
cache_key = "k"
env = { B = "{{ var.token }}", A = "1" }
[[provision]]
type = "shell"
inline = ["echo {{ var.token }}"]
env = {}
cache = false
[[provision]]
type = "file"
source = "files"
destination = "/srv/"
owner = "daemon:sys"
[[provision]]
type = "file"
source = "files"
destination = "/srv/x"
mode = "0600"
[[provision]]
type = "file"
content = "t={{ var.token }}"
destination = "/etc/t"
[[provision]]
type = "file"
direction = "download"
source = "/var/log/x"
destination = "out/x.log"
"#;

/// Layers are found by their keys: a key that changes without need builds every user's images anew.
#[test]
fn keys_are_those_of_earlier_imgbakes() {
    let case = Case::source("image = \"base:prod\"");
    let files = Files::default().with("/t/a.sh", "echo", 0o755).with("/t/files", "x", 0o644);
    let text = format!("{}{EVERY_SETTING}", case.text);
    let plan = Case { text, files, ..case }.plan().unwrap();
    let last = plan.layers().last().unwrap();
    assert_eq!(last.name, "file-4");
    assert_eq!(
        last.key.to_string(),
        "sha256:3e4623ecc2f3805dc6672e3216c67a32b559150b9f167a5906888aee2517c726"
    );
}

#[test]
fn of_two_files_it_is_known_which_is_which() {
    let key = |disk: &str, sums: &str| {
        let files = Files::default().with("/t/a", "a", 0o644).with("/t/b", "b", 0o644);
        let text = format!("url = \"{disk}\"\nchecksum = \"file:{sums}\"");
        Case { files, ..Case::source(&text) }.plan().unwrap().steps[0].key.clone()
    };
    assert_ne!(key("a", "b"), key("b", "a"));
    assert_eq!(key("file:./a", "b"), key("a", "b"));
}

#[test]
fn what_cannot_be_used_again_says_so() {
    let cached = |case: &Case| -> Vec<bool> {
        case.plan().unwrap().layers().iter().map(|step| step.cache).collect()
    };
    assert_eq!(cached(&Case::default()), [true; 5]);
    let step = Case::edit("name = \"site\"", "name = \"site\"\ncache = false");
    assert_eq!(cached(&step), [true, true, true, false, true]);
    let source = Case { known: false, ..Case::default() };
    assert_eq!(cached(&source), [false, true, true, true, true]);
}

#[test]
fn each_step_tells_the_secrets_that_it_needs() {
    let plan = Case::edit("run = \"true\"", "run = \"{{ var.token }}\"").plan().unwrap();
    let with: Vec<&str> = plan
        .steps
        .iter()
        .filter(|step| step.secrets == ["token"])
        .map(|step| step.name.as_str())
        .collect();
    assert_eq!(with, ["shell-2", "verify"]);
    assert!(plan.steps.iter().all(|step| with.contains(&step.name.as_str())
        == step.inputs.contains_key("sensitive variable token")));
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
