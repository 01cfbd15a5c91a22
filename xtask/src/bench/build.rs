//! `cargo xtask bench build`: a cold build of three shell steps, imgbake against Packer's QEMU builder.
//!
//! Both start from the same qcow2 base disk (made by imgbake's bootstrap), under the same emulation
//! (TCG), with the same memory and processors, and run the same three steps. Packer does neither seal
//! nor verify an image; imgbake's run here seals, searches for residues, digests and publishes, and
//! leaves verify out. It reads and saves no layers.

use std::fs;
use std::path::PathBuf;

use imgbake_types::event::Stage;
use serde_json::Value;

use super::docs::Section;
use super::ground::Ground;
use super::imgbake::Run;
use super::options::Options;
use super::packer::Packer;
use super::report::{Report, median};
use super::{docs, packer};
use crate::Result;

const STEPS: [&str; 3] = [
    "echo step1 | sudo tee /etc/step1",
    "sudo sh -c 'for i in 1 2 3 4 5; do head -c 20000000 /dev/urandom > /var/tmp/blob$i; done'; sync",
    "echo step3 | sudo tee /etc/step3",
];

const ABOUT: &str = "Both start from the same Debian 12 base disk (qcow2, 2 GiB), under the same emulation \
    (TCG), with 1 GiB and 2 processors, and run the same three shell steps. Packer neither seals nor verifies; \
    imgbake's run seals, checks for residues, digests, compresses and publishes, and leaves verify out; it \
    reads and saves no layers. Overhead is wall time less what runs in the guest: its boot, the steps, and \
    seal, which ends with its shutdown. imgbake starts the building machine's kernel directly, Packer through \
    SeaBIOS and GRUB.";

pub(super) fn run(options: &Options) -> Result<()> {
    let ground = Ground::new(options)?;
    let steps: Vec<Value> =
        STEPS.iter().map(|step| serde_json::json!({"type": "shell", "inline": [step]})).collect();
    let packer = Packer::new(&ground, "build", &steps)?;
    let imgbake = ground.imgbake("home", false)?;
    let template = template(&ground)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=options.runs() {
        let peer = packer.build()?;
        let run = imgbake.build(&template, "cold", &["--no-cache"])?;
        options.say(&format!("run {round}: packer {peer:.1} s, imgbake {:.1} s", run.wall));
        theirs.push(peer);
        ours.push(run);
    }
    let report = report(&ours, &theirs);
    let section = Section {
        heading: "A cold build of three shell steps, against Packer",
        about: ABOUT,
        how_often: &format!("Medians of {} alternating runs", options.runs()),
        with: &[packer::version()?],
        tables: &report.table(),
    };
    docs::publish(options, &ground.binary, &report, &section)
}

fn report(ours: &[Run], theirs: &[f64]) -> Report {
    let of = |pick: fn(&Run) -> f64| median(ours.iter().map(pick));
    let mut report = Report::new("build");
    let packer = report.figure("packer_seconds", median(theirs.iter().copied()));
    let imgbake = report.figure("imgbake_seconds", of(|run| run.wall));
    report.figure("boot_seconds", of(|run| run.reported.of(Stage::Boot)));
    report.figure("steps_seconds", of(|run| run.reported.of(Stage::Provision)));
    report.figure("seal_seconds", of(|run| run.reported.of(Stage::Seal)));
    report.figure("capture_seconds", of(|run| run.reported.of(Stage::Capture)));
    report.figure("publish_seconds", of(|run| run.reported.of(Stage::Publish)));
    report.figure("overhead_seconds", of(overhead));
    report.ratio("cold_vs_packer", imgbake / packer);
    report
}

/// What is imgbake's own: all but the guest's boot, the steps, and its sealing and shutdown.
fn overhead(run: &Run) -> f64 {
    let guest: f64 =
        [Stage::Boot, Stage::Provision, Stage::Seal].map(|s| run.reported.of(s)).iter().sum();
    run.wall - guest
}

fn template(ground: &Ground) -> Result<PathBuf> {
    let steps = STEPS
        .iter()
        .map(|step| format!("[[provision]]\ntype = \"shell\"\ninline = ['''{step}''']\n"));
    let path = ground.dir.join("bench.toml");
    let text = ground.template_head("bench", "1GiB") + &steps.collect::<String>();
    fs::write(&path, text)?;
    Ok(path)
}
