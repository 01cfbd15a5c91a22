//! The command line without guests: what a user sees of mistakes and of an empty home.
#![expect(clippy::disallowed_methods, reason = "tests run the program")]
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

use std::process::{Command, Output};

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imgbake"));
        command
            .env("IMGBAKE_HOME", self.0.path().join("home"))
            .env("NO_COLOR", "1")
            .current_dir(self.0.path());
        command
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        read(&self.command().args(args).output().unwrap())
    }
}

fn read(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

const GOOD: &str = "[image]\nname = \"web\"\n[source]\nbootstrap = { distribution = \"debian\", suite = \"bookworm\" }\n";

#[test]
fn every_mistake_at_once_with_its_place() {
    let home = Home::new();
    let bad = home.write(
        "bad.toml",
        "[image]\nnmae = \"web\"\n[source]\nurl = \"x.qcow2\"\n[builder.qemu]\ncpus = \"two\"\nmemory = \"1 gig\"\n",
    );
    let (code, out, err) = home.run(&["validate", &bad]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    for words in [
        "nmae",
        "name",
        "checksum",
        "cpus",
        "memory",
        "bad.toml:2",
        "bad.toml:6",
        "bad.toml:7",
        "errors",
    ] {
        assert!(err.contains(words), "{words}: {err}");
    }
}

#[test]
fn a_good_template_is_valid_and_its_plan_has_keys() {
    let home = Home::new();
    let good = home.write("good.toml", GOOD);
    let (code, out, err) = home.run(&["validate", &good]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("valid"), "{out}");
    let (code, out, err) = home.run(&["plan", &good, "--json"]);
    assert_eq!(code, 0, "{err}");
    let plans: serde_json::Value = serde_json::from_str(&out).unwrap();
    let plan = &plans[0];
    assert_eq!(plan["steps"].as_array().unwrap().len(), 6);
    assert!(plan["steps"][0]["key"].as_str().unwrap().starts_with("sha256:"));
    let (code, out, _) = home.run(&["plan", &good]);
    assert!(code == 0 && out.contains("bootstrap") && out.contains("machine-id"), "{out}");
    assert!(out.contains("bootstrap debian bookworm\n"), "{out}");
    for (packages, words) in [("'curl'", "1 more package\n"), ("'curl', 'jq'", "2 more packages\n")]
    {
        let more = format!("suite = \"bookworm\", packages = [{packages}]");
        let template = home.write("more.toml", &GOOD.replace("suite = \"bookworm\"", &more));
        let (_, out, _) = home.run(&["plan", &template]);
        assert!(out.contains(&format!("bootstrap debian bookworm, {words}")), "{out}");
    }
}

#[test]
fn a_sensitive_value_is_in_no_plan() {
    let home = Home::new();
    let template = home.write(
        "t.toml",
        &format!(
            "{GOOD}[variables.token]\nsensitive = true\n[[provision]]\ntype = \"shell\"\ninline = [\"use\"]\n\
             env = {{ T = \"{{{{ var.token }}}}\" }}\n"
        ),
    );
    let mut command = home.command();
    command.env("IMGBAKE_VAR_token", "hunter2hunter2").args(["plan", &template, "--json"]);
    let (code, out, err) = read(&command.output().unwrap());
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("⟦secret:token⟧") && !out.contains("hunter2"), "{out}");
    let (code, _, err) = home.run(&["plan", &template]);
    assert_eq!(code, 2);
    assert!(err.contains("token"), "{err}");
}

#[test]
fn an_empty_home_has_no_images_and_says_so() {
    let home = Home::new();
    let (code, out, err) = home.run(&["images"]);
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.contains("no versions yet"), "{err}");
    assert_eq!(home.run(&["images", "--json"]).1.trim(), "[]");
    let (code, _, err) = home.run(&["show", "web:dev"]);
    assert_eq!(code, 1);
    assert!(err.contains("web"), "{err}");
    let (code, _, err) = home.run(&["promote", "web:dev", "--to", "prod"]);
    assert_eq!(code, 1, "{err}");
    assert_eq!(home.run(&["history", "web"]).0, 2);
    assert_eq!(home.run(&["show", "No:Such:Ref"]).0, 2);
}

