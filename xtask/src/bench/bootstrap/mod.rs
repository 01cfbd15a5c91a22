//! `cargo xtask bench bootstrap`: a base disk from a distribution's packages, against the floor and
//! against other builders.
//!
//! The floor is what nobody who wants the same can leave out: mmdebstrap, `mke2fs -d` and `zstd`, one
//! after the other. All install the same packages of the same suite from the same mirror, and end with a
//! disk of the same size, stored compressed.

pub(crate) mod disk;
mod peers;

use std::fs;
use std::path::Path;

use camino::Utf8PathBuf;

use super::docs::Section;
use super::options::Options;
use super::registry::worker::Store;
use super::report::{Report, median};
use super::{commands, docs, files, ground};
use crate::Result;
use disk::Work;
use peers::{Peer, Peers};

const ABOUT: &str = "Debian 12 with a kernel, systemd, cloud-init and sshd (the packages of imgbake's bootstrap) on a \
    disk of 3 GiB. Floor: mmdebstrap into a tmpfs with dpkg's `force-unsafe-io`, `mke2fs -d`, `zstd -3 -T2`, one \
    after the other; what it makes has no boot loader, and its bytes differ from run to run. imgbake: a disk that \
    boots under BIOS and UEFI, the same bytes for the same packages, published with its digests in an empty \
    registry. mkosi (with `--nspawn-keep-unit`: no systemd need run on the host) and vmdb2 (on a loop device, for \
    kpartx wants a device mapper) each make a disk with one ext4 partition and no boot loader, then `zstd -3 -T2`. \
    All fetch the packages from the same mirror in each run.";

/// Seconds of one round.
struct Round {
    bootstrap: f64,
    publish: f64,
    floor: f64,
    peers: Vec<(Peer, f64)>,
}

pub(super) fn run(options: &Options) -> Result<()> {
    let dir = ground::folder(options)?.join("bootstrap");
    files::remove(&dir)?;
    fs::create_dir_all(&dir)?;
    let dir = Utf8PathBuf::from_path_buf(dir).map_err(|_| "a path that is not UTF-8")?;
    let work = Work::new(&dir)?;
    let mut peers = Peers::new(&work);
    let mut rounds = Vec::new();
    for number in 1..=options.runs() {
        let floor = peers::floor(&work)?;
        let (bootstrap, publish) = imgbake(&work)?;
        let others = peers.run(options);
        options.say(&format!(
            "round {number}: floor {floor:.1} s, imgbake {bootstrap:.1} s and {publish:.1} s to publish"
        ));
        for (peer, seconds) in &others {
            options.say(&format!("round {number}: {} {seconds:.1} s", peer.name()));
        }
        rounds.push(Round { bootstrap, publish, floor, peers: others });
    }
    let report = report(&rounds);
    let mut tables = report.table();
    for (peer, why) in peers.skipped() {
        tables = format!("{tables}\n{} is left out: {why}\n", peer.name());
    }
    let with = [
        commands::version(Path::new("mmdebstrap"), "--version")?,
        "the suite's mkosi and vmdb2".to_owned(),
    ];
    let section = Section {
        heading: "A base disk from packages, against mmdebstrap, mkosi and vmdb2",
        about: ABOUT,
        how_often: &format!("Medians of {} alternating runs", options.runs()),
        with: &with,
        tables: &tables,
    };
    docs::publish(options, &ground::binary(options)?, &report, &section)
}

/// Seconds of the bootstrap and of publishing what it made.
fn imgbake(work: &Work) -> Result<(f64, f64)> {
    let (seconds, path) = work.bootstrap()?;
    let store = Store::fresh(work.dir.join("home").as_std_path())?;
    let stored = store.publish("base", path.as_std_path(), None)?;
    files::remove_file(path.as_std_path())?;
    Ok((seconds, stored.seconds))
}

fn report(rounds: &[Round]) -> Report {
    let mut report = Report::new("bootstrap");
    let floor = report.figure("floor_seconds", median(rounds.iter().map(|round| round.floor)));
    report.figure("bootstrap_seconds", median(rounds.iter().map(|round| round.bootstrap)));
    report.figure("publish_seconds", median(rounds.iter().map(|round| round.publish)));
    let whole = median(rounds.iter().map(|round| round.bootstrap + round.publish));
    let imgbake = report.figure("imgbake_seconds", whole);
    report.ratio("bootstrap_vs_floor", imgbake / floor);
    for peer in Peer::ALL {
        let of = |round: &Round| {
            round.peers.iter().find(|(one, _)| *one == peer).map(|(_, seconds)| *seconds)
        };
        let seconds: Vec<f64> = rounds.iter().filter_map(of).collect();
        if !seconds.is_empty() {
            let theirs = report.figure(format!("{}_seconds", peer.name()), median(seconds));
            report.ratio(format!("bootstrap_vs_{}", peer.name()), imgbake / theirs);
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_was_left_out_has_no_figure() {
        let rounds =
            [Round { bootstrap: 8.0, publish: 2.0, floor: 10.0, peers: vec![(Peer::Mkosi, 20.0)] }];
        let report = report(&rounds);
        assert!((report.ratios["bootstrap_vs_floor"] - 1.0).abs() < 1e-9);
        assert!((report.ratios["bootstrap_vs_mkosi"] - 0.5).abs() < 1e-9);
        assert!(!report.ratios.contains_key("bootstrap_vs_vmdb2"));
    }
}
