//! Planting, the two phases, and waiting for their reports.

use std::convert::Infallible;
use std::time::Duration;

use async_trait::async_trait;
use imgbake_build::{
    BuildError, Machine, Operation, Pattern, Planted, SealContext, SealReport, Sealer, Seed, Tap,
};
use imgbake_comm::{CommError, Communicator, Exec, Exit};
use imgbake_runtime::{Job, RuntimeError, retry};
use imgbake_types::EventKind;
use imgbake_types::event::Stream;
use imgbake_types::record::{SealRecord, SealedItems};
use imgbake_types::spec::SealSpec;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::error::{SealError, ShellExit};
use crate::operations::{OPERATIONS, Selection, check};
use crate::plant::{self, Canary};
use crate::report::PhaseReport;
use crate::scan::ResidueScanner;
use crate::script::{self, Facts, Tree};

/// How long planting may take: a few dozen processes and one sync, under emulation.
const PLANT_LIMIT: Duration = Duration::from_secs(180);
/// How long the first phase may take.
const FIRST_LIMIT: Duration = Duration::from_secs(900);
/// How long a machine that lost its connection may take to report why.
const AFTERMATH: Duration = Duration::from_secs(5);
/// How long the console may lag behind the machine's end.
const CONSOLE_LIMIT: Duration = Duration::from_secs(5);
/// Output kept of the first phase, in bytes.
const OUTPUT: usize = 4 << 20;
/// Asks the machine to power off, and does not wait for it.
const POWER_OFF: &str =
    "{ systemctl poweroff -i --no-wall --no-block || poweroff; } >/dev/null 2>&1\n";
/// Complaints that say nothing: files that a running service removed or made in the meantime, which the
/// late phase puts right, and the login's own.
const NOISE: [&str; 3] = ["No such file", "Directory not empty", "sudo: unable to resolve host"];

/// Seals a machine over its communicator.
#[derive(Debug, Default)]
pub struct GuestSealer;

impl GuestSealer {
    /// A new sealer.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Sealer for GuestSealer {
    fn operations(&self) -> &'static [Operation] {
        &OPERATIONS
    }

    fn own_paths(&self) -> Vec<&'static str> {
        plant::own_paths().collect()
    }

    fn scanner(&self, patterns: Vec<Pattern>) -> Box<dyn Tap> {
        Box::new(ResidueScanner::new(patterns))
    }

    async fn plant(
        &self,
        job: &Job,
        spec: &SealSpec,
        seed: &Seed,
        comm: &dyn Communicator,
    ) -> Result<Planted, BuildError> {
        let selection = check(spec)?;
        if !selection.trims() {
            job.events().warn(
                "[seal] skips `trim`: deleted bytes stay in the image, and nothing proves the seal",
            );
        }
        let canaries = Canary::all(&selection);
        let text = script::plant(&Tree::default(), &canaries);
        let exec = comm.script("root", None, text).timeout(PLANT_LIMIT);
        let reported = job.cancel().run(comm.check(exec)).await??;
        let mut patterns: Vec<Pattern> = canaries.iter().map(Canary::pattern).collect();
        patterns.extend(plant::identities(&reported, &selection, seed));
        patterns.extend(plant::hostname(&selection, seed));
        Ok(Planted { patterns, resolv_conf: plant::resolv_conf(&reported) })
    }

    async fn seal(
        &self,
        context: &SealContext<'_>,
        machine: &mut dyn Machine,
        comm: &dyn Communicator,
    ) -> Result<SealReport, BuildError> {
        let SealContext { job, spec, seed, planted, power_off_limit } = *context;
        let selection = check(spec)?;
        let nonce = Uuid::new_v4().simple().to_string();
        let facts = Facts::new(seed, planted.resolv_conf.clone(), nonce);
        let text = script::seal(&Tree::default(), &facts, &selection);

        machine.expect_power_off();
        let first = job.cancel().run(first_phase(machine, comm, &text)).await??;
        let mut report = PhaseReport::parse(&first);
        emit(job, &report);
        job.cancel().run(machine.powered_off(power_off_limit)).await??;
        let late = late_phase(job, machine, &facts.nonce).await?;
        emit(job, &late);
        report.merge(&late);
        Ok(summary(report, plant::identities(&first, &selection, seed)))
    }
}

