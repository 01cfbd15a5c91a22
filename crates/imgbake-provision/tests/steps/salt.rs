//! Salt's own program (`./dev setup` installs it), with states that change only a folder of the test.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::BuildErrorKind;
use imgbake_comm::{Communicator, Exec};
use imgbake_types::record::step::ResourceOutcome as Is;
use imgbake_types::secret::marker;
use imgbake_types::spec::ProvisionSpec;
use serde_json::{Value, json};

use crate::local::{LocalGuest, changed, find, outcomes};

/// `salt-call` of this tree.
fn salt_call() -> Utf8PathBuf {
    let tree = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let bin = tree.join("target/tools-salt/bin/salt-call");
    assert!(bin.is_file(), "Salt is not in {bin}: run `./dev setup`");
    bin
}

impl LocalGuest {
    /// A step that applies these states, which find the test's folder in the pillar.
    fn salt(&self, states: &[(&str, &str)], settings: &Value) -> ProvisionSpec {
        for (name, text) in states {
            self.put(&format!("states/{name}"), text);
        }
        let mut all = json!({
            "states": self.at("states"),
            "salt_bin": salt_call(),
            "pillar_vars": { "dir": self.at("out") },
        });
        for (key, value) in settings.as_object().unwrap() {
            all[key] = value.clone();
        }
        self.step("salt", &all)
    }
}

/// Each of these is changed by every run.
const BROKEN: &str = r#"
append:
  cmd.run:
    - name: date +%N >> {{ pillar.dir }}/log
time stamp:
  file.managed:
    - name: {{ pillar.dir }}/stamp
    - contents: {{ salt['cmd.run']('date +%s.%N') }}
fights a:
  file.managed: [{name: {{ pillar.dir }}/fight}, {contents: one}]
fights b:
  file.managed: [{name: {{ pillar.dir }}/fight}, {contents: two}]
mode a:
  file.managed: [{name: {{ pillar.dir }}/mode}, {mode: '0644'}, {contents: x}]
mode b:
  file.managed: [{name: {{ pillar.dir }}/mode}, {mode: '0600'}, {contents: x}]
random:
  file.managed:
    - name: {{ pillar.dir }}/random
    - contents: {{ range(1, 100000) | random }}
order:
  file.managed:
    - name: {{ pillar.dir }}/order
    - contents: "{{ salt['cmd.run']('shuf -i 1-99').split() | join(' ') }}"
two runs:
  file.managed:
    - name: {{ pillar.dir }}/late
    - contents: {{ salt['file.file_exists'](pillar.dir ~ '/marker') }}
marker:
  file.managed: [{name: {{ pillar.dir }}/marker}, {contents: there}]
restart:
  cmd.run:
    - name: touch {{ pillar.dir }}/restarted
    - require: [file: marker]
"#;

/// None of these is changed by a second run.
const SOUND: &str = r"
page:
  file.managed: [{name: {{ pillar.dir }}/page}, {contents: hello}, {mode: '0644'}]
folder:
  file.directory: [{name: {{ pillar.dir }}/folder}]
link:
  file.symlink: [{name: {{ pillar.dir }}/link}, {target: page}]
line:
  file.append: [{name: {{ pillar.dir }}/page}, {text: hello}]
once:
  cmd.run: [{name: 'touch {{ pillar.dir }}/once'}, {creates: {{ pillar.dir }}/once}]
unless:
  cmd.run: [{name: 'touch {{ pillar.dir }}/unless'}, {unless: 'test -e {{ pillar.dir }}/unless'}]
handler:
  cmd.run: [{name: 'echo x >> {{ pillar.dir }}/reloads'}, {onchanges: [{file: page}]}]
watcher:
  cmd.wait: [{name: 'echo x >> {{ pillar.dir }}/waits'}, {watch: [{file: page}]}]
nothing:
  test.nop: []
";

#[tokio::test]
async fn a_second_run_changes_what_does_not_converge_and_nothing_else() {
    for (states, always) in [
        (
            BROKEN,
            &[
                "append",
                "time stamp",
                "fights a",
                "fights b",
                "mode a",
                "mode b",
                "random",
                "order",
                "two runs",
                "restart",
            ][..],
        ),
        (SOUND, &[]),
    ] {
        let local = LocalGuest::new();
        fs::create_dir(local.at("out")).unwrap();
        let spec = local.salt(&[("site.sls", states)], &json!({"state": ["site"]}));
        let (end, first) = local.ran(&spec).await;
        end.unwrap();
        assert!(first.counts.changed > 6 && first.exit_code == Some(0), "{first:?}");
        let (end, second) = local.ran(&spec).await;
        end.unwrap();
        assert_eq!(changed(&second), always, "{second:?}");
        assert_eq!(second.counts.total(), first.counts.total());
        for name in ["reloads", "waits"].iter().filter(|_| states == SOUND) {
            assert_eq!(fs::read_to_string(local.at("out").join(name)).unwrap(), "x\n");
        }
        let stamp = second.resources.iter().find(|one| one.name == "time stamp");
        if let Some(stamp) = stamp {
            assert_eq!((stamp.kind.as_str(), stamp.line), ("file.managed", Some(5)));
            assert_eq!(stamp.file.as_deref(), Some(local.at("states/site.sls").as_str()));
            assert!(stamp.diff.as_ref().unwrap().contains("@@") && stamp.seconds.unwrap() > 0.0);
        }
    }
}

