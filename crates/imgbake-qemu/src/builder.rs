//! The builder: from a request to a running machine.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use async_trait::async_trait;
use camino::Utf8PathBuf;
use imgbake_build::{
    BuildError, BuildErrorKind, Builder, KernelFiles, Machine, MachineRequest, Seed,
};
use imgbake_disk::{DiskError, DiskErrorKind, DiskImage, overlay, seed};
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Command, Job, space};
use imgbake_types::Arch;
use imgbake_types::spec::{Firmware, QemuSpec};
use tokio::sync::OnceCell;

use crate::argv::{Argv, Engine, MOST_EXTRA_DISKS, ROOT_NODE, cpu_model};
use crate::firmware::{self, UefiFiles};
use crate::launch::{Files, Incoming, launch};
use crate::machine::{QemuMachine, RESETS_OF_FIRMWARE};
use crate::probe::{Qemu, tool};
use crate::saves::saves;
use crate::signature::{self, Signature};
use crate::state::Allowed;
use crate::{Verdict, accel, kernel};

/// Clusters of 4 KiB, a file system's block: what a guest discards leaves the overlay exactly.
pub(crate) const CLUSTER_BITS: u32 = 12;

/// A virtual disk's size is a whole number of these.
const SECTOR: u64 = 512;

/// Makes QEMU machines.
#[derive(Debug, Default)]
pub struct QemuBuilder {
    x86_64: OnceCell<Qemu>,
    aarch64: OnceCell<Qemu>,
}

/// What a machine is made of, once its files are there.
#[derive(Debug)]
struct Parts {
    files: Files,
    root: Utf8PathBuf,
    virtual_size: u64,
    extra_disks: Vec<Utf8PathBuf>,
    kernel: Option<KernelFiles>,
    uefi: Option<UefiFiles>,
    seed: Utf8PathBuf,
}

impl QemuBuilder {
    /// A builder that has not looked at this host yet.
    pub fn new() -> Self {
        Self::default()
    }

    async fn qemu(&self, job: &Job, arch: Arch) -> Result<&Qemu, BuildError> {
        let cell = match arch {
            Arch::X86_64 => &self.x86_64,
            Arch::Aarch64 => &self.aarch64,
        };
        cell.get_or_try_init(|| Qemu::probe(job, arch)).await
    }

    /// The version of the QEMU for an architecture: `10.0.2`.
    pub async fn version(&self, job: &Job, arch: Arch) -> Result<String, BuildError> {
        Ok(self.qemu(job, arch).await?.version.clone())
    }

    /// Whether machines of an architecture run under KVM on this host, proved by a guest once per boot
    /// of the host.
    pub async fn kvm(&self, job: &Job, arch: Arch) -> Result<Verdict, BuildError> {
        accel::kvm(job, arch, None, self.qemu(job, arch).await?).await
    }

    fn command(
        request: &MachineRequest,
        parts: &Parts,
        engine: Engine,
        qemu: &Qemu,
    ) -> Result<Command, BuildError> {
        let spec = &request.spec;
        let argv = Argv {
            name: &request.name,
            uuid: request.uuid,
            arch: request.arch,
            engine,
            cpu: spec.cpu.as_deref(),
            cpus: spec.cpus(),
            memory: spec.memory().as_bytes(),
            uefi: parts.uefi.as_ref(),
            kernel: parts.kernel.as_ref(),
            root: &parts.root,
            extra_disks: &parts.extra_disks,
            seed: &parts.seed,
            qmp: &parts.files.name(Files::QMP),
            console: &parts.files.name(Files::CONSOLE),
            pvpanic: qemu.pvpanic,
            vmgenid: qemu.vmgenid,
            incoming: request.saved.is_some(),
            extra: &spec.args,
        };
        Ok(tool(request.arch).command()?.args(argv.build()))
    }
}

