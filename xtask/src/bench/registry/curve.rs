//! `cargo xtask bench registry-curve`: how costs grow with the image's size, and with the number of
//! versions.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::fill::fill;
use super::worker::Store;
use crate::Result;
use crate::bench::docs::{self, Section};
use crate::bench::ground::Ground;
use crate::bench::imgbake::Imgbake;
use crate::bench::options::Options;
use crate::bench::report::{Report, mib};
use crate::bench::{commands, files};

/// Sizes of disks in GiB; a quarter of each is data.
const SIZES: [u64; 3] = [1, 4, 16];
/// Numbers of versions in a registry.
const VERSIONS: [usize; 3] = [10, 1_000, 10_000];

const ABOUT: &str = "No peer. By size: disks of which a quarter is data, half of it compressible; publishing in \
    an empty registry, and pulling into a raw file. By versions: a registry with so many versions of a disk of \
    one chunk, each with documents of its own; publishing one of another image, listing all versions, and `gc \
    --dry-run`, which walks all.";

/// Measures both curves, once.
pub(crate) fn run(options: &Options) -> Result<()> {
    let ground = Ground::new(options)?;
    let mut report = Report::new("registry-curve");
    measure(options, &ground, &mut report)?;
    let section = Section {
        heading: "How storing images grows",
        about: ABOUT,
        how_often: "Each once",
        with: &[],
        tables: &report.table(),
    };
    docs::publish(options, &ground.binary, &report, &section)
}

fn measure(options: &Options, ground: &Ground, report: &mut Report) -> Result<()> {
    let dir = ground.dir.join("registry-curve");
    files::remove(&dir)?;
    fs::create_dir_all(&dir)?;
    for size in SIZES {
        let disk = made_up(&dir, size)?;
        let store = Store::fresh(&dir.join("home"))?;
        let stored = store.publish("disk", &disk, None)?;
        let seconds = report.figure(format!("size_{size}_gib_publish_seconds"), stored.seconds);
        report.figure(format!("size_{size}_gib_peak_mib"), mib(stored.peak_bytes));
        let output = dir.join("pulled.raw");
        let imgbake = Imgbake { binary: ground.binary.clone(), home: store.home() };
        let pull =
            commands::seconds(imgbake.command().args(["pull", "disk:1", "-o"]).arg(&output))?;
        report.figure(format!("size_{size}_gib_pull_seconds"), pull);
        fs::remove_file(&output)?;
        fs::remove_file(&disk)?;
        options.say(&format!("{size} GiB: publish {seconds:.1} s, pull {pull:.1} s"));
    }
    versions(options, ground, report, &dir)?;
    files::remove(&dir)
}

/// What one more version costs, and listing all, by how many there are.
fn versions(options: &Options, ground: &Ground, report: &mut Report, dir: &Path) -> Result<()> {
    let store = Store::fresh(&dir.join("home"))?;
    let disk = made_up(dir, 1)?;
    // Of one chunk alone: what is timed is the registry.
    fs::File::options().write(true).open(&disk)?.set_len(64 << 10)?;
    store.publish("many", &disk, None)?;
    for count in VERSIONS {
        fill(&store.home().join("registry"), "many", count)?;
        let imgbake = Imgbake { binary: ground.binary.clone(), home: store.home() };
        let publish = store.publish("one-more", &disk, None)?.seconds;
        let list = commands::seconds(imgbake.command().args(["images", "--json"]))?;
        let gc = commands::seconds(imgbake.command().args(["gc", "--dry-run", "--json"]))?;
        report.figure(format!("versions_{count}_publish_seconds"), publish);
        report.figure(format!("versions_{count}_images_seconds"), list);
        report.figure(format!("versions_{count}_gc_seconds"), gc);
        options.say(&format!(
            "{count} versions: one more {publish:.2} s, list {list:.2} s, gc {gc:.2} s"
        ));
    }
    Ok(())
}

/// A disk of which a quarter is data, half of it compressible.
fn made_up(dir: &Path, gib: u64) -> Result<PathBuf> {
    let path = dir.join(format!("{gib}.raw"));
    let file = fs::File::create(&path)?;
    file.set_len(gib << 30)?;
    let mut state = 0x9E37_79B9_7F4A_7C15_u64 ^ gib;
    let mut block = vec![0; 1 << 20];
    for number in 0..gib * 256 {
        for (at, byte) in block.iter_mut().enumerate() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = if at % 8192 < 4096 { state.to_le_bytes()[3] } else { b'a' };
        }
        file.write_all_at(&block, number << 22)?;
    }
    Ok(path)
}
