//! Verify: the published bytes, booted cold in throw-away clones.
//!
//! Each clone starts from its firmware, with a seed of its own and with nothing of the building
//! machine. Checks: the first boot asks nothing and finishes, no unit failed, nothing asks at the
//! console; then the template's tests. With two clones, their identities are compared and the first
//! is restarted.

mod checks;
mod clone;
mod identity;

use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use camino::Utf8PathBuf;
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Job, StageGuard};
use imgbake_types::record::{Parent, TestOutcome, VerifyRecord, VerifyStatus, VersionView};
use imgbake_types::{Digest, EventKind, Outcome, Stage};
use jiff::Timestamp;

use crate::{BaseDisk, BuildError, Builder, Registry, Whole};

/// What a verify works on.
#[derive(Clone, Copy)]
pub struct VerifyRequest<'a> {
    /// The running job.
    pub job: &'a Job,
    /// Makes the clones.
    pub builder: &'a dyn Builder,
    /// Holds the version.
    pub registry: &'a dyn Registry,
    /// The version, with its proof.
    pub version: &'a VersionView,
}

/// Boots clones of a version, checks and tests them, and keeps the result in the registry. A failed
/// test is no error of this function.
pub async fn verify(request: VerifyRequest<'_>) -> Result<VerifyRecord, BuildError> {
    let stage = Arc::new(request.job.events().stage(Stage::Verify, Stage::Verify.name()));
    let started = Instant::now();
    let (disk, disk_sha256) = restore(request, &stage).await?;
    let clones = request.version.proof.verify.clones();
    let results = if clones == 1 {
        let first = clone::Clone::new(request, 0, disk);
        first.run(&stage).await?.0
    } else {
        pair(request, &stage, disk).await?
    };
    let passed = results.iter().all(|result| result.passed);
    let record = VerifyRecord {
        subject: request.version.digest.clone(),
        time: Timestamp::now(),
        status: if passed { VerifyStatus::Passed } else { VerifyStatus::Failed },
        tests: results,
        seconds: started.elapsed().as_secs_f64(),
        disk_sha256,
    };
    request.registry.record_verify(&request.version.name, &record).await?;
    let failed = record.tests.iter().filter(|test| !test.passed).count();
    let detail = format!("{} checks and tests, {failed} failed", record.tests.len());
    if let Some(stage) = Arc::into_inner(stage) {
        stage.end(if passed { Outcome::Done } else { Outcome::Failed }, 0, detail);
    }
    Ok(record)
}

/// Two clones at once: their own checks, then what only a pair can show.
async fn pair(
    request: VerifyRequest<'_>,
    stage: &StageGuard,
    disk: BaseDisk,
) -> Result<Vec<TestOutcome>, BuildError> {
    let first = clone::Clone::new(request, 0, disk.clone());
    let second = clone::Clone::new(request, 1, disk);
    let (one, two) = tokio::join!(first.run(stage), second.run(stage));
    let ((mut results, one), (more, two)) = (one?, two?);
    results.extend(more);
    if let (Some(one), Some(two)) = (one, two) {
        for result in identity::compare(&one, &two) {
            tell(request.job, &result);
            results.push(result);
        }
    }
    Ok(results)
}

/// The version's bytes as a disk in the job's folder, proved against its digest, and the whole disk's
/// SHA-256.
async fn restore(
    request: VerifyRequest<'_>,
    stage: &Arc<StageGuard>,
) -> Result<(BaseDisk, Option<Digest>), BuildError> {
    stage.status("reading the published bytes");
    let path: Utf8PathBuf = request.job.work().join("verify.raw");
    let file = File::create_new(&path).map_err(io_at("make", &path))?;
    let (seen, total) = (Arc::clone(stage), request.version.disk.virtual_size);
    let progress = Box::new(move |done| seen.progress(done, Some(total)));
    let version = &request.version.digest;
    let restoring = request.registry.restore(version, file, Whole::Hash, progress);
    let sha256 = request.job.cancel().run(restoring).await??;
    let disk = BaseDisk {
        path,
        virtual_size: total,
        parent: Parent {
            reference: None,
            digest: request.version.digest.clone(),
            kind: "image".to_owned(),
        },
        kernel: None,
        bytes: total,
        cached: false,
    };
    Ok((disk, sha256))
}

/// Tells a result as an event.
fn tell(job: &Job, result: &TestOutcome) {
    job.events().tell(EventKind::TestFinished { result: result.clone() });
}
