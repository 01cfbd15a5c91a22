//! Puppet's own program, with manifests that change this host: only in a folder of the test.

mod agent;

use std::fs;

use imgbake_build::BuildErrorKind;
use imgbake_types::StepReport;
use imgbake_types::record::step::ResourceOutcome as Is;
use imgbake_types::secret::marker;
use imgbake_types::spec::ProvisionSpec;
use serde_json::{Value, json};

use crate::local::{LocalGuest, find, text, titled, with};

/// Puppet's own folders. Debian's Puppet writes into each of them, wherever the others are.
const OWN_FOLDERS: [&str; 7] =
    ["confdir", "codedir", "vardir", "publicdir", "ssldir", "logdir", "rundir"];

impl LocalGuest {
    /// Arguments with which Puppet keeps to the test's folder.
    fn own_folders(&self) -> Value {
        let pairs = OWN_FOLDERS.map(|name| [format!("--{name}"), self.at(name).into_string()]);
        pairs.into_iter().flatten().collect()
    }

    /// A step that applies a manifest; `DIR` in it is the test's folder.
    fn manifest(&self, manifest: &str) -> ProvisionSpec {
        self.put("t/site.pp", manifest);
        let settings = json!({"manifest": self.at("t/site.pp"), "args": self.own_folders()});
        self.step("puppet", &settings)
    }

    /// Runs a step that succeeds.
    async fn applied(&self, spec: &ProvisionSpec) -> StepReport {
        let (end, report) = self.ran(spec).await;
        end.unwrap();
        report
    }

    /// A number of the tool's own report.
    fn counted(&self, name: &str) -> u64 {
        let report = text(&self.at("vardir/state/last_run_report.yaml"));
        let (_, metrics) = report.split_once("\n  resources:\n").unwrap();
        let (_, after) = metrics.split_once(&format!("- - {name}\n")).unwrap();
        after.lines().nth(1).unwrap().trim().trim_start_matches("- ").parse().unwrap()
    }
}

/// Every convergent thing that looks as if it were none.
const CONVERGES: &str = r#"
file { 'DIR/conf': content => "baked\n", mode => '0640', notify => [Exec['reload'], Service['web']] }
exec { 'make': command => '/bin/mkdir DIR/made', creates => 'DIR/made' }
exec { 'unless': command => '/usr/bin/touch DIR/unless', unless => '/usr/bin/test -e DIR/unless' }
exec { 'reload': command => '/bin/sh -c "echo x >>DIR/reloads"', refreshonly => true }
service { 'web':
  ensure   => running,
  provider => base,
  start    => '/usr/bin/touch DIR/up',
  restart  => '/bin/sh -c "echo x >>DIR/restarts"',
  stop     => '/bin/rm DIR/up',
  status   => '/usr/bin/test -e DIR/up',
}
schedule { 'at night': range => '2 - 4' }
"#;

#[tokio::test]
async fn one_run_is_enough_for_what_converges() {
    let local = LocalGuest::new();
    let spec = local.manifest(CONVERGES);
    let first = local.applied(&spec).await;
    for name in ["changed", "failed", "skipped"] {
        let counts = json!(first.counts)[name].as_u64();
        assert_eq!(counts, Some(local.counted(name)), "{name}: {first:?}");
    }
    assert_eq!((first.exit_code, first.counts.changed), (Some(2), 5));
    let conf = find(&first, local.at("conf").as_str());
    assert_eq!((conf.kind.as_str(), conf.line), ("File", Some(2)));
    assert_eq!(conf.file.as_deref(), Some(local.at("t/site.pp").as_str()));
    assert!(conf.diff.as_ref().unwrap().contains("ensure: absent -> file"), "{conf:?}");
    assert!(find(&first, "make").seconds.is_some());
    assert_eq!(text(&local.at("reloads")), "x\n");

    let second = local.applied(&spec).await;
    assert_eq!((second.exit_code, second.counts.changed), (Some(0), 0), "{second:?}");
    assert_eq!(second.counts.unchanged, 5);
    assert!(!local.at("restarts").exists(), "a service that was just started is not restarted");

    // Of a file that is another one, the lines that differ are shown.
    local.put("conf", "drift\n");
    let third = local.applied(&spec).await;
    let diff = find(&third, local.at("conf").as_str()).diff.clone().unwrap();
    assert!(diff.starts_with("content:\n@@") && diff.contains("-drift\n+baked"), "{diff}");
    assert_eq!(
        (text(&local.at("reloads")), text(&local.at("restarts"))),
        ("x\nx\n".into(), "x\n".into())
    );
    assert_eq!(
        third.counts.changed,
        local.counted("changed"),
        "what is refreshed is changed: {third:?}"
    );
    assert!(find(&third, "web").diff.as_ref().unwrap().contains("refresh"), "{third:?}");

    // Of one that is no text, the digests.
    fs::write(local.at("conf"), b"drift \xff\n").unwrap();
    let fourth = local.applied(&spec).await;
    let diff = find(&fourth, local.at("conf").as_str()).diff.clone().unwrap();
    assert!(diff.starts_with("content: {sha256}"), "{diff}");
}

