//! What runs a machine's instructions: KVM where a guest was seen to run under it, else TCG.
//!
//! An openable `/dev/kvm` proves nothing. The proof is a guest of our own (`accel/stub.s`, and a few
//! instructions for aarch64) that must get through 64-bit kernel mode, with a quarter of a billion
//! steps there, within a few seconds. Its result is valid until the host boots again,
//! for one QEMU and one processor model, and is kept in `IMGBAKE_HOME/cache/kvm.json`.

use std::fs;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Command, Job, RuntimeError};
use imgbake_types::Arch;
use serde::{Deserialize, Serialize};

use crate::argv::{Engine, accel_option, cpu_model, virt_machine};
use crate::error::QemuError;
use crate::probe::{Qemu, tool};
use crate::spec::{Accel, QemuSpec};

/// The proof's guest for x86_64: one boot sector, assembled from `accel/stub.s`.
const STUB_X86_64: &[u8] = include_bytes!("accel/stub.bin");

/// How QEMU ends when that got through: isa-debug-exit gives `(value << 1) | 1`.
const PROVED_X86_64: i32 = (0x2a << 1) | 1;

/// SeaBIOS reads no smaller disk.
const STUB_DISK: u64 = 1 << 20;

/// The proof's guest for aarch64, run at EL1: it counts down and powers off, which ends QEMU with 0.
/// Sources: Arm ARM, section C6.2; PSCI (DEN0022), function `SYSTEM_OFF`.
const STUB_AARCH64: [u32; 7] = [
    0xd2a2_0001, // movz x1, #0x1000, lsl #16
    0xf100_0421, // subs x1, x1, #1
    0x54ff_ffe1, // b.ne the line before
    0x52b0_8000, // movz w0, #0x8400, lsl #16
    0x7280_0100, // movk w0, #8
    0xd400_0002, // hvc #0
    0x1400_0000, // b to itself
];

/// How long the stub may take. Firmware and stub need well under a second where KVM is real.
const LIMIT: Duration = Duration::from_secs(5);

/// Whether machines can run under KVM here, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether they can.
    pub works: bool,
    /// What was seen.
    pub reason: String,
}

impl Verdict {
    fn no(reason: impl Into<String>) -> Self {
        Self { works: false, reason: reason.into() }
    }
}

/// What a template's `accel` means on this host; `auto` proves KVM first.
pub(crate) async fn engine(
    job: &Job,
    arch: Arch,
    spec: &QemuSpec,
    qemu: &Qemu,
) -> Result<Engine, QemuError> {
    if spec.accel == Accel::Tcg {
        return Ok(Engine::Tcg);
    }
    let verdict = kvm(job, arch, spec.cpu.as_deref(), qemu).await?;
    match (verdict.works, spec.accel) {
        (true, _) => Ok(Engine::Kvm),
        (false, Accel::Kvm) => Err(QemuError::NoKvm(verdict.reason)),
        (false, _) => {
            tracing::debug!(reason = verdict.reason, "KVM is not used");
            Ok(Engine::Tcg)
        }
    }
}

/// Whether machines of an architecture can run under KVM here: looked up, or else proved.
pub(crate) async fn kvm(
    job: &Job,
    arch: Arch,
    cpu: Option<&str>,
    qemu: &Qemu,
) -> Result<Verdict, RuntimeError> {
    if arch != Arch::host() {
        return Ok(Verdict::no(format!("this machine is {}, not {arch}", Arch::host())));
    }
    if let Err(reason) = device(Utf8Path::new("/dev/kvm")) {
        return Ok(Verdict::no(reason));
    }
    let proof = Proof { qemu: qemu.version.clone(), cpu: cpu_model(arch, Engine::Kvm, cpu) };
    let mut cache = ProofCache::load(job);
    if let Some(verdict) = cache.find(&proof) {
        return Ok(verdict.clone());
    }
    let verdict = prove(job, arch, Engine::Kvm, &proof.cpu).await?;
    cache.proofs.push((proof, verdict.clone()));
    cache.save(job);
    Ok(verdict)
}

/// Whether the device can be opened at all: cheap, and with a better reason than QEMU's.
fn device(path: &Utf8Path) -> Result<(), String> {
    match fs::OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(format!("there is no {path}"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(format!("{path} is not open to this user: add the user to the group `kvm`"))
        }
        Err(error) => Err(format!("{path}: {error}")),
    }
}

