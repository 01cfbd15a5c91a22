//! `cargo run -p imgbake-bootstrap --example bootstrap -- DIR DISTRIBUTION SUITE [MIRROR]`: makes
//! `DIR/disk.raw` from a distribution's packages and tells what each part of it took.

use std::fs;
use std::time::Instant;

use camino::Utf8PathBuf;
use imgbake_bootstrap::Bootstrap;
use imgbake_build::{SourceContext, SourceProvider};
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets};
use imgbake_types::plan::Source;
use imgbake_types::spec::{BootstrapSpec, Distribution};
use imgbake_types::{Arch, Digest, EventKind, Stage};

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

#[expect(clippy::print_stderr, reason = "an example for hand and measurement")]
#[tokio::main]
async fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (dir, distribution, suite, mirror) = match &words[..] {
        [dir, distribution, suite] => (dir, distribution, suite, None),
        [dir, distribution, suite, mirror] => (dir, distribution, suite, Some(mirror.clone())),
        _ => return Err("usage: bootstrap DIR debian|ubuntu SUITE [MIRROR]".into()),
    };
    let dir = std::path::absolute(dir)?;
    let dir = Utf8PathBuf::from_path_buf(dir).map_err(|_| "the folder's name is not UTF-8")?;
    fs::create_dir_all(&dir)?;
    let distribution =
        if distribution == "ubuntu" { Distribution::Ubuntu } else { Distribution::Debian };
    let spec = BootstrapSpec {
        distribution,
        suite: suite.clone(),
        mirror,
        components: None,
        packages: Vec::new(),
        updates: None,
        kernel: None,
        keyring: None,
        cmdline: None,
        size: None,
    };
    let id = imgbake_runtime::job::new_id("example");
    let (events, mut listener) = Events::channel(&id, Secrets::default());
    let job =
        Job::begin(&Home::new(dir.join("home")), &id, Cancel::new(), events, Secrets::default())?;
    let began = Instant::now();
    let reported = tokio::spawn(async move {
        while let Some(event) = listener.recv().await {
            if let EventKind::StageStatus { status, .. } = event.kind {
                eprintln!("{:6.1} s  {status}", began.elapsed().as_secs_f64());
            }
        }
    });
    let key = Digest::sha256(format!("{distribution:?} {suite}"));
    let stage = job.events().stage(Stage::Source, "source");
    let context = SourceContext { job: &job, key: &key, arch: Arch::host(), stage: &stage };
    let base = Bootstrap.fetch(&context, &Source::Bootstrap(spec)).await?;
    let disk = base.local().ok_or("a bootstrapped disk is a file")?;
    eprintln!(
        "{:6.1} s  done: {} bytes in {}",
        began.elapsed().as_secs_f64(),
        base.bytes,
        disk.virtual_size
    );
    fs::rename(&disk.path, dir.join("disk.raw"))?;
    if let Some(kernel) = &disk.kernel {
        fs::rename(&kernel.kernel, dir.join("vmlinuz"))?;
        if let Some(initrd) = &kernel.initrd {
            fs::rename(initrd, dir.join("initrd.img"))?;
        }
        eprintln!("cmdline: {}", kernel.cmdline);
    }
    drop((stage, reported));
    job.end()?;
    Ok(())
}
