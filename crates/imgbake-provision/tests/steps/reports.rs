//! What a step's report says, however the step ended.

use imgbake_build::{BuildErrorKind, StepRecorder};
use imgbake_provision::{FileSpec, RetrySpec, ShellSpec};
use imgbake_types::Outcome;
use imgbake_types::event::Stream;
use imgbake_types::record::step::{OutputLine, Resource, ResourceOutcome, StepReport};
use imgbake_types::secret::marker;
use imgbake_types::spec::ProvisionSpec;
use serde::Serialize;

use crate::local::{Local, LocalGuest};

fn shell(lines: &[&str]) -> ShellSpec {
    let inline = Some(lines.iter().map(|&line| line.to_owned()).collect());
    ShellSpec { inline, ..ShellSpec::default() }
}

fn step(kind: &str, spec: &impl Serialize) -> ProvisionSpec {
    ProvisionSpec::of(kind, spec).unwrap()
}

fn lines(report: &StepReport) -> Vec<(Stream, &str)> {
    report.output.lines.iter().map(|OutputLine { stream, line }| (*stream, line.as_str())).collect()
}

#[tokio::test]
async fn a_step_that_succeeds_has_one() {
    let guest = LocalGuest::new();
    let spec = shell(&["echo one", "echo two >&2"]);
    let (end, report) = guest.report(&step("shell", &spec)).await;
    assert!(end.is_ok());
    assert_eq!((report.kind.as_str(), report.outcome), ("shell", Outcome::Done));
    assert_eq!((report.exit_code, report.attempts, report.bytes), (Some(0), 1, 22));
    assert_eq!(report.error, None);
    let mut printed = lines(&report);
    printed.sort_by_key(|(stream, _)| *stream == Stream::Stderr);
    assert_eq!(printed, [(Stream::Stdout, "one"), (Stream::Stderr, "two")]);
}

#[tokio::test]
async fn a_step_that_fails_has_one() {
    let guest = LocalGuest::new();
    let mut spec = shell(&["echo the token is $TOKEN", "exit 7"]);
    spec.env.insert("TOKEN".to_owned(), marker("token"));
    spec.retry = Some(RetrySpec { attempts: 2, backoff: Some("1ms".parse().unwrap()) });
    let (end, report) = guest.report(&step("shell", &spec)).await;
    assert!(end.is_err());
    assert_eq!((report.outcome, report.exit_code, report.attempts), (Outcome::Failed, Some(7), 2));
    assert_eq!(lines(&report), [(Stream::Stdout, "the token is ***"); 2]);
    assert_eq!(report.warnings.len(), 1);
    assert!(report.error.as_deref().unwrap().contains("exit code 7"), "{report:?}");
    assert!(!serde_json::to_string(&report).unwrap().contains("hunter2"));
}

#[tokio::test]
async fn a_step_whose_machine_went_down_has_one() {
    let guest = LocalGuest::with(Local { cut_at: Some("going down"), ..Local::default() });
    let spec = shell(&["echo before", "echo going down"]);
    let (end, report) = guest.report(&step("shell", &spec)).await;
    assert_eq!(end.unwrap_err().kind(), BuildErrorKind::Machine);
    assert_eq!((report.outcome, report.exit_code), (Outcome::Failed, None));
    assert_eq!(lines(&report)[0], (Stream::Stdout, "before"));
}

#[tokio::test]
async fn hostile_output_stays_bounded() {
    let guest = LocalGuest::new();
    // 5 MB of control characters, most of them in one line.
    let noise = "head -c 5000000 /dev/zero | tr '\\0' '\\033'; echo; seq 20000; false";
    let (end, report) = guest.report(&step("shell", &shell(&[noise]))).await;
    let error = end.unwrap_err().to_string();
    assert!(error.ends_with("19999\n20000") && error.len() < 1000, "{error}");
    assert!(report.output.omitted > 10_000);
    assert_eq!(lines(&report).last(), Some(&(Stream::Stdout, "20000")));
    let json = serde_json::to_string(&report).unwrap();
    assert!(json.len() < 256 << 10, "{}", json.len());
}

#[tokio::test]
async fn files_are_resources() {
    let guest = LocalGuest::new();
    let target = guest.at("etc/app.conf");
    let spec = FileSpec {
        content: Some("x=1\n".to_owned()),
        destination: target.clone(),
        ..FileSpec::default()
    };
    let write = step("file", &spec);
    for (outcome, summary) in
        [(ResourceOutcome::Changed, "1 changed"), (ResourceOutcome::Unchanged, "1 unchanged")]
    {
        let (_, report) = guest.report(&write).await;
        assert_eq!(report.resources.len(), 1);
        let resource = &report.resources[0];
        assert_eq!((resource.kind.as_str(), resource.name.as_str()), ("file", target.as_str()));
        assert_eq!((resource.outcome, report.summary().as_str()), (outcome, summary));
    }

    let refused = FileSpec { owner: Some("no-such-user".to_owned()), ..spec };
    let (end, report) = guest.report(&step("file", &refused)).await;
    assert!(end.is_err());
    assert_eq!((report.outcome, report.counts.failed), (Outcome::Failed, 1));
    assert!(report.resources[0].message.as_deref().unwrap().contains("no-such-user"));
}

#[test]
fn what_changed_is_listed_however_much_did_not() {
    let guest = LocalGuest::new();
    for (unchanged, changed) in [(100_000, 1), (30_000, 1500)] {
        let recorder = StepRecorder::begin(&guest.job, "step", "puppet");
        for number in 0..unchanged {
            recorder.resource(Resource::new("t", format!("{number}"), ResourceOutcome::Unchanged));
        }
        for number in 0..changed {
            recorder.resource(Resource::new(
                "t",
                format!("new {number}"),
                ResourceOutcome::Changed,
            ));
        }
        let report = recorder.finish(None);
        let listed = report.resources.iter().filter(|one| one.outcome == ResourceOutcome::Changed);
        assert_eq!((report.counts.changed, listed.count() as u64), (changed, changed));
        assert_eq!(report.counts.unchanged, unchanged);
    }
}