#[test]
fn builds_leave_records_even_where_none_begins() {
    let home = Home::new();
    let (code, out, err) = home.run(&["builds"]);
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.contains("no builds yet"), "{err}");
    assert_eq!(home.run(&["builds", "--json"]).1.trim(), "[]");
    let (code, _, err) = home.run(&["logs", "latest"]);
    assert!(code == 1 && err.contains("no builds yet"), "{err}");

    // A source that is not there: no machine is ever made.
    let sums = "allow_unverified = true, checksum = \"none\"";
    let source = format!("[source]\nurl = \"/no/such/disk.raw\"\n{}\n", sums.replace(", ", "\n"));
    let template = home.write("t.toml", &format!("[image]\nname = \"web\"\n{source}"));
    let ids: Vec<String> = (0..2)
        .map(|_| {
            let (code, _, err) = home.run(&["build", &template]);
            assert!(code != 0, "{err}");
            let builds = json(&home.run(&["builds", "web", "--json"]).1);
            assert_eq!(builds[0]["state"], "failed");
            assert!(builds[0]["error"].as_str().unwrap().contains("/no/such/disk.raw"), "{builds}");
            builds[0]["id"].as_str().unwrap().to_owned()
        })
        .collect();
    let text = home.run(&["logs", &ids[0]]).1;
    assert!(text.contains("web from") && text.contains("failed: "), "{text}");
    let (code, _, err) = home.run(&["logs", "build-"]);
    assert!(code == 2 && err.contains("beginning of several builds"), "{err}");
    let wrong = format!("{}x", &ids[0][..ids[0].len() - 1]);
    let (code, _, err) = home.run(&["logs", &wrong]);
    assert!(code == 1 && err.contains(&format!("did you mean {}?", ids[0])), "{err}");

    // Retention: only the newest stays.
    home.write("imgbake.toml", "[retention]\nbuilds = 1\n");
    assert_eq!(home.run(&["gc"]).0, 0);
    let builds = json(&home.run(&["builds", "--json"]).1);
    assert_eq!(builds.as_array().unwrap().len(), 1);
    assert_eq!(builds[0]["id"], ids[1].as_str());
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn what_a_registry_is_asked_for_must_be_whole() {
    let home = Home::new();
    for (args, words) in [
        (&["pull", "127.0.0.1:1/web", "-o", "web.raw"][..], "which version"),
        (&["show", "127.0.0.1:1/web"], "which version"),
        (&["images", "127.0.0.1:1/web:dev"], "names one version"),
        (&["pull", "web:dev", "-o", "web.raw", "--seed", "old.raw"], "leave --seed out"),
        (&["pull", "127.0.0.1:1/web:dev", "-o", "web.tar"], "has no known extension"),
    ] {
        let (code, _, err) = home.run(args);
        assert_eq!(code, 2, "{args:?}: {err}");
        assert!(err.contains(words), "{args:?}: {err}");
    }
}

#[test]
fn init_writes_a_template_that_is_valid() {
    let home = Home::new();
    let (code, out, err) = home.run(&["init", "My Web"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("imgbake build 'My Web/image.toml'"), "{out}");
    assert_eq!(home.run(&["validate", "My Web/image.toml"]).0, 0);
    let (code, _, err) = home.run(&["init", "My Web"]);
    assert!(code == 2 && err.contains("exists already"), "{err}");
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    let home = Home::new();
    let good = home.write("good.toml", GOOD);
    let mut command = home.command();
    // No PATH, and administrators' folders hidden behind empty ones.
    command.env("PATH", "/nonexistent").args(["build", &good]);
    let (code, _, err) = read(&command.output().unwrap());
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("mmdebstrap") && err.contains("apt-get install"), "{err}");
}

