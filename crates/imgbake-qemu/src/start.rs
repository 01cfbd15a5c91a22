//! From a request to a running QEMU: the machine's files, its command line, its process.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{KernelFiles, MachineRequest, Purpose, Seed};
use imgbake_disk::{DiskError, DiskErrorKind, DiskFormat, DiskImage, overlay, seed};
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Command, Job, RuntimeError, space};
use imgbake_types::spec::Firmware;

use crate::argv::{Argv, Engine};
use crate::disks::LiveDisk;
use crate::error::QemuError;
use crate::files::{Files, write_private};
use crate::firmware::{self, UefiFiles};
use crate::launch::{Incoming, Launched, launch};
use crate::login::{self, Login};
use crate::probe::{Qemu, tool};
use crate::spec::{KIND, QemuSpec};
use crate::{credentials, kernel};

/// Clusters of 4 KiB, a file system's block: what a guest discards leaves the overlay exactly.
pub(crate) const CLUSTER_BITS: u32 = 12;

/// A virtual disk's size is a whole number of these.
const SECTOR: u64 = 512;

/// What a machine is made of, once its files are there.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) files: Files,
    pub(crate) root: LiveDisk,
    pub(crate) extra_disks: Vec<LiveDisk>,
    pub(crate) kernel: Option<KernelFiles>,
    uefi: Option<UefiFiles>,
    seed: Option<Utf8PathBuf>,
    /// What a login by credentials needs, where the machine accepts one, and its files.
    pub(crate) login: Option<Login>,
    strings: Vec<Utf8PathBuf>,
}

/// All that starting a machine takes.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub(crate) job: Job,
    pub(crate) request: MachineRequest,
    pub(crate) spec: QemuSpec,
    pub(crate) qemu: Qemu,
    pub(crate) engine: Engine,
}

impl Start {
    /// Starts the machine anew, with a NoCloud seed. The one before it has ended.
    pub(crate) async fn with_seed(&self) -> Result<Launched, QemuError> {
        let (_, launched) = self.launch(false).await?;
        Ok(launched)
    }

    /// Makes the machine's files and starts QEMU.
    pub(crate) async fn launch(
        &self,
        by_credentials: bool,
    ) -> Result<(Parts, Launched), QemuError> {
        let (job, request, spec) = (self.job.clone(), self.request.clone(), self.spec.clone());
        let making = move || make_parts(&job, &request, &spec, by_credentials);
        let made = tokio::task::spawn_blocking(making).await;
        let what = "making the machine's files";
        let parts = made.map_err(|source| QemuError::Stopped { what, source })??;
        let saved = self.request.saved.as_ref().map(|saved| Incoming {
            path: &saved.state,
            memory: self.spec.memory().as_bytes(),
            version: &self.qemu.version,
        });
        let launched = launch(&self.job, &parts.files, self.command(&parts)?, saved).await?;
        Ok((parts, launched))
    }

    fn command(&self, parts: &Parts) -> Result<Command, RuntimeError> {
        let Self { request, spec, qemu, engine, .. } = self;
        let extra_disks: Vec<Utf8PathBuf> =
            parts.extra_disks.iter().map(|disk| disk.path.clone()).collect();
        let argv = Argv {
            name: &request.name,
            uuid: request.uuid,
            arch: request.arch,
            engine: *engine,
            cpu: spec.cpu.as_deref(),
            cpus: spec.cpus(),
            memory: spec.memory().as_bytes(),
            uefi: parts.uefi.as_ref(),
            kernel: parts.kernel.as_ref(),
            root: &parts.root.path,
            extra_disks: &extra_disks,
            seed: parts.seed.as_deref(),
            strings: &parts.strings,
            qmp: &parts.files.name(Files::QMP),
            console: &parts.files.name(Files::CONSOLE),
            login: &parts.files.name(Files::LOGIN),
            pvpanic: qemu.pvpanic,
            vmgenid: qemu.vmgenid,
            incoming: request.saved.is_some(),
            extra: &spec.args,
        };
        Ok(tool(request.arch).command()?.args(argv.build()))
    }
}