/// Each resource whose name begins with `bad` changes at each run, or at the second one.
const NEVER_CONVERGES: &str = r#"
file { 'DIR/bad-time': content => generate('/bin/date', '+%N') }
exec { 'bad-ungated': command => '/bin/true' }
file { 'DIR/bad-fought-over': content => "one\n" }
exec { 'bad-fights': command => '/bin/sh -c "echo two >DIR/bad-fought-over"', require => File['DIR/bad-fought-over'] }
exec { 'bad-second-run': command => '/usr/bin/touch DIR/late', onlyif => '/usr/bin/test -e DIR/seed', creates => 'DIR/late' }
-> exec { 'seed': command => '/usr/bin/touch DIR/seed', creates => 'DIR/seed' }
file { 'DIR/bad-random': content => generate('/bin/sh', '-c', 'od -An -N8 -x /dev/urandom') }
file { 'DIR/bad-mode': ensure => file, mode => '0644' }
-> exec { 'bad-chmod': command => '/bin/chmod 0600 DIR/bad-mode' }
service { 'bad-stopped': ensure => running, provider => base, start => '/bin/true', status => '/bin/false', stop => '/bin/true' }
service { 'bad-restarted': ensure => running, provider => base, start => '/bin/true', status => '/bin/true', stop => '/bin/true',
  restart => '/bin/sh -c "echo x >>DIR/restarts"', subscribe => Exec['bad-ungated'] }
file { 'DIR/bad-order': content => inline_template("<%= %w[a b c d e f g h i j].shuffle.join %>\n") }
notify { 'bad-notify': }
exec { 'good': command => '/usr/bin/touch DIR/good', creates => 'DIR/good' }
"#;

#[tokio::test]
async fn a_second_run_shows_what_does_not_converge() {
    let local = LocalGuest::new();
    let spec = local.manifest(NEVER_CONVERGES);
    local.applied(&spec).await;
    let second = local.applied(&spec).await;
    assert_eq!(second.counts.changed, local.counted("changed"));
    let manifest = text(&local.at("t/site.pp"));
    for one in &second.resources {
        let bad = one.name.trim_start_matches(local.at("").as_str()).starts_with("bad");
        assert_eq!(one.outcome == Is::Changed, bad, "{one:?}");
        let line = manifest.lines().nth(one.line.unwrap() as usize - 1).unwrap();
        assert!(line.contains(&format!("'{}'", one.name)), "{one:?}: {line}");
        assert_eq!(one.diff.is_some(), bad, "{one:?}");
    }
    assert_eq!((second.counts.changed, second.counts.unchanged), (12, 2));
}

