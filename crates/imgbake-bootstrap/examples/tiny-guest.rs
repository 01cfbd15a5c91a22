//! `cargo run -p imgbake-bootstrap --example tiny-guest -- DIR [ARCH]`: makes `DIR/tiny.raw`, the tiny
//! guest of the end-to-end tests, with `DIR/vmlinuz` and `DIR/initrd.img` beside it.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_bootstrap::{DiskRequest, assemble};
use imgbake_runtime::{Cancel, Command, Events, Home, Job, Secrets};
use imgbake_types::{Arch, Digest, Size};

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/tiny-guest/build.sh");

#[expect(clippy::print_stdout, reason = "an example tells what it made")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (dir, arch) = match &words[..] {
        [dir] => (dir, Arch::host()),
        [dir, arch] if arch == "x86_64" => (dir, Arch::X86_64),
        [dir, arch] if arch == "aarch64" => (dir, Arch::Aarch64),
        _ => return Err("usage: tiny-guest DIR [x86_64|aarch64]".into()),
    };
    let dir = Utf8PathBuf::from_path_buf(std::path::absolute(dir)?)
        .map_err(|_| "the folder's name is not UTF-8")?;
    fs::create_dir_all(&dir)?;
    let id = imgbake_runtime::job::new_id("tiny");
    let (events, _) = Events::channel(&id, Secrets::default());
    let home = dir.join("home");
    let job = Job::begin(&Home::new(&home), &id, Cancel::new(), events, Secrets::default())?;
    let made = make(&job, &dir, arch).await;
    job.end()?;
    fs::remove_dir_all(&home)?;
    println!("{}", made?);
    Ok(())
}

async fn make(job: &Job, dir: &Utf8Path, arch: Arch) -> Result<String, Box<dyn std::error::Error>> {
    let work = job.work().join("tiny");
    Command::new(RECIPE).args([work.as_str(), arch.name()]).run(job).await?;
    let serial = if arch == Arch::Aarch64 { "ttyAMA0" } else { "ttyS0" };
    let grub = work.join("grub");
    let request = DiskRequest {
        arch,
        key: &Digest::sha256("the tiny guest"),
        size: Some(Size::mib(256)),
        cmdline: &format!("console={serial},115200 quiet panic=-1"),
        grub: (arch != Arch::host()).then_some(grub.as_path()),
        out: &work.join("out"),
    };
    let disk = assemble(job, &work.join("tree"), &request).await?;
    fs::rename(&disk.path, dir.join("tiny.raw"))?;
    fs::rename(&disk.kernel.kernel, dir.join("vmlinuz"))?;
    if let Some(initrd) = &disk.kernel.initrd {
        fs::rename(initrd, dir.join("initrd.img"))?;
    }
    fs::write(dir.join("cmdline"), &disk.kernel.cmdline)?;
    Ok(disk.kernel.cmdline)
}
