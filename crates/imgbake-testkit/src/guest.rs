//! The tiny guest's disk: made once for a recipe, kept in the target folder.

use std::fs::{self, File};
use std::sync::OnceLock;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_bootstrap::{DiskRequest, assemble};
use imgbake_build::BaseDisk;
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets};
use imgbake_types::{Arch, Digest, Size};

use crate::base::raw_base;
use crate::{TestHome, program, repository, run_tool};

/// The tiny guest's disk, raw.
fn tiny_guest() -> Utf8PathBuf {
    static X86: OnceLock<Utf8PathBuf> = OnceLock::new();
    X86.get_or_init(|| made(Arch::X86_64)).clone()
}

/// The tiny guest's disk, as what a machine starts from.
pub fn tiny_disk() -> BaseDisk {
    raw_base(tiny_guest())
}

/// The tiny guest's disk for an architecture.
fn tiny_guest_for(arch: Arch) -> Utf8PathBuf {
    if arch == Arch::X86_64 { tiny_guest() } else { made(arch) }
}

/// A template whose machine is the tiny guest; `rest` is the rest of its text.
pub fn tiny_template(home: &TestHome, name: &str, rest: &str) -> Utf8PathBuf {
    tiny_template_for(home, Arch::X86_64, name, rest)
}

/// The same for another architecture.
pub fn tiny_template_for(home: &TestHome, arch: Arch, name: &str, rest: &str) -> Utf8PathBuf {
    let disk = tiny_guest_for(arch);
    let text = format!(
        "[image]\nname = \"{name}\"\narch = \"{arch}\"\n[source]\nurl = \"{disk}\"\nchecksum = \"none\"\n\
         allow_unverified = true\n[builder.qemu]\nmemory = \"256MiB\"\naccel = \"tcg\"\nboot_timeout = \"5m\"\n{rest}"
    );
    // A name may hold a variable of a matrix.
    let file: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    home.write(&format!("{file}-{}.toml", Digest::sha256(&text).short()), &text)
}

/// A shell step's table; `lines` may hold anything but three single quotes in a row.
pub fn shell(name: &str, lines: &str) -> String {
    format!("[[provision]]\nname = \"{name}\"\ntype = \"shell\"\ninline = ['''{lines}''']\n")
}

/// Makes the disk, unless this very recipe's is there. Processes that come at once wait for the first.
fn made(arch: Arch) -> Utf8PathBuf {
    let recipe = repository().join("tests/tiny-guest");
    let dir = program().parent().unwrap().join("tiny-guest");
    fs::create_dir_all(&dir).unwrap();
    let lock = File::create(dir.join(".lock")).unwrap();
    lock.lock().unwrap();
    let key = recipe_digest(&recipe, arch);
    let disk = dir.join(format!("{arch}-{}.raw", key.short()));
    if !disk.exists() {
        let work = TestHome::new();
        let build = recipe.join("build.sh");
        run_tool("sh", &[build.as_str(), work.dir().as_str(), arch.name()]).exits(0);
        let raw = assembled(&work, &work.dir().join("tree"), arch, &key);
        let part = dir.join("part.raw");
        run_tool("cp", &["--sparse=always", raw.as_str(), part.as_str()]).exits(0);
        fs::rename(part, &disk).unwrap();
    }
    disk
}

/// The digest of every file of the recipe, and of the command line.
fn recipe_digest(recipe: &Utf8Path, arch: Arch) -> Digest {
    let list = run_tool("find", &[recipe.as_str(), "-type", "f"]).exits(0).stdout;
    let mut files: Vec<&str> = list.lines().collect();
    files.sort_unstable();
    let files = files.into_iter().flat_map(|file| fs::read(file).unwrap());
    Digest::sha256(files.chain(cmdline(arch).bytes()).collect::<Vec<u8>>())
}

/// The kernel's command line. On a busy host an emulated timer is late at boot, and the kernel that
/// counts its ticks panics: `no_timer_check` (Linux, `admin-guide/kernel-parameters.txt`).
fn cmdline(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "console=ttyS0 no_timer_check",
        Arch::Aarch64 => "console=ttyAMA0",
    }
}

fn assembled(work: &TestHome, tree: &Utf8Path, arch: Arch, key: &Digest) -> Utf8PathBuf {
    let secrets = Secrets::default();
    let (events, _listener) = Events::channel("tiny-guest", secrets.clone());
    let job =
        Job::begin(&Home::new(work.home()), "tiny-guest", Cancel::new(), events, secrets).unwrap();
    let out = work.dir().join("disk");
    // The recipe brings another architecture's GRUB along.
    let folder = work.dir().join("grub");
    let grub = (arch != Arch::host()).then_some(folder.as_path());
    let cmdline = cmdline(arch);
    let request = DiskRequest { arch, key, size: Some(Size::mib(192)), cmdline, out: &out, grub };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let disk = runtime.block_on(assemble(&job, tree, &request)).unwrap();
    job.end().unwrap();
    disk.path
}
