//! Playbooks that the machine's own Ansible runs; they change only a folder of the test.

use std::fs;

use imgbake_build::BuildErrorKind;
use imgbake_types::event::Stream;
use imgbake_types::record::step::ResourceOutcome as Is;
use imgbake_types::secret::marker;
use imgbake_types::spec::ProvisionSpec;
use serde_json::{Value, json};

use crate::local::{LocalGuest, changed, find, outcomes};

impl LocalGuest {
    /// A step that runs a playbook, whose folder is the test's.
    fn play(&self, playbook: &str, settings: &Value) -> ProvisionSpec {
        let path = self.put("code/site.yml", playbook);
        fs::create_dir_all(self.at("out")).unwrap();
        let mut all = json!({"playbook": path, "extra_vars": {"dir": self.at("out")}});
        for (key, value) in settings.as_object().unwrap() {
            all[key] = value.clone();
        }
        self.step("ansible-local", &all)
    }
}

/// Each of these but `marker` is changed by every run.
const BROKEN: &str = r#"
- hosts: all
  gather_facts: false
  handlers:
    - {name: each time, listen: loud, command: "true"}
  tasks:
    - {name: shell, shell: "date +%N >> {{ dir }}/log"}
    - {name: facts, setup: {gather_subset: "!all"}}
    - {name: time stamp, copy: {dest: "{{ dir }}/stamp", content: "{{ lookup('pipe', 'date +%s.%N') }}"}}
    - {name: date, copy: {dest: "{{ dir }}/date", content: "{{ ansible_date_time.iso8601_micro }}"}}
    - {name: template, copy: {dest: "{{ dir }}/fight", content: "a=1\n"}}
    - {name: line, lineinfile: {path: "{{ dir }}/fight", line: b=2}}
    - {name: mode a, file: {path: "{{ dir }}/fight", mode: "0600"}}
    - {name: mode b, file: {path: "{{ dir }}/fight", mode: "0644"}}
    - {name: random, copy: {dest: "{{ dir }}/random", content: "{{ 1000000000 | random }}"}}
    - {name: order, copy: {dest: "{{ dir }}/order", content: "{{ range(99) | shuffle | join(' ') }}"}}
    - {name: seen, stat: {path: "{{ dir }}/marker"}, register: seen}
    - {name: two runs, copy: {dest: "{{ dir }}/late", content: "{{ seen.stat.exists }}"}}
    - {name: marker, copy: {dest: "{{ dir }}/marker", content: there}}
    - {name: notifies, command: "true", notify: loud}
"#;

/// None of these is changed by a second run.
const SOUND: &str = r#"
- hosts: web
  handlers:
    - {name: reload, shell: "echo x >> {{ dir }}/reloads"}
  tasks:
    - {name: page, copy: {dest: "{{ dir }}/page", content: hello, mode: "0644"}, notify: reload}
    - {name: folder, file: {path: "{{ dir }}/folder", state: directory}}
    - {name: link, file: {path: "{{ dir }}/link", src: page, state: link}}
    - {name: line, lineinfile: {path: "{{ dir }}/lines", line: b=2, create: true}}
    - {name: once, command: {cmd: "touch {{ dir }}/once", creates: "{{ dir }}/once"}}
    - {name: looks, command: "true", changed_when: false}
    - {name: judges, shell: "test -e {{ dir }}/judged || { touch {{ dir }}/judged; echo made; }",
       register: judged, changed_when: "'made' in judged.stdout"}
    - {name: only elsewhere, command: "true", when: "'db' in group_names"}
    - {name: check mode, command: "touch {{ dir }}/never", check_mode: true}
    - {name: would change, copy: {dest: "{{ dir }}/never", content: x}, check_mode: true}
"#;

