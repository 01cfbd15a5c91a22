//! What steps' inputs are right now.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use imgbake_build::BuildErrorKind;
use imgbake_http::RetryPolicy;
use imgbake_runtime::{Events, Home, Job};
use imgbake_types::{Digest, EventKind};

use super::Bench;
use super::server::{Reply, Server};
use crate::StepInputs;
use crate::pin::Limits;

impl Bench {
    /// Asks for inputs as a new process would; gives the warnings as well.
    async fn inputs(
        &self,
        texts: &[&str],
    ) -> (Result<Vec<Digest>, imgbake_build::BuildError>, Vec<String>) {
        let home = Home::new(self.path().join("home"));
        let id = imgbake_runtime::job::new_id("test");
        let (events, mut receiver) = Events::channel(&id, self.secrets.clone());
        let job =
            Job::begin(&home, &id, self.cancel.clone(), events, self.secrets.clone()).unwrap();
        let limits = Limits { retries: RetryPolicy::brief(), time: Duration::from_secs(2) };
        let asked =
            StepInputs::with_limits(limits).ask(&job, self.path(), texts.iter().copied()).await;
        job.end().unwrap();
        let mut warnings = Vec::new();
        while let Ok(event) = receiver.try_recv() {
            let EventKind::Notice { message, .. } = event.kind else { panic!("{event:?}") };
            warnings.push(message);
        }
        (asked.map(|found| found.into_values().collect()), warnings)
    }
}

#[tokio::test]
async fn a_url_is_its_bytes_and_bridges_a_failure() {
    let state = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&state);
    let server = Server::start(move |_| match now.load(Ordering::SeqCst) {
        0 => Reply::new(200, b"one"),
        1 => Reply::new(200, b"two"),
        2 => Reply::new(404, b"no"),
        _ => Reply::new(503, b"down"),
    })
    .await;
    let bench = Bench::new();
    let text = format!("url:{}", server.url("/InRelease"));
    let mut seen = Vec::new();
    for step in [0, 0, 1] {
        state.store(step, Ordering::SeqCst);
        let (found, warnings) = bench.inputs(&[&text, &text, "file:x"]).await;
        assert!(warnings.is_empty(), "{warnings:?}");
        seen.push(found.unwrap());
    }
    assert_eq!(
        (seen[0].len(), server.seen().len()),
        (1, 3),
        "asked once, however often it is named"
    );
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0], seen[2]);
    state.store(3, Ordering::SeqCst);
    let (found, warnings) = bench.inputs(&[&text]).await;
    assert_eq!(found.unwrap(), seen[2], "what it was is taken");
    assert!(warnings.len() == 1 && warnings[0].contains("it is taken to be what it was at"));
    // That nothing is there is an answer, and no passing one.
    state.store(2, Ordering::SeqCst);
    let error = bench.inputs(&[&text]).await.0.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn a_command_is_what_it_prints() {
    let bench = Bench::new();
    bench.file("version", b"1");
    let one = bench.inputs(&["command:cat version", "command:cat version; true"]).await.0.unwrap();
    assert_eq!(
        (one.len(), &one[0]),
        (2, &one[1]),
        "what it prints counts, in the template's folder"
    );
    bench.file("version", b"2");
    assert_ne!(bench.inputs(&["command:cat version"]).await.0.unwrap()[0], one[0]);
    let error = bench.inputs(&["command:echo why >&2; exit 3"]).await.0.unwrap_err();
    let words = error.to_string();
    assert!(words.contains("exit status: 3") && words.contains("why"), "{words}");
    let error = bench.inputs(&["command:sleep 60"]).await.0.unwrap_err();
    assert!(error.to_string().contains("did not end within 2 seconds"), "{error}");
}
