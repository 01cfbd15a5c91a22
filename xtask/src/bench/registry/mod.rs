//! `cargo xtask bench registry`: what storing and fetching images costs, against the usual tools.

pub(crate) mod curve;
mod disks;
mod fill;
mod peers;
pub(crate) mod worker;

use std::path::Path;

use super::docs::Section;
use super::ground::Ground;
use super::imgbake::Imgbake;
use super::options::Options;
use super::report::{Report, median, mib};
use super::{commands, docs, files};
use crate::Result;
use disks::Disks;
use peers::Peers;
use worker::{Store, Stored};

const ABOUT: &str = "Debian 12 on a disk of 3 GiB. `rebuild` is bootstrapped anew, with the suite's updates, \
    which the first is without; `child` is built on the first by a step that installs two packages; `patch` is \
    the first on a disk of 4 GiB with 16 MiB overwritten in an overlay, in 16 places. First publish: chunks, \
    digests (the whole disk's sha256 too), compression and a durable registry, in an empty one. Peers on the \
    same raw file: `zstd -3 -T2`, `qemu-img convert -c` (zlib and zstd), `casync make`, and `skopeo copy` of \
    one zstd layer to a registry on this host. Bytes of `skopeo` are those of its layer: it sends all of it \
    again whatever changed. Pull: the first version into a raw file, from the local registry, and (`remote`) \
    from a registry server on this host into a home that has nothing, against `zstd -d`; delta pull: the rebuild \
    from that server, with the first version's packs at hand, and what of the rebuild's packs it needs.";

/// One round.
struct Round {
    first: Stored,
    again: Stored,
    rebuild: Stored,
    child: Stored,
    big: Stored,
    patch: Stored,
    pull: f64,
    remote: Remote,
    peers: Peers,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let ground = Ground::new(options)?;
    let disks = Disks::make(&ground)?;
    let mut rounds = Vec::new();
    for number in 1..=options.runs() {
        let round = round(&ground, &disks)?;
        options.say(&format!(
            "run {number}: first publish {:.2} s, zstd -3 -T2 {:.2} s, pull {:.2} s, zstd -d {:.2} s",
            round.first.seconds, round.peers.zstd.seconds, round.pull, round.peers.zstd_d
        ));
        rounds.push(round);
    }
    let report = report(&rounds, &disks);
    let section = Section {
        heading: "Storing and fetching images",
        about: ABOUT,
        how_often: &format!("Medians of {} runs", options.runs()),
        with: &[],
        tables: &report.table(),
    };
    docs::publish(options, &ground.binary, &report, &section)
}

fn round(ground: &Ground, disks: &Disks) -> Result<Round> {
    let peers = Peers::run(ground, disks)?;
    let store = Store::fresh(&ground.dir.join("registry/store"))?;
    // Versions 1 to 3.
    let first = store.publish("debian", &disks.first, None)?;
    let again = store.publish("debian", &disks.first, None)?;
    let rebuild = store.publish("debian", &disks.rebuild, None)?;
    let pull = pull(ground, &store, "debian:1")?;
    let remote = remote(ground, &store)?;
    let store = Store::fresh(&ground.dir.join("registry/child"))?;
    store.publish("debian", &disks.first, None)?;
    let child = store.publish("debian-child", &disks.child, Some(("debian:1", None)))?;
    let store = Store::fresh(&ground.dir.join("registry/patch"))?;
    let big = store.publish("big", &disks.big, None)?;
    let patch = store.publish("big-patch", &disks.patch, Some(("big:1", Some(&disks.big))))?;
    Ok(Round { first, again, rebuild, child, big, patch, pull, remote, peers })
}

/// Seconds of `imgbake pull` into a raw file.
fn pull(ground: &Ground, store: &Store, reference: &str) -> Result<f64> {
    let output = ground.dir.join("registry/pulled.raw");
    remove_file(&output)?;
    let imgbake = Imgbake { binary: ground.binary.clone(), home: store.home() };
    let seconds =
        commands::seconds(imgbake.command().args(["pull", reference, "-o"]).arg(&output))?;
    remove_file(&output)?;
    Ok(seconds)
}

/// Pulls from a registry server on this host.
struct Remote {
    /// Seconds of pulling the first version into a home that has nothing.
    cold: f64,
    /// Bytes that pulling the rebuild moves to a home that has the first version.
    moved: u64,
}

