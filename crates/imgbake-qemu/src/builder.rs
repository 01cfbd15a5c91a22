//! The builder: from a request to a running machine.

use std::fs;

use async_trait::async_trait;
use imgbake_build::{BuildError, Builder, Machine, MachineRequest, Purpose};
use imgbake_runtime::Job;
use imgbake_types::spec::{BuilderKind, Firmware};
use imgbake_types::{Arch, MachineSpec};
use tokio::sync::OnceCell;

use crate::argv::{Engine, MOST_EXTRA_DISKS, cpu_model};
use crate::error::QemuError;
use crate::firmware;
use crate::machine::{QemuMachine, RESETS_OF_FIRMWARE};
use crate::probe::Qemu;
use crate::saves::saves;
use crate::signature::{self, Signature};
use crate::spec::{KIND, QemuSpec};
use crate::start::Start;
use crate::state::Allowed;
use crate::{Verdict, accel, boots};

/// Makes QEMU machines.
#[derive(Debug, Default)]
pub struct QemuBuilder {
    x86_64: OnceCell<Qemu>,
    aarch64: OnceCell<Qemu>,
}

impl QemuBuilder {
    /// A builder that has not looked at this host yet.
    pub fn new() -> Self {
        Self::default()
    }

    async fn qemu(&self, job: &Job, arch: Arch) -> Result<&Qemu, QemuError> {
        let cell = match arch {
            Arch::X86_64 => &self.x86_64,
            Arch::Aarch64 => &self.aarch64,
        };
        cell.get_or_try_init(|| Qemu::probe(job, arch)).await
    }

    /// The version of the QEMU for an architecture: `10.0.2`.
    ///
    /// # Errors
    /// It is not installed, or is no QEMU.
    pub async fn version(&self, job: &Job, arch: Arch) -> Result<String, QemuError> {
        Ok(self.qemu(job, arch).await?.version.clone())
    }

    /// Whether machines of an architecture run under KVM on this host, proved by a guest once per boot
    /// of the host.
    ///
    /// # Errors
    /// QEMU is not installed, or the job was cancelled.
    pub async fn kvm(&self, job: &Job, arch: Arch) -> Result<Verdict, QemuError> {
        Ok(accel::kvm(job, arch, None, self.qemu(job, arch).await?).await?)
    }
}

#[async_trait]
impl Builder for QemuBuilder {
    fn kind(&self) -> BuilderKind {
        KIND
    }

    async fn check(
        &self,
        job: &Job,
        arch: Arch,
        machine: &MachineSpec,
        firmware: Firmware,
    ) -> Result<(), BuildError> {
        let spec = &QemuSpec::of(machine)?;
        if firmware == Firmware::Bios && arch == Arch::Aarch64 {
            return Err(QemuError::NoBios.into());
        }
        if spec.extra_disks.len() > MOST_EXTRA_DISKS {
            let count = spec.extra_disks.len();
            return Err(QemuError::TooManyDisks { count, most: MOST_EXTRA_DISKS }.into());
        }
        let qemu = self.qemu(job, arch).await?;
        if firmware == Firmware::Uefi {
            firmware::uefi(arch)?;
        }
        accel::engine(job, arch, spec, qemu).await?;
        Ok(())
    }

    async fn signature(
        &self,
        job: &Job,
        arch: Arch,
        machine: &MachineSpec,
        firmware: Firmware,
    ) -> Result<String, BuildError> {
        let spec = &QemuSpec::of(machine)?;
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

    fn saves(&self, machine: &MachineSpec) -> Result<(), String> {
        QemuSpec::of(machine).and_then(|spec| saves(&spec)).map_err(|error| error.reason())
    }

    async fn boots_at_once(
        &self,
        job: &Job,
        arch: Arch,
        machine: &MachineSpec,
    ) -> Result<usize, BuildError> {
        let spec = &QemuSpec::of(machine)?;
        let engine = accel::engine(job, arch, spec, self.qemu(job, arch).await?).await?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(boots::at_once(engine, spec.cpus(), cores))
    }

    async fn boot(
        &self,
        job: &Job,
        request: MachineRequest,
    ) -> Result<Box<dyn Machine>, BuildError> {
        self.check(job, request.arch, &request.machine, request.firmware).await?;
        let spec = QemuSpec::of(&request.machine)?;
        let qemu = self.qemu(job, request.arch).await?;
        let engine = accel::engine(job, request.arch, &spec, qemu).await?;
        let start = Start { job: job.clone(), request, spec, qemu: qemu.clone(), engine };
        Ok(Box::new(machine(start).await?))
    }
}

/// Starts a machine, by credentials where that can be.
async fn machine(start: Start) -> Result<QemuMachine, QemuError> {
    let (parts, launched) = start.launch(true).await?;
    let Start { job, request, spec, qemu, .. } = &start;
    // UEFI may restart once by itself, to settle its variables, before it starts the system.
    let by_firmware =
        request.firmware == Firmware::Uefi && parts.kernel.is_none() && request.saved.is_none();
    let boots_by_credentials =
        request.saved.is_none() && parts.login.is_some() && request.purpose == Purpose::Build;
    let machine = QemuMachine {
        name: request.name.clone(),
        job: job.clone(),
        files: parts.files,
        seed: request.seed.clone(),
        disks: std::iter::once(parts.root).chain(parts.extra_disks).collect(),
        spec: spec.clone(),
        version: qemu.version.clone(),
        launched,
        allowed: Allowed {
            resets: if by_firmware { RESETS_OF_FIRMWARE } else { 0 },
            ..Allowed::default()
        },
        expected: 0,
        grows: parts.login.is_some_and(|login| login.grows) && boots_by_credentials,
        by_port: None,
        fallback: boots_by_credentials.then(|| Box::new(start)),
    };
    machine.write_known_hosts()?;
    Ok(machine)
}
