//! What every bench is based on: imgbake, and a base disk made by its bootstrap.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::imgbake::Imgbake;
use super::options::Options;
use super::{commands, files};
use crate::{Result, repository};

/// A bench's folder, with what is in it.
pub(super) struct Ground {
    /// The folder.
    pub(super) dir: PathBuf,
    /// The program under test.
    pub(super) binary: PathBuf,
    /// Debian 12 as qcow2, made by imgbake's bootstrap.
    pub(super) base: Base,
}

/// A disk and its digest.
pub(super) struct Base {
    /// Where it is.
    pub(super) path: PathBuf,
    /// `sha256:` and its digest in hex, as both programs write it.
    pub(super) checksum: String,
}

impl Ground {
    /// Makes ready what is missing.
    pub(super) fn new(options: &Options) -> Result<Self> {
        Self::with(options, "base", &[])
    }

    /// The same with a base disk of its own name, which has further packages.
    pub(super) fn with(options: &Options, name: &str, packages: &[&str]) -> Result<Self> {
        let (dir, binary) = (folder(options)?, binary(options)?);
        let base = base(&dir, &binary, name, packages)?;
        // Read once before the clock runs: all find the base disk in the page cache.
        fs::read(&base.path)?;
        Ok(Self { dir, binary, base })
    }

    /// imgbake with a home of its own in the bench's folder, empty if `fresh`.
    pub(super) fn imgbake(&self, home: &str, fresh: bool) -> Result<Imgbake> {
        let home = self.dir.join(home);
        if fresh {
            files::remove(&home)?;
        }
        Ok(Imgbake { binary: self.binary.clone(), home })
    }

    /// `[source]` and the head of `[builder.qemu]` of a template that starts from the base disk.
    pub(super) fn template_head(&self, name: &str, memory: &str) -> String {
        format!(
            "[image]\nname = \"{name}\"\n[source]\nurl = \"{}\"\nchecksum = \"{}\"\n\
             [builder.qemu]\naccel = \"tcg\"\nmemory = \"{memory}\"\ncpus = 2\n\
             [verify]\nenabled = false\n",
            self.base.path.display(),
            self.base.checksum
        )
    }
}

/// The bench's folder, which is made where it is missing.
pub(super) fn folder(options: &Options) -> Result<PathBuf> {
    fs::create_dir_all(&options.dir)?;
    Ok(options.dir.canonicalize()?)
}

/// The program under test.
pub(super) fn binary(options: &Options) -> Result<PathBuf> {
    match &options.binary {
        Some(binary) => Ok(binary.canonicalize()?),
        None => release_binary(),
    }
}

fn release_binary() -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--release", "--locked", "--bin", "imgbake"])
        .current_dir(repository::root());
    commands::output(&mut cargo)?;
    Ok(repository::root().join("target/release/imgbake").canonicalize()?)
}

/// The base disk, exported once with its digest beside it.
fn base(dir: &Path, binary: &Path, name: &str, packages: &[&str]) -> Result<Base> {
    let (path, sums) =
        (dir.join(format!("{name}.qcow2")), dir.join(format!("{name}.qcow2.sha256")));
    if !path.exists() || !sums.exists() {
        let template = dir.join(format!("{name}.toml"));
        let packages = match packages {
            [] => String::new(),
            _ => format!(", packages = {packages:?}"),
        };
        fs::write(
            &template,
            format!(
                "[image]\nname = \"bench-{name}\"\n[source]\n\
                 bootstrap = {{ distribution = \"debian\", suite = \"bookworm\"{packages} }}\n\
                 [builder.qemu]\naccel = \"tcg\"\ndisk = \"2GiB\"\n[verify]\nenabled = false\n"
            ),
        )?;
        let imgbake = Imgbake { binary: binary.to_owned(), home: dir.join("home") };
        commands::output(imgbake.command().arg("build").arg(&template).arg("--output").arg(&path))?;
    }
    let text = fs::read_to_string(&sums)?;
    let digest = text
        .split_whitespace()
        .next()
        .ok_or_else(|| format!("{} holds no digest: remove it", sums.display()))?;
    Ok(Base { path, checksum: format!("sha256:{digest}") })
}
