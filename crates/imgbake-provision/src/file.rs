//! `type = "file"`: moves files between the host and the machine.

use std::fs;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BuildError, Provisioner, StepContext, StepEnd};
use imgbake_comm::shell::quote;
use imgbake_comm::{CommError, Exec, transfer};
use imgbake_types::spec::{Direction, FileSpec, ProvisionSpec};
use secrecy::ExposeSecret;

use crate::{check_public, in_step, usage};

/// The mode of a file that is made from `content`.
const CONTENT_MODE: u32 = 0o644;

/// Runs file steps.
#[derive(Debug, Clone, Copy)]
pub struct FileCopy;

#[async_trait]
impl Provisioner for FileCopy {
    fn knows(&self, spec: &ProvisionSpec) -> bool {
        matches!(spec, ProvisionSpec::File(_))
    }

    async fn provision(&self, context: &StepContext<'_>) -> Result<(StepEnd, u64), BuildError> {
        let ProvisionSpec::File(spec) = context.spec else {
            return Err(usage(context.name, "it is no file step"));
        };
        let name = context.name;
        check_public(name, "source", spec.source.iter().map(|path| path.as_str()))?;
        check_public(name, "destination", [spec.destination.as_str()])?;
        check_public(name, "owner", spec.owner.as_deref())?;
        let moving = async {
            match (spec.direction, &spec.source, &spec.content) {
                (Direction::Upload, Some(source), None) => upload(context, spec, source).await,
                (Direction::Upload, None, Some(text)) => write(context, spec, text).await,
                (Direction::Download, Some(source), None) => {
                    download(context, source, &spec.destination).await
                }
                (Direction::Upload, ..) => {
                    Err(usage(name, "it needs either `source` or `content`"))
                }
                (Direction::Download, ..) => {
                    Err(usage(name, "a download needs `source`, and takes no `content`"))
                }
            }
        };
        let bytes = context.job.cancel().run(moving).await??;
        Ok((StepEnd::Running, bytes))
    }
}

/// Inline content into a file of the machine. Sensitive values are put in here, on their way.
async fn write(context: &StepContext<'_>, spec: &FileSpec, text: &str) -> Result<u64, BuildError> {
    let mode = mode(context.name, spec)?.unwrap_or(CONTENT_MODE);
    let bytes = context.job.secrets().reveal(text).expose_secret().as_bytes().to_vec();
    transfer::upload_bytes(context.comm, spec.destination.as_str(), mode, owner(spec), bytes)
        .await
        .map_err(|error| in_step(context.name, error))
}

/// A file or folder of the host into the machine.
async fn upload(
    context: &StepContext<'_>,
    spec: &FileSpec,
    source: &Utf8Path,
) -> Result<u64, BuildError> {
    let (mode, owner) = (mode(context.name, spec)?, owner(spec));
    let moved = if source.is_dir() {
        transfer::upload_dir(context.comm, source, spec.destination.as_str(), mode, owner).await
    } else {
        let target = named(&spec.destination, source, false);
        transfer::upload_file(context.comm, source, target.as_str(), mode, owner).await
    };
    moved.map_err(|error| in_step(context.name, error))
}

/// A file or folder of the machine to the host.
async fn download(
    context: &StepContext<'_>,
    source: &Utf8Path,
    to: &Utf8Path,
) -> Result<u64, BuildError> {
    let in_step = |error: CommError| in_step(context.name, error);
    if is_folder(context, source).await? {
        return transfer::download_dir(context.comm, source.as_str(), to).await.map_err(in_step);
    }
    let target = named(to, source, to.is_dir());
    let part = context.job.work().join("download.part");
    let bytes =
        transfer::download_file(context.comm, source.as_str(), &part).await.map_err(in_step)?;
    place(&part, &target).map_err(|source| {
        BuildError::failed(format!("step `{}`: cannot write {target}: {source}", context.name))
            .because(source)
    })?;
    Ok(bytes)
}

async fn is_folder(context: &StepContext<'_>, path: &Utf8Path) -> Result<bool, BuildError> {
    let ask = format!("if [ -d {0} ]; then echo folder; fi", quote(path.as_str()));
    let answer = context.comm.check(Exec::new(context.comm.as_root(&ask))).await;
    Ok(answer.map_err(|error| in_step(context.name, error))?.trim() == "folder")
}

/// Where a file goes: a destination that is a folder takes it under its own name.
fn named(destination: &Utf8Path, source: &Utf8Path, is_folder: bool) -> Utf8PathBuf {
    match source.file_name() {
        Some(name) if is_folder || destination.as_str().ends_with('/') => destination.join(name),
        _ => destination.to_owned(),
    }
}

/// Moves a file that is whole to its place, which may be on another file system.
fn place(part: &Utf8Path, target: &Utf8Path) -> std::io::Result<()> {
    if let Some(folder) = target.parent().filter(|folder| !folder.as_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    fs::rename(part, target).or_else(|_| fs::copy(part, target).and_then(|_| fs::remove_file(part)))
}

fn owner(spec: &FileSpec) -> &str {
    spec.owner.as_deref().unwrap_or("root:root")
}

fn mode(name: &str, spec: &FileSpec) -> Result<Option<u32>, BuildError> {
    let read = |text: &String| {
        u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(|| {
            usage(name, &format!("`mode` is `{text}`: it takes octal digits such as 0644"))
        })
    };
    spec.mode.as_ref().map(read).transpose()
}
