//! `cargo xtask bench verify`: a verify of the shipped Debian against the boots that it is made of.
//!
//! The peer is plain QEMU, one machine after the other: one from BIOS to the point where ssh answers and
//! runs a command, the same machine restarted to the same point, and one from UEFI to the same point.
//! Disk, seed, firmware, memory, processors and engine are those of imgbake's clones.

mod plain;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use camino::Utf8PathBuf;
use imgbake_types::event::{Event, EventKind};
use imgbake_types::record::TestOutcome;
use serde_json::Value;

use super::docs::Section;
use super::imgbake::Imgbake;
use super::options::Options;
use super::report::{Report, median};
use super::{commands, docs, files, ground};
use crate::{Result, repository};
use plain::{Boots, Plain};

/// The shipped template and its image.
const TEMPLATE: &str = "templates/debian-12.toml";
const IMAGE: &str = "debian-12";

const ABOUT: &str = "`imgbake test` of the shipped Debian 12 (two clones, one from BIOS and one from UEFI, \
    their checks and the template's tests, their identities compared, the first one restarted), as a whole \
    process, which restores the disk from the registry, against the same boots by plain QEMU, one after the \
    other: a machine from BIOS until ssh answers and runs a command, the same machine restarted until ssh \
    answers and runs a command, and a machine from UEFI until ssh answers and runs a command. The plain \
    machines have the same disk (restored once before), a NoCloud seed of the same text, the same memory and \
    processors, and KVM where imgbake uses it. They wait for nothing but ssh: not for cloud-init's end, which \
    verify waits for. `boot_N_seconds` is what a clone's boot takes until ssh answers, `settle_N_seconds` from \
    there to the end of its first boot, `restart_seconds` from the order to restart to the second answer.";

/// One verify.
struct Run {
    wall: f64,
    tests: Vec<TestOutcome>,
}

