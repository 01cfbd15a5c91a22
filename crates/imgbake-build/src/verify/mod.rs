//! Verify: the published bytes, booted cold in throw-away clones.
//!
//! Each clone starts from its firmware, with a seed of its own and with nothing of the building
//! machine. How many boot at the same time is decided by the builder ([`crate::Builder::boots_at_once`]);
//! one is checked while the next one boots. A second clone runs beside the first where a slot is free for
//! it, else after it. Checks: the first boot asks nothing and finishes, no unit
//! failed, nothing asks at the console; then the template's tests. With two clones, their identities are
//! compared and the first is restarted.

mod checks;
mod clone;
mod disk;
mod identity;
mod outcome;
mod request;
mod schedule;
mod script;

use std::sync::Arc;
use std::time::Instant;

use imgbake_runtime::StageGuard;
use imgbake_types::record::{TestOutcome, VerifyRecord, VerifyStatus};
use imgbake_types::{Outcome, Stage};
use jiff::Timestamp;

use self::clone::ClonedMachine;
use self::outcome::report;
use self::schedule::Schedule;
use crate::evidence::record_verify;
use crate::{BaseDisk, BuildError, Machine};

pub use self::request::{Aftercare, VerifyRequest};

/// What verifying a version came to.
pub struct Verification {
    /// What it showed.
    pub record: VerifyRecord,
    /// The clones that run on. Whoever takes them ends them.
    pub kept: Vec<Box<dyn Machine>>,
}

/// Boots clones of a version, checks and tests them, and keeps the result in the registry. A failed
/// test is no error of this function.
pub async fn verify(request: VerifyRequest<'_>) -> Result<Verification, BuildError> {
    let stage = Arc::new(request.job.events().stage(Stage::Verify, Stage::Verify.name()));
    let started = Instant::now();
    let disk = disk::restore(request, &stage).await?;
    let hashing = disk::Hashing::begin(&disk);
    let disk = disk::base(request, disk);
    let (arch, machine) = (request.version.arch, &request.version.proof.machine);
    let schedule = Schedule::new(request.builder.boots_at_once(request.job, arch, machine).await?);
    let (results, kept) = if request.version.proof.verify.clones() == 1 {
        let run = ClonedMachine::new(request, &schedule, 0, disk).run(&stage).await?;
        (run.results, run.kept.into_iter().collect())
    } else {
        pair(request, &schedule, &stage, disk).await?
    };
    let disk_sha256 = hashing.end(request.version).await?;
    let passed = results.iter().all(|result| result.passed);
    let record = VerifyRecord {
        subject: request.version.digest.clone(),
        time: Timestamp::now(),
        status: if passed { VerifyStatus::Passed } else { VerifyStatus::Failed },
        tests: results,
        seconds: started.elapsed().as_secs_f64(),
        disk_sha256: Some(disk_sha256),
    };
    let image = request.registry.image(&request.version.name);
    record_verify(&*image, &record).await?;
    let failed = record.tests.iter().filter(|test| !test.passed).count();
    let detail = format!("{} checks and tests, {failed} failed", record.tests.len());
    if let Some(stage) = Arc::into_inner(stage) {
        stage.end(if passed { Outcome::Done } else { Outcome::Failed }, 0, detail);
    }
    Ok(Verification { record, kept })
}

/// Two clones: their own checks, then what only a pair can show.
async fn pair(
    request: VerifyRequest<'_>,
    schedule: &Schedule,
    stage: &StageGuard,
    disk: BaseDisk,
) -> Result<(Vec<TestOutcome>, Vec<Box<dyn Machine>>), BuildError> {
    let first = ClonedMachine::new(request, schedule, 0, disk.clone());
    let second = ClonedMachine::new(request, schedule, 1, disk);
    // Without a slot for both they run in turn: who waited for one while it holds another might wait for
    // a build that does the same.
    let (one, two) = match request.slots.try_take() {
        Some(slot) => {
            let second = async {
                let ended = second.run(stage).await;
                drop(slot);
                ended
            };
            let (one, two) = tokio::join!(first.run(stage), second);
            (one?, two?)
        }
        None => (first.run(stage).await?, second.run(stage).await?),
    };
    let mut results = one.results;
    results.extend(two.results);
    if let (Some(one), Some(two)) = (one.identity, two.identity) {
        for result in identity::compare(&one, &two) {
            report(request.job, &result);
            results.push(result);
        }
    }
    Ok((results, one.kept.into_iter().chain(two.kept).collect()))
}
