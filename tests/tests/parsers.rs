//! Every parser of foreign bytes against damaged input: no panic, and bounded memory. Each test runs for
//! `IMGBAKE_TEST_MUTATE_SECONDS`, a few by default.
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]
#![expect(clippy::print_stdout, reason = "the seed is what makes a failure come again")]

use std::fs::{self, File};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::capture::{CaptureRequest, NoTap, capture};
use imgbake_build::{Capture, Known, Naming, Registry, Whole};
use imgbake_disk::chunk::{self, Chunk, ChunkTable, Frame, FrameReader, FrameWriter, PackRef};
use imgbake_disk::gpt::{self, PartitionSpec};
use imgbake_disk::overlay::create_overlay;
use imgbake_disk::{DiskFormat, DiskImage, DiskSource, ExportFormat, ExportOptions};
use imgbake_registry::Layout;
use imgbake_runtime::Cancel;
use imgbake_testkit::{Dice, mutate, peak_memory};
use imgbake_types::Digest;
use imgbake_types::spec::{QemuSpec, VerifySpec};
use serde_json::{Value, json};

/// No input is longer than some hundred KiB: what takes more than this was asked for by a lie.
const MEMORY: u64 = 512 << 20;

/// Dice whose seed is told with a failure.
fn dice() -> Dice {
    let dice = Dice::new();
    println!("IMGBAKE_TEST_SEED={}", dice.seed());
    dice
}

fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = Utf8PathBuf::from_path_buf(temp.path().to_owned()).unwrap();
    (temp, dir)
}

fn told(count: u64) {
    println!("{count} inputs");
    assert!(count > 20, "only {count} inputs");
    assert!(peak_memory() < MEMORY, "{} MiB", peak_memory() >> 20);
}

#[test]
fn chunk_tables() {
    let packs = [1, 2, 3].map(|seed| PackRef { sha256: [seed; 32], size: 1 << 20 });
    let table = |count: u64| {
        let chunks = (0..count).map(|n| Chunk {
            offset: n * 70_000,
            len: 60_000,
            digest: chunk::digest(&n.to_le_bytes()),
            frame: Frame {
                pack: u32::try_from(n % 3).unwrap(),
                offset: u32::try_from(n * 1000).unwrap(),
                len: 999,
            },
        });
        ChunkTable::new(1 << 30, &packs, chunks.collect()).unwrap().encode()
    };
    told(mutate(&mut dice(), &[table(0), table(1), table(20)], |bytes| {
        let Ok(table) = ChunkTable::decode(bytes) else { return false };
        assert_eq!(table.encode(), bytes, "one table has one form");
        let ends: Vec<u64> = table.chunks().iter().map(Chunk::end).collect();
        assert!(ends.is_sorted() && ends.iter().all(|end| *end <= table.virtual_size()));
        true
    }));
}

#[test]
fn frames() {
    let mut writer = FrameWriter::new(3).unwrap();
    let sound: Vec<Vec<u8>> = [vec![0; 5000], (0..=255).cycle().take(5000).collect()]
        .iter()
        .map(|bytes: &Vec<u8>| writer.frame(bytes).unwrap())
        .collect();
    let mut reader = FrameReader::new().unwrap();
    // What a damaged frame holds has another digest: all that matters is that it ends.
    let count = mutate(&mut dice(), &sound, |bytes| {
        let error = reader.chunk(bytes, 5000, &chunk::digest(b"")).unwrap_err();
        error.to_string().contains("digest")
    });
    told(count);
}

fn use_up(path: &Utf8Path) -> Option<()> {
    let image = DiskImage::open(path).ok()?;
    let extents = image.extents().ok()?;
    let mut buffer = vec![0; 1 << 16];
    for extent in extents.iter().take(50) {
        assert!(extent.len > 0 && extent.end() <= image.virtual_size());
        image.read_at(extent.offset, &mut buffer).ok()?;
    }
    Some(())
}

#[test]
fn qcow2_images() {
    let (_temp, dir) = folder();
    let raw = dir.join("disk.raw");
    let mut disk = vec![0; 1 << 20];
    disk[..100_000].fill(7);
    fs::write(&raw, &disk).unwrap();
    let overlay = dir.join("overlay.qcow2");
    create_overlay(&overlay, Utf8Path::new("disk.raw"), DiskFormat::Raw, 1 << 20, 9).unwrap();
    let packed = dir.join("packed.qcow2");
    let options = ExportOptions::new("seed".to_owned());
    let image = DiskImage::open_as(&raw, DiskFormat::Raw).unwrap();
    imgbake_disk::export(&image, ExportFormat::Qcow2, &packed, &options, &mut |_| {}).unwrap();
    let sound = [&overlay, &packed].map(|path| fs::read(path).unwrap());
    let mutant = dir.join("mutant.qcow2");
    told(mutate(&mut dice(), &sound, |bytes| {
        fs::write(&mutant, bytes).unwrap();
        use_up(&mutant).is_some()
    }));
}

/// Gives a GPT's headers checksums that hold, so that what lies behind them is reached.
fn seal(disk: &mut [u8]) {
    let end = disk.len().saturating_sub(512);
    for header in [512, end] {
        if let Some(header) = disk.get_mut(header..header + 92) {
            header[16..20].fill(0);
            let sum = crc32fast::hash(header);
            header[16..20].copy_from_slice(&sum.to_le_bytes());
        }
    }
}

