//! What a platform engineer does in the first week, in one home: a base, a child in two flavours, a database with
//! a data disk; a test that fails, a registry, a colleague's machine, a last step that changes.

use camino::Utf8PathBuf;
use imgbake_testkit::{
    DockerRegistry, DockerSettings, TestHome, lock_guests, run_tool, shell, tiny_template,
};

const MACHINE: &str =
    "[builder.qemu]\nmemory = \"256MiB\"\naccel = \"tcg\"\nboot_timeout = \"5m\"\n";

/// A template on another image.
fn on(home: &TestHome, file: &str, name: &str, image: &str, rest: &str) -> Utf8PathBuf {
    let text =
        format!("[image]\nname = \"{name}\"\n[source]\nimage = \"{image}\"\n{MACHINE}{rest}");
    home.write(&format!("images/{file}"), &text)
}

fn test(name: &str, run: &str) -> String {
    format!("[[test]]\nname = \"{name}\"\nrun = '''{run}'''\n")
}

fn web(home: &TestHome, page: &str) -> Utf8PathBuf {
    let steps = [
        shell("flavour", "echo {{ var.flavour }} > /etc/flavour"),
        shell("page", &format!("echo {page} > /etc/page")),
        test("has its page", &format!("grep -qx {page} /etc/page")),
        "[publish]\nchannel = \"dev\"\n".to_owned(),
    ];
    let head = "[variables.flavour]\n[[matrix]]\nflavour = [\"a\", \"b\"]\n";
    on(home, "web.toml", "web-{{ var.flavour }}", "base:dev", &(head.to_owned() + &steps.concat()))
}