/// What is written after a build is looked at before it; words on a command line drive no terminal.
#[test]
fn what_cannot_be_written_ends_a_build_before_it_begins() {
    let home = Home::new();
    let good = home.write("good.toml", GOOD);
    let dir = home.0.path().join("folder");
    std::fs::create_dir(&dir).unwrap();
    for flag in ["--metadata-file", "--junit"] {
        for path in ["folder", "/dev/null", "missing/report"] {
            let (code, _, err) = home.run(&["build", &good, flag, path]);
            assert!(code != 0 && err.contains(path), "{flag} {path}: {err}");
            assert!(!home.0.path().join("home").exists(), "nothing was begun: {err}");
        }
    }
    let (code, _, err) = home.run(&["build", &good, "--output", "a.raw", "--output", "./a.raw"]);
    assert!(code == 2 && err.contains("another output"), "{err}");
    for arguments in [&["show", "web", "\u{1b}]0;T\u{7}"][..], &["\u{1b}[8mx"]] {
        let (code, _, err) = home.run(arguments);
        assert!(code == 2 && !err.contains(['\u{1b}', '\u{7}']), "{err:?}");
    }
    assert_eq!(home.run(&["--version"]).0, 0);
    assert!(home.run(&["build", "--help"]).1.contains("Usage: imgbake build"));
}

#[test]
fn settings_come_in_layers() {
    let home = Home::new();
    home.write("imgbake.toml", "on_error = \"keep\"\nprogress = \"plain\"\n");
    let (code, out, err) = home.run(&["doctor", "--json"]);
    assert!(code == 0 || code == 4, "{err}");
    let doctor: serde_json::Value = serde_json::from_str(&out).unwrap();
    let of = |name: &str| {
        doctor["settings"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(of("on_error")["value"], "keep");
    assert!(of("on_error")["origin"].as_str().unwrap().ends_with("imgbake.toml"));
    assert_eq!(of("home")["origin"], "IMGBAKE_HOME");
    let (_, out, _) = home.run(&["doctor", "--json", "--progress", "quiet"]);
    assert!(out.contains("\"flag\""), "{out}");
    home.write("imgbake.toml", "on_error = \"explode\"\n");
    let (code, _, err) = home.run(&["images"]);
    assert!(code == 2 && err.contains("cleanup, keep, shell, ask"), "{err}");
    home.write("imgbake.toml", "onerror = 1\n");
    assert_eq!(home.run(&["images"]).0, 2);
}

#[test]
fn manuals_and_completions_are_written() {
    let home = Home::new();
    let (code, out, _) = home.run(&["completions", "bash"]);
    assert!(code == 0 && out.contains("_imgbake"));
    assert_eq!(home.run(&["man", "man"]).0, 0);
    assert!(home.0.path().join("man/imgbake-build.1").exists());
}

/// Every template that the repository shows, and the lines of the library's page.
#[test]
fn the_templates_and_the_lines_of_the_library_are_valid() {
    let home = Home::new();
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    std::os::unix::fs::symlink(root.join("provisioners"), home.0.path().join("provisioners"))
        .unwrap();
    std::fs::create_dir(home.0.path().join("templates")).unwrap();
    let page = std::fs::read_to_string(root.join("provisioners/README.md")).unwrap();
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).collect();
    assert!(blocks.len() > 3);
    for block in blocks {
        let (lines, _) = block.split_once("```").unwrap();
        let template = home.write("templates/web.toml", &format!("{GOOD}{lines}"));
        let (code, out, err) = home.run(&["validate", &template]);
        assert!(code == 0 && out.contains("valid"), "{lines}{err}");
    }
    for template in ["debian-12", "hardened"] {
        let template = root.join(format!("templates/{template}.toml"));
        let variables = ["ops_key", "repository", "repository_key"].map(|name| format!("{name}=x"));
        let text = std::fs::read_to_string(&template).unwrap();
        let mut args = vec!["validate", template.to_str().unwrap()];
        for variable in &variables {
            let name = variable.trim_end_matches("=x");
            if text.contains(&format!("[variables.{name}]")) {
                args.extend(["--var", variable]);
            }
        }
        let (code, out, err) = home.run(&args);
        assert!(code == 0 && out.contains("valid"), "{err}");
    }
}
