//! Publish and verify: the captured disk becomes a version, and the version is proved.

use camino::Utf8PathBuf;
use imgbake_types::record::{
    ImageConfig, PlanRecord, Proof, StageRecord, TestRecord, VerifyStatus, VersionView,
};
use imgbake_types::{Outcome, Stage, VersionName};
use jiff::Timestamp;

use super::basis;
use super::captured::Captured;
use super::context::{Build, Log};
use super::failure::Failure;
use crate::verify::{Aftercare, Verification, VerifyRequest, verify};
use crate::{BuildError, BuildErrorKind, Naming};

/// A version in the registry that nobody has proved.
pub struct Published {
    version: Box<VersionView>,
    extra_disks: Vec<Utf8PathBuf>,
}

/// A version that was proved, or whose template turns proving off.
pub struct Verified {
    /// It, with its verify record.
    pub version: Box<VersionView>,
}

impl Captured {
    /// Stores the capture as a new version.
    pub async fn publish(self, build: Build<'_>) -> Result<Published, Failure> {
        let stage = build.job.events().stage(Stage::Publish, Stage::Publish.name());
        let now = Timestamp::now();
        let publish = build.plan.publish();
        let naming = match &publish.version {
            Some(name) => Naming::Fixed(parse_version(name)?),
            None => Naming::Dated { day: now.strftime("%Y.%m.%d").to_string() },
        };
        let (verify, tests) = build.plan.verify();
        let image = build.plan.image.clone();
        let config = ImageConfig {
            name: image.name,
            // The registry puts the real one in its place, under its lock.
            version: parse_version("unnamed")?,
            description: image.description,
            created: now,
            arch: image.arch,
            firmware: build.plan.machine.firmware(image.arch),
            // And the same of the disk.
            disk: self.capture.disk_record(&[]),
            parent: Some(self.parent.clone()),
            plan: PlanRecord { digest: build.plan.digest.clone() },
            proof: Proof {
                machine: build.plan.machine.clone(),
                verify: verify.into(),
                tests: tests.into_iter().map(TestRecord::from).collect(),
            },
            stages: published(self.log),
            labels: image.labels,
            imgbake: build.tool.to_owned(),
            origin: build.origin.cloned(),
        };
        let version = build.components.registry.publish(&self.capture, config, &naming).await?;
        basis::keep(build, &version.digest, self.files);
        stage.finish(self.capture.new_bytes(), format!("{}:{}", version.name, version.version));
        Ok(Published { version: Box::new(version), extra_disks: self.extra_disks })
    }
}

/// What the stages did, as far as others may see it.
fn published(mut log: Log) -> Log {
    for record in &mut log {
        record.report = record.report.take().map(|report| report.published());
    }
    log
}

fn parse_version(name: &str) -> Result<VersionName, BuildError> {
    name.parse()
        .map_err(|error| BuildError::new(BuildErrorKind::Usage, "[publish] version").because(error))
}

impl Published {
    /// Boots the published bytes and runs the template's tests.
    pub async fn verify(self, build: Build<'_>) -> Result<Verified, Failure> {
        let version = self.version;
        let failure =
            |error: BuildError| Failure { version: Some(version.clone()), ..Failure::from(error) };
        if !version.proof.verify.enabled() {
            let stage = build.job.events().stage(Stage::Verify, Stage::Verify.name());
            stage.end(Outcome::Skipped, 0, "[verify] enabled = false".to_owned());
            return Ok(Verified { version });
        }
        let request = VerifyRequest {
            job: build.job,
            builder: build.components.builder(&version.proof.machine)?,
            registry: &*build.components.registry,
            version: &version,
            slots: build.slots,
            extra_disks: &self.extra_disks,
            aftercare: match build.rescue {
                Some(rescue) => Aftercare::Enter(rescue),
                None if build.keep_failed => Aftercare::KeepFailed,
                None => Aftercare::End,
            },
        };
        let Verification { record, kept } = verify(request).await.map_err(&failure)?;
        if record.status != VerifyStatus::Passed {
            let error = refuse(&version, &record.tests);
            return Err(Failure { machines: kept, ..failure(error) });
        }
        let mut version = version;
        version.verify.status = record.status;
        version.verify.time = Some(record.time);
        version.verify.tests = record.tests;
        version.disk.sha256 = version.disk.sha256.take().or(record.disk_sha256);
        let name = Stage::Verify.name().to_owned();
        version.stages.push(StageRecord::ran(Stage::Verify, name, record.seconds, 0));
        Ok(Verified { version })
    }
}

/// The error for a version whose verify failed.
pub fn refuse(version: &VersionView, tests: &[imgbake_types::record::TestOutcome]) -> BuildError {
    let failed: Vec<String> = tests
        .iter()
        .filter(|test| !test.passed)
        .map(|test| format!("  {} ({}): {}", test.name, test.machine, test.detail.trim()))
        .collect();
    let words = format!(
        "{}:{} failed verification: {} of {} checks failed\n{}",
        version.name,
        version.version,
        failed.len(),
        tests.len(),
        failed.join("\n")
    );
    BuildError::failed(words).help(format!(
        "the version is kept, marked as failed, and no channel points at it; `imgbake test {}:{}` tries again",
        version.name, version.version
    ))
}