#[tokio::test]
async fn modules_facts_and_hiera_reach_the_manifest() {
    let local = LocalGuest::new();
    local.job.secrets().add("deploy", "Zq7\"-k'Lm0\npWy9vT3s");
    local.put("t/my modules/web/manifests/init.pp", "class web($word) {\n  file { 'DIR/out':\n    content => epp('web/out.epp', { word => $word }) }\n}\n");
    local.put("t/my modules/web/templates/out.epp", "<%= $word %> <%= $facts['site'].dig('ports', 0) %> <%= $environment %> <%= $trusted['certname'] %> <%= $facts['token'] %> <%= $plain %>");
    local.put("other/web/manifests/init.pp", "class web { fail('the first folder counts') }");
    local.put(
        "t/hiera/hiera.yaml",
        "version: 5\nhierarchy:\n  - name: all\n    datadir: ../it's data\n    path: \"%{environment}.yaml\"\n",
    );
    local.put("t/it's data/lab_1.yaml", "web::word: from hiera\n");
    local.put("t/manifests/10-a.pp", "$plain = 'first'\n");
    local.put("t/manifests/20-b.pp", "include web\n");
    let mut settings = json!({
        "manifest": local.at("t/manifests"),
        "modules": [local.at("t/my modules"), local.at("other")],
        "hiera_config": local.at("t/hiera/hiera.yaml"),
        "hiera_data": local.at("t/hiera/../it's data"),
        "facts": {"site": {"ports": [8080]}, "token": marker("deploy")},
        "environment": "lab_1",
        "certname": "web.example",
        "args": local.own_folders(),
    });
    let spec = local.step("puppet", &settings);
    let report = local.applied(&spec).await;
    let expected = "from hiera 8080 lab_1 web.example Zq7\"-k'Lm0\npWy9vT3s first";
    assert_eq!(text(&local.at("out")), expected);
    let file = find(&report, local.at("out").as_str());
    let place = (file.file.as_deref(), file.line);
    assert_eq!(place, (Some(local.at("t/my modules/web/manifests/init.pp").as_str()), Some(2)));
    assert!(!local.comm.commands.lock().unwrap().join("\n").contains("Zq7"), "no argument has it");

    // A secret that a file's difference shows.
    local.put("out", "old\n");
    let json = serde_json::to_string(&local.applied(&spec).await).unwrap();
    assert!(json.contains("-old") && json.contains("***") && !json.contains("Zq7"), "{json}");

    // The environment that the machine has counts.
    settings["modules"] = json!([]);
    settings.as_object_mut().unwrap().remove("modules");
    local.put(
        "codedir/environments/lab_1/modules/web/manifests/init.pp",
        "class web { fail('of the machine') }",
    );
    let spec = local.step("puppet", &settings);
    let error = local.ran(&spec).await.0.unwrap_err();
    assert!(error.contains("of the machine"), "{error}");
}

#[tokio::test]
async fn what_fails_says_where() {
    let local = LocalGuest::new();
    let spec = local.manifest(
        "exec { 'boom': command => '/bin/sh -c \"echo why >&2; exit 3\"' }\n-> file { 'DIR/after': ensure => file }\n\
         file { 'DIR/other': content => 'x' }\n",
    );
    let (end, report) = local.ran(&spec).await;
    let error = end.unwrap_err();
    let place = format!("step `step`: Exec[boom] ({}:1) failed: ", local.at("t/site.pp"));
    assert!(error.starts_with(&place) && error.contains("returned 3 instead of"), "{error}");
    assert_eq!(report.exit_code, Some(6));
    assert_eq!(
        (report.counts.failed, report.counts.changed),
        (local.counted("failed"), local.counted("changed"))
    );
    let after = find(&report, local.at("after").as_str());
    assert_eq!(after.outcome, Is::Skipped);
    assert!(after.message.as_ref().unwrap().contains("failed dependencies"), "{after:?}");

    // A resource of which one property changes and another fails has failed; Puppet counts it twice.
    let both = local.manifest(
        "file { 'DIR/both': ensure => file, content => 'x', owner => 'nobody-has-this' }\n",
    );
    let (end, report) = local.ran(&both).await;
    assert!(end.unwrap_err().contains("nobody-has-this"));
    assert_eq!((report.counts.failed, report.counts.changed), (1, 0), "{report:?}");

    // A service that cannot be restarted.
    let service = local.manifest(
        "exec { 'go': command => '/bin/true' } ~> service { 'x': provider => base, start => '/bin/true', status => \
         '/bin/true', restart => '/bin/false' }\n",
    );
    let (end, report) = local.ran(&service).await;
    assert!(end.unwrap_err().contains("Service[x]"));
    assert_eq!(titled(&report)[1], ("Service[x]".to_owned(), Is::Failed));
}

