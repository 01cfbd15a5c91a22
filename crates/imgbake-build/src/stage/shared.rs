//! Layers' disks, shared with builds on other machines.

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_disk::{DiskFormat, overlay};
use imgbake_runtime::Job;
use imgbake_runtime::error::io_at;
use imgbake_types::plan::Step;
use imgbake_types::record::Parent;
use imgbake_types::record::step::if_known;
use imgbake_types::{Arch, Digest, Size, Stage, StepReport};
use serde::{Deserialize, Serialize};

use super::context::{Build, Layers};
use crate::cache::{Found, Layer, NewLayer};
use crate::error::disk_error;
use crate::share::{LayerShare, SharedLayer};
use crate::{BaseDisk, BuildError, KernelFiles, LocalDisk, Planted};

/// The pattern that a shared record leaves out: the private key that let the build in was never in the
/// machine.
const OWN_KEY: &str = "the build's ssh key";

/// The names of a shared layer's files.
const KERNEL: &str = "kernel";
const INITRD: &str = "initrd";

/// What others get to know of a layer.
#[derive(Debug, Serialize, Deserialize)]
struct Public {
    stage: Stage,
    name: String,
    image: String,
    arch: Arch,
    tool: String,
    seconds: f64,
    bytes: u64,
    /// What a provision step did, as far as others may see it.
    #[serde(default, deserialize_with = "if_known", skip_serializing_if = "Option::is_none")]
    report: Option<StepReport>,
    planted: Planted,
    /// The disk's file.
    disk: String,
    virtual_size: u64,
    /// A source's: what a version built on it records.
    parent: Option<Parent>,
    /// A source's: its kernel's command line, where the kernel is beside it.
    cmdline: Option<String>,
}

/// Gives a layer to others.
pub(super) async fn push(
    share: &dyn LayerShare,
    job: &Job,
    layer: &Layer,
) -> Result<u64, BuildError> {
    if !layer.record().shareable
        || !share.has(job, std::slice::from_ref(layer.key())).await?.is_empty()
    {
        return Ok(0);
    }
    let (record, disk) = (layer.record(), layer.local_disk());
    let name = format!("disk.{}", record.disk.format);
    let mut files = vec![(name.clone(), disk.path.clone())];
    if let Some(kernel) = &disk.kernel {
        files.push((KERNEL.to_owned(), kernel.kernel.clone()));
        files.extend(kernel.initrd.iter().map(|initrd| (INITRD.to_owned(), initrd.clone())));
    }
    let mut planted = record.planted.clone();
    planted.patterns.retain(|pattern| pattern.name != OWN_KEY);
    let public = Public {
        stage: record.stage,
        name: record.name.clone(),
        image: record.image.clone(),
        arch: record.arch,
        tool: record.tool.clone(),
        seconds: record.seconds,
        bytes: record.bytes,
        report: record.report.as_ref().map(|report| report.published()),
        planted,
        disk: name,
        virtual_size: disk.virtual_size,
        parent: record.base.as_ref().map(|base| base.parent.clone()),
        cmdline: disk.kernel.map(|kernel| kernel.cmdline),
    };
    let record = serde_json::to_vec(&public)
        .map_err(|error| BuildError::failed("cannot write a layer's record").because(error))?;
    let parent = layer.parent().map(|parent| parent.key().clone());
    share.push(job, SharedLayer { key: layer.key().clone(), parent, record, files }).await
}

/// Takes the layers that are not here from others, as deep as they reach. That it cannot is reported, and
/// no error: the steps run.
pub(super) async fn pull(build: Build<'_>, steps: &[Step]) {
    let Some(layers) = build.layers else { return };
    let Some(from) = &layers.from else { return };
    match pull_all(build, layers, &**from, steps).await {
        Ok((0, _)) => {}
        Ok((count, bytes)) => build.job.events().info(format!(
            "took {count} layers from the shared cache, {}",
            Size::bytes(bytes).human()
        )),
        Err(error) => {
            build.job.events().warn(format!("the shared cache is of no further use: {error}"));
        }
    }
}

