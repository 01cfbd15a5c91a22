//! Making the root with mmdebstrap: in a mount and process namespace of its own, on a tmpfs, so that
//! nothing is left of it, however it ends.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::SourceContext;
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Command, Job, RuntimeErrorKind, Tool, memory};
use imgbake_types::Arch;
use imgbake_types::event::Stream;
use imgbake_types::spec::{BootstrapSpec, Distribution};
use secrecy::ExposeSecret as _;

use crate::assemble::{self, Assembled, DiskRequest, UNSHARE};
use crate::error::BootstrapError;
use crate::packages::{components, packages};
use crate::sources::{
    Mirrors, QUICKLY, TARGET_FORMAT, host_mirrors, named_mirrors, sources_list, wants_updates,
};
use crate::{DiskLayout, keyring};

/// `mmdebstrap`
pub(crate) const MMDEBSTRAP: Tool = Tool::new("mmdebstrap", "mmdebstrap");
const APT_GET: Tool = Tool::new("apt-get", "apt");

pub(crate) const SETUP: &str = include_str!("scripts/setup.sh");
pub(crate) const BOOTSTRAP: &str = concat!(
    include_str!("scripts/bootstrap.sh"),
    "echo 'I: configuring...' >&2\n",
    include_str!("scripts/configure.sh"),
    "echo 'I: making the file system...' >&2\n",
    include_str!("scripts/disk.sh"),
);

/// The programs of every Debian host.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What apt needs of the host's environment; nothing else of it reaches packages' scripts.
const PROXIES: [&str; 7] =
    ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY"];

/// Memory, in bytes, that a root on a tmpfs may need beside what the host uses.
const TMPFS_NEEDS: u64 = 3 << 30;

/// The build's sources, and whether the image keeps them.
struct Sources {
    list: String,
    kept: bool,
}

/// Makes the disk of a source.
pub(crate) async fn make(
    context: &SourceContext<'_>,
    spec: &BootstrapSpec,
    request: &DiskRequest<'_>,
) -> Result<Assembled, BootstrapError> {
    let job = context.job;
    let root = request.out.join("root");
    fs::create_dir_all(&root).map_err(io_at("make the folder", &root))?;
    let hook = request.out.join("setup.sh");
    write_program(&hook, SETUP)?;
    let sources = sources(job, spec).await?;
    let command = namespaces()?
        .inherit_only(&PROXIES)
        .env("PATH", PATH)
        .env("HOME", "/root")
        .args(["sh", "-c", BOOTSTRAP, "bootstrap"])
        .args(arguments(context, spec, &hook)?)
        .env("BAKE_ROOT", &root)
        .env(
            "BAKE_TMPFS",
            yes_no(!is_root() || memory::available().is_none_or(|free| free >= TMPFS_NEEDS)),
        )
        .env("BAKE_TREE", root.join("tree"))
        .env("BAKE_BEGUN", root.join("begun"))
        .env("BAKE_DEFAULTS", root.join("defaults"))
        .env("BAKE_SUITE", &spec.suite)
        .env("BAKE_UPDATES", yes_no(wants_updates(spec)))
        .env("BAKE_SOURCES", &sources.list)
        .env("BAKE_KEEP_SOURCES", yes_no(sources.kept))
        .env("BAKE_FSTAB", fstab(request))
        // The initramfs is made once, at the end, with its times pinned.
        .env("INITRD", "No");
    let mut failed: Option<String> = None;
    let ran = assemble::prepare(request, command)?
        .run_lines(job, |stream, line| {
            let status = line.strip_prefix("I: ").and_then(|line| line.strip_suffix("..."));
            if let Some(status) = status {
                context.stage.status(status);
            } else if line.starts_with("E: ") && stream == Stream::Stderr {
                failed.get_or_insert(line);
            }
        })
        .await;
    if let Err(error) = ran {
        return Err(match (failed, error.kind()) {
            (
                Some(first),
                RuntimeErrorKind::Failed
                | RuntimeErrorKind::TimedOut
                | RuntimeErrorKind::Denied
                | RuntimeErrorKind::Io,
            ) => BootstrapError::Packages { suite: spec.suite.clone(), first, source: error },
            _ => error.into(),
        });
    }
    context.stage.status("boot loaders");
    imgbake_runtime::job::remove_path(&root)?;
    imgbake_runtime::job::remove_path(&hook)?;
    assemble::finish(job, request).await
}

/// A command in namespaces of its own: they end with it, and with them its processes and mounts. An
/// ordinary user is root in there, with the ids that `/etc/subuid` gives.
fn namespaces() -> Result<Command, BootstrapError> {
    let command = UNSHARE.command()?.args([
        "--fork",
        "--kill-child",
        "--pid",
        "--mount",
        "--mount-proc",
        "--uts",
    ]);
    Ok(if is_root() { command } else { command.args(["--map-root-user", "--map-auto"]) })
}

