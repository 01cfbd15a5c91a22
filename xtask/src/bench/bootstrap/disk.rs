//! What all make, and how imgbake makes it.

use std::fs;
use std::process::Command;
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use imgbake_bootstrap::Bootstrap;
use imgbake_build::{SourceContext, SourceProvider};
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets};
use imgbake_types::plan::Source;
use imgbake_types::spec::{BootstrapSpec, Distribution};
use imgbake_types::{Arch, Digest, Size, Stage};

use crate::Result;
use crate::bench::{commands, files};

/// The suite.
pub(super) const SUITE: &str = "bookworm";
/// The disk's size in bytes.
pub(super) const SIZE: u64 = 3 << 30;

/// `cargo xtask bootstrap`: makes a base disk, for a bench.
#[derive(Args)]
pub(crate) struct BootstrapArgs {
    /// The folder for `disk.raw`
    dir: Utf8PathBuf,
}

/// The bench's folder, and what is to be installed.
pub(super) struct Work {
    /// The folder.
    pub(super) dir: Utf8PathBuf,
    /// `sources.list`, as imgbake gives it to mmdebstrap.
    pub(super) sources: String,
    /// The packages.
    pub(super) packages: Vec<String>,
}

impl Work {
    /// Asks imgbake's bootstrap what it would install, and from where.
    pub(super) fn new(dir: &Utf8Path) -> Result<Self> {
        let sources = in_job(dir, async |job| {
            Ok(imgbake_bootstrap::sources_in_use(job, &spec(), Arch::X86_64).await?)
        })?;
        Ok(Self {
            dir: dir.to_owned(),
            sources,
            packages: imgbake_bootstrap::packages(&spec(), Arch::X86_64),
        })
    }

    /// The suite's main mirror.
    pub(super) fn mirror(&self) -> Result<String> {
        let word = self.sources.split_whitespace().find(|word| word.starts_with("http"));
        Ok(word.ok_or("the bootstrap's sources name no mirror")?.to_owned())
    }

    /// Bootstraps in a process of its own: gives its seconds and the raw disk.
    pub(super) fn bootstrap(&self) -> Result<(f64, Utf8PathBuf)> {
        let mut command = Command::new(std::env::current_exe()?);
        let seconds = commands::seconds(command.arg("bootstrap").arg(&self.dir))?;
        Ok((seconds, self.dir.join("disk.raw")))
    }
}

/// Makes the disk.
pub(crate) fn bootstrap(args: &BootstrapArgs) -> Result<()> {
    let started = Instant::now();
    in_job(&args.dir, async |job| {
        let source = Source::Bootstrap(spec());
        let pin = Bootstrap.pin(job, &source, Arch::X86_64).await?;
        let key = Digest::sha256(format!("{pin:?}"));
        let stage = job.events().stage(Stage::Source, "source");
        let context = SourceContext { job, key: &key, arch: Arch::X86_64, stage: &stage };
        let disk = Bootstrap.fetch(&context, &source).await?;
        let disk = disk.local().ok_or("a bootstrapped disk is a file")?;
        Ok(fs::rename(&disk.path, args.dir.join("disk.raw"))?)
    })?;
    println!("{:.2}", started.elapsed().as_secs_f64());
    Ok(())
}

fn spec() -> BootstrapSpec {
    BootstrapSpec {
        distribution: Distribution::Debian,
        suite: SUITE.to_owned(),
        mirror: None,
        components: None,
        packages: Vec::new(),
        updates: None,
        kernel: None,
        keyring: None,
        cmdline: None,
        size: Some(Size::bytes(SIZE)),
    }
}

/// Runs something in a job of a home in the folder.
fn in_job<T>(dir: &Utf8Path, work: impl AsyncFnOnce(&Job) -> Result<T>) -> Result<T> {
    let home = dir.join("job");
    files::remove(home.as_std_path())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let id = imgbake_runtime::job::new_id("bench");
        let (events, mut listener) = Events::channel(&id, Secrets::default());
        let job = Job::begin(&Home::new(home), &id, Cancel::new(), events, Secrets::default())?;
        let drained = tokio::spawn(async move { while listener.recv().await.is_some() {} });
        let done = work(&job).await;
        job.end()?;
        drained.abort();
        done
    })
}