#[tokio::test]
async fn a_second_run_changes_what_does_not_converge_and_nothing_else() {
    for (playbook, always) in [
        (
            BROKEN,
            &[
                "shell",
                "time stamp",
                "date",
                "template",
                "line",
                "mode a",
                "mode b",
                "random",
                "order",
                "two runs",
                "notifies",
                "each time",
            ][..],
        ),
        (SOUND, &[]),
    ] {
        let mut local = LocalGuest::new();
        let spec = local.play(playbook, &json!({"groups": ["web"]}));
        let (end, first) = local.ran(&spec).await;
        end.unwrap();
        assert!(first.counts.changed > 6 && first.exit_code == Some(0), "{first:?}");
        let (end, second) = local.ran(&spec).await;
        end.unwrap();
        assert_eq!(changed(&second), always, "{second:?}");
        // Ansible's own recap.
        let (lines, _) = local.emitted();
        let recap = lines.iter().rfind(|(_, line)| line.contains("unreachable=0")).unwrap();
        let counts = second.counts;
        for count in [
            format!("ok={} ", counts.changed + counts.unchanged),
            // Ansible counts a change that check mode did not make.
            format!("changed={} ", counts.changed + u64::from(playbook == SOUND)),
            format!("skipped={} ", counts.skipped),
        ] {
            assert!(recap.1.contains(&count), "{count}: {recap:?}");
        }
        if playbook == SOUND {
            let checked = find(&second, "would change");
            assert_eq!((checked.outcome, &checked.diff), (Is::Unchanged, &None));
            assert!(!local.at("out/never").exists());
            assert_eq!(fs::read_to_string(local.at("out/reloads")).unwrap(), "x\n");
            continue;
        }
        let stamp = find(&second, "time stamp");
        let site = local.at("code/site.yml");
        assert_eq!((stamp.file.as_deref(), stamp.line), (Some(site.as_str()), Some(9)));
        assert!(stamp.diff.as_ref().unwrap().contains("@@"), "{stamp:?}");
    }
}

#[tokio::test]
async fn the_playbook_comes_with_what_is_beside_it_and_with_nothing_else() {
    let local = LocalGuest::new();
    local.job.secrets().add("deploy", "Zq7-kLm0pWy9vT3s");
    for (path, text) in [
        (
            "code/roles/page/tasks/main.yml",
            "- name: role's page\n  copy: {src: page, dest: \"{{ dir }}/\"}\n",
        ),
        ("code/roles/page/files/page", "from a role"),
        ("code/group_vars/web.yml", "word: grouped\n"),
        ("code/ansible.cfg", "[defaults]\nduplicate_dict_key = error\n"),
        ("code/other/secret", "not part of it"),
        ("more roles/far/tasks/main.yml", "- name: far\n  debug: {msg: \"far {{ word }}\"}\n"),
    ] {
        local.put(path, text);
    }
    let playbook = "- hosts: web\n  gather_facts: false\n  roles: [page, far]\n  tasks:\n\
        \x20   - {name: token, copy: {dest: \"{{ dir }}/token\", content: \"{{ token }}\"}}\n\
        \x20   - {name: shown, command: \"cat {{ dir }}/token\"}\n\
        \x20   - {name: own, debug: {msg: \"{{ lookup('config', 'DUPLICATE_YAML_DICT_KEY') }} {{ mine }}\"}}\n\
        \x20   - {name: left out, stat: {path: \"{{ playbook_dir }}/other\"}, register: other,\n\
        \x20      failed_when: other.stat.exists}\n\
        \x20   - {name: tagged, command: \"true\", tags: slow}\n";
    let spec = local.play(
        playbook,
        &json!({
            "groups": ["web"],
            "roles_path": [local.at("more roles")],
            "extra_vars": {"dir": local.at("out"), "token": marker("deploy")},
            "host_vars": {"mine": "it's \"mine\""},
            "skip_tags": ["slow"],
        }),
    );
    let (end, report) = local.ran(&spec).await;
    end.unwrap();
    let names: Vec<&str> = outcomes(&report).into_iter().map(|(name, _)| name).collect();
    let expected = ["page : role's page", "far : far", "token", "shown", "own", "left out"];
    assert_eq!(names, expected);
    assert_eq!(fs::read_to_string(local.at("out/page")).unwrap(), "from a role");
    assert_eq!(fs::read_to_string(local.at("out/token")).unwrap(), "Zq7-kLm0pWy9vT3s");
    let far = local.at("more roles/far/tasks/main.yml");
    assert_eq!(find(&report, "far : far").file.as_deref(), Some(far.as_str()));
    let shown = serde_json::to_string(&report).unwrap();
    assert!(!shown.contains("Zq7-kLm"), "{shown}");
    assert!(local.comm.commands.lock().unwrap().iter().all(|line| !line.contains("Zq7-kLm")));
    let printed = |text: &str| report.output.lines.iter().any(|line| line.line.contains(text));
    assert!(printed("error it's") && printed("far grouped"), "{report:?}");
}