/// Runs the stub.
async fn prove(job: &Job, arch: Arch, engine: Engine, cpu: &str) -> Result<Verdict, RuntimeError> {
    let (command, proved) = match arch {
        Arch::X86_64 => (stub_x86_64(job)?, PROVED_X86_64),
        Arch::Aarch64 => (stub_aarch64(job, engine)?, 0),
    };
    let command = command.args(["-accel", accel_option(engine), "-cpu", cpu]);
    let ended = job.cancel().run(tokio::time::timeout(LIMIT, command.output(job))).await?;
    Ok(match ended {
        // The command is dropped, and with it the process.
        Err(_) => Verdict::no(format!(
            "a test guest did not get through 64-bit kernel mode within {} s (processor model {cpu})",
            LIMIT.as_secs()
        )),
        Ok(output) => {
            let output = output?;
            if output.status.code() == Some(proved) {
                Verdict { works: true, reason: format!("a test guest ran (processor model {cpu})") }
            } else {
                let first =
                    output.stderr.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
                Verdict::no(
                    format!("a test guest ended QEMU ({}) {first}", output.status).trim_end(),
                )
            }
        }
    })
}

/// The program with the smallest machine of an architecture.
fn smallest(arch: Arch, machine: &str) -> Result<Command, RuntimeError> {
    let command =
        tool(arch).command()?.args(["-nodefaults", "-no-user-config", "-display", "none"]);
    Ok(command.args(["-machine", machine, "-m", "64"]))
}

fn stub_x86_64(job: &Job) -> Result<Command, RuntimeError> {
    let path = job.work().join("kvm-proof.img");
    fs::write(&path, STUB_X86_64).map_err(io_at("write", &path))?;
    let file = fs::OpenOptions::new().write(true).open(&path).map_err(io_at("open", &path))?;
    file.set_len(STUB_DISK).map_err(io_at("write", &path))?;
    let disk = serde_json::json!({"driver": "raw", "node-name": "stub", "read-only": true,
        "file": {"driver": "file", "filename": path, "read-only": true}});
    Ok(smallest(Arch::X86_64, "q35")?
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1"])
        .args(["-blockdev", &disk.to_string(), "-device", "virtio-blk-pci,drive=stub,bootindex=1"]))
}

fn stub_aarch64(job: &Job, engine: Engine) -> Result<Command, RuntimeError> {
    let path = job.work().join("kvm-proof.bin");
    let code: Vec<u8> = STUB_AARCH64.iter().flat_map(|word| word.to_le_bytes()).collect();
    fs::write(&path, code).map_err(io_at("write", &path))?;
    Ok(smallest(Arch::Aarch64, virt_machine(engine))?.args(["-kernel", path.as_str()]))
}

/// What a proof is valid for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Proof {
    qemu: String,
    cpu: String,
}

/// The proofs since this host booted.
#[derive(Debug, Default, Serialize, Deserialize)]
struct ProofCache {
    boot_id: String,
    proofs: Vec<(Proof, Verdict)>,
}

impl ProofCache {
    fn path(job: &Job) -> Utf8PathBuf {
        job.home().cache().join("kvm.json")
    }

    /// The proofs since the host booted; a file that cannot be read is as good as none.
    fn load(job: &Job) -> Self {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot_id = boot_id.trim().to_owned();
        let kept = fs::read(Self::path(job))
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        match kept {
            Some(cache) if cache.boot_id == boot_id => cache,
            _ => Self { boot_id, proofs: Vec::new() },
        }
    }

    fn find(&self, proof: &Proof) -> Option<&Verdict> {
        self.proofs.iter().find(|(kept, _)| kept == proof).map(|(_, verdict)| verdict)
    }

    /// Writes it, as a whole or not at all. One that cannot be written costs the next build a proof.
    fn save(&self, job: &Job) {
        let new = job.work().join("kvm.json");
        let written = serde_json::to_vec(self).map(|bytes| fs::write(&new, bytes));
        if matches!(written, Ok(Ok(()))) && fs::rename(&new, Self::path(job)).is_err() {
            tracing::debug!("the proof of KVM could not be cached");
        }
    }
}

#[cfg(test)]
mod tests;
