//! `[builder.*]` and `[ssh]`: the machine and the way into it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Size, Span};

/// `[builder]`: which builder makes the machine. Default: `qemu` with its defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BuilderSpec {
    /// A local QEMU machine.
    #[serde(default)]
    pub qemu: QemuSpec,
}

/// `[builder.qemu]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QemuSpec {
    /// Processors. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 288))]
    pub cpus: Option<u32>,
    /// Memory. Default: `1GiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// The root disk's size; never smaller than the source's. Default: the source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Size>,
    /// Empty disks beside the root disk while building; they are not captured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_disks: Vec<Size>,
    /// How the processor is emulated. Default: `auto`.
    #[serde(default)]
    pub accel: Accel,
    /// The processor model. Default: `host` under KVM, `max` under TCG.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// The firmware. Default: `bios` on x86_64, `uefi` on aarch64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<Firmware>,
    /// How the building machine starts; a verified clone always starts from its firmware. Default:
    /// `auto`.
    #[serde(default)]
    pub boot: Boot,
    /// How long a machine may take until ssh answers. Default: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_timeout: Option<Span>,
    /// How long a machine that goes on from a layer may take until ssh answers; then one is booted from
    /// the layer's disk. Default: `1m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_timeout: Option<Span>,
    /// How long a machine may take to power off. Default: `3m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shutdown_timeout: Option<Span>,
    /// Arguments appended to QEMU's own, as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
}

impl QemuSpec {
    /// Processors.
    pub fn cpus(&self) -> u32 {
        self.cpus.unwrap_or(2)
    }
    /// Memory.
    pub fn memory(&self) -> Size {
        self.memory.unwrap_or(Size::mib(1024))
    }
    /// The firmware for an architecture.
    pub fn firmware(&self, arch: crate::Arch) -> Firmware {
        self.firmware.unwrap_or(match arch {
            crate::Arch::X86_64 => Firmware::Bios,
            crate::Arch::Aarch64 => Firmware::Uefi,
        })
    }
    /// How long a machine may take until ssh answers.
    pub fn boot_timeout(&self) -> Span {
        self.boot_timeout.unwrap_or(Span::secs(600))
    }
    /// How long a machine that goes on from a layer may take until ssh answers.
    pub fn restore_timeout(&self) -> Span {
        self.restore_timeout.unwrap_or(Span::secs(60))
    }
    /// How long a machine may take to power off.
    pub fn shutdown_timeout(&self) -> Span {
        self.shutdown_timeout.unwrap_or(Span::secs(180))
    }
}

/// How a machine's processor is emulated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// KVM where a guest was seen to run under it, else TCG.
    #[default]
    Auto,
    /// The host's virtualization; an error where no guest runs under it.
    Kvm,
    /// QEMU's own emulation.
    Tcg,
}

/// What starts first in a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// SeaBIOS.
    Bios,
    /// OVMF (x86_64) or AAVMF (aarch64).
    Uefi,
}

/// How the building machine starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Boot {
    /// The disk's own kernel, loaded by QEMU, where one is found on the disk; else the firmware.
    #[default]
    Auto,
    /// Firmware and boot loader, as a clone will.
    Firmware,
}

/// `[ssh]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SshSpec {
    /// Who logs in. Any name but `root` is made by the seed, with `sudo`, and taken out by seal.
    /// Default: `root`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-z_][a-z0-9_-]{0,31}$"))]
    pub user: Option<String>,
}

impl SshSpec {
    /// Who logs in.
    pub fn user(&self) -> &str {
        self.user.as_deref().unwrap_or("root")
    }
}
