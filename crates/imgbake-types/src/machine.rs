//! What every builder's machine has, and a builder's own settings beside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::firmware::Firmware;
use crate::{Arch, Size, Span};

/// The builder of a template without a `[builder]` table, and of records that name none.
pub const DEFAULT_BUILDER: &str = "qemu";

/// A machine as a builder shall make it. Its JSON is the template's `[builder.KIND]` table with the
/// builder's kind in `builder`; where that is missing, the builder is [`DEFAULT_BUILDER`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// Which builder makes it.
    #[serde(default = "default_builder", skip_serializing_if = "is_default_builder")]
    pub builder: String,
    /// Processors. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Memory. Default: `1GiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// The root disk's size; never smaller than the source's. Default: the source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Size>,
    /// Empty disks beside the root disk while building.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_disks: Vec<Size>,
    /// The firmware, where the builder lets one choose. Default: that of the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<Firmware>,
    /// How long a machine may take until ssh answers. Default: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_timeout: Option<Span>,
    /// How long a machine that is resumed from a layer may take until ssh answers. Default: `1m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_timeout: Option<Span>,
    /// How long a machine may take to power off. Default: `3m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shutdown_timeout: Option<Span>,
    /// The builder's own settings, by the names of its template table. Only the builder reads them.
    #[serde(flatten)]
    pub settings: BTreeMap<String, Value>,
}

impl Default for MachineSpec {
    fn default() -> Self {
        Self::new(DEFAULT_BUILDER)
    }
}

impl MachineSpec {
    /// Processors, where nothing is said.
    pub const CPUS: u32 = 2;
    /// Memory, where nothing is said.
    pub const MEMORY: Size = Size::mib(1024);

    /// A builder's machine without any setting.
    pub fn new(builder: &str) -> Self {
        Self {
            builder: builder.to_owned(),
            cpus: None,
            memory: None,
            disk: None,
            extra_disks: Vec::new(),
            firmware: None,
            boot_timeout: None,
            restore_timeout: None,
            shutdown_timeout: None,
            settings: BTreeMap::new(),
        }
    }

    /// Processors.
    pub fn cpus(&self) -> u32 {
        self.cpus.unwrap_or(Self::CPUS)
    }

    /// Memory.
    pub fn memory(&self) -> Size {
        self.memory.unwrap_or(Self::MEMORY)
    }

    /// The firmware for an architecture.
    pub fn firmware(&self, arch: Arch) -> Firmware {
        self.firmware.unwrap_or(match arch {
            Arch::X86_64 => Firmware::Bios,
            Arch::Aarch64 => Firmware::Uefi,
        })
    }

    /// How long a machine may take until ssh answers.
    pub fn boot_timeout(&self) -> Span {
        self.boot_timeout.unwrap_or(Span::secs(600))
    }

    /// How long a machine that is resumed from a layer may take until ssh answers.
    pub fn restore_timeout(&self) -> Span {
        self.restore_timeout.unwrap_or(Span::secs(60))
    }

    /// How long a machine may take to power off.
    pub fn shutdown_timeout(&self) -> Span {
        self.shutdown_timeout.unwrap_or(Span::secs(180))
    }
}

fn default_builder() -> String {
    DEFAULT_BUILDER.to_owned()
}

fn is_default_builder(builder: &str) -> bool {
    builder == DEFAULT_BUILDER
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_machine_that_names_no_builder_is_qemus() {
        let stored = json!({
            "cpus": 2, "memory": "1GiB", "accel": "tcg", "boot": "auto", "boot_timeout": "10m",
            "args": ["-snapshot"], "of a later imgbake": {"x": 1},
        });
        let machine: MachineSpec = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!((machine.builder.as_str(), machine.cpus()), ("qemu", 2));
        assert_eq!(machine.settings["accel"], "tcg");
        assert_eq!(serde_json::to_value(&machine).unwrap(), stored, "nothing is lost or added");
    }

    #[test]
    fn another_builder_is_named() {
        let machine = MachineSpec::new("fake");
        let json = serde_json::to_value(&machine).unwrap();
        assert_eq!(json, json!({"builder": "fake"}));
        assert_eq!(serde_json::from_value::<MachineSpec>(json).unwrap(), machine);
    }
}