#[tokio::test]
async fn failures_say_where_on_the_host() {
    let local = LocalGuest::new();
    let playbook = "- hosts: localhost\n  gather_facts: false\n  tasks:\n\
        \x20   - name: tried\n      block: [{name: caught, command: \"false\"}]\n\
        \x20     rescue: [{name: rescue, command: \"true\"}]\n\
        \x20   - {name: may fail, command: \"false\", ignore_errors: true}\n\
        \x20   - {name: boom, shell: \"echo out; echo why >&2; exit 3\"}\n\
        \x20   - {name: never, command: \"true\"}\n";
    let (end, report) = local.ran(&local.play(playbook, &json!({}))).await;
    let error = end.unwrap_err();
    assert!(error.contains("shell[boom] (") && error.contains("why"), "{error}");
    let expected = [
        ("caught", Is::Failed),
        ("rescue", Is::Changed),
        ("may fail", Is::Changed),
        ("boom", Is::Failed),
    ];
    assert_eq!((outcomes(&report).as_slice(), report.exit_code), (&expected[..], Some(2)));
    assert_eq!(find(&report, "boom").line, Some(8));

    // A failure that the play deals with is none of the step's.
    let rescued = playbook.split("    - {name: boom").next().unwrap();
    let (end, report) = local.ran(&local.play(rescued, &json!({}))).await;
    end.unwrap();
    assert_eq!(report.counts.failed, 1, "it is shown");

    let broken = local.play("- hosts: all\n  tasks:\n    - nosuchmodule: {}\n", &json!({}));
    let (end, report) = local.ran(&broken).await;
    let error = end.unwrap_err();
    assert!(error.contains("nosuchmodule"), "{error}");
    assert!(error.contains(local.at("code/site.yml").as_str()), "{error}");
    assert!(!error.contains("/run/imgbake/") && report.resources.is_empty(), "{error}");

    let hangs = "- hosts: all\n  gather_facts: false\n  tasks: [{shell: touch DIR/begun; sleep 4244.23; true}]\n";
    local.hangs(&local.play(hangs, &json!({})), "20s", "sleep\x004244.23").await;
}