/// What a shell in the machine printed.
#[derive(Default)]
struct Printed {
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Printed {
    /// Whether its last line reports a failure, which ends it.
    fn has_failed(&self) -> bool {
        let last = self.out.strip_suffix(b"\n").and_then(|out| out.rsplit(|b| *b == b'\n').next());
        last.is_some_and(|line| line.starts_with(b"fail\t"))
    }
}

/// Runs the first phase and, once its report is here, asks the machine to power off through the same
/// shell: by then the login may be gone, and its end may cut the connection. Gives what it reported.
async fn first_phase(
    machine: &dyn Machine,
    comm: &dyn Communicator,
    text: &str,
) -> Result<String, SealError> {
    let (mut shell, stdin) = tokio::io::duplex(text.len() + POWER_OFF.len());
    shell.write_all(text.as_bytes()).await.map_err(SealError::Send)?;
    let (ended, failed) = (Notify::new(), Notify::new());
    let mut printed = Printed::default();
    let mut sink = |stream, bytes: &[u8]| {
        let kept = if stream == Stream::Stdout { &mut printed.out } else { &mut printed.err };
        let left = OUTPUT.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(left)]);
        if printed.out.ends_with(b"\nend\n") {
            ended.notify_one();
        } else if printed.has_failed() {
            failed.notify_one();
        }
    };
    let exec = Exec::new(comm.as_root("sh -s")).stdin(stdin).timeout(FIRST_LIMIT);
    let power_off = async {
        ended.notified().await;
        // A shell that is gone shows in how its command ended.
        let _ = shell.write_all(POWER_OFF.as_bytes()).await;
        let _ = shell.shutdown().await;
        std::future::pending::<Infallible>().await
    };
    // It exits right after reporting a failure. One that keeps reading, or hangs, is ended.
    let given_up = async {
        failed.notified().await;
        let _ = tokio::time::timeout(AFTERMATH, std::future::pending::<()>()).await;
    };
    let exit = tokio::select! {
        biased;
        error = machine.failure() => return Err(error.into()),
        exit = comm.run(exec, &mut sink) => exit,
        () = given_up => Ok(Exit::Lost),
        never = power_off => match never {},
    };
    let is_lost = !matches!(exit, Ok(Exit::Code(_))) && !printed.has_failed();
    let ended = first_ended(&printed, exit);
    if ended.is_err() && is_lost {
        // A lost connection is most often the first sign of what the machine reports a little later.
        let failure = tokio::time::timeout(AFTERMATH, machine.failure()).await;
        return failure.map_or(ended, |failure| Err(failure.into()));
    }
    ended
}

/// The first phase's output, if it came to its end.
fn first_ended(printed: &Printed, exit: Result<Exit, CommError>) -> Result<String, SealError> {
    let mut out = String::from_utf8_lossy(&printed.out).into_owned();
    let err = String::from_utf8_lossy(&printed.err);
    let report = PhaseReport::parse(&out);
    if let Some(failure) = report.failure {
        return Err(SealError::FirstPhase(failure));
    }
    if report.ended {
        let news = |line: &&str| {
            !line.trim().is_empty() && !NOISE.iter().any(|noise| line.contains(noise))
        };
        let notes = err.lines().filter(news);
        out.extend(notes.map(|line| format!("note\t{line}\n")));
        return Ok(out);
    }
    let last = err.lines().last().unwrap_or_default().to_owned();
    Err(match exit {
        Ok(exit) => SealError::EndedEarly { last, exit: ShellExit(exit) },
        Err(cause) => cause.into(),
    })
}

/// The late phase's report, from the console of a machine that is off.
async fn late_phase(
    job: &Job,
    machine: &dyn Machine,
    nonce: &str,
) -> Result<PhaseReport, SealError> {
    let read = || async {
        let report = PhaseReport::from_console(&machine.console(), nonce);
        (report.ended || report.failure.is_some()).then_some(report)
    };
    match retry::poll(job.cancel(), CONSOLE_LIMIT, "the seal's report on the console", read).await {
        Ok(PhaseReport { failure: Some(failure), .. }) => Err(SealError::LatePhase(failure)),
        Ok(report) => Ok(report),
        Err(_) if job.cancel().is_cancelled() => Err(RuntimeError::cancelled().into()),
        Err(error) => Err(SealError::NoLateReport(error)),
    }
}

/// Reports each operation that removed something, and the notes.
fn emit(job: &Job, report: &PhaseReport) {
    for removal in report.removals.iter().filter(|removal| removal.removed > 0) {
        job.events().emit(EventKind::SealOperation {
            operation: removal.operation.clone(),
            removed: removal.removed,
            bytes: removal.bytes,
            paths: removal.paths.clone(),
        });
    }
    for note in &report.notes {
        job.events().warn(format!("seal: {note}"));
    }
}

/// Trimmed bytes are in the events; here they would drown what was removed.
fn summary(report: PhaseReport, residues: Vec<Pattern>) -> SealReport {
    let count = |removal: crate::report::Removal| {
        let bytes = if removal.operation == Selection::TRIM { 0 } else { removal.bytes };
        SealedItems { operation: removal.operation, removed: removal.removed, bytes }
    };
    let operations = report.removals.into_iter().map(count).collect();
    let record = SealRecord { format: SealRecord::FORMAT, operations, warnings: report.notes };
    SealReport { record, residues }
}
