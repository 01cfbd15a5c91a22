//! A cache in a home of its own, and layers to put in it.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::cache::{CacheError, Claim, Draft, Found, Layer, NewLayer, NewState};
use imgbake_build::{BaseDisk, KernelFiles, LayerCache, LocalDisk, Planted, Seed};
use imgbake_disk::overlay::create_overlay;
use imgbake_disk::{DiskFormat, DiskImage};
use imgbake_runtime::job::new_id;
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets};
use imgbake_types::event::Stream;
use imgbake_types::record::step::{
    self, OutputLine, OutputTail, Resource, ResourceCounts, ResourceOutcome,
};
use imgbake_types::record::{Parent, StepReport};
use imgbake_types::{Arch, Digest, Outcome, Size, Stage};
use uuid::Uuid;

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const DISK: u64 = 8 << 20;

pub(crate) struct Fixture {
    pub(crate) home: Home,
    pub(crate) cache: LayerCache,
    pub(crate) job: Job,
    pub(crate) dir: Utf8PathBuf,
    _temp: tempfile::TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with_budget(Size::mib(1024))
    }

    pub(crate) fn with_budget(budget: Size) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(temp.path().to_owned()).unwrap();
        let home = Home::new(dir.join("home"));
        let job = begin_job(&home);
        let cache = LayerCache::open(&home, budget).unwrap();
        Self { home, cache, job, dir, _temp: temp }
    }

    /// A source's layer, whose base disk was made in the job's folder.
    pub(crate) fn source(&self, name: &str) -> Layer {
        source(&self.cache, &self.job, name).unwrap()
    }

    /// A layer with some KiB of disk and of state.
    pub(crate) fn layer(&self, name: &str, below: &Layer, disk: usize, state: usize) -> Layer {
        layer(&self.cache, name, below, disk, state).unwrap()
    }

    pub(crate) fn claim(&self, name: &str) -> Claim {
        claim(&self.cache, name).unwrap()
    }

    #[track_caller]
    pub(crate) fn found(&self, name: &str) -> Layer {
        match self.cache.find(&key(name)) {
            Found::Layer(layer) => layer,
            other => panic!("{name}: {other:?}"),
        }
    }

    /// Why a layer was found damaged.
    #[track_caller]
    pub(crate) fn damaged(&self, name: &str) -> String {
        match self.cache.find(&key(name)) {
            Found::Damaged(reason) => reason,
            other => panic!("{name}: {other:?}"),
        }
    }

    pub(crate) fn is_gone(&self, name: &str) -> bool {
        matches!(self.cache.find(&key(name)), Found::None)
    }

    pub(crate) fn file(&self, layer: &str, name: &str) -> Utf8PathBuf {
        self.cache.folder(&key(layer)).join(name)
    }

    /// The names of all layers there are, and of folders that are none.
    pub(crate) fn folders(&self) -> Vec<String> {
        names_in(&self.home.cache().join("layers"))
    }

    pub(crate) fn locks(&self) -> Vec<String> {
        names_in(&self.home.cache().join("locks"))
    }
}

pub(crate) fn begin_job(home: &Home) -> Job {
    let id = new_id("test");
    let (events, _) = Events::channel(&id, Secrets::default());
    Job::begin(home, &id, Cancel::new(), events, Secrets::default()).unwrap()
}

pub(crate) fn key(name: &str) -> Digest {
    Digest::sha256(name)
}

pub(crate) fn names_in(dir: &Utf8Path) -> Vec<String> {
    let mut names: Vec<_> =
        dir.read_dir_utf8().unwrap().map(|entry| entry.unwrap().file_name().to_owned()).collect();
    names.sort();
    names
}

pub(crate) fn new_layer(stage: Stage, name: &str) -> NewLayer {
    NewLayer {
        stage,
        name: name.to_owned(),
        image: "web".to_owned(),
        arch: Arch::X86_64,
        tool: "imgbake test".to_owned(),
        seconds: 1.25,
        bytes: 77,
        report: Some(Box::new(report(name))),
        shareable: true,
        planted: Planted::default(),
        state: None,
    }
}

