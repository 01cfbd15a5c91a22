use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use camino::Utf8Path;
use imgbake_build::{BuildErrorKind, StepEnd};
use imgbake_comm::{Communicator, Exec, Exit};
use imgbake_provision::{Reboot, RetrySpec, ShellSpec};
use imgbake_runtime::Cancel;
use imgbake_runtime::retry::poll;
use imgbake_types::event::Stream;
use imgbake_types::secret::marker;
use imgbake_types::spec::ProvisionSpec;

use crate::local::{Local, LocalGuest, text};

fn inline(lines: &[&str]) -> ShellSpec {
    ShellSpec {
        inline: Some(lines.iter().map(|&line| line.to_owned()).collect()),
        ..ShellSpec::default()
    }
}

fn step(spec: &ShellSpec) -> ProvisionSpec {
    ProvisionSpec::of("shell", spec).unwrap()
}

#[tokio::test]
async fn tells_lines_of_both_streams() {
    let mut place = LocalGuest::new();
    let (end, bytes) =
        place.run(&step(&inline(&["echo one", "echo two >&2", "printf three"]))).await.unwrap();
    assert_eq!((end, bytes), (StepEnd::Running, 35));
    let (mut lines, _) = place.emitted();
    lines.sort_by_key(|(stream, _)| *stream == Stream::Stderr);
    let expected = [(Stream::Stdout, "one"), (Stream::Stdout, "three"), (Stream::Stderr, "two")];
    assert_eq!(lines, expected.map(|(stream, line)| (stream, line.to_owned())));
}

#[tokio::test]
async fn the_environment_comes_as_it_was_written() {
    let place = LocalGuest::new();
    let values = ["", "it's", "a\nb\n", "$HOME `id` $(id) \\", "\"; exit 9; \"", "é ⟦x⟧ * ? ~"];
    let mut spec =
        inline(&["for n in 0 1 2 3 4 5; do eval \"printf '%s|' \\\"\\$V$n\\\"\"; done >$OUT"]);
    for (n, value) in values.iter().enumerate() {
        spec.env.insert(format!("V{n}"), (*value).to_owned());
    }
    // Names that the runner itself might use.
    for name in ["dir", "child", "code", "total", "workdir", "mask"] {
        spec.env.insert(name.to_owned(), "/no/such".to_owned());
    }
    spec.env.insert("OUT".to_owned(), place.at("out").into_string());
    place.run(&step(&spec)).await.unwrap();
    assert_eq!(text(&place.at("out")), values.map(|value| format!("{value}|")).concat());
}

#[tokio::test]
async fn a_secret_is_in_no_argument_and_no_output() {
    let mut place = LocalGuest::new();
    let out = place.at("out");
    let mut spec = inline(&[
        "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' >$OUT.args",
        "stat -c %a $(dirname $0) >$OUT.mode",
        "printf %s \"$TOKEN\" >$OUT",
        &format!("cat <<'END' >>$OUT\n{}\nEND", marker("token")),
        "echo say $TOKEN",
        "exit 3",
    ]);
    spec.env.insert("TOKEN".to_owned(), marker("token"));
    spec.env.insert("OUT".to_owned(), out.to_string());
    let error = place.run(&step(&spec)).await.unwrap_err();

    let secret = "hunter2'\"$HOME`x`";
    assert_eq!(text(&out), format!("{secret}{secret}\n"));
    for shown in [
        text(&place.at("out.args")),
        error.to_string(),
        place.comm.commands.lock().unwrap().join("\n"),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    assert_eq!(text(&place.at("out.mode")).trim(), "700");
    assert_eq!(place.emitted().0, [(Stream::Stdout, "say ***".to_owned())]);
    assert!(
        error.to_string().contains("exit code 3") && error.to_string().contains("say ***"),
        "{error}"
    );
}

#[tokio::test]
async fn scripts_run_by_their_interpreter() {
    let mut place = LocalGuest::new();
    let script = place.at("script");
    for (body, interpreter, expected) in [
        ("#!/bin/bash\necho ${BASH_VERSION:+bash}", None, "bash"),
        ("#!/usr/bin/env -S bash -u\necho $- | grep -o u", None, "u"),
        ("echo $- | grep -o e", None, "e"),
        ("print('py')", Some(vec!["python3", "-u"]), "py"),
        ("#!/bin/false\necho other", Some(vec!["sh"]), "other"),
    ] {
        std::fs::write(&script, body).unwrap();
        let interpreter = interpreter.map(|words| words.into_iter().map(str::to_owned).collect());
        place
            .run(&step(&ShellSpec {
                script: Some(script.clone()),
                interpreter,
                ..ShellSpec::default()
            }))
            .await
            .unwrap();
        assert_eq!(place.emitted().0, [(Stream::Stdout, expected.to_owned())], "{body}");
    }
    // The host's file mode means nothing, and bytes that are no text go through.
    std::fs::write(&script, b"#!/bin/sh\nexit 0\n\xff\xfe").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o400)).unwrap();
    place.run(&step(&ShellSpec { script: Some(script), ..ShellSpec::default() })).await.unwrap();

    let missing = ShellSpec { script: Some(place.at("missing")), ..ShellSpec::default() };
    let error = place.run(&step(&missing)).await.unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}