#[tokio::test]
async fn what_puppet_cannot_read_is_told_in_its_own_words() {
    let local = LocalGuest::new();
    for (manifest, error) in [
        (
            "\nfile { 'DIR/a' ensure => file }\n",
            "Could not parse for environment production: Syntax error at 'ensure' (SITE:2)",
        ),
        ("include nosuch\n", "Could not find class ::nosuch for"),
        ("file { '/a': }\n\nfile { '/a': }\n", "line: 3) (SITE:3)"),
        ("fail('not here')\n", "Error while evaluating a Function Call, not here (SITE:1)"),
    ] {
        let error = error.replace("SITE", local.at("t/site.pp").as_str());
        let (end, report) = local.ran(&local.manifest(manifest)).await;
        let whole = end.unwrap_err();
        let first = whole.lines().next().unwrap();
        assert!(first.contains(&error) && !first.contains("/run/imgbake"), "{error}: {whole}");
        assert!(report.resources.is_empty());
    }
    let gone = with(&local.manifest(""), "manifest", json!(local.at("gone.pp")));
    assert!(local.ran(&gone).await.0.unwrap_err().contains("gone.pp"));
    let usage = ProvisionSpec::of("puppet", &json!({"manfest": "x"})).unwrap();
    assert_eq!(local.report(&usage).await.0.unwrap_err().kind(), BuildErrorKind::Usage);
}

#[tokio::test]
async fn a_mistake_is_found_before_any_machine() {
    let local = LocalGuest::new();
    let provisioners = imgbake_provision::provisioners();
    let puppet = provisioners.iter().find(|one| one.kind().name == "puppet").unwrap();
    let good = local.manifest("notice('x')\n");
    puppet.check(&local.job, "web", &good).await.unwrap();
    let bad = local.manifest("notice('x'\n");
    let error = puppet.check(&local.job, "web", &bad).await.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Usage);
    let words = error.to_string();
    assert!(words.starts_with("step `web`: Puppet cannot read the manifest:\n"), "{words}");
    assert!(words.contains("Syntax error") && words.contains("t/site.pp"), "{words}");
    assert_eq!(fs::read_dir(local.job.work()).unwrap().count(), 0, "nothing is left");
}