pub(super) fn run(options: &Options) -> Result<()> {
    let dir = ground::folder(options)?.join("verify");
    fs::create_dir_all(&dir)?;
    let imgbake = Imgbake { binary: ground::binary(options)?, home: dir.join("home") };
    let version = version(&imgbake)?;
    let plain = Plain {
        disk: disk(&imgbake, &dir, &version)?,
        dir: Utf8PathBuf::from_path_buf(dir.clone()).map_err(|_| "a path that is not UTF-8")?,
        kvm: kvm(&imgbake)?,
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=options.runs() {
        let boots = plain.boots()?;
        let run = verify(&imgbake, &dir, &version)?;
        options.say(&format!(
            "round {round}: plain boots {:.1} s (BIOS {:.1}, restart {:.1}, UEFI {:.1}), verify {:.1} s",
            boots.total(),
            boots.bios,
            boots.restart,
            boots.uefi,
            run.wall
        ));
        theirs.push(boots);
        ours.push(run);
    }
    let report = report(&ours, &theirs);
    let section = Section {
        heading: "Verifying an image, against the boots that it is made of",
        about: ABOUT,
        how_often: &format!("Medians of {} alternating runs", options.runs()),
        with: &[],
        tables: &report.table(),
    };
    docs::publish(options, &imgbake.binary, &report, &section)
}

/// The image's newest version, which is built where there is none.
fn version(imgbake: &Imgbake) -> Result<String> {
    let digest = || -> Result<Option<String>> {
        let images = commands::output(imgbake.command().args(["images", "--json"]))?;
        let images: Value = serde_json::from_str(&images)?;
        let mut images = images.as_array().into_iter().flatten().rev();
        let newest = images.find(|one| one["name"] == IMAGE);
        Ok(newest.and_then(|one| one["digest"].as_str()).map(|digest| format!("{IMAGE}@{digest}")))
    };
    if let Some(found) = digest()? {
        return Ok(found);
    }
    let template = repository::root().join(TEMPLATE);
    commands::output(imgbake.command().arg("build").arg(template))?;
    Ok(digest()?.ok_or("the build left no version")?)
}

/// Its disk as a raw file, in the page cache.
fn disk(imgbake: &Imgbake, dir: &Path, version: &str) -> Result<Utf8PathBuf> {
    let path: PathBuf = dir.join("plain.raw");
    files::remove_file(&path)?;
    commands::output(imgbake.command().args(["pull", version, "--output"]).arg(&path))?;
    std::io::copy(&mut fs::File::open(&path)?, &mut std::io::sink())?;
    Ok(Utf8PathBuf::from_path_buf(path).map_err(|_| "a path that is not UTF-8")?)
}

/// Whether imgbake's machines run under KVM here.
fn kvm(imgbake: &Imgbake) -> Result<bool> {
    // It exits with 4 where a program is missing, and prints all the same.
    let output = imgbake.command().args(["doctor", "--json"]).output()?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let findings = report["findings"].as_array().ok_or("doctor printed no findings")?;
    Ok(findings.iter().any(|one| one["name"] == "KVM" && one["ok"] == true))
}

fn verify(imgbake: &Imgbake, dir: &Path, version: &str) -> Result<Run> {
    let events = dir.join("events.jsonl");
    files::remove_file(&events)?;
    let mut command: Command = imgbake.command();
    command.args(["test", version, "--events"]).arg(&events);
    let started = Instant::now();
    commands::output(&mut command)?;
    let wall = started.elapsed().as_secs_f64();
    Ok(Run { wall, tests: tests(&fs::read_to_string(&events)?)? })
}

/// The results in a verify's events.
fn tests(events: &str) -> Result<Vec<TestOutcome>> {
    let mut tests = Vec::new();
    for line in events.lines() {
        if let EventKind::TestFinished { result } = serde_json::from_str::<Event>(line)?.kind {
            tests.push(result);
        }
    }
    Ok(tests)
}

fn report(ours: &[Run], theirs: &[Boots]) -> Report {
    let mut report = Report::new("verify");
    let boots = report.figure("plain_seconds", median(theirs.iter().map(Boots::total)));
    report.figure("plain_bios_seconds", median(theirs.iter().map(|boots| boots.bios)));
    report.figure("plain_restart_seconds", median(theirs.iter().map(|boots| boots.restart)));
    report.figure("plain_uefi_seconds", median(theirs.iter().map(|boots| boots.uefi)));
    let verify = report.figure("verify_seconds", median(ours.iter().map(|run| run.wall)));
    let of = |machine: &str, name: &str| {
        let named = |test: &&TestOutcome| test.machine == machine && test.name == name;
        let seconds = ours.iter().filter_map(|run| run.tests.iter().find(named));
        median(seconds.map(|test| test.seconds))
    };
    for number in [1, 2] {
        let machine = format!("verify-{number}");
        report.figure(format!("boot_{number}_seconds"), of(&machine, "boots"));
        report.figure(format!("settle_{number}_seconds"), of(&machine, "first boot finishes"));
    }
    report.figure("restart_seconds", of("verify-1", "a restart is no second first boot"));
    report.ratio("verify_vs_boots", verify / boots);
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_from_the_events_of_each_clone() {
        let line = |machine: &str, name: &str, seconds: f64| {
            format!(
                "{{\"time\":\"2026-01-01T00:00:00Z\",\"job\":\"a\",\"type\":\"test_finished\",\"result\":\
                 {{\"name\":\"{name}\",\"machine\":\"{machine}\",\"passed\":true,\"seconds\":{seconds},\"detail\":\"\"}}}}\n"
            )
        };
        let text = line("verify-1", "boots", 30.0)
            + &line("verify-2", "boots", 40.0)
            + &line("verify-1", "a restart is no second first boot", 20.0);
        let ours = [Run { wall: 99.0, tests: super::tests(&text).unwrap() }];
        let report = report(&ours, &[Boots { bios: 30.0, restart: 20.0, uefi: 40.0 }]);
        for (name, seconds) in [
            ("boot_1_seconds", 30.0),
            ("boot_2_seconds", 40.0),
            ("restart_seconds", 20.0),
            ("plain_seconds", 90.0),
        ] {
            assert!((report.value(name) - seconds).abs() < 1e-9, "{name}");
        }
        assert!((report.ratios["verify_vs_boots"] - 1.1).abs() < 1e-9);
    }
}