#[tokio::test]
async fn runs_as_the_user_in_the_folder() {
    let mut place = LocalGuest::new();
    let spec =
        ShellSpec { workdir: Some("/usr/share".into()), ..inline(&["id -un; pwd; umask; cat"]) };
    place.run(&step(&ShellSpec { user: Some("daemon".into()), ..spec.clone() })).await.unwrap();
    let lines: Vec<String> = place.emitted().0.into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines[..2], ["daemon", "/usr/share"]);
    assert_ne!(lines[2], "0077");

    let spec = ShellSpec { workdir: Some("/no/such".into()), ..spec };
    let error = place.run(&step(&spec)).await.unwrap_err();
    assert!(error.to_string().contains("/no/such"), "{error}");
}

#[tokio::test]
async fn tries_again_as_often_as_it_may() {
    let mut place = LocalGuest::new();
    let count = place.at("count");
    let lines = format!("echo x >>{count}; [ $(wc -l <{count}) -ge 3 ] || exit 5");
    let retry = |attempts| Some(RetrySpec { attempts, backoff: Some("1ms".parse().unwrap()) });
    place.run(&step(&ShellSpec { retry: retry(3), ..inline(&[&lines]) })).await.unwrap();
    let (_, warnings) = place.emitted();
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].contains("exit code 5 at try 1 of 3"), "{warnings:?}");

    std::fs::remove_file(&count).unwrap();
    let error =
        place.run(&step(&ShellSpec { retry: retry(2), ..inline(&[&lines]) })).await.unwrap_err();
    assert!(
        error.to_string().contains("exit code 5, after 2 tries; it printed nothing"),
        "{error}"
    );
    assert_eq!(error.kind(), BuildErrorKind::Failed);
}

#[tokio::test]
async fn judges_exit_codes() {
    let place = LocalGuest::new();
    for (code, accepted, good) in
        [(0, None, true), (1, None, false), (3, Some(vec![0, 3]), true), (0, Some(vec![3]), false)]
    {
        let spec = ShellSpec { exit_codes: accepted, ..inline(&[&format!("exit {code}")]) };
        assert_eq!(place.run(&step(&spec)).await.is_ok(), good, "{code}");
    }
    let error = place
        .run(&step(&inline(&["for n in $(seq 50); do echo line $n; done; false"])))
        .await
        .unwrap_err();
    let shown = error.to_string();
    assert!(shown.ends_with("line 49\nline 50") && !shown.contains("line 20\n"), "{shown}");
}

#[tokio::test]
async fn a_restart_must_be_expected() {
    let place = LocalGuest::with(Local { cut_at: Some("going down"), ..Local::default() });
    let spec = |line: &str, reboot| step(&ShellSpec { reboot, ..inline(&[line]) });
    let error = place.run(&spec("echo going down", Reboot::No)).await.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Machine);
    assert!(error.help_text().unwrap().contains("reboot = \"expected\""));

    for line in ["echo going down", "exit 0", "kill -TERM $$"] {
        let (end, _) = place.run(&spec(line, Reboot::Expected)).await.unwrap();
        assert_eq!(end, StepEnd::Restarting, "{line}");
    }
    assert!(place.run(&spec("exit 1", Reboot::Expected)).await.is_err());
}

/// A script that tells its process and its folder in a file, and then runs for ever.
fn endless(file: &Utf8Path) -> ShellSpec {
    inline(&[&format!("echo $$ $(dirname $0) >{file}.part; mv {file}.part {file}; sleep 3600")])
}

