//! Ansible's own program, with plays that change this host: only in a folder of the test.

use std::fs;

use imgbake_build::BuildErrorKind;
use imgbake_types::StepReport;
use imgbake_types::record::step::ResourceOutcome as Is;
use imgbake_types::spec::ProvisionSpec;
use serde_json::json;

use crate::local::{LocalGuest, find, no_process, outcomes};

/// A play with these tasks.
fn play(tasks: &str) -> String {
    format!("- hosts: all\n  connection: local\n  gather_facts: false\n  tasks:\n{tasks}")
}

impl LocalGuest {
    fn playbook(&self, text: &str) -> ProvisionSpec {
        let path = self.at("site.yml");
        fs::write(&path, text).unwrap();
        let vars = json!({"dir": self.at("")});
        let settings = json!({"playbook": path, "extra_vars": vars, "groups": ["web"]});
        ProvisionSpec::of("ansible", &settings).unwrap()
    }

    async fn ansible(&self, spec: &ProvisionSpec) -> (Result<(), String>, StepReport) {
        let (end, report) = self.report(spec).await;
        (end.map(drop).map_err(|error| error.to_string()), report)
    }
}

#[tokio::test]
async fn tasks_are_resources() {
    let local = LocalGuest::new();
    let spec = local.playbook(&play(
        "    - name: page\n      copy: {content: \"hello\\n\", dest: \"{{ dir }}/page\"}\n      notify: reload\n\
         \x20   - name: only elsewhere\n      command: \"false\"\n      when: \"'db' in group_names\"\n\
         \x20   - name: may fail\n      command: \"false\"\n      ignore_errors: true\n\
         \x20   - name: looks\n      command: echo seen\n      changed_when: false\n\
         \x20 handlers:\n    - name: reload\n      command: touch {{ dir }}/reloaded\n",
    ));
    let (end, first) = local.ansible(&spec).await;
    end.unwrap();
    let expected = [
        ("page", Is::Changed),
        ("only elsewhere", Is::Skipped),
        ("may fail", Is::Changed),
        ("looks", Is::Unchanged),
        ("reload", Is::Changed),
    ];
    assert_eq!(outcomes(&first), expected);
    let page = find(&first, "page");
    assert_eq!((page.kind.as_str(), page.line), ("copy", Some(5)));
    assert!(page.file.as_ref().unwrap().ends_with("/site.yml"));
    assert!(page.diff.as_ref().unwrap().contains("+hello"), "{page:?}");
    assert!(page.seconds.unwrap() > 0.0 && first.exit_code == Some(0));
    assert!(find(&first, "may fail").message.as_ref().unwrap().contains("ignored"));

    let (_, second) = local.ansible(&spec).await;
    assert_eq!(find(&second, "page").outcome, Is::Unchanged);
    assert_eq!(second.counts.changed, 1, "a command changes whenever it runs: {second:?}");
}

