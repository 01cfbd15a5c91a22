//! Damaged packs that are put together again from chunks.

use std::fs;

use camino::Utf8PathBuf;
use imgbake_build::{Naming, Registry};
use imgbake_disk::chunk::Chunk;
use imgbake_registry::{Damage, DeepReport, Depth, Repair};
use imgbake_runtime::Tool;
use imgbake_types::Digest;
use imgbake_types::record::VersionView;

use crate::common::{
    DAY, Fixture, MIB, capture_knowing, config, disk, manifest_of, names_in, pack_of, scribble,
};

async fn verify(fixture: &Fixture, seeds: &[&Utf8PathBuf]) -> DeepReport {
    let repair =
        Repair { seeds: seeds.iter().map(|seed| (*seed).clone()).collect(), ..Repair::default() };
    fixture.layout.read_again(None, Depth::Bytes, repair, |_, _| {}).await.unwrap()
}

/// The only damage that a report shows.
fn only(report: &DeepReport) -> &Damage {
    let [damage] = &report.damaged[..] else { panic!("{report:?}") };
    damage
}

fn seed(fixture: &Fixture, name: &str, bytes: &[u8]) -> Utf8PathBuf {
    let path = fixture.dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// The same disk as qcow2.
async fn qcow2(fixture: &Fixture, raw: &Utf8PathBuf) -> Utf8PathBuf {
    const QEMU_IMG: Tool = Tool::new("qemu-img", "qemu-utils");
    let (job, path) = (fixture.job(), raw.with_extension("qcow2"));
    let args = ["convert", "-f", "raw", "-O", "qcow2", raw.as_str(), path.as_str()];
    QEMU_IMG.command().unwrap().args(args).run(&job).await.unwrap();
    job.end().unwrap();
    path
}

/// Publishes a disk that takes over what the registry knows of its image.
async fn publish(fixture: &Fixture, name: &str, disk: &[u8]) -> VersionView {
    let known = fixture.layout.known(name, None).await.unwrap();
    let capture = capture_knowing(&fixture.dir, disk, known);
    let naming = Naming::Dated { day: DAY.to_owned() };
    fixture.layout.publish(&capture, config(name), &naming).await.unwrap()
}

#[tokio::test]
async fn a_pack_comes_back_from_a_seed_however_it_is_damaged() {
    let fixture = Fixture::new();
    let version = fixture.publish("web", 1).await;
    let (pack, size) = pack_of(&fixture, &version);
    let path = fixture.blob(&pack);
    let whole = fs::read(&path).unwrap();
    let raw = seed(&fixture, "seed.raw", &disk(1));
    let image = qcow2(&fixture, &raw).await;
    let flip = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x04;
        bytes
    };
    let last = whole.len() - 1;
    let everywhere = (0..whole.len()).step_by(10_000).fold(whole.clone(), |mut bytes, at| {
        bytes[at] ^= 0x80;
        bytes
    });
    let damages = [
        ("first byte", Some(flip(0))),
        ("middle", Some(flip(whole.len() / 2))),
        ("last byte", Some(flip(last))),
        ("everywhere", Some(everywhere)),
        ("zeros", Some(vec![0; whole.len()])),
        ("cut", Some(whole[..whole.len() / 3].to_vec())),
        ("empty", Some(Vec::new())),
        ("longer", Some([&whole[..], b"more"].concat())),
        ("gone", None),
    ];
    for (what, bytes) in damages {
        for seed in [&raw, &image] {
            match &bytes {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let report = verify(&fixture, &[seed]).await;
            assert!(report.is_sound(), "{what}: {report:?}");
            let from = only(&report).repaired_from.as_deref().unwrap();
            assert_eq!(from.contains(seed.as_str()), what != "longer", "{what}: {from}");
            assert!(fs::read(&path).unwrap() == whole, "{what}");
        }
    }
    assert_eq!(path.metadata().unwrap().len(), size);
    assert!(names_in(&fixture.path("publishing")).is_empty());
    assert!(verify(&fixture, &[]).await.damaged.is_empty());
    assert!(fixture.restore(&version.digest).await.unwrap() == disk(1));
}

/// zstd does not look at every bit: such a frame unpacks, and is yet not what it was.
#[tokio::test]
async fn a_frame_that_unpacks_all_the_same_is_packed_again() {
    let fixture = Fixture::new();
    let version = fixture.publish("web", 1).await;
    let path = fixture.blob(&pack_of(&fixture, &version).0);
    let whole = fs::read(&path).unwrap();
    // RFC 8878, 3.1.1.1.1: bit 4 of the descriptor behind the magic number is unused.
    scribble(&path, 4, &[whole[4] ^ 0x10]);
    let report = verify(&fixture, &[]).await;
    assert!(only(&report).repaired_from.as_deref().unwrap().starts_with("its own chunks"));
    assert!(fs::read(&path).unwrap() == whole);
}

#[tokio::test]
async fn another_pack_that_has_the_chunks_is_enough() {
    let fixture = Fixture::new();
    let version = fixture.publish("web", 1).await;
    let (pack, _) = pack_of(&fixture, &version);
    let path = fixture.blob(&pack);
    let whole = fs::read(&path).unwrap();
    let mut more = disk(1);
    more[5 * MIB..5 * MIB + 70_000].copy_from_slice(&disk(7)[3 * MIB..3 * MIB + 70_000]);
    // Of another name: it does not know that its chunks are there.
    let other = publish(&fixture, "db", &more).await;
    assert_ne!(pack_of(&fixture, &other).0, pack);
    scribble(&path, 5_000, b"rust");
    let report = verify(&fixture, &[]).await;
    let from = only(&report).repaired_from.as_deref().unwrap();
    assert!(from.contains("its own chunks") && from.contains("other packs (1)"), "{from}");
    assert!(fs::read(&path).unwrap() == whole);
    fs::remove_file(&path).unwrap();
    let report = verify(&fixture, &[]).await;
    assert!(report.is_sound(), "{report:?}");
    assert!(fs::read(&path).unwrap() == whole);
}

#[tokio::test]
async fn chunks_are_found_wherever_a_seed_has_them() {
    let fixture = Fixture::new();
    let version = fixture.publish("web", 1).await;
    let path = fixture.blob(&pack_of(&fixture, &version).0);
    let whole = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    // Two seeds, each with a part, and at other places than the disk has it.
    let moved = [vec![0; 8192], disk(1)].concat();
    let half = 3 * MIB + 500_000;
    let first = seed(&fixture, "first.raw", &moved[..half]);
    let second = seed(&fixture, "second.raw", &moved[2 * MIB..]);
    let report = verify(&fixture, &[&first, &second]).await;
    let from = only(&report).repaired_from.as_deref().unwrap();
    assert!(from.contains("first.raw") && from.contains("second.raw"), "{from}");
    assert!(fs::read(&path).unwrap() == whole);
}

/// A disk that was cut around its changes is not cut so again: chunks are looked for in their places too.
#[tokio::test]
async fn chunks_are_found_where_the_disk_had_them_however_a_seed_is_cut() {
    let fixture = Fixture::new();
    let version = fixture.publish("web", 1).await;
    let path = fixture.blob(&pack_of(&fixture, &version).0);
    let whole = fs::read(&path).unwrap();
    let table = fixture.layout.table(&version.digest).await.unwrap();
    let in_a_run = |pair: &&[Chunk]| pair[0].end() == pair[1].offset && pair[1].len > 32 << 10;
    let pair = table.chunks().windows(2).find(in_a_run).unwrap();
    scribble(&path, u64::from(pair[1].frame.offset) + 100, b"rust");
    // FastCDC looks at the bytes before a cut: with others it cuts elsewhere.
    let cut = usize::try_from(pair[1].offset).unwrap();
    let mut other = disk(1);
    other[cut - 64..cut].fill(0x55);
    let seed = seed(&fixture, "seed.raw", &other);
    let report = verify(&fixture, &[&seed]).await;
    assert!(report.is_sound(), "{report:?}");
    assert!(fs::read(&path).unwrap() == whole);
}

#[tokio::test]
async fn a_seed_that_lacks_a_chunk_changes_nothing() {
    let fixture = Fixture::new();
    let version = fixture.publish("web", 1).await;
    let path = fixture.blob(&pack_of(&fixture, &version).0);
    let damaged = vec![b'#'; usize::try_from(path.metadata().unwrap().len()).unwrap()];
    fs::write(&path, &damaged).unwrap();
    let mut other = disk(1);
    other[3 * MIB + 300_000] ^= 1;
    let seed = seed(&fixture, "other.raw", &other);
    let before = fixture.blobs();
    let report = verify(&fixture, &[&seed]).await;
    let damage = only(&report);
    assert_eq!(damage.repaired_from, None);
    assert!(damage.why.contains("; 1 of its "), "{}", damage.why);
    assert!(damage.why.ends_with("chunks are in no other pack here, and in no seed"));
    assert!(fs::read(&path).unwrap() == damaged && fixture.blobs() == before);
    assert!(names_in(&fixture.path("publishing")).is_empty());
}

#[tokio::test]
async fn a_seed_that_cannot_be_read_is_told() {
    let fixture = Fixture::new();
    let version = fixture.publish("web", 1).await;
    let path = fixture.blob(&pack_of(&fixture, &version).0);
    fs::remove_file(&path).unwrap();
    let raw = seed(&fixture, "seed.raw", &disk(1));
    let image = qcow2(&fixture, &raw).await;
    let good = fs::read(&image).unwrap();
    // What cannot be opened ends it before anything is read.
    let opens = async |bytes: &[u8]| {
        fs::write(&image, bytes).unwrap();
        let repair = Repair { seeds: vec![image.clone()], ..Repair::default() };
        fixture.layout.read_again(None, Depth::Bytes, repair, |_, _| {}).await
    };
    let mut header = good.clone();
    header[20..24].fill(0xff); // cluster_bits
    for bytes in [&header[..], &good[..60]] {
        let error = opens(bytes).await.unwrap_err();
        assert!(error.to_string().contains(image.as_str()), "{error}");
        assert!(error.help_text().unwrap().contains("without a backing file"));
    }
    // What is found broken later is reported with what stays damaged.
    let table = usize::try_from(u64::from_be_bytes(good[40..48].try_into().unwrap())).unwrap();
    let mut deep = good.clone();
    deep[table..table + 8].copy_from_slice(&(1_u64 << 63 | 1 << 40).to_be_bytes());
    let report = opens(&deep).await.unwrap();
    let damage = only(&report);
    assert_eq!(damage.repaired_from, None);
    assert!(damage.why.contains(&format!("cannot take chunks from {image}: ")), "{}", damage.why);
    assert!(!path.exists());
    // A sound one beside it helps.
    assert!(verify(&fixture, &[&image, &raw]).await.is_sound());
}

#[tokio::test]
async fn bytes_that_no_version_uses_cannot_be_made_again() {
    let fixture = Fixture::new();
    let first = publish(&fixture, "web", &disk(1)).await;
    let (pack, size) = pack_of(&fixture, &first);
    let mut half = disk(1);
    half[3 * MIB + 500_000..5 * MIB].fill(0);
    let second = publish(&fixture, "web", &half).await;
    let manifest = manifest_of(&fixture, &second.digest);
    let uses = |layer: &serde_json::Value| layer["digest"] == pack.to_string();
    assert!(manifest["layers"].as_array().unwrap().iter().any(uses), "{manifest}");
    forget(&fixture, "2026.11.23-1");
    let path = fixture.blob(&pack);
    let whole = fs::read(&path).unwrap();
    let raw = seed(&fixture, "seed.raw", &disk(1));
    // What the version uses comes back; of the rest nobody knows what it was.
    scribble(&path, 100, b"rust");
    assert!(verify(&fixture, &[&raw]).await.is_sound());
    assert!(fs::read(&path).unwrap() == whole);
    scribble(&path, size * 3 / 4, b"rust");
    let report = verify(&fixture, &[&raw]).await;
    assert!(only(&report).why.contains("bytes of it that no version uses"), "{report:?}");
    let found = Digest::sha256(fs::read(&path).unwrap());
    assert_ne!(found, pack);
}

/// Takes a version's name away.
fn forget(fixture: &Fixture, version: &str) {
    let path = fixture.path("index.json");
    let mut index: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let name = format!("web:{version}");
    let named = |entry: &serde_json::Value| {
        entry["annotations"]["org.opencontainers.image.ref.name"] == name.as_str()
    };
    index["manifests"].as_array_mut().unwrap().retain(|entry| !named(entry));
    fs::write(path, index.to_string()).unwrap();
}
