//! What the common functions do, under each shell.

use std::time::Duration;

use imgbake_build::BuildErrorKind;
use imgbake_runtime::Cancel;
use imgbake_runtime::retry::poll;
use imgbake_types::record::step::ResourceOutcome as Is;
use imgbake_types::secret::marker;
use imgbake_types::spec::ProvisionSpec;
use serde_json::json;

use super::{Machine, changed, find};

/// What hostile names have.
const NAMES: [&str; 7] = [
    "plain",
    "it's \"quoted\" $PATH `y` \\n \\",
    "two\nlines\n",
    "-rf *",
    "tab\there \u{1}\u{1f}\u{7f}",
    "ümläut ⟧ 雪",
    "%s%d",
];

#[tokio::test]
async fn names_are_reported_as_they_are() {
    for machine in [Machine::debian(), Machine::busybox()] {
        let file = |name: &&str| json!({"destination": format!("/srv/{name}"), "content": format!("a\n{name}")});
        let files: Vec<_> = NAMES.iter().map(file).collect();
        let (end, report) = machine.run("files", json!({"files": files})).await;
        end.unwrap();
        let reported: Vec<&str> =
            report.resources.iter().map(|one| &one.name["/srv/".len()..]).collect();
        assert_eq!(reported, NAMES);
        assert_eq!(report.counts.changed, 7);
        for name in NAMES {
            assert_eq!(machine.text(&format!("/srv/{name}")), format!("a\n{name}"));
        }
        let other = |name: &&str| json!({"destination": format!("/srv/{name}"), "content": format!("b\n{name}")});
        let files: Vec<_> = NAMES.iter().map(other).collect();
        let (_, report) = machine.run("files", json!({"files": files})).await;
        for one in &report.resources {
            let diff = one.diff.as_deref().unwrap();
            assert!(diff.contains("\n-a\n+b\n"), "{diff}");
        }
    }
}

#[tokio::test]
async fn what_it_did_is_unknown_where_it_does_not_report_all() {
    for (program, part) in [
        // It ends the script as if all went well.
        ("kill -KILL $(cut -d' ' -f4 /proc/$PPID/stat)", "ended with exit code 137"),
        ("kill -TERM $(cut -d' ' -f4 /proc/$PPID/stat)", "ended with exit code 143"),
    ] {
        let machine = Machine::debian();
        machine.program("/usr/local/sbin/ln", program);
        let (end, report) =
            machine.run("files", json!({"files": [{"destination": "/l", "link": "x"}]})).await;
        let error = end.unwrap_err();
        assert!(error.contains(part), "{error}");
        assert_eq!(report.counts.total(), 0, "{report:?}");
    }
}

#[tokio::test]
async fn the_first_failure_ends_it() {
    let machine = Machine::busybox();
    machine.write("/etc/file", "x");
    let files = json!([
        {"destination": "/etc/a", "content": "a"},
        {"destination": "/etc/file/b", "content": "b"},
        {"destination": "/etc/c", "content": "c"},
    ]);
    let (end, report) = machine.run("files", json!({"files": files})).await;
    let error = end.unwrap_err();
    assert!(
        error.contains("file[/etc/file/b] failed: `mkdir` ended with exit code 1: mkdir: "),
        "{error}"
    );
    let outcomes: Vec<Is> = report.resources.iter().map(|one| one.outcome).collect();
    assert_eq!(outcomes, [Is::Changed, Is::Failed]);
    assert_eq!(report.exit_code, Some(1));
    assert!(!machine.at("/etc/c").exists());
}

#[tokio::test]
async fn output_without_a_line_end_hides_no_result() {
    let machine = Machine::debian();
    machine.program("/usr/local/sbin/ln", "printf 'no line end'; exec /bin/ln \"$@\"");
    let settings = json!({"files": [{"destination": "/l", "link": "x"}]});
    let (end, report) = machine.run("files", settings).await;
    assert_eq!((end, changed(&report)), (Ok(()), vec!["link[/l]".to_owned()]));
    let lines: Vec<&str> = report.output.lines.iter().map(|line| line.line.as_str()).collect();
    assert_eq!(lines, ["no line end"]);
}

