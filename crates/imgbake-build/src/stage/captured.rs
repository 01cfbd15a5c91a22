//! Capture: the sealed disk, read once, digested, compressed and searched for residues.

use std::sync::Arc;

use imgbake_disk::DiskImage;
use imgbake_types::record::{DiskRecord, Parent};
use imgbake_types::spec::Residue;
use imgbake_types::{Outcome, Size, Stage};

use super::{Build, Failure, Log, Sealed};
use crate::capture::{CaptureRequest, capture, disk_error};
use crate::{BuildError, Capture, Hit};

/// A captured disk in the job's folder.
pub struct Captured {
    pub(super) capture: Capture,
    pub(super) parent: Parent,
    pub(super) log: Log,
}

impl Sealed {
    /// Reads the machine's disk once.
    pub async fn capture(self, build: Build<'_>) -> Result<Captured, Failure> {
        let Self { mut machine, parent, patterns, mut log } = self;
        let stage = Arc::new(build.job.events().stage(Stage::Capture, Stage::Capture.name()));
        let folder = build.job.work().join("capture");
        std::fs::create_dir(&folder)
            .map_err(imgbake_runtime::error::io_at("make the folder", &folder))?;
        let path = machine.disk().to_owned();
        let tap = build.rooms.sealer.scanner(patterns);
        let cancel = build.job.cancel().clone();
        let seen = Arc::clone(&stage);
        let work = tokio::task::spawn_blocking(move || {
            let disk = DiskImage::open(&path).map_err(disk_error)?;
            let size = imgbake_disk::DiskSource::virtual_size(&disk);
            let progress = |done| seen.progress(done, Some(size));
            capture(CaptureRequest {
                disk: &disk,
                folder: &folder,
                tap,
                cancel: &cancel,
                progress: &progress,
            })
        });
        let done =
            work.await.map_err(|error| BuildError::failed(format!("capture did not end: {error}")));
        let (captured, hits) = match done {
            Ok(Ok(done)) => done,
            Ok(Err(error)) | Err(error) => return Err(Failure::with(machine)(error)),
        };
        let outcome = match judge(&hits, build.plan.seal().residue) {
            Ok(()) if hits.is_empty() => Outcome::Done,
            Ok(()) => Outcome::Warning,
            Err(error) => return Err(Failure::with(machine)(error)),
        };
        if outcome == Outcome::Warning {
            build.job.events().warn(format!("residue in the captured disk: {}", list(&hits)));
        }
        machine.end().await;
        let detail = format!(
            "{} disk, {} of data, sha256 {}",
            Size::bytes(captured.virtual_size).human(),
            Size::bytes(captured.data_bytes).human(),
            captured.sha256.short()
        );
        if let Some(stage) = Arc::into_inner(stage) {
            log.push(stage.end(outcome, captured.stored_bytes(), detail));
        }
        Ok(Captured { capture: captured, parent, log })
    }
}

impl Captured {
    /// What a version records of its disk.
    pub(super) fn disk_record(&self) -> DiskRecord {
        DiskRecord {
            sha256: self.capture.sha256.clone(),
            virtual_size: self.capture.virtual_size,
            stored_bytes: self.capture.stored_bytes(),
            data_bytes: self.capture.data_bytes,
        }
    }
}

/// Whether a residue check's hits end the build.
fn judge(hits: &[Hit], residue: Residue) -> Result<(), BuildError> {
    let fatal: Vec<Hit> =
        hits.iter().filter(|hit| hit.grave || residue == Residue::Fail).cloned().collect();
    if fatal.is_empty() {
        return Ok(());
    }
    Err(BuildError::failed(format!("the captured disk holds what it must not: {}", list(&fatal))).help(
        "a step wrote it where seal does not clean, or a seal operation was skipped; nothing was published",
    ))
}

fn list(hits: &[Hit]) -> String {
    let mut lines: Vec<String> =
        hits.iter().take(8).map(|hit| format!("{} at byte {}", hit.name, hit.offset)).collect();
    if hits.len() > 8 {
        lines.push(format!("and {} more", hits.len() - 8));
    }
    lines.join("; ")
}
