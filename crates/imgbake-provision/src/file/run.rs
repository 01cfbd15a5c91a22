//! Runs a file step.

use std::fs;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BuildError, Provisioner, StepContext, StepEnd, StepRecorder};
use imgbake_comm::shell::quote;
use imgbake_comm::transfer::Uploaded;
use imgbake_comm::{Exec, transfer};
use imgbake_types::record::step::{Resource, ResourceOutcome};
use imgbake_types::spec::ProvisionerKind;
use secrecy::ExposeSecret;

use super::spec::{Direction, FileSpec};
use crate::error::{StepError, check_public};

/// The mode of a file that is made from `content`.
const CONTENT_MODE: u32 = 0o644;

/// The type of its resources.
const RESOURCE: &str = "file";

/// Runs file steps.
#[derive(Debug, Clone, Copy)]
pub struct FileCopy;

impl FileCopy {
    /// The kind: `type = "file"`.
    pub const KIND: ProvisionerKind =
        ProvisionerKind::of::<FileSpec>("file", "Moves files between the host and the machine.");
}

#[async_trait]
impl Provisioner for FileCopy {
    fn kind(&self) -> ProvisionerKind {
        Self::KIND
    }

    async fn provision(&self, context: &StepContext<'_>) -> Result<StepEnd, BuildError> {
        let spec: &FileSpec = &context.settings()?;
        let moved = move_files(context, spec).await;
        moved.map(|()| StepEnd::Running).map_err(|error| error.of(context.name))
    }
}

async fn move_files(context: &StepContext<'_>, spec: &FileSpec) -> Result<(), StepError> {
    check_public("source", spec.source.iter().map(|path| path.as_str()))?;
    check_public("destination", [spec.destination.as_str()])?;
    check_public("owner", spec.owner.as_deref())?;
    let moving = async {
        match (spec.direction, &spec.source, &spec.content) {
            (Direction::Upload, Some(source), None) => upload(context, spec, source).await,
            (Direction::Upload, None, Some(text)) => write(context, spec, text).await,
            (Direction::Download, Some(source), None) => {
                download(context, source, &spec.destination).await
            }
            (Direction::Upload, ..) => {
                Err(StepError::Usage("it needs either `source` or `content`".to_owned()))
            }
            (Direction::Download, ..) => {
                let what = "a download needs `source`, and takes no `content`";
                Err(StepError::Usage(what.to_owned()))
            }
        }
    };
    let moved = context.job.cancel().run(moving).await?;
    if let Err(error) = &moved {
        let failed = Resource::new(RESOURCE, spec.destination.as_str(), ResourceOutcome::Failed);
        let message = Some(error.to_string());
        context.recorder.resource(Resource { message, ..failed });
    }
    moved
}

/// Writes down what an upload did.
fn record(recorder: &StepRecorder, uploaded: Uploaded) {
    recorder.moved(uploaded.bytes);
    for warning in &uploaded.warnings {
        recorder.warn(warning);
    }
    for file in uploaded.files {
        let outcome =
            if file.changed { ResourceOutcome::Changed } else { ResourceOutcome::Unchanged };
        recorder.resource(Resource::new(RESOURCE, file.path, outcome));
    }
}

/// Inline content into a file of the machine. Sensitive values are put in here, on their way.
async fn write(context: &StepContext<'_>, spec: &FileSpec, text: &str) -> Result<(), StepError> {
    let mode = mode(spec)?.unwrap_or(CONTENT_MODE);
    let bytes = context.job.secrets().reveal(text).expose_secret().as_bytes().to_vec();
    let to = spec.destination.as_str();
    let uploaded = transfer::upload_bytes(context.comm, to, mode, owner(spec), bytes).await;
    record(context.recorder, uploaded?);
    Ok(())
}

/// A file or folder of the host into the machine.
async fn upload(
    context: &StepContext<'_>,
    spec: &FileSpec,
    source: &Utf8Path,
) -> Result<(), StepError> {
    let (mode, owner) = (mode(spec)?, owner(spec));
    let uploaded = if source.is_dir() {
        transfer::upload_dir(context.comm, source, spec.destination.as_str(), mode, owner).await
    } else {
        let target = named(&spec.destination, source, false);
        transfer::upload_file(context.comm, source, target.as_str(), mode, owner).await
    };
    record(context.recorder, uploaded?);
    Ok(())
}

/// A file or folder of the machine to the host.
async fn download(
    context: &StepContext<'_>,
    source: &Utf8Path,
    to: &Utf8Path,
) -> Result<(), StepError> {
    if is_folder(context, source).await? {
        let bytes = transfer::download_dir(context.comm, source.as_str(), to).await;
        context.recorder.moved(bytes?);
        return Ok(());
    }
    let target = named(to, source, to.is_dir());
    is_replaceable(&target)?;
    let part = context.job.work().join("download.part");
    let bytes = transfer::download_file(context.comm, source.as_str(), &part).await?;
    place(&part, &target).map_err(|source| StepError::Write { path: target, source })?;
    context.recorder.moved(bytes);
    Ok(())
}

async fn is_folder(context: &StepContext<'_>, path: &Utf8Path) -> Result<bool, StepError> {
    let ask = format!("if [ -d {0} ]; then echo folder; fi", quote(path.as_str()));
    let answer = context.comm.check(Exec::new(context.comm.as_root(&ask))).await?;
    Ok(answer.trim() == "folder")
}

/// Where a file goes: a destination that is a folder takes it under its own name.
fn named(destination: &Utf8Path, source: &Utf8Path, is_folder: bool) -> Utf8PathBuf {
    match source.file_name() {
        Some(name) if is_folder || destination.as_str().ends_with('/') => destination.join(name),
        _ => destination.to_owned(),
    }
}

/// Whether a file may take this place: there is a file, a link to one, or nothing.
fn is_replaceable(target: &Utf8Path) -> Result<(), StepError> {
    match fs::metadata(target) {
        Ok(found) if !found.is_file() => {
            let what =
                format!("`{target}` is no file, and is not replaced: give another `destination`");
            Err(StepError::Usage(what))
        }
        _ => Ok(()),
    }
}

/// Moves a file that is whole to its place, which may be on another file system.
fn place(part: &Utf8Path, target: &Utf8Path) -> std::io::Result<()> {
    if let Some(folder) = target.parent().filter(|folder| !folder.as_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    // A link stays: what it names is replaced.
    let target = &target.canonicalize_utf8().unwrap_or_else(|_| target.to_owned());
    fs::rename(part, target).or_else(|_| fs::copy(part, target).and_then(|_| fs::remove_file(part)))
}

fn owner(spec: &FileSpec) -> &str {
    spec.owner.as_deref().unwrap_or("root:root")
}

fn mode(spec: &FileSpec) -> Result<Option<u32>, StepError> {
    let read = |text: &String| {
        u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(|| {
            StepError::Usage(format!("`mode` is `{text}`: it takes octal digits such as 0644"))
        })
    };
    spec.mode.as_ref().map(read).transpose()
}