/// What a machine has of a step.
fn folders(machine: &Machine) -> Vec<String> {
    let mut names = machine.sorted_names("/run");
    names.retain(|name| name != "imgbake");
    names.extend(machine.sorted_names("/run/imgbake"));
    names
}

/// Waits until something holds of a machine. No event says when it is so.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let look = || async { holds().then_some(()) };
    poll(&Cancel::new(), Duration::from_secs(60), what, look).await.unwrap();
}

/// A build that is cancelled drops its step: the machine itself removes what it has of it.
#[tokio::test]
async fn a_step_that_is_dropped_leaves_no_folder() {
    let machine = Machine::debian();
    machine.program("/usr/local/sbin/ln", "touch /begun; sleep 4242.23");
    let settings = json!({"files": [{"destination": "/l", "link": "x"}]});
    tokio::select! {
        (end, _) = machine.run("files", settings) => panic!("{end:?}"),
        () = until("the step's begin", || machine.at("/begun").exists()) => {}
    }
    assert_eq!(folders(&machine).len(), 2);
    until("the folders' end", || folders(&machine).is_empty()).await;
}

#[tokio::test]
async fn a_step_that_is_cancelled_leaves_no_folder() {
    let machine = Machine::debian();
    machine.program("/usr/local/sbin/ln", "touch /begun; sleep 4242.24");
    let settings = json!({"files": [{"destination": "/l", "link": "x"}]});
    let cancel = async {
        until("the step's begin", || machine.at("/begun").exists()).await;
        machine.guest.job.cancel().cancel();
    };
    let ((end, _), ()) = tokio::join!(machine.run("files", settings), cancel);
    assert_eq!(end, Err("interrupted".to_owned()));
    assert_eq!(machine.sorted_names("/run/imgbake"), [""; 0]);
    until("the folders' end", || folders(&machine).is_empty()).await;
}

#[tokio::test]
async fn a_run_that_hangs_is_ended() {
    let machine = Machine::debian();
    machine.program("/usr/local/sbin/ln", "echo linking; sleep 4242.19");
    let settings = json!({"files": [{"destination": "/l", "link": "x"}], "timeout": "1s"});
    let (end, _) = machine.run("files", settings).await;
    let error = end.unwrap_err();
    assert!(
        error.contains("it timed out after 1s and was ended") && error.contains("linking"),
        "{error}"
    );
}

#[tokio::test]
async fn sensitive_values_stand_where_nobody_sees_them() {
    let machine = Machine::debian();
    machine.guest.job.secrets().add("key", "Zq7-kLm0'pWy9vT3s\nline 2");
    let content = format!("key={}\n", marker("key"));
    let files = |content: &str| json!({"files": [{"destination": "/etc/app", "content": content, "mode": "0600"}]});
    machine.run("files", files("old")).await.0.unwrap();
    let (end, report) = machine.run("files", files(&content)).await;
    end.unwrap();
    assert_eq!(machine.text("/etc/app"), "key=Zq7-kLm0'pWy9vT3s\nline 2\n");
    let diff = find(&report, "file[/etc/app]").diff.as_deref().unwrap();
    assert!(diff.contains("not shown") && !diff.contains("Zq7"), "{diff}");
    assert!(!machine.guest.comm.commands.lock().unwrap().concat().contains("kLm0"));
    assert_eq!(changed(&machine.run("files", files(&content)).await.1), [""; 0]);

    // And nowhere else.
    for (kind, settings) in [
        ("user", json!({"user": "a", "comment": marker("key")})),
        ("packages", json!({"install": [marker("key")]})),
        (
            "files",
            json!({"files": [{"destination": format!("/{}", marker("key")), "content": ""}]}),
        ),
        ("sysctl", json!({"settings": {"a.b": marker("key")}})),
    ] {
        let (end, _) = machine.guest.report(&ProvisionSpec::of(kind, &settings).unwrap()).await;
        let error = end.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Usage, "{error}");
        assert!(error.to_string().contains("a sensitive variable"), "{error}");
    }
}