/// Makes a machine's files in the job's folder.
fn make_parts(
    job: &Job,
    request: &MachineRequest,
    spec: &QemuSpec,
    by_credentials: bool,
) -> Result<Parts, QemuError> {
    let files = Files::new(job, &request.name);
    let base = request.disk.local_for(KIND.name).map_err(QemuError::Base)?;
    let image = DiskImage::open_as(&base.path, base.format)
        .map_err(|error| disk_error(error, &base.path))?;
    let root = files.path(".qcow2");
    let size = spec.disk.map_or(0, imgbake_types::Size::as_bytes).max(base.virtual_size);
    let virtual_size = size.next_multiple_of(SECTOR);
    let mut kernel = kernel::direct(job, request, spec, &files.path(""));
    let login = match (request.purpose, &kernel) {
        (Purpose::Bare, _) => Some(login::bare(request, virtual_size)?),
        (Purpose::Build, Some(_)) if by_credentials => {
            login::by_credentials(job, request, virtual_size)
        }
        // A verified clone's first boot is cloud-init's.
        _ => None,
    };
    // The disk of a saved machine is as it was when that was saved.
    let patches = match &login {
        Some(login) if request.saved.is_none() => &login.patches[..],
        _ => &[],
    };
    overlay::create_patched_overlay(&root, &image, virtual_size, CLUSTER_BITS, patches)
        .map_err(|e| disk_error(e, &root))?;
    let mut strings = Vec::new();
    if let Some(login) = &login {
        strings = login.write(&files, request)?;
        if let Some(kernel) = &mut kernel {
            kernel.cmdline = credentials::cmdline(&kernel.cmdline, &request.seed);
        }
    }
    write_private(&files.path("-key"), &request.seed.user_key.private_openssh())?;
    let seed = match request.purpose {
        Purpose::Bare => None,
        Purpose::Build | Purpose::Clone => Some(make_seed(&files, &request.seed)?),
    };
    let extra_disks = make_extra_disks(&files, spec, &base.extra)?;
    let uefi = match request.firmware {
        Firmware::Bios => None,
        Firmware::Uefi => Some(own_variables(&files, firmware::uefi(request.arch)?)?),
    };
    let root = LiveDisk::root(root, virtual_size);
    Ok(Parts { files, root, extra_disks, kernel, uefi, seed, login, strings })
}

/// The machine's extra disks: over what `bases` hold, the others empty.
fn make_extra_disks(
    files: &Files,
    spec: &QemuSpec,
    bases: &[Utf8PathBuf],
) -> Result<Vec<LiveDisk>, QemuError> {
    let make = |(index, size): (usize, &imgbake_types::Size)| {
        let path = files.path(&format!("-extra-{}.qcow2", index + 1));
        let virtual_size = size.as_bytes().next_multiple_of(SECTOR);
        let made = match bases.get(index) {
            Some(base) => {
                let format = DiskFormat::Qcow2;
                overlay::create_overlay(&path, base, format, virtual_size, CLUSTER_BITS)
            }
            None => overlay::create_empty(&path, virtual_size, CLUSTER_BITS),
        };
        made.map_err(|error| disk_error(error, &path))?;
        Ok(LiveDisk::extra(path, virtual_size, index + 1))
    };
    spec.extra_disks.iter().enumerate().map(make).collect()
}

fn make_seed(files: &Files, keys: &Seed) -> Result<Utf8PathBuf, QemuError> {
    let path = files.path("-seed.img");
    seed::nocloud(&path, &keys.user_data(), &keys.meta_data(), None)
        .map_err(|error| disk_error(error, &path))?;
    Ok(path)
}

/// A machine's own copy of the firmware's variables.
fn own_variables(files: &Files, uefi: UefiFiles) -> Result<UefiFiles, RuntimeError> {
    let vars = files.path("-vars.fd");
    fs::copy(&uefi.vars, &vars).map_err(io_at("make the file", &vars))?;
    let mut permissions = fs::metadata(&vars).map_err(io_at("read", &vars))?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    fs::set_permissions(&vars, permissions).map_err(io_at("make the file", &vars))?;
    Ok(UefiFiles { vars, ..uefi })
}

/// The error of a disk that is written at `path`; a full file system is named.
pub(crate) fn disk_error(error: DiskError, path: &Utf8Path) -> QemuError {
    match error.kind() {
        DiskErrorKind::Full => space::full(path, None).into(),
        _ => error.into(),
    }
}
