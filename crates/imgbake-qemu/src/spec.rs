//! `[builder.qemu]`: what a template says of a QEMU machine.

use imgbake_types::spec::{BuilderKind, Firmware};
use imgbake_types::{MachineSpec, Size, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::QemuError;

/// The kind of this builder.
pub const KIND: BuilderKind = BuilderKind::of::<QemuSpec>("qemu", "A local QEMU machine.");

/// `[builder.qemu]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
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
    /// How long a machine that resumes from a layer may take until ssh answers; then one is booted from
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
    /// The settings of a plan's or a record's machine. Keys of a later imgbake are ignored.
    ///
    /// # Errors
    /// A value that no QEMU machine has: only a record that imgbake did not write has one.
    pub fn of(machine: &MachineSpec) -> Result<Self, QemuError> {
        serde_json::to_value(machine).and_then(serde_json::from_value).map_err(QemuError::Settings)
    }

    /// The machine that these settings describe, for a plan or a request.
    pub fn machine(&self) -> MachineSpec {
        let table = serde_json::to_value(self).unwrap_or_default();
        KIND.machine(Some(&table)).unwrap_or_default()
    }

    /// Processors.
    pub fn cpus(&self) -> u32 {
        self.cpus.unwrap_or(MachineSpec::CPUS)
    }

    /// Memory.
    pub fn memory(&self) -> Size {
        self.memory.unwrap_or(MachineSpec::MEMORY)
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