/// mmdebstrap's arguments.
fn arguments(
    context: &SourceContext<'_>,
    spec: &BootstrapSpec,
    hook: &Utf8Path,
) -> Result<Vec<String>, BootstrapError> {
    Ok(vec![
        "--mode=root".to_owned(),
        "--variant=minbase".to_owned(),
        "--format=directory".to_owned(),
        format!("--architectures={}", context.arch.oci_name()),
        format!("--components={}", components(spec)),
        format!("--keyring={}", keyring::find(spec)?),
        format!("--include={}", packages(spec, context.arch).join(",")),
        format!("--setup-hook={hook}"),
        // The root is thrown away when the host stops meanwhile.
        "--dpkgopt=force-unsafe-io".to_owned(),
        // What the host's apt trusts must not change the image.
        "--skip=check/signed-by".to_owned(),
        "--skip=output/dev".to_owned(),
        spec.suite.clone(),
    ])
}

fn write_program(path: &Utf8Path, text: &str) -> Result<(), BootstrapError> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).map_err(io_at("write", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(io_at("write", path))?;
    Ok(())
}

/// The template's mirror, else the host's; else nothing, and mmdebstrap takes the distribution's own.
async fn sources(job: &Job, spec: &BootstrapSpec) -> Result<Sources, BootstrapError> {
    if let Some(mirror) = &spec.mirror {
        let revealed = job.secrets().reveal(mirror);
        let revealed = revealed.expose_secret();
        let mirrors = named_mirrors(revealed, spec.distribution);
        let list = sources_list(spec, &mirrors)
            .ok_or_else(|| BootstrapError::UnknownSecurity(mirror.clone()))?;
        // A mirror with a password in it serves the build only.
        return Ok(Sources { list, kept: revealed == mirror && !mirror.contains('@') });
    }
    let list = mirrors_of_host(job, spec.distribution)
        .await
        .and_then(|mirrors| sources_list(spec, &mirrors));
    Ok(Sources { list: list.unwrap_or_default(), kept: false })
}

/// A host without apt, or whose apt does not answer, has no mirror to offer.
async fn mirrors_of_host(job: &Job, distribution: Distribution) -> Option<Mirrors> {
    // The slow way as well: an archive may have no InRelease file.
    for options in [&QUICKLY[..], &[]] {
        let command = APT_GET.command().ok()?.args(options);
        let targets =
            command.args(["indextargets", "--format", TARGET_FORMAT]).run(job).await.ok()?;
        let found = host_mirrors(&String::from_utf8_lossy(&targets), distribution);
        if found.is_some() {
            return found;
        }
    }
    None
}

/// The `sources.list` that a build would take packages from now.
pub async fn sources_in_use(
    job: &Job,
    spec: &BootstrapSpec,
    arch: Arch,
) -> Result<String, BootstrapError> {
    let list = sources(job, spec).await?.list;
    if list.is_empty() { own_sources(job, spec, arch).await } else { Ok(list) }
}

/// What mmdebstrap takes where nobody names a mirror. It prints that before it fetches anything, and is ended
/// there.
pub(crate) async fn own_sources(
    job: &Job,
    spec: &BootstrapSpec,
    arch: Arch,
) -> Result<String, BootstrapError> {
    let folder = tempfile::tempdir_in(job.work()).map_err(io_at("make a folder in", job.work()))?;
    let folder = Utf8Path::from_path(folder.path())
        .ok_or_else(|| BootstrapError::NotUtf8(folder.path().to_owned()))?;
    let list = folder.join("sources.list");
    let output = MMDEBSTRAP
        .command()?
        .arg(if is_root() { "--mode=root" } else { "--mode=chrootless" })
        .args(["--variant=custom", "--format=null", "--quiet"])
        .args(["--skip=check/signed-by", "--skip=check/qemu", "--skip=check/empty"])
        .arg(format!("--architectures={}", arch.oci_name()))
        .arg(format!("--components={}", components(spec)))
        .arg("--setup-hook=cp \"$1/etc/apt/sources.list\" \"$BAKE_LIST\"; exit 1")
        .args([spec.suite.as_str(), "/dev/null"])
        .env("BAKE_LIST", &list)
        .env("TMPDIR", folder)
        .output(job)
        .await?;
    fs::read_to_string(&list).map_err(|_| BootstrapError::NoMirror {
        suite: spec.suite.clone(),
        said: output.stderr.trim().to_owned(),
    })
}

fn fstab(request: &DiskRequest<'_>) -> String {
    format!("UUID={} / ext4 defaults,errors=remount-ro 0 1\n", DiskLayout::root_uuid(request.key))
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

const fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

/// The folder of a source's disk.
pub(crate) fn folder(job: &Job) -> Utf8PathBuf {
    job.work().join("bootstrap")
}