#[tokio::test]
async fn counts_are_those_of_salts_own_summary() {
    let local = LocalGuest::new();
    let (top, web) = (
        "base:\n  '*': [web.front]\n",
        "made:\n  file.managed: [{name: {{ pillar.dir }}/a/b}, {contents: 'x'}, {makedirs: true}]\n\
         handler:\n  cmd.run: [{name: 'true'}, {onchanges: [{file: made}]}]\n\
         boom:\n  cmd.run: [{name: 'echo out; echo why >&2; exit 3'}]\n\
         after:\n  test.nop: [{require: [{cmd: boom}]}]\n\
         many:\n  cmd.run: [{names: ['echo 1', 'echo 2']}]\n",
    );
    // The highstate: what top.sls says.
    let spec = local.salt(&[("top.sls", top), ("web/front/init.sls", web)], &json!({}));
    let (end, first) = local.ran(&spec).await;
    let error = end.unwrap_err();
    for part in ["cmd.run[boom] (", "states/web/front/init.sls:5) failed: ", "why\nout"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let expected = [
        ("made", Is::Changed),
        ("handler", Is::Changed),
        ("boom", Is::Failed),
        ("after", Is::Skipped),
        ("many: echo 1", Is::Changed),
        ("many: echo 2", Is::Changed),
    ];
    assert_eq!((outcomes(&first).as_slice(), first.exit_code), (&expected[..], Some(2)));
    let (_, second) = local.ran(&spec).await;
    assert_eq!(find(&second, "handler").outcome, Is::Skipped);
    assert_eq!(find(&second, "made").outcome, Is::Unchanged);

    let own = local.at("own");
    let config = json!({"root_dir": own, "file_roots": {"base": [local.at("states")]},
        "ext_pillar": [{"cmd_json": format!("echo '{}'", json!({"dir": local.at("out")}))}]});
    fs::create_dir(&own).unwrap();
    fs::write(own.join("minion"), config.to_string()).unwrap();
    let command = format!("{} --local --no-color --config-dir {own} state.apply", salt_call());
    let comm: &dyn Communicator = &local.comm;
    let (_, out, _) = comm.capture(Exec::new(command)).await.unwrap();
    let counts = second.counts;
    let succeeded = counts.total() - counts.failed - 1;
    for line in [
        // There, what a failed command says is a change, and
        format!("Succeeded: {succeeded} (changed={})", counts.changed + 1),
        // the state that boom kept from running is a failure.
        format!("Failed:    {}", counts.failed + 1),
        format!("Total states run:     {}", counts.total()),
    ] {
        assert!(out.contains(&line), "{line}: {out}");
    }
}

#[tokio::test]
async fn what_salt_refuses_is_said_in_its_words() {
    for (states, state, words) in [
        ("x:\n  test.nop: []\n  y: {{ nosuch }\n", "site", &["base:site", "line 3"][..]),
        ("x:\n  test.nop: [\n", "site", &["base:site", "line 3"]),
        ("x:\n  test.nop: [{require: [{cmd: gone}]}]\n", "site", &["cmd: gone", "[x]"]),
        ("x:\n  test.nop: []\n", "nosuch", &["No matching sls found for 'nosuch'"]),
        ("x:\n  nosuch.there: []\n", "site", &["nosuch.there[x]", "was not found in SLS 'site'"]),
    ] {
        let local = LocalGuest::new();
        let spec = local.salt(&[("site.sls", states)], &json!({"state": [state]}));
        let (end, report) = local.ran(&spec).await;
        let error = end.unwrap_err();
        for word in words {
            assert!(error.contains(word), "{word}: {error}");
        }
        assert_eq!(report.counts.changed + report.counts.unchanged, 0, "{report:?}");
    }
    // No top.sls.
    let local = LocalGuest::new();
    let spec = local.salt(&[("site.sls", "x: test.nop\n")], &json!({}));
    let error = local.ran(&spec).await.0.unwrap_err();
    assert!(error.contains("No Top file"), "{error}");
}

#[tokio::test]
async fn pillar_grains_and_configuration_reach_the_states_and_secrets_stay_secret() {
    let local = LocalGuest::new();
    local.job.secrets().add("deploy", "Zq7-kLm\"0p'Wy9vT3s");
    let states = "secret:\n  file.managed:\n    - name: {{ pillar.dir }}/secret\n    - makedirs: true\n\
        \x20   - contents_pillar: deploy:token\n\
        words:\n  file.managed:\n    - name: {{ pillar.dir }}/words\n    - contents:\n\
        \x20     - {{ pillar.word }} {{ grains.role }} {{ salt['config.get']('mine') }} {{ pillar.late }}\n\
        leak:\n  cmd.run:\n    - name: cat {{ pillar.dir }}/secret\n";
    for (path, text) in [
        ("pillar/top.sls", "base:\n  '*': [data]\n"),
        ("pillar/data.sls", "word: from a file\nlate: never seen\n"),
        ("minion.conf", "mine: from the configuration\nfile_roots: {base: [/nonexistent]}\n"),
    ] {
        local.put(path, text);
    }
    let spec = local.salt(
        &[("site.sls", states)],
        &json!({
            "state": ["site"],
            "saltenv": "prod",
            "pillar": local.at("pillar"),
            "pillar_vars": {
                "dir": local.at("out"), "late": "from the step", "deploy": {"token": marker("deploy")},
            },
            "grains": {"role": "with a \"grain\""},
            "minion_config": local.at("minion.conf"),
        }),
    );
    let (end, report) = local.ran(&spec).await;
    end.unwrap();
    let read = |name: &str| fs::read_to_string(local.at("out").join(name)).unwrap();
    assert_eq!(read("secret"), "Zq7-kLm\"0p'Wy9vT3s\n");
    let words = "from a file with a \"grain\" from the configuration from the step\n";
    assert_eq!(read("words"), words);
    let shown = serde_json::to_string(&report).unwrap();
    assert!(!shown.contains("Zq7-kLm") && shown.contains("***"), "{shown}");
    assert!(local.comm.commands.lock().unwrap().iter().all(|line| !line.contains("Zq7-kLm")));
    assert!(find(&report, "leak").diff.as_ref().unwrap().contains("***"));
}

#[tokio::test]
async fn a_minions_configuration_decides_nothing_that_imgbake_sets() {
    let own = "file_roots: {base: [/nonexistent]}";
    let pillar = r#"ext_pillar: [{cmd_json: 'echo "{\"more\": \"of the minion\"}"'}]"#;
    for config in [
        // However it is written, and wherever it comes from.
        format!("default_include: none\ninclude: DIR/included.conf\nmine: here\n{own}\n{pillar}\n"),
        format!(
            "{{default_include: none, \"include\": DIR/included.conf, mine: here, {own}, {pillar}}}\n"
        ),
        format!("\"default_include\": none\n'include' : [DIR/both.conf]\n{own}\n"),
    ] {
        let local = LocalGuest::new();
        local.put("included.conf", "grains: {role: old, rack: 7}\n");
        local.put("both.conf", &format!("mine: here\ngrains: {{role: old, rack: 7}}\n{pillar}\n"));
        let states = "words:\n  file.managed:\n    - name: {{ pillar.dir }}/words\n    - makedirs: true\n    - contents:\n\
            \x20     - {{ pillar.more }} {{ grains.role }} {{ grains.rack }} {{ salt['config.get']('mine') }}\n";
        let settings = json!({"state": ["site"], "minion_config": local.put("minion.conf", &config),
            "grains": {"role": "web"}});
        let (end, _) = local.ran(&local.salt(&[("site.sls", states)], &settings)).await;
        end.unwrap_or_else(|error| panic!("{config}: {error}"));
        let words = fs::read_to_string(local.at("out/words")).unwrap();
        assert_eq!(words, "of the minion web 7 here\n", "{config}");
    }
    // One that is no YAML is no configuration.
    let local = LocalGuest::new();
    let settings = json!({"state": ["site"], "minion_config": local.put("minion.conf", "a: [\n")});
    let spec = local.salt(&[("site.sls", "x: test.nop\n")], &settings);
    let provisioners = imgbake_provision::provisioners();
    let salt = provisioners.iter().find(|one| one.kind().name == "salt").unwrap();
    let checked = salt.check(&local.job, "step", &spec).await;
    for error in [checked.unwrap_err(), local.report(&spec).await.0.unwrap_err()] {
        assert_eq!(error.kind(), BuildErrorKind::Usage);
        let error = error.to_string();
        assert!(
            error.contains("minion.conf cannot be read as YAML") && error.contains("line 2"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_run_that_hangs_is_ended_with_all_that_it_started() {
    let local = LocalGuest::new();
    let states = "before:\n  test.nop: []\nhangs:\n  cmd.run: [{name: 'touch DIR/begun; sleep 4243.19; true'}]\n";
    let spec = local.salt(&[("site.sls", states)], &json!({"state": ["site"]}));
    local.hangs(&spec, "30s", "sleep\x004243.19").await;
}

#[tokio::test]
async fn results_that_cannot_be_read_are_no_success() {
    let ok = r#"{"result": true, "changes": {}, "__run_num__": 0}"#;
    let bad = r#"{"result": false, "changes": {}, "comment": "why", "__run_num__": 0}"#;
    let local = LocalGuest::new();
    for (name, output, exit, words) in [
        ("all is well", format!(r#"{{"local": {{"a_|-b_|-c_|-d": {ok}}}}}"#), 0, ""),
        ("cut", r#"{"local": {"a_|-b_|-c_|-d": {"result": tr"#.to_owned(), 0, "is unknown: "),
        ("nothing", String::new(), 0, "is unknown: it wrote no results"),
        ("no JSON", "Segmentation fault".to_owned(), 0, "is unknown: its results cannot be read"),
        (
            "contradicts",
            format!(r#"{{"local": {{"a_|-b_|-c_|-d": {bad}}}}}"#),
            0,
            "is unknown: it ended well",
        ),
        (
            "contradicts too",
            format!(r#"{{"local": {{"a_|-b_|-c_|-d": {ok}}}}}"#),
            2,
            "is unknown: no resource failed (exit code 2)",
        ),
        (
            "refuses",
            r#"{"local": ["no such state"]}"#.to_owned(),
            1,
            "Salt applied nothing (exit code 1): no such state",
        ),
        (
            "crashes",
            String::new(),
            1,
            "exit code 1, and it wrote no results; its last lines:\noops",
        ),
    ] {
        local.put("output", &output);
        let script = format!(
            "while [ \"$1\" != --out-file ]; do shift; done\n\
             cp DIR/output \"$2\"\necho oops >&2; exit {exit}"
        );
        let bin = local.script("fake salt", &script);
        let spec = local.salt(&[("a.sls", "")], &json!({"salt_bin": bin, "state": ["a"]}));
        let (end, _) = local.ran(&spec).await;
        let error = end.err().unwrap_or_default();
        assert_eq!(error.is_empty(), words.is_empty(), "{name}: {error}");
        assert!(error.contains(words), "{name}: {error}");
    }
    let absent = local.salt(&[("a.sls", "")], &json!({"salt_bin": "no such salt"}));
    let (end, _) = local.report(&absent).await;
    let error = end.unwrap_err();
    assert!(
        error.to_string().contains("`salt_bin` names `no such salt`, which is no program"),
        "{error}"
    );
    assert_eq!(error.kind(), BuildErrorKind::Usage);
}

#[tokio::test]
async fn whatever_asks_for_a_test_run_the_states_are_applied() {
    for settings in [
        json!({"pillar_vars": {"test": true}}),
        json!({"grains": {"test": true}}),
        json!({"minion_config": "test: true\n"}),
    ] {
        let local = LocalGuest::new();
        let mut settings = settings;
        if let Some(config) = settings.get("minion_config") {
            let path = local.put("minion", config.as_str().unwrap());
            settings["minion_config"] = json!(path);
        }
        settings["state"] = json!(["site"]);
        let states =
            format!("page:\n  file.managed: [{{name: {}/page}}, {{contents: x}}]\n", local.root);
        let spec = local.salt(&[("site.sls", &states)], &settings);
        let (end, report) = local.ran(&spec).await;
        end.unwrap();
        assert_eq!(outcomes(&report), [("page", Is::Changed)], "{settings}");
        assert!(local.at("page").exists());
    }
}

#[tokio::test]
async fn changes_that_are_too_long_are_not_missed() {
    let local = LocalGuest::new();
    // Without the line of 9 MB, this is a state that changed nothing.
    let script = "while [ \"$1\" != --out-file ]; do shift; done\n{\n\
        echo '{\"local\": {\"file_|-a_|-/a_|-managed\": {\"result\": true, \"__run_num__\": 0, \"changes\": {'\n\
        printf '\"diff\": \"'; head -c 9000000 /dev/zero | tr '\\0' x; echo '\"'\necho '}}}}'\n} >\"$2\"\n";
    let bin = local.script("fake", script);
    let spec = local.salt(&[("a.sls", "")], &json!({"salt_bin": bin, "state": ["a"]}));
    let (end, report) = local.ran(&spec).await;
    let error = end.unwrap_err();
    assert!(error.contains("what it did is unknown: its results are too long"), "{error}");
    assert_eq!(report.counts.total(), 0);
}