#[tokio::test]
async fn a_failed_installation_of_requirements_is_named() {
    let local = LocalGuest::new();
    local.script("bin/ansible-playbook", "echo never; exit 3");
    local.script("bin/ansible-galaxy", "echo \"$1 is nowhere\"; [ \"$1\" = role ] || exit 7");
    let requirements = local.put("requirements.yml", "collections: [a.b]\n");
    let settings = json!({
        "requirements": requirements, "env": {"PATH": format!("{}:/usr/bin:/bin", local.at("bin"))},
    });
    let (end, report) = local.ran(&local.play("[]", &settings)).await;
    let error = end.unwrap_err();
    for part in [
        "`ansible-galaxy collection install` of `requirements` failed with exit code 7",
        "collection is nowhere",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(report.exit_code, Some(7));
}

#[tokio::test]
async fn a_machine_of_busybox_shows_results() {
    let local = LocalGuest::new();
    let bin = local.at("bin");
    fs::create_dir(&bin).unwrap();
    for name in [
        "sh", "cat", "mkfifo", "sed", "env", "rm", "mkdir", "head", "tail", "wc", "kill", "mktemp",
        "sleep", "chmod", "dirname", "uname",
    ] {
        std::os::unix::fs::symlink("/usr/bin/busybox", bin.join(name)).unwrap();
    }
    for name in ["ansible-playbook", "python3"] {
        std::os::unix::fs::symlink(format!("/usr/bin/{name}"), bin.join(name)).unwrap();
    }
    let tasks = "- hosts: all\n  gather_facts: false\n  tasks: [{name: one, command: /bin/true}]\n";
    let (end, report) = local.ran(&local.play(tasks, &json!({"env": {"PATH": bin}}))).await;
    end.unwrap();
    assert_eq!(outcomes(&report), [("one", Is::Changed)]);
}

#[tokio::test]
async fn results_that_cannot_be_read_are_no_success() {
    let local = LocalGuest::new();
    let bin = local.at("bin");
    let task = |outcome: &str, changed: bool| {
        json!({"outcome": outcome, "task": "t", "action": "a", "changed": changed}).to_string()
    };
    let stats = |changed: u32, failures: u32| {
        json!({"stats": {"localhost": {"changed": changed, "failures": failures}}}).to_string()
    };
    let (changed, failed) = (task("ok", true), task("failed", false));
    for (name, lines, exit, words) in [
        ("all is well", vec![changed.clone(), stats(1, 0)], 0, ""),
        ("cut", vec![changed.clone()], 0, "is unknown: its results end before"),
        ("nothing", vec![], 0, "is unknown: its results end before"),
        ("half", vec!["{\"outco".to_owned(), stats(0, 0)], 0, "is unknown: 1 of its results"),
        ("too few", vec![stats(1, 0)], 0, "is unknown: it counts 1 changed"),
        ("too many", vec![changed.clone(), stats(0, 0)], 0, "is unknown: it counts 0 changed"),
        ("fails", vec![failed.clone(), stats(0, 1)], 0, "is unknown: it ended well, and counts 1"),
        ("crashes", vec![], 250, "failed with exit code 250; its last lines:\noops"),
        ("crashes late", vec![failed.clone()], 250, "`ansible-playbook` failed with exit code 250"),
        (
            "fails cut",
            vec![changed.clone()],
            2,
            "is unknown: its results end before it does (exit code 2)",
        ),
        ("fails for nothing", vec![stats(0, 0)], 2, "is unknown: no resource failed (exit code 2)"),
    ] {
        local.put("lines", &[lines.as_slice(), &[String::new()]].concat().join("\n"));
        let script = format!(
            "sed \"s/^/$IMGBAKE_MARK/\" DIR/lines >\"$IMGBAKE_RESULTS\"; echo oops; exit {exit}"
        );
        local.script("bin/ansible-playbook", &script);
        let env = json!({"PATH": format!("{bin}:/usr/bin:/bin")});
        let (end, report) = local.ran(&local.play("[]", &json!({"env": env}))).await;
        let error = end.err().unwrap_or_default();
        assert_eq!(error.is_empty(), words.is_empty(), "{name}: {error}");
        assert!(error.contains(words), "{name}: {error}");
        assert!(report.output.lines.iter().all(|line| line.stream == Stream::Stderr));
    }
    // A machine without Ansible.
    let env = json!({"PATH": local.few_programs(&["sh", "env"])});
    let (end, _) = local.report(&local.play("[]", &json!({"env": env}))).await;
    let error = end.unwrap_err();
    assert!(
        error.to_string().contains("install `ansible-core` or `ansible` in a step before"),
        "{error}"
    );
    assert_eq!(error.kind(), BuildErrorKind::Usage);
}