#[tokio::test]
async fn results_that_are_no_proof_are_unknown() {
    let local = LocalGuest::new();
    // It writes results where Puppet's own processor does.
    let fake = |lines: &str, code: u8| {
        local.script(
            "fake",
            &format!("while [ \"$1\" != --libdir ]; do shift; done\nprintf '%s' '{lines}' >\"$2/../results\"\nexit {code}"),
        )
    };
    let changed = r#"{"name":"a","type":"Exec","outcome":"changed"}"#;
    let failed = r#"{"name":"a","type":"Exec","outcome":"failed","message":"why"}"#;
    let end =
        |changed: u8, failed: u8| format!(r#"{{"end":{{"changed":{changed},"failed":{failed}}}}}"#);
    for (lines, code, error) in [
        (String::new(), 0, "unknown: its results end before it does"),
        (format!("{changed}\n"), 2, "unknown: its results end before it does"),
        (format!("{{\"name\":\"a\n{}", end(0, 0)), 0, "unknown: 1 of its results cannot be read"),
        (
            format!("{changed}\n{}", end(2, 0)),
            2,
            "unknown: it counts 2 changed resources, and reported 1",
        ),
        (format!("{failed}\n{}", end(0, 1)), 2, "unknown: it ended well, and counts 1 failures"),
        (
            format!("{changed}\n{}", end(1, 0)),
            0,
            "unknown: it ended with exit code 0, and counts 1 changed",
        ),
        (end(0, 0), 2, "unknown: it ended with exit code 2, and counts 0 changed"),
        (format!("{failed}\n"), 4, "Exec[a] failed: why"),
        (format!("{changed}\n"), 4, "unknown: its results end before it does (exit code 4)"),
        (format!("{failed}\n{}", end(0, 1)), 4, "Exec[a] failed: why"),
        (end(0, 0), 6, "unknown: no resource failed (exit code 6)"),
        (String::new(), 1, "`puppet apply` failed with exit code 1"),
        (end(0, 0), 0, ""),
    ] {
        let spec = with(&local.manifest(""), "puppet_bin", json!(fake(&lines, code)));
        let found = local.ran(&spec).await.0.err().unwrap_or_default();
        let as_expected = if error.is_empty() { found.is_empty() } else { found.contains(error) };
        assert!(as_expected, "{lines} {code}: {error:?}, not {found:?}");
    }
}

#[tokio::test]
async fn a_machine_without_puppet_says_what_to_do() {
    let local = LocalGuest::new();
    let named = with(&local.manifest(""), "puppet_bin", json!("/nonexistent/puppet"));
    let error = local.ran(&named).await.0.unwrap_err();
    assert!(
        error.contains("`puppet_bin` names `/nonexistent/puppet`, which is no program"),
        "{error}"
    );

    // A PATH with all but Puppet.
    let few = local.few_programs(&[
        "rm", "mkdir", "sed", "env", "find", "cat", "sh", "tail", "head", "wc", "kill",
    ]);
    let bare = with(&local.manifest(""), "env", json!({"PATH": few}));
    let error = local.ran(&bare).await.0.unwrap_err();
    assert!(
        error.contains("the machine has no program `puppet`") && error.contains("`puppet-agent`"),
        "{error}"
    );

    let secret = with(&local.manifest(""), "args", json!([marker("token")]));
    let error = local.ran(&secret).await.0.unwrap_err();
    assert!(error.contains("`args` holds a sensitive variable"), "{error}");
}

#[tokio::test]
async fn a_run_that_hangs_is_ended_with_all_that_it_started() {
    let local = LocalGuest::new();
    let spec = local.manifest(
        "exec { 'hangs': command => '/bin/sh -c \"touch DIR/begun; sleep 4242.23; true\"', timeout => 0 }\n",
    );
    local.hangs(&spec, "30s", "sleep\x004242.23").await;
}

#[tokio::test]
async fn another_order_shows_a_dependency_that_is_not_declared() {
    let local = LocalGuest::new();
    let declared = "file { 'DIR/a': content => 'a' }\nfile { 'DIR/b': content => 'b' }\n\
                    file { 'DIR/d': content => 'd', require => File['DIR/b'] }\n";
    let hidden = "exec { '/bin/cp DIR/a DIR/c': creates => 'DIR/c' }\n";
    let (mut good, mut bad) = (0, 0);
    for seed in [1, 5, 6] {
        for name in ["a", "b", "c", "d"] {
            let _ = fs::remove_file(local.at(name));
        }
        let spec = local.manifest(&[declared, hidden].concat());
        let (end, _) = local.shuffled(&spec, Some(seed)).await;
        match end {
            Ok(_) => good += 1,
            Err(error) => {
                assert!(error.to_string().contains("/bin/cp"), "{error}");
                bad += 1;
            }
        }
    }
    assert!(good > 0 && bad > 0, "{good} {bad}");
    // What is declared holds in every order.
    for seed in [5, 6, 7] {
        for name in ["a", "b", "c", "d"] {
            let _ = fs::remove_file(local.at(name));
        }
        let (end, report) = local.shuffled(&local.manifest(declared), Some(seed)).await;
        end.unwrap();
        assert_eq!(report.counts.changed, 3, "{report:?}");
    }
}

#[tokio::test]
async fn neither_noop_nor_a_schedule_makes_a_run_that_proves_nothing() {
    let local = LocalGuest::new();
    local.put("confdir/puppet.conf", "[main]\nnoop = true\n");
    let spec = local.manifest(
        "schedule { 'daily': period => daily }\n\
         exec { 'each time': command => '/bin/true', schedule => 'daily' }\n\
         file { 'DIR/left': content => 'x', noop => true }\n",
    );
    for _ in 0..2 {
        let report = local.applied(&spec).await;
        assert_eq!(find(&report, "each time").outcome, Is::Changed, "{report:?}");
        let left = find(&report, local.at("left").as_str());
        assert_eq!(left.outcome, Is::Skipped, "{left:?}");
        assert!(left.message.as_ref().unwrap().starts_with("noop: "), "{left:?}");
    }
    let report = local.applied(&local.manifest("notice('nothing')\n")).await;
    assert!(report.warnings[0].contains("it managed no"), "{report:?}");
}
