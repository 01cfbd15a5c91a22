//! Records of versions that no build made, and of moves that no command made.

use imgbake_types::record::{
    ChannelMove, ChannelState, Chunker, DiskRecord, ImageConfig, PlanRecord, Proof, VerifySettings,
    VersionRef,
};
use imgbake_types::spec::Firmware;
use imgbake_types::{Action, Arch, Digest, MachineSpec};

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
            machine: MachineSpec::default(),
            verify: VerifySettings::default(),
            tests: Vec::new(),
        },
        stages: Vec::new(),
        labels: [].into(),
        imgbake: "0.1.0".to_owned(),
        origin: None,
    }
}

/// A channel's next move, composed for a state.
pub fn channel_move(state: &ChannelState, channel: &str, to: VersionRef) -> ChannelMove {
    ChannelMove {
        channel: channel.parse().unwrap(),
        image: None,
        number: state.next_number(),
        previous: state.head.as_ref().map(|head| head.record.clone()),
        time: "2026-11-23T11:00:00Z".parse().unwrap(),
        who: "ada@host".parse().unwrap(),
        action: Action::Promote,
        from: state.target.clone(),
        to,
        source: None,
        reason: None,
        verdicts: Vec::new(),
    }
}