#[test]
fn from_a_first_template_to_a_colleagues_machine() {
    let home = TestHome::new();
    let _lock = lock_guests();
    let web_template = all_at_once(&home);
    a_data_disk(&home);
    a_failing_test_blocks(&home, &web_template);
    a_secret_costs_no_bytes(&home);
    a_failed_step_is_looked_at(&home);

    // The last step changes: what came before is not run again.
    web(&home, "changed");
    let log = home.build(&[web_template.as_str(), "--except", "web-b"]).exits(0);
    assert!(!log.ran().contains(&"flavour") && log.ran().contains(&"page"), "{:?}", log.ran());

    a_colleague_pulls(&home);

    // What failed is removed by name; what others need is not.
    let listed = home.run(&["images", "web-a", "--json"]).json();
    let bad = listed.as_array().unwrap().iter().find(|one| one["verify"]["status"] == "failed");
    let bad = format!("web-a:{}", bad.unwrap()["version"].as_str().unwrap());
    home.run(&["rm", &bad]).exits(0);
    let base = home.run(&["show", "base", "--json"]).json();
    let parent = format!("base:{}", base["version"].as_str().unwrap());
    assert_eq!(home.run(&["rm", &parent]).code, 3);
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

fn read(home: &TestHome, name: &str) -> String {
    std::fs::read_to_string(home.dir().join(name)).unwrap()
}

/// A base and its children, for a pipeline: each build's version, and every test's result.
fn all_at_once(home: &TestHome) -> Utf8PathBuf {
    let base = tiny_template(
        home,
        "base",
        &[&shell("base", "echo 1 > /etc/base"), "[publish]\nchannel = \"dev\"\n"].concat(),
    );
    let web_template = web(home, "hello");
    let templates = [base.as_str(), web_template.as_str()];
    // On a fresh machine it is said what waits for what, and nothing is built.
    let planned = home.run(&[&["build"], &templates[..], &["--dry-run"]].concat()).exits(0);
    assert_eq!(planned.stdout.matches("will be built on base").count(), 2, "{}", planned.stdout);
    assert_eq!(home.run(&["images"]).exits(0).stdout, "");

    let files = ["--metadata-file", "built.json", "--junit", "tests.xml"];
    home.build(&[&templates[..], &files].concat()).exits(0);
    let built: serde_json::Value = serde_json::from_str(&read(home, "built.json")).unwrap();
    let builds = built["builds"].as_array().unwrap();
    assert_eq!(builds.len(), 3);
    for one in builds {
        assert_eq!((&one["outcome"], &one["channel"]), (&"done".into(), &"dev".into()), "{one}");
    }
    let junit = read(home, "tests.xml");
    assert_eq!(junit.matches("name=\"has its page\"").count(), 2, "{junit}");
    assert!(!junit.contains("<failure"), "{junit}");
    web_template
}

/// What a step wrote on a data disk is there for the next one, whether it ran now or before; and for the tests,
/// where the template wants it.
fn a_data_disk(home: &TestHome) {
    let db = |state: &str| {
        tiny_template(
            home,
            "db",
            &[
                "extra_disks = [\"64MiB\"]\n",
                &shell("data", "echo the-data > /tmp/data; dd if=/tmp/data of=/dev/vdb"),
                &shell(
                    "state",
                    &format!("head -c 8 /dev/vdb | grep -qx the-data; echo {state} > /etc/db"),
                ),
                &test(
                    "has its data",
                    &format!("head -c 8 /dev/vdb | grep -q the-data && grep -qx {state} /etc/db"),
                ),
                "[verify]\nextra_disks = \"built\"\n[publish]\nchannel = \"dev\"\n",
            ]
            .concat(),
        )
    };
    let first = home.build(&[db("new").as_str()]).exits(0);
    assert!(first.layers("saved").contains(&"state"), "{:?}", first.layers("saved"));
    let second = home.build(&[db("changed").as_str()]).exits(0);
    assert_eq!(second.ran(), ["state"]);
    // A version does not hold it: there the test fails, and the clone can be looked at.
    let kept = home.run(&["test", "db", "--keep"]).exits(1);
    assert!(kept.stderr.contains("clones' extra disks are empty"), "{}", kept.stderr);
    assert_eq!(looked_at(home, &kept.stderr, "cat /etc/db"), "changed\n");
}

/// What a command prints in a machine that runs on; then it is ended.
fn looked_at(home: &TestHome, stderr: &str, command: &str) -> String {
    let ssh = stderr.lines().find(|line| line.trim_start().starts_with("ssh -i ")).unwrap();
    let output = run_tool("sh", &["-c", &format!("{ssh} {command}")]).exits(0).stdout;
    home.run(&["clean"]).exits(0);
    output
}

/// The channel stays where it is, and the reason is found afterwards.
fn a_failing_test_blocks(home: &TestHome, web_template: &Utf8PathBuf) {
    let broken = read(home, "images/web.toml");
    let broken = broken.replace("grep -qx hello", "echo seen this; grep -qx other");
    home.write("images/web.toml", &broken);
    let before = home.run(&["show", "web-a:dev", "--json"]).json()["digest"].clone();
    let build = ["build", web_template.as_str(), "--only", "web-a", "--on-error", "keep"];
    let output = home.run(&[&build[..], &["--junit", "failed.xml"]].concat()).exits(1);
    assert_eq!(looked_at(home, &output.stderr, "cat /etc/page"), "hello\n");
    assert_eq!(home.run(&["show", "web-a:dev", "--json"]).json()["digest"], before);
    let failed = home.run(&["show", "web-a"]).exits(0).stdout;
    let found = failed.contains("has its page failed on verify-1:") && failed.contains("seen this");
    assert!(found, "{failed}");
    assert!(read(home, "failed.xml").contains("<failure"));
    let refused = home.run(&["promote", "web-a", "--to", "staging"]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
}

/// A secret of the build is looked for in all of a child's disk, of which only what is new is stored.
fn a_secret_costs_no_bytes(home: &TestHome) {
    let rest = "[variables.token]\nsensitive = true\n[verify]\nenabled = false\n\
        [[provision]]\nname = \"login\"\ntype = \"shell\"\nenv = { T = \"{{ var.token }}\" }\n\
        inline = ['test -n \"$T\"']\n";
    let secret = on(home, "secret.toml", "secret", "base:dev", rest);
    let log = home.build(&[secret.as_str(), "--var", "token=Zq7-kLm0pWy9vT3s"]).exits(0);
    let ended = log.of("stage_finished");
    let publish = ended.iter().find(|event| event["stage"] == "publish").unwrap();
    assert!(publish["bytes"].as_u64().unwrap() < 2 << 20, "{publish}");
}

fn a_failed_step_is_looked_at(home: &TestHome) {
    let step = shell("breaks", "echo what went wrong; exit 3");
    let bad = on(home, "bad.toml", "bad", "base:dev", &step);
    home.build(&[bad.as_str()]).exits(1);
    let logs = home.run(&["logs", "latest", "--step", "breaks"]).exits(0).stdout;
    assert!(logs.contains("what went wrong"), "{logs}");
}

/// Out to a registry, and onto another machine: to two files, and as a stream.
fn a_colleague_pulls(home: &TestHome) {
    let docker = DockerRegistry::start(DockerSettings::default());
    let remote = format!("{}/team/web", docker.host());
    home.run(&["push", "web-a:dev", &remote]).exits(0);
    let version = home.run(&["show", "web-a:dev", "--json"]).json();
    let from = format!("{remote}:{}", version["version"].as_str().unwrap());
    let other = TestHome::new();
    other.run(&["pull", &from, "-o", "web.raw", "-o", "web.qcow2"]).exits(0);
    let check = format!("cd {} && sha256sum -c web.raw.sha256", other.dir());
    run_tool("sh", &["-c", &check]).exits(0);
    let streamed = other.command(&["pull", &from, "-o", "-"]).output().unwrap();
    assert!(streamed.stdout == std::fs::read(other.dir().join("web.raw")).unwrap());
    assert_eq!(other.leftovers(), Vec::<String>::new());
}