fn remote(ground: &Ground, store: &Store) -> Result<Remote> {
    let dir = ground.dir.join("registry/remote");
    files::remove(&dir)?;
    let server = peers::Server::start(&dir.join("server"))?;
    let place = format!("{}/debian", server.address);
    let publisher = Imgbake { binary: ground.binary.clone(), home: store.home() };
    for version in ["debian:1", "debian:3"] {
        commands::output(publisher.command().args(["push", version, &place]))?;
    }
    let puller = Imgbake { binary: ground.binary.clone(), home: dir.join("home") };
    let output = dir.join("pulled.raw");
    let cold = commands::seconds(
        puller.command().arg("pull").arg(format!("{place}:1")).arg("-o").arg(&output),
    )?;
    remove_file(&output)?;
    let moved = delta_pull(&puller, &place, &dir)?;
    files::remove(&dir)?;
    Ok(Remote { cold, moved })
}

/// Bytes that pulling the rebuild moves once the first version is in the local registry.
fn delta_pull(puller: &Imgbake, place: &str, dir: &Path) -> Result<u64> {
    commands::output(puller.command().args(["copy", &format!("{place}:1"), "debian"]))?;
    let (output, events) = (dir.join("pulled.raw"), dir.join("events.jsonl"));
    let mut pull = puller.command();
    pull.arg("pull").arg(format!("{place}:3")).arg("-o").arg(&output).arg("--events").arg(&events);
    commands::output(&mut pull)?;
    let ended = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        (event["type"] == "stage_finished").then(|| event["bytes"].as_u64())?
    };
    let text = std::fs::read_to_string(&events)?;
    Ok(text.lines().find_map(ended).ok_or("the pull did not tell its bytes")?)
}

fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn report(rounds: &[Round], disks: &Disks) -> Report {
    let mut report = Report::new("registry");
    let of = |pick: fn(&Round) -> f64| median(rounds.iter().map(pick));
    report.figure("packages_newer", disks.newer);
    let first = report.figure("first_publish_seconds", of(|round| round.first.seconds));
    let first_mib = report.figure("first_publish_mib", of(|round| mib(round.first.new_bytes)));
    report.figure("first_publish_peak_mib", of(|round| mib(round.first.peak_bytes)));
    report.figure("again_mib", of(|round| mib(round.again.new_bytes)));
    report.figure("rebuild_seconds", of(|round| round.rebuild.seconds));
    let rebuild = report.figure("rebuild_mib", of(|round| mib(round.rebuild.new_bytes)));
    report.figure("child_seconds", of(|round| round.child.seconds));
    let child = report.figure("child_mib", of(|round| mib(round.child.new_bytes)));
    let big = report.figure("big_publish_seconds", of(|round| round.big.seconds));
    let patch = report.figure("patch_publish_seconds", of(|round| round.patch.seconds));
    report.figure("patch_read_mib", of(|round| mib(round.patch.read_bytes)));
    report.figure("patch_mib", of(|round| mib(round.patch.new_bytes)));
    let moved = report.figure("delta_pull_mib", of(|round| mib(round.remote.moved)));
    let pull = report.figure("pull_seconds", of(|round| round.pull));
    let cold = report.figure("remote_pull_seconds", of(|round| round.remote.cold));
    let zstd = report.figure("zstd_seconds", of(|round| round.peers.zstd.seconds));
    report.figure("zstd_mib", of(|round| mib(round.peers.zstd.bytes)));
    let zstd_d = report.figure("zstd_d_seconds", of(|round| round.peers.zstd_d));
    for (name, pick) in peers::NAMES {
        report.figure(
            format!("{name}_seconds"),
            median(rounds.iter().map(|r| pick(&r.peers).seconds)),
        );
        report.figure(
            format!("{name}_mib"),
            median(rounds.iter().map(|r| mib(pick(&r.peers).bytes))),
        );
    }
    report.ratio("first_publish_vs_zstd", first / zstd);
    report.ratio("rebuild_bytes_vs_first", rebuild / first_mib);
    report.ratio("child_bytes_vs_first", child / first_mib);
    report.ratio("child_publish_vs_first", patch / big);
    report.ratio("delta_pull_bytes_vs_needed", moved / rebuild);
    report.ratio("pull_vs_zstd_d", zstd_d / pull);
    report.ratio("remote_pull_vs_zstd_d", zstd_d / cold);
    report
}
