//! Records of versions that no build made.

use imgbake_types::record::{Chunker, DiskRecord, ImageConfig, PlanRecord, Proof};
use imgbake_types::spec::{Firmware, QemuSpec, VerifySpec};
use imgbake_types::{Arch, Digest};

/// What a version of an image says of itself, before a registry put its name and its disk in.
pub fn image_config(name: &str) -> ImageConfig {
    ImageConfig {
        name: name.to_owned(),
        version: "unnamed".parse().unwrap(),
        description: None,
        created: "2026-11-23T10:00:00Z".parse().unwrap(),
        arch: Arch::X86_64,
        firmware: Firmware::Bios,
        disk: DiskRecord {
            sha256: None,
            table: Digest::sha256(""),
            virtual_size: 0,
            stored_bytes: 0,
            data_bytes: 0,
            chunker: Chunker { name: String::new(), min: 0, average: 0, max: 0 },
        },
        parent: None,
        plan: PlanRecord { digest: Digest::sha256("plan") },
        proof: Proof {
            machine: QemuSpec::default(),
            verify: VerifySpec::default(),
            tests: Vec::new(),
        },
        stages: Vec::new(),
        labels: [].into(),
        imgbake: "0.1.0".to_owned(),
    }
}
