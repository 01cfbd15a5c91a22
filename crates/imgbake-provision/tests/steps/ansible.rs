//! Ansible's own program, with plays that change this host: only in a folder of the test.

use std::fs;

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_types::record::step::ResourceOutcome as Is;
use imgbake_types::spec::ProvisionSpec;
use serde_json::json;

use crate::local::{LocalGuest, find, outcomes, with};

/// A play with these tasks.
fn play(tasks: &str) -> String {
    format!("- hosts: all\n  connection: local\n  gather_facts: false\n  tasks:\n{tasks}")
}

impl LocalGuest {
    fn playbook(&self, text: &str) -> ProvisionSpec {
        let path = self.put("site.yml", text);
        let vars = json!({"dir": self.at("")});
        let settings = json!({"playbook": path, "extra_vars": vars, "groups": ["web"]});
        ProvisionSpec::of("ansible", &settings).unwrap()
    }

    /// Looks at a step before there is a machine; gives the error and the warnings.
    async fn checked(&mut self, spec: &ProvisionSpec) -> (Result<(), BuildError>, Vec<String>) {
        let provisioners = imgbake_provision::provisioners();
        let ansible = provisioners.iter().find(|one| one.kind().name == "ansible").unwrap();
        let checked = ansible.check(&self.job, "web", spec).await;
        assert_eq!(fs::read_dir(self.job.work()).unwrap().count(), 0, "nothing is left");
        (checked, self.emitted().1)
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
    let (end, first) = local.ran(&spec).await;
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

    let (_, second) = local.ran(&spec).await;
    assert_eq!(find(&second, "page").outcome, Is::Unchanged);
    assert_eq!(second.counts.changed, 1, "a command changes whenever it runs: {second:?}");
}

#[tokio::test]
async fn what_fails_says_where() {
    let local = LocalGuest::new();
    let spec = local.playbook(&play(
        "    - name: boom\n      shell: echo out; echo why >&2; exit 3\n    - name: never\n      command: \"true\"\n",
    ));
    let (end, report) = local.ran(&spec).await;
    let error = end.unwrap_err();
    for part in ["shell[boom] (", "/site.yml:5) failed: ", "why"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!((outcomes(&report), report.exit_code), (vec![("boom", Is::Failed)], Some(2)));

    // Ansible's own words where it does not begin.
    let broken = local.playbook("- hosts: all\n  tasks:\n    - nosuchmodule: {}\n");
    let (end, report) = local.ran(&broken).await;
    let error = end.unwrap_err();
    assert!(error.contains("nosuchmodule") && error.contains("site.yml"), "{error}");
    assert!(report.resources.is_empty());

    let mut absent = spec.clone();
    absent.settings.insert("playbook".to_owned(), json!(local.at("gone.yml")));
    assert!(local.ran(&absent).await.0.unwrap_err().contains("gone.yml"));
}

#[tokio::test]
async fn a_run_that_hangs_is_ended_with_all_that_it_started() {
    let local = LocalGuest::new();
    let tasks = "    - name: hangs\n      shell: touch DIR/begun; sleep 4242.17; true\n";
    local.hangs(&local.playbook(&play(tasks)), "15s", "sleep\x004242.17").await;
}

#[tokio::test]
async fn a_failure_that_is_rescued_is_never_the_reason() {
    let local = LocalGuest::new();
    let rescued = "    - block: [{name: caught, command: \"false\"}]\n\
        \x20     rescue: [{name: rescue, command: \"true\"}]\n";
    let boom = "    - {name: boom, command: \"false\"}\n";
    // What always runs comes after the failure that ended the play.
    let always = "    - block: [{name: boom, command: \"false\"}]\n      always:\n\
        \x20       - block: [{name: caught, command: \"false\"}]\n\
        \x20         rescue: [{name: rescue, command: \"true\"}]\n";
    let in_rescue = "    - block: [{name: caught, command: \"false\"}]\n\
        \x20     rescue: [{name: boom, command: \"false\"}]\n";
    for tasks in [[rescued, boom].concat(), always.to_owned(), in_rescue.to_owned()] {
        let (end, report) = local.ran(&local.playbook(&play(&tasks))).await;
        let error = end.unwrap_err();
        assert!(error.contains("command[boom] ("), "{tasks}: {error}");
        assert_eq!((report.counts.failed, report.exit_code), (2, Some(2)));
    }
    // A run that ends before its end has no task for a reason.
    let exits = "    - meta: end_play\n";
    let handled = local.ran(&local.playbook(&play(&[rescued, exits].concat()))).await;
    handled.0.unwrap();
    local.put("broken.yml", "- nosuchmodule: {}\n");
    let included = [rescued, "    - include_tasks: DIR/broken.yml\n"].concat();
    let error = local.ran(&local.playbook(&play(&included))).await.0.unwrap_err();
    assert!(error.contains("`ansible-playbook` failed with exit code 4; its last"), "{error}");
    assert!(error.contains("nosuchmodule"), "{error}");
}

#[tokio::test]
async fn a_look_at_the_playbook_has_what_the_run_has() {
    let mut local = LocalGuest::new();
    local.put("tasks.yml", "- debug: {msg: x}\n");
    local.put("more/library/own_module.py", "#!/usr/bin/python3\n");
    let good = local.playbook(
        "- hosts: web\n  tasks:\n    - import_tasks: \"{{ file }}\"\n    - own_module: {}\n",
    );
    let more = json!({
        "extra_vars": {"file": "DIR/tasks.yml".replace("DIR", local.root.as_str())},
        "env": {"ANSIBLE_LIBRARY": local.at("more/library")}, "tags": ["all"], "limit": "web",
        "args": ["--forks", "2"], "vault_password": "secret",
    });
    let mut spec = good.clone();
    spec.settings.extend(more.as_object().unwrap().clone());
    let (checked, warnings) = local.checked(&spec).await;
    checked.unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");

    for (text, part) in [
        ("- hosts: all\n  tasks: [\n", "Syntax Error while loading YAML"),
        ("- hosts: all\n  tasks:\n    - nosuchmodule: {}\n", "nosuchmodule"),
        ("- hosts: all\n  roles: [nosuchrole]\n", "nosuchrole"),
    ] {
        let error = local.checked(&local.playbook(text)).await.0.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Usage);
        let error = error.to_string();
        assert!(
            error.contains("Ansible cannot read the playbook") && error.contains(part),
            "{error}"
        );
    }
    // What else keeps it from a judgement is for the run to judge.
    let odd = with(
        &local.playbook(&play("    - command: \"true\"\n")),
        "env",
        json!({"ANSIBLE_CONNECTION_FACTS": "", "ANSIBLE_FORKS": "no number"}),
    );
    let (checked, warnings) = local.checked(&odd).await;
    checked.unwrap();
    let warning = &warnings[0];
    assert!(
        warning.contains("step `web`: the playbook cannot be checked before it runs"),
        "{warning}"
    );
}

#[tokio::test]
async fn requirements_that_cannot_be_installed_are_no_failure_of_the_playbook() {
    let local = LocalGuest::new();
    let spec = local.playbook(&play("    - command: \"true\"\n"));
    let requirements =
        local.put("requirements.yml", "roles: [{src: 'file:///nonexistent.tar.gz', name: x}]\n");
    let error = local.ran(&with(&spec, "requirements", json!(requirements))).await.0.unwrap_err();
    assert!(error.contains("`ansible-galaxy role install` of `requirements` failed"), "{error}");
}

#[tokio::test]
async fn secrets_are_masked_and_reach_the_play() {
    let local = LocalGuest::new();
    local.job.secrets().add("deploy", "Zq7-kLm0pWy9vT3s");
    let mut spec = local.playbook(&play(
        "    - name: token\n      copy: {content: \"{{ token }}\", dest: \"{{ dir }}/token\"}\n",
    ));
    spec.settings["extra_vars"]["token"] = json!("⟦secret:deploy⟧");
    let (end, report) = local.ran(&spec).await;
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
    let (end, report) = local.ran(&local.playbook(text)).await;
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
        ("all", json!({"limit": "nobody"}), "failed with exit code 1", ""),
        ("all", json!({"args": ["--start-at-task", "nothing"]}), "it ran no task", ""),
        ("localhost", json!({}), "", "no play was for the machine, which is `default`"),
    ] {
        let mut spec = local.playbook(&format!("- hosts: {hosts}\n{task}"));
        spec.settings.extend(more.as_object().unwrap().clone());
        let (end, report) = local.ran(&spec).await;
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
