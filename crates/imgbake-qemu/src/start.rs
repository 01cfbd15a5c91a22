//! From a request to a running QEMU: the machine's files, its command line, its process.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{KernelFiles, MachineRequest, Seed};
use imgbake_disk::{DiskError, DiskErrorKind, DiskImage, overlay, seed};
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Command, Job, RuntimeError, space};
use imgbake_types::spec::Firmware;

use crate::argv::{Argv, Engine};
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
    pub(crate) root: Utf8PathBuf,
    pub(crate) virtual_size: u64,
    extra_disks: Vec<Utf8PathBuf>,
    pub(crate) kernel: Option<KernelFiles>,
    uefi: Option<UefiFiles>,
    seed: Utf8PathBuf,
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
            root: &parts.root,
            extra_disks: &parts.extra_disks,
            seed: &parts.seed,
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
    let login = match &kernel {
        Some(_) if by_credentials => login::by_credentials(job, request, virtual_size),
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
    if let (Some(login), Some(kernel)) = (&login, &mut kernel) {
        strings = login.write(&files, request)?;
        kernel.cmdline = credentials::cmdline(&kernel.cmdline, &request.seed);
    }
    let seed = make_seed(&files, &request.seed)?;
    let mut extra_disks = Vec::new();
    for (number, size) in spec.extra_disks.iter().enumerate() {
        let path = files.path(&format!("-extra-{}.img", number + 1));
        let made = fs::File::create(&path).and_then(|file| file.set_len(size.as_bytes()));
        made.map_err(io_at("make the file", &path))?;
        extra_disks.push(path);
    }
    let uefi = match request.firmware {
        Firmware::Bios => None,
        Firmware::Uefi => Some(own_variables(&files, firmware::uefi(request.arch)?)?),
    };
    Ok(Parts { files, root, virtual_size, extra_disks, kernel, uefi, seed, login, strings })
}

fn make_seed(files: &Files, keys: &Seed) -> Result<Utf8PathBuf, QemuError> {
    let path = files.path("-seed.img");
    seed::nocloud(&path, &keys.user_data(), &keys.meta_data(), None)
        .map_err(|error| disk_error(error, &path))?;
    write_private(&files.path("-key"), &keys.user_key.private_openssh())?;
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