/// What the step of a layer is said to have done.
pub(crate) fn report(name: &str) -> StepReport {
    let line = OutputLine { stream: Stream::Stdout, line: format!("hello from {name}") };
    StepReport {
        format: step::FORMAT,
        kind: "shell".to_owned(),
        outcome: Outcome::Done,
        seconds: 1.25,
        bytes: 77,
        attempts: 1,
        exit_code: Some(0),
        counts: ResourceCounts { changed: 1, ..ResourceCounts::default() },
        resources: vec![Resource::new("file", "/etc/x", ResourceOutcome::Changed)],
        warnings: Vec::new(),
        convergence: None,
        error: None,
        output: OutputTail { omitted: 3, lines: vec![line] },
    }
}

pub(crate) fn new_state(booted_from: &Digest) -> NewState {
    NewState {
        signature: "qemu 10.0.2".to_owned(),
        seed: Seed::new("job", "build", "root", true),
        uuid: Uuid::from_u128(7),
        booted_from: booted_from.clone(),
    }
}

/// A base disk with its kernel, in a folder.
pub(crate) fn base_disk(dir: &Utf8Path, name: &str) -> BaseDisk {
    let path = dir.join(format!("{name}.raw"));
    let mut file = File::create(&path).unwrap();
    file.set_len(DISK).unwrap();
    file.seek(SeekFrom::Start(1 << 20)).unwrap();
    file.write_all(&bytes(name, 64 * KIB)).unwrap();
    let kernel = dir.join(format!("{name}.vmlinuz"));
    fs::write(&kernel, bytes("kernel", 9 * KIB)).unwrap();
    let initrd = dir.join(format!("{name}.initrd"));
    fs::write(&initrd, bytes("initrd", 5 * KIB)).unwrap();
    BaseDisk {
        location: LocalDisk {
            path,
            format: DiskFormat::Raw,
            virtual_size: DISK,
            kernel: Some(KernelFiles { kernel, initrd: Some(initrd), cmdline: "quiet".to_owned() }),
            extra: Vec::new(),
        }
        .into(),
        parent: Parent {
            reference: None,
            native: None,
            digest: key("bootstrap"),
            kind: "bootstrap".to_owned(),
        },
        bytes: 12,
        cached: false,
    }
}

/// The claim that nobody else has; one who sweeps may have its lock for a moment.
fn claim(cache: &LayerCache, name: &str) -> Result<Claim, CacheError> {
    for _ in 0..10_000 {
        if let Some(claim) = cache.try_claim(&key(name))? {
            return Ok(claim);
        }
        std::thread::yield_now();
    }
    panic!("somebody else has the claim of {name}");
}

pub(crate) fn source(cache: &LayerCache, job: &Job, name: &str) -> Result<Layer, CacheError> {
    let draft = cache.begin(claim(cache, name)?, None)?;
    draft.take_base(&base_disk(job.work(), name), job)?;
    draft.commit(new_layer(Stage::Source, "source"))
}

/// A draft whose disk is based on another, with some KiB of its own.
pub(crate) fn draft(
    cache: &LayerCache,
    name: &str,
    below: &Layer,
    kib: usize,
) -> Result<Draft, CacheError> {
    let draft = cache.begin(claim(cache, name)?, Some(below.key()))?;
    overlay(&draft, &below.disk_path(), name, kib)?;
    Ok(draft)
}

pub(crate) fn overlay(
    draft: &Draft,
    below: &Utf8Path,
    name: &str,
    kib: usize,
) -> Result<(), CacheError> {
    let format = DiskImage::open(below)?.format();
    create_overlay(&draft.disk(), below, format, DISK, 12)?;
    append(&draft.disk(), &bytes(name, kib * KIB))
        .map_err(|error| imgbake_disk::DiskError::io("cannot write the overlay", error).into())
}

pub(crate) fn layer(
    cache: &LayerCache,
    name: &str,
    below: &Layer,
    disk: usize,
    state: usize,
) -> Result<Layer, CacheError> {
    let draft = draft(cache, name, below, disk)?;
    let mut new = new_layer(Stage::Provision, name);
    if state > 0 {
        fs::write(draft.state(), bytes("state", state * KIB)).unwrap();
        new.state = Some(new_state(&key("source")));
    }
    draft.commit(new)
}

/// Bytes that are not zero and differ from name to name.
pub(crate) fn bytes(name: &str, length: usize) -> Vec<u8> {
    name.bytes().chain(1..=255).cycle().take(length).collect()
}

pub(crate) fn append(path: &Utf8Path, bytes: &[u8]) -> std::io::Result<()> {
    OpenOptions::new().append(true).open(path)?.write_all(bytes)
}