#[test]
fn partition_tables() {
    let (_temp, dir) = folder();
    let path = dir.join("disk.raw");
    fs::write(&path, vec![0; 128 << 10]).unwrap();
    let spec = PartitionSpec {
        type_guid: gpt::TYPE_LINUX,
        unique_guid: gpt::guid_from_seed("", "a"),
        name: "a".into(),
        first_lba: 40,
        sectors: 9,
    };
    gpt::write_gpt(&path, gpt::guid_from_seed("", "disk"), &[spec]).unwrap();
    let good = fs::read(&path).unwrap();
    let (head, rest) = good.split_at(2048);
    // Damage goes where the table is; half of it under checksums that hold.
    let mut number = 0;
    told(mutate(&mut dice(), &[head.to_vec()], |bytes| {
        let mut disk = [bytes, rest].concat();
        number += 1;
        if number % 2 == 0 {
            seal(&mut disk);
        }
        fs::write(&path, &disk).unwrap();
        let image = DiskImage::open_as(&path, DiskFormat::Raw).unwrap();
        let Ok(partitions) = gpt::read_partitions(&image) else { return false };
        for partition in partitions {
            assert!(partition.offset() + partition.len() <= image.virtual_size());
        }
        true
    }));
}

/// A layout with one version and one channel.
async fn layout(dir: &Utf8Path) -> Layout {
    let disk = dir.join("disk.raw");
    fs::write(&disk, vec![7; 100_000]).unwrap();
    let image = DiskImage::open_as(&disk, DiskFormat::Raw).unwrap();
    let folder = dir.join("capture");
    fs::create_dir(&folder).unwrap();
    let request = CaptureRequest {
        disk: &image,
        folder: &folder,
        known: Known::default(),
        changed: None,
        tap: Box::new(NoTap),
        cancel: &Cancel::new(),
        progress: &|_| {},
    };
    let (capture, _): (Capture, _) = capture(request).unwrap();
    let config = serde_json::from_value(json!({
        "name": "web", "version": "unnamed", "created": "2026-11-23T10:00:00Z",
        "arch": "x86_64", "firmware": "bios", "imgbake": "0.1.0", "stages": [],
        "proof": { "machine": QemuSpec::default(), "verify": VerifySpec::default() },
        "plan": { "digest": Digest::sha256("plan") },
        "disk": capture.disk_record(&[]),
    }));
    let layout = Layout::open(dir.join("registry")).unwrap();
    let naming = Naming::Fixed("1".parse().unwrap());
    layout.publish(&capture, config.unwrap(), &naming).await.unwrap();
    layout
}

/// The documents of a layout's one version, from the tag down.
struct Documents {
    layout: Layout,
    dir: Utf8PathBuf,
}

impl Documents {
    fn blob(&self, digest: &Value) -> Utf8PathBuf {
        let name = digest.as_str().unwrap().replace(':', "/");
        self.layout.root().join("blobs").join(name)
    }

    fn read(&self, digest: &Value) -> Vec<u8> {
        fs::read(self.blob(digest)).unwrap()
    }

    fn put(&self, bytes: &[u8], descriptor: &mut Value) {
        descriptor["digest"] = json!(Digest::sha256(bytes).to_string());
        descriptor["size"] = json!(bytes.len());
        fs::write(self.blob(&descriptor["digest"]), bytes).unwrap();
    }

    /// Does with the layout what commands do; whether all of it worked.
    async fn use_up(&self) -> bool {
        let versions = self.layout.versions(None).await;
        let known = self.layout.known("web", None).await;
        let Ok(version) = self.layout.resolve(&"web:1".parse().unwrap()).await else {
            return false;
        };
        let file = File::create(self.dir.join("restored.raw")).unwrap();
        let nothing = Box::new(|_| {});
        let restored = self.layout.restore(&version.digest, file, Whole::Skip, nothing).await;
        versions.is_ok() && known.is_ok() && restored.is_ok()
    }
}

#[test]
fn documents_of_a_registry() {
    let (_temp, dir) = folder();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let layout = runtime.block_on(layout(&dir));
    let documents = Arc::new(Documents { layout, dir });
    let names = documents.layout.root().join("index.json");
    let top = fs::read(&names).unwrap();
    let json = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).unwrap() };
    let version = documents.read(&json(&top)["manifests"][0]["digest"]);
    let manifest = documents.read(&json(&version)["manifests"][0]["digest"]);
    let config = documents.read(&json(&manifest)["config"]["digest"]);
    let sound: Vec<Vec<u8>> = [&top, &version, &manifest, &config].into_iter().cloned().collect();
    let mut number = 0;
    // Each input takes the place of each document in turn, under the digests that this asks for.
    told(mutate(&mut dice(), &sound, |bytes| {
        number += 1;
        let mut level = if number <= 4 { number - 1 } else { number % 4 };
        let mut bytes = bytes.to_vec();
        while level > 0 {
            let mut above = json(&sound[level - 1]);
            let descriptor =
                if level == 3 { &mut above["config"] } else { &mut above["manifests"][0] };
            documents.put(&bytes, descriptor);
            bytes = above.to_string().into_bytes();
            level -= 1;
        }
        fs::write(&names, &bytes).unwrap();
        runtime.block_on(documents.use_up())
    }));
}