#[tokio::test]
async fn what_fails_says_where() {
    let local = LocalGuest::new();
    let spec = local.playbook(&play(
        "    - name: boom\n      shell: echo out; echo why >&2; exit 3\n    - name: never\n      command: \"true\"\n",
    ));
    let (end, report) = local.ansible(&spec).await;
    let error = end.unwrap_err();
    for part in ["shell[boom] (", "/site.yml:5) failed: ", "why"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!((outcomes(&report), report.exit_code), (vec![("boom", Is::Failed)], Some(2)));

    // Ansible's own words where it does not begin.
    let broken = local.playbook("- hosts: all\n  tasks:\n    - nosuchmodule: {}\n");
    let (end, report) = local.ansible(&broken).await;
    let error = end.unwrap_err();
    assert!(error.contains("nosuchmodule") && error.contains("site.yml"), "{error}");
    assert!(report.resources.is_empty());

    let mut absent = spec.clone();
    absent.settings.insert("playbook".to_owned(), json!(local.at("gone.yml")));
    assert!(local.ansible(&absent).await.0.unwrap_err().contains("gone.yml"));
}

#[tokio::test]
async fn a_run_that_hangs_is_ended_with_all_that_it_started() {
    let local = LocalGuest::new();
    let mut spec = local.playbook(&play("    - name: hangs\n      command: sleep 4242.17\n"));
    spec.settings.insert("timeout".to_owned(), json!("6s"));
    let error = local.ansible(&spec).await.0.unwrap_err();
    assert!(error.contains("it timed out after 6s and was ended"), "{error}");
    no_process("sleep\x004242.17").await;
}

#[tokio::test]
async fn secrets_are_masked_and_reach_the_play() {
    let local = LocalGuest::new();
    local.job.secrets().add("deploy", "Zq7-kLm0pWy9vT3s");
    let mut spec = local.playbook(&play(
        "    - name: token\n      copy: {content: \"{{ token }}\", dest: \"{{ dir }}/token\"}\n",
    ));
    spec.settings["extra_vars"]["token"] = json!("⟦secret:deploy⟧");
    let (end, report) = local.ansible(&spec).await;
    end.unwrap();
    assert_eq!(fs::read_to_string(local.at("token")).unwrap(), "Zq7-kLm0pWy9vT3s");
    let text = serde_json::to_string(&report).unwrap();
    assert!(!text.contains("Zq7-kLm") && text.contains("token"), "{text}");
}

#[tokio::test]
async fn roles_beside_it_and_its_own_settings_are_found() {
    let local = LocalGuest::new();
    for (path, text) in [
        (
            "roles/page/tasks/main.yml",
            "- name: role's page\n  copy: {src: page, dest: \"{{ dir }}/\"}\n",
        ),
        ("roles/page/files/page", "from a role"),
        ("group_vars/web.yml", "word: grouped\n"),
        ("ansible.cfg", "[defaults]\nany_errors_fatal = True\n"),
    ] {
        fs::create_dir_all(local.at(path).parent().unwrap()).unwrap();
        fs::write(local.at(path), text).unwrap();
    }
    let text = "- hosts: web\n  connection: local\n  gather_facts: false\n  roles: [page]\n  tasks:\n    \
                - name: \"says {{ word }}\"\n      debug: {msg: \"{{ word }}\"}\n";
    let (end, report) = local.ansible(&local.playbook(text)).await;
    end.unwrap();
    assert_eq!(fs::read_to_string(local.at("page")).unwrap(), "from a role");
    assert_eq!(outcomes(&report).len(), 2, "{report:?}");
    assert_eq!(report.counts.changed, 1);
    let usage = ProvisionSpec::of("ansible", &json!({"playbok": "x"})).unwrap();
    let (end, _) = local.report(&usage).await;
    assert_eq!(end.unwrap_err().kind(), BuildErrorKind::Usage);
}

#[tokio::test]
async fn a_run_for_nobody_is_no_run() {
    let local = LocalGuest::new();
    let task = "  connection: local\n  gather_facts: false\n  tasks:\n    - {name: one, command: \"true\", tags: [a]}\n";
    for (hosts, more, error, warning) in [
        ("all", json!({}), "", ""),
        ("none", json!({}), "it ran no task: no play is for `default`", ""),
        ("all", json!({"tags": ["b"]}), "it ran no task", ""),
        ("all", json!({"limit": "nobody"}), "failed (exit status: 1)", ""),
        ("all", json!({"args": ["--start-at-task", "nothing"]}), "it ran no task", ""),
        ("localhost", json!({}), "", "no play was for the machine, which is `default`"),
    ] {
        let mut spec = local.playbook(&format!("- hosts: {hosts}\n{task}"));
        spec.settings.extend(more.as_object().unwrap().clone());
        let (end, report) = local.ansible(&spec).await;
        let told = end.err().unwrap_or_default();
        assert_eq!(told.is_empty(), error.is_empty(), "{hosts} {more}: {told}");
        assert!(told.contains(error), "{hosts} {more}: {told}");
        assert_eq!(
            error.is_empty() && warning.is_empty(),
            report.warnings.is_empty() && error.is_empty()
        );
        assert!(report.warnings.join("\n").contains(warning), "{hosts} {more}: {report:?}");
    }
}