#[async_trait]
impl Builder for QemuBuilder {
    fn name(&self) -> &'static str {
        "qemu"
    }

    async fn check(
        &self,
        job: &Job,
        arch: Arch,
        spec: &QemuSpec,
        firmware: Firmware,
    ) -> Result<(), BuildError> {
        if firmware == Firmware::Bios && arch == Arch::Aarch64 {
            let words = "aarch64 machines have no BIOS";
            return Err(
                BuildError::new(BuildErrorKind::Usage, words).help("use `firmware = \"uefi\"`")
            );
        }
        if spec.extra_disks.len() > MOST_EXTRA_DISKS {
            let words = format!(
                "{} extra disks; a machine takes {MOST_EXTRA_DISKS}",
                spec.extra_disks.len()
            );
            return Err(BuildError::new(BuildErrorKind::Usage, words));
        }
        let qemu = self.qemu(job, arch).await?;
        if firmware == Firmware::Uefi {
            firmware::uefi(arch)?;
        }
        accel::engine(job, arch, spec, qemu).await.map(drop)
    }

    async fn signature(
        &self,
        job: &Job,
        arch: Arch,
        spec: &QemuSpec,
        firmware: Firmware,
    ) -> Result<String, BuildError> {
        let qemu = self.qemu(job, arch).await?;
        let engine = accel::engine(job, arch, spec, qemu).await?;
        let file = match firmware {
            Firmware::Bios => None,
            Firmware::Uefi => Some(firmware::stamp(&firmware::uefi(arch)?.code)?),
        };
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let host = || signature::host(&read("/proc/cpuinfo"), &read("/proc/sys/kernel/osrelease"));
        let signature = Signature {
            qemu,
            engine,
            cpu: &cpu_model(arch, engine, spec.cpu.as_deref()),
            host: (engine == Engine::Kvm).then(host),
            firmware,
            file,
            argv: &signature::argv(qemu, arch, engine, spec, firmware),
        };
        Ok(signature.line())
    }

    fn saves(&self, spec: &QemuSpec) -> Result<(), String> {
        saves(spec)
    }

    async fn boot(
        &self,
        job: &Job,
        request: MachineRequest,
    ) -> Result<Box<dyn Machine>, BuildError> {
        self.check(job, request.arch, &request.spec, request.firmware).await?;
        let qemu = self.qemu(job, request.arch).await?;
        let engine = accel::engine(job, request.arch, &request.spec, qemu).await?;
        let (making, asked) = (job.clone(), request.clone());
        let made = tokio::task::spawn_blocking(move || make_parts(&making, &asked)).await;
        let parts = made.map_err(|error| {
            BuildError::failed("making the machine's files stopped").because(error)
        })??;
        let command = Self::command(&request, &parts, engine, qemu)?;
        let saved = request.saved.as_ref().map(|saved| Incoming {
            path: &saved.state,
            memory: request.spec.memory().as_bytes(),
            version: &qemu.version,
        });
        let launched = launch(job, &parts.files, command, saved).await?;
        let port = launched.port;
        // UEFI may restart once by itself, to settle its variables, before it starts the system.
        let by_firmware =
            request.firmware == Firmware::Uefi && parts.kernel.is_none() && request.saved.is_none();
        let machine = QemuMachine {
            name: request.name,
            job: job.clone(),
            files: parts.files,
            seed: request.seed,
            disk: parts.root,
            virtual_size: parts.virtual_size,
            node: ROOT_NODE.to_owned(),
            frozen: 0,
            spec: request.spec,
            version: qemu.version.clone(),
            launched,
            allowed: Allowed {
                resets: if by_firmware { RESETS_OF_FIRMWARE } else { 0 },
                ..Allowed::default()
            },
            expected: 0,
        };
        let host_key = format!("[127.0.0.1]:{port} {}\n", machine.seed.host_key.public_openssh());
        write_private(&machine.files.path("-known_hosts"), &host_key)?;
        Ok(Box::new(machine))
    }
}

/// Makes a machine's files in the job's folder.
fn make_parts(job: &Job, request: &MachineRequest) -> Result<Parts, BuildError> {
    let files = Files::new(job, &request.name);
    let base = &request.disk;
    let format =
        DiskImage::open(&base.path).map_err(|error| disk_error(error, &base.path))?.format();
    let root = files.path(".qcow2");
    let size = request.spec.disk.map_or(0, imgbake_types::Size::as_bytes).max(base.virtual_size);
    let virtual_size = size.next_multiple_of(SECTOR);
    overlay::create_overlay(&root, &base.path, format, virtual_size, CLUSTER_BITS)
        .map_err(|e| disk_error(e, &root))?;
    let seed = make_seed(&files, &request.seed)?;
    let mut extra_disks = Vec::new();
    for (number, size) in request.spec.extra_disks.iter().enumerate() {
        let path = files.path(&format!("-extra-{}.img", number + 1));
        let made = fs::File::create(&path).and_then(|file| file.set_len(size.as_bytes()));
        made.map_err(io_at("make the file", &path))?;
        extra_disks.push(path);
    }
    let uefi = match request.firmware {
        Firmware::Bios => None,
        Firmware::Uefi => Some(own_variables(&files, firmware::uefi(request.arch)?)?),
    };
    let kernel = kernel::direct(job, request, &files.path(""));
    Ok(Parts { files, root, virtual_size, extra_disks, kernel, uefi, seed })
}

fn make_seed(files: &Files, keys: &Seed) -> Result<Utf8PathBuf, BuildError> {
    let path = files.path("-seed.img");
    seed::nocloud(&path, &keys.user_data(), &keys.meta_data(), None)
        .map_err(|error| disk_error(error, &path))?;
    write_private(&files.path("-key"), &keys.user_key.private_openssh())?;
    Ok(path)
}

/// A machine's own copy of the firmware's variables.
fn own_variables(files: &Files, uefi: UefiFiles) -> Result<UefiFiles, BuildError> {
    let vars = files.path("-vars.fd");
    fs::copy(&uefi.vars, &vars).map_err(io_at("make the file", &vars))?;
    let mut permissions = fs::metadata(&vars).map_err(io_at("read", &vars))?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    fs::set_permissions(&vars, permissions).map_err(io_at("make the file", &vars))?;
    Ok(UefiFiles { vars, ..uefi })
}

/// Writes a file that only this user can read.
fn write_private(path: &Utf8PathBuf, text: &str) -> Result<(), BuildError> {
    let file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    Ok(written.map_err(io_at("write", path))?)
}

pub(crate) fn disk_error(error: DiskError, path: &Utf8PathBuf) -> BuildError {
    match error.kind() {
        DiskErrorKind::Full => space::full(path, None).into(),
        _ => BuildError::failed(error.to_string()).because(error),
    }
}