async fn pull_all(
    build: Build<'_>,
    layers: &Layers,
    from: &dyn LayerShare,
    steps: &[Step],
) -> Result<(usize, u64), BuildError> {
    let here = |step: &Step| matches!(layers.cache.find(&step.key), Found::Layer(_));
    let first = steps.iter().rposition(here).map_or(0, |deepest| deepest + 1);
    let keys: Vec<Digest> = steps[first..].iter().map(|step| step.key.clone()).collect();
    let there = from.has(build.job, &keys).await?;
    // A chain: what is based on a missing layer is of no use.
    let reach = keys.iter().take_while(|key| there.contains(key)).count();
    let (mut count, mut bytes) = (0, 0);
    for index in first..first + reach {
        let below = index.checked_sub(1).map(|below| &steps[below].key);
        if let Some(layer) = pull_one(build, layers, from, &steps[index].key, below).await? {
            count += 1;
            bytes += layer.record().disk.file.allocated;
        }
    }
    Ok((count, bytes))
}

/// Takes one layer; `None` where another build made it meanwhile.
async fn pull_one(
    build: Build<'_>,
    layers: &Layers,
    from: &dyn LayerShare,
    key: &Digest,
    below: Option<&Digest>,
) -> Result<Option<Layer>, BuildError> {
    let job = build.job;
    let claim = layers.cache.claim(job.cancel(), key).await?;
    if matches!(layers.cache.find(key), Found::Layer(_)) {
        return Ok(None);
    }
    let folder = job.work().join(format!("shared-{}", key.short()));
    std::fs::create_dir(&folder).map_err(io_at("make the folder", &folder))?;
    let record = job.cancel().run(from.pull(job, key, &folder)).await??;
    let public: Public = serde_json::from_slice(&record).map_err(|error| {
        BuildError::failed(format!("the shared layer {} has no readable record", key.short()))
            .because(error)
    })?;
    let plain = |name: &str| !name.contains('/') && folder.join(name).is_file();
    if !plain(&public.disk) {
        let words = format!("the shared layer {} does not hold its disk", key.short());
        return Err(BuildError::failed(words));
    }
    let new = NewLayer {
        stage: public.stage,
        name: public.name.clone(),
        image: public.image.clone(),
        arch: public.arch,
        tool: public.tool.clone(),
        seconds: public.seconds,
        bytes: public.bytes,
        report: public.report.as_ref().map(|report| Box::new(report.published())),
        shareable: true,
        planted: public.planted.clone(),
        state: None,
    };
    let (cache, job, below) = (layers.cache.clone(), job.clone(), below.cloned());
    let take = move || {
        let draft = cache.begin(claim, below.as_ref())?;
        match &below {
            None => {
                draft.take_base(&base_disk(public, &folder), &job)?;
            }
            Some(below) => {
                let Found::Layer(below) = cache.find(below) else {
                    return Err(BuildError::failed("a layer went while others were taken"));
                };
                let disk = folder.join(&public.disk);
                overlay::rebase(&disk, &below.disk_path(), below.record().disk.format)
                    .map_err(disk_error)?;
                std::fs::rename(&disk, draft.disk()).map_err(io_at("move", &disk))?;
            }
        }
        Ok(draft.commit(new)?)
    };
    let taken = tokio::task::spawn_blocking(take).await;
    let layer =
        taken.map_err(|error| BuildError::failed("taking a layer stopped").because(error))?;
    layer.map(Some)
}

/// A shared source's disk, where it was written to.
fn base_disk(public: Public, folder: &Utf8PathBuf) -> BaseDisk {
    let initrd = folder.join(INITRD);
    let kernel = public.cmdline.map(|cmdline| KernelFiles {
        kernel: folder.join(KERNEL),
        initrd: initrd.is_file().then_some(initrd),
        cmdline,
    });
    let nameless = || Parent {
        reference: None,
        native: None,
        digest: Digest::sha256(&public.name),
        kind: "layer".to_owned(),
    };
    // The file is named `disk.FORMAT`.
    let format = Utf8Path::new(&public.disk).extension().and_then(|format| format.parse().ok());
    let disk = LocalDisk {
        path: folder.join(&public.disk),
        format: format.unwrap_or(DiskFormat::Qcow2),
        virtual_size: public.virtual_size,
        kernel,
        extra: Vec::new(),
    };
    BaseDisk {
        location: disk.into(),
        parent: public.parent.clone().unwrap_or_else(nameless),
        bytes: 0,
        cached: true,
    }
}