/// Waits until the script and its folder are gone.
async fn gone(place: &LocalGuest, file: &Utf8Path) {
    let told = text(file);
    let (pid, dir) = told.trim().split_once(' ').unwrap();
    assert!(dir.starts_with("/run/imgbake."), "{dir}");
    let wait = format!(
        "timeout 60 sh -c 'while kill -0 {pid} || [ -e {dir} ]; do sleep 0.05; done' 2>/dev/null"
    );
    let exec = Exec::new(wait).timeout(Duration::from_secs(90));
    assert_eq!(place.comm.run(exec, &mut |_, _| {}).await.unwrap(), Exit::Code(0), "{told}");
}

#[tokio::test]
async fn what_takes_too_long_is_ended_and_leaves_nothing() {
    let place = LocalGuest::new();
    let file = place.at("told");
    let spec = ShellSpec { timeout: Some("2s".parse().unwrap()), ..endless(&file) };
    let error = place.run(&step(&spec)).await.unwrap_err();
    assert!(error.to_string().contains("timed out after 2s"), "{error}");
    gone(&place, &file).await;
}

#[tokio::test]
async fn what_it_started_lives_on() {
    let place = LocalGuest::new();
    let file = place.at("pid");
    let spec = inline(&[&format!("sleep 3600 >/dev/null 2>&1 & echo $! >{file}")]);
    place.run(&step(&spec)).await.unwrap();
    let ended =
        place.comm.run(Exec::new(format!("kill {}", text(&file))), &mut |_, _| {}).await.unwrap();
    assert_eq!(ended, Exit::Code(0));
}

#[tokio::test]
async fn cancelling_ends_it_and_leaves_nothing() {
    let place = LocalGuest::new();
    let file = place.at("told");
    let cancel = place.job.cancel().clone();
    let started = async {
        let there = || async { file.exists().then_some(()) };
        poll(&Cancel::new(), Duration::from_secs(60), "the script", there).await.unwrap();
        cancel.cancel();
    };
    let spec = step(&endless(&file));
    let (ended, ()) = tokio::join!(place.run(&spec), started);
    assert_eq!(ended.unwrap_err().kind(), BuildErrorKind::Cancelled);
    gone(&place, &file).await;
}

#[tokio::test]
async fn refuses_what_cannot_be() {
    let place = LocalGuest::new();
    let bad_name =
        ShellSpec { env: [("A-B".to_owned(), String::new())].into(), ..inline(&["true"]) };
    let cases = [
        (
            ShellSpec { user: Some(marker("token")), ..inline(&["true"]) },
            "`user` holds a sensitive variable",
        ),
        (ShellSpec { workdir: Some(marker("token")), ..inline(&["true"]) }, "`workdir` holds"),
        (
            ShellSpec { interpreter: Some(vec![marker("token")]), ..inline(&["true"]) },
            "`interpreter` holds",
        ),
        (bad_name, "`A-B`"),
        (ShellSpec::default(), "either `script` or `inline`"),
        (inline(&["#!/bin/sh\r", "true\r"]), "CR LF"),
    ];
    for (spec, part) in cases {
        let error = place.run(&step(&spec)).await.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Usage, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(place.comm.commands.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_end_of_a_run_does_not_end_the_next_one() {
    let place = LocalGuest::new();
    let first = place.at("first");
    // The first run's watch acts for some seconds; the second run is there by then.
    let lines = format!(
        "[ ! -e {first} ] || {{ sleep 4; exit 0; }}; touch {first}; trap '' TERM; sleep 4252.1"
    );
    let spec = ShellSpec { timeout: Some("7s".parse().unwrap()), ..inline(&[&lines]) };
    let error = place.run(&step(&spec)).await.unwrap_err();
    assert!(error.to_string().contains("timed out after 7s"), "{error}");
    place.run(&step(&spec)).await.unwrap();
    crate::local::no_process("sleep\x004252.1").await;
}

#[tokio::test]
async fn what_left_the_session_or_takes_no_signal_is_ended_as_well() {
    for (at, hangs) in [
        ("1", "setsid sh -c 'sleep 4251.1; true' & sleep 4251.1"),
        ("2", "setsid sh -c 'trap \"\" TERM HUP; sleep 4251.2; sleep 4251.2; true' & wait"),
        ("3", "(setsid sh -c 'trap \"\" TERM; sleep 4251.3; sleep 4251.3; true' &) ; sleep 4251.3"),
    ] {
        let place = LocalGuest::new();
        let spec = ShellSpec { timeout: Some("2s".parse().unwrap()), ..inline(&[hangs]) };
        let error = place.run(&step(&spec)).await.unwrap_err();
        assert!(error.to_string().contains("timed out after 2s"), "{error}");
        crate::local::no_process(&format!("sleep\x004251.{at}")).await;
    }
}
