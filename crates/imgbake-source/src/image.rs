//! A version in the registry as a base disk.

use std::fmt;
use std::fs::File;
use std::sync::Arc;

use async_trait::async_trait;
use camino::Utf8Path;
use imgbake_build::{
    BaseDisk, BuildError, LocalDisk, Pin, Registry, SourceContext, SourceProvider, Whole,
};
use imgbake_disk::DiskFormat;
use imgbake_runtime::Job;
use imgbake_runtime::error::io_at;
use imgbake_runtime::space;
use imgbake_types::plan::Source;
use imgbake_types::record::{Parent, VerifyStatus, VersionView};
use imgbake_types::{Arch, Reference, Target};
use tokio::sync::watch;

use crate::error::SourceError;
use crate::files;

/// Gets the disk of `[source] image`: restored once into `IMGBAKE_HOME/cache/images`, then used again.
pub struct RegistrySource(Arc<dyn Registry>);

impl fmt::Debug for RegistrySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegistrySource")
    }
}

impl RegistrySource {
    /// A source that reads from a registry.
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        Self(registry)
    }

    /// Restores a version's disk under a temporary name, then names it.
    async fn restore(
        &self,
        context: &SourceContext<'_>,
        view: &VersionView,
        to: &Utf8Path,
    ) -> Result<(), SourceError> {
        let from = context.job.work().join("source-image.raw");
        space::require(&from, view.disk.data_bytes)?;
        context.stage.status(format!("restoring {}:{}", view.name, view.version.as_str()));
        let file = File::create(&from).map_err(io_at("make", &from))?;
        let into = file.try_clone().map_err(io_at("open", &from))?;
        let (sender, mut receiver) = watch::channel(0);
        let progress = Box::new(move |done| {
            sender.send_replace(done);
        });
        let mut restoring = self.0.restore(&view.digest, into, Whole::Skip, progress);
        let shown = async {
            loop {
                tokio::select! {
                    end = &mut restoring => return end.map(drop).map_err(SourceError::Registry),
                    Ok(()) = receiver.changed() => {
                        context.stage.progress(*receiver.borrow_and_update(), Some(view.disk.virtual_size));
                    }
                }
            }
        };
        let end = context.job.cancel().run(shown).await;
        if !matches!(end, Ok(Ok(()))) {
            imgbake_runtime::job::remove_path(&from)?; // a full file system needs the room now
        }
        end??;
        file.sync_all().map_err(io_at("write", &from))?;
        files::rename(&from, to)?;
        Ok(())
    }
}

/// The source as a pin saw it: an image by the digest that its tag pointed at, so that what is fetched
/// is what the plan's keys were made of, though the channel moves meanwhile. Every other source, and
/// every other pin, is given as it is.
pub fn pinned(source: &Source, pin: &Pin) -> Source {
    if let (Source::Image { reference }, Pin::Now(now)) = (source, pin)
        && let Ok(digest) = now.parse()
    {
        let target = Some(Target::Digest(digest));
        return Source::Image { reference: Reference { target, ..reference.clone() } };
    }
    source.clone()
}

fn reference_of(source: &Source) -> Result<&Reference, SourceError> {
    if let Source::Image { reference } = source {
        return Ok(reference);
    }
    Err(SourceError::OtherSource("image of the registry"))
}

/// Refuses a version whose tests failed.
fn check_verified(context: &SourceContext<'_>, view: &VersionView) -> Result<(), SourceError> {
    let (name, version) = (&view.name, view.version.as_str());
    match view.verify.status {
        VerifyStatus::Passed => Ok(()),
        VerifyStatus::Unverified => {
            context
                .job
                .events()
                .warn(format!("the base image {name}:{version} was never verified"));
            Ok(())
        }
        VerifyStatus::Failed => {
            let failed: Vec<&str> = view
                .verify
                .tests
                .iter()
                .filter(|test| !test.passed)
                .map(|test| test.name.as_str())
                .collect();
            let which =
                if failed.is_empty() { String::new() } else { format!(" ({})", failed.join(", ")) };
            Err(SourceError::FailedTests { name: name.clone(), version: version.to_owned(), which })
        }
    }
}

#[async_trait]
impl SourceProvider for RegistrySource {
    fn knows(&self, source: &Source) -> bool {
        matches!(source, Source::Image { .. })
    }

    fn check(&self, _: &Source) -> Result<(), BuildError> {
        Ok(())
    }

    /// The digest, `sha256:…`, of the version that the reference names now: [`pinned`] puts it
    /// into the source.
    async fn pin(&self, _: &Job, source: &Source, _: Arch) -> Result<Pin, BuildError> {
        let reference = reference_of(source)?;
        if let Some(Target::Digest(_)) = reference.target {
            return Ok(Pin::Fixed);
        }
        Ok(Pin::Now(self.0.resolve(reference).await?.digest.to_string()))
    }

    async fn fetch(
        &self,
        context: &SourceContext<'_>,
        source: &Source,
    ) -> Result<BaseDisk, BuildError> {
        let reference = reference_of(source)?;
        let view = self.0.resolve(reference).await?;
        check_verified(context, &view)?;
        let dir = context.job.home().cache().join("images");
        files::make_dir(&dir)?;
        let name = view.disk.table.hex();
        let path = dir.join(format!("{name}.raw"));
        let waiting = "waiting for another build that restores the same disk";
        let _lock = files::lock(&dir, name, context.job.cancel(), context.stage, waiting).await?;
        let size = view.disk.virtual_size;
        let cached = path.metadata().is_ok_and(|file| file.is_file() && file.len() == size);
        if !cached {
            self.restore(context, &view, &path).await?;
        }
        let version = Reference {
            host: reference.host.clone(),
            ..Reference::tag(&view.name, view.version.as_str())
        };
        let local = LocalDisk {
            path,
            format: DiskFormat::Raw,
            virtual_size: size,
            kernel: None,
            extra: Vec::new(),
        };
        Ok(BaseDisk {
            location: local.into(),
            parent: Parent {
                reference: Some(version),
                native: None,
                digest: view.digest,
                kind: "image".to_owned(),
            },
            bytes: if cached { 0 } else { view.disk.data_bytes },
            cached,
        })
    }
}
