//! Versions that others made up: every lie is reported, and nothing is taken on trust.

use std::fs;

use imgbake_build::Registry;
use imgbake_disk::chunk::{Chunk, ChunkTable, Frame, FrameWriter, PackRef, digest};
use imgbake_types::Digest;
use imgbake_types::record::VersionView;
use serde_json::{Value, json};

use crate::common::{Fixture, MIB, json_of, manifest_of};

const TABLE: usize = 0;
const PACK: usize = 1;

/// Changes a manifest, and its config's disk.
type Change = fn(&mut Value, &mut Value);

/// A version whose documents can be changed: index, manifest, config.
struct Forge {
    fixture: Fixture,
    version: VersionView,
}

impl Forge {
    async fn new() -> Self {
        let fixture = Fixture::new();
        let version = fixture.publish("web", 1).await;
        Self { fixture, version }
    }

    /// Stores some bytes; gives the descriptor that names them.
    fn put(&self, descriptor: &mut Value, bytes: &[u8]) {
        let digest = Digest::sha256(bytes);
        fs::write(self.fixture.blob(&digest), bytes).unwrap();
        descriptor["digest"] = json!(digest.to_string());
        descriptor["size"] = json!(bytes.len());
    }

    /// Names a version with another manifest, config and chunk table.
    fn name(&self, change: impl FnOnce(&mut Value, &mut Value), table: Option<&[u8]>) -> Digest {
        let mut index = json_of(&self.fixture, &self.version.digest.to_string().into());
        let mut manifest = manifest_of(&self.fixture, &self.version.digest);
        let mut config = json_of(&self.fixture, &manifest["config"]["digest"]);
        if let Some(table) = table {
            self.put(&mut manifest["layers"][TABLE], table);
            config["io.imgbake.image"]["disk"]["table"] =
                manifest["layers"][TABLE]["digest"].clone();
        }
        change(&mut manifest, &mut config["io.imgbake.image"]["disk"]);
        self.put(&mut manifest["config"], config.to_string().as_bytes());
        self.put(&mut index["manifests"][0], manifest.to_string().as_bytes());
        self.name_index(&index)
    }

    fn name_index(&self, version: &Value) -> Digest {
        let path = self.fixture.path("index.json");
        let mut names: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        self.put(&mut names["manifests"][0], version.to_string().as_bytes());
        fs::write(path, names.to_string()).unwrap();
        names["manifests"][0]["digest"].as_str().unwrap().parse().unwrap()
    }

    async fn error(&self, digest: &Digest) -> String {
        let error = self.fixture.restore(digest).await.unwrap_err().to_string();
        assert!(error.contains("web:2026.11.23-1"), "{error}");
        error
    }

    /// The version's own table.
    fn table(&self) -> Vec<u8> {
        let manifest = manifest_of(&self.fixture, &self.version.digest);
        let digest = manifest["layers"][TABLE]["digest"].as_str().unwrap().parse().unwrap();
        fs::read(self.fixture.blob(&digest)).unwrap()
    }

    /// A disk of 6 MiB whose one pack holds some bytes, with the chunks that are said to be in it.
    fn version_of(&self, pack: &[u8], chunks: Vec<Chunk>) -> Digest {
        let mut layer = json!({});
        self.put(&mut layer, pack);
        let sha256 = Digest::sha256(pack).bytes().try_into().unwrap();
        let packs = [PackRef { sha256, size: pack.len() as u64 }];
        let table = ChunkTable::new(6 * MIB as u64, &packs, chunks).unwrap().encode();
        let change = |manifest: &mut Value, disk: &mut Value| {
            manifest["layers"][PACK]["digest"] = layer["digest"].clone();
            manifest["layers"][PACK]["size"] = layer["size"].clone();
            disk["sha256"] = Value::Null;
        };
        self.name(change, Some(&table))
    }
}

#[tokio::test]
async fn documents_that_contradict_each_other_are_refused() {
    let forge = Forge::new().await;
    let cases: [(&str, Change); 10] = [
        ("has a layer of the type x/y", |m, _| m["layers"][PACK]["mediaType"] = json!("x/y")),
        ("has a layer of the type a/b", |m, _| m["layers"][TABLE]["mediaType"] = json!("a/b")),
        ("has no chunk table", |m, _| m["layers"] = json!([])),
        ("lists other packs", |m, _| {
            m["layers"].as_array_mut().unwrap().pop();
        }),
        ("lists other packs", |m, _| {
            let again = m["layers"][PACK].clone();
            m["layers"].as_array_mut().unwrap().push(again);
        }),
        ("lists other packs", |m, _| m["layers"][PACK]["size"] = json!(1)),
        ("another chunk table", |_, d| d["table"] = json!(Digest::sha256("").to_string())),
        ("of another size", |_, d| d["virtual_size"] = json!(u64::MAX)),
        ("a chunk table of", |m, _| m["layers"][TABLE]["size"] = json!(u64::MAX)),
        ("in chunks that imgbake reads", |m, _| m["artifactType"] = json!("x/y")),
    ];
    for (said, change) in cases {
        let digest = forge.name(change, None);
        let error = forge.error(&digest).await;
        assert!(error.contains(said), "{said}: {error}");
    }
    let mut index = json_of(&forge.fixture, &forge.version.digest.to_string().into());
    index["manifests"][0]["annotations"]["io.imgbake.disk"] = json!("vdi");
    let digest = forge.name_index(&index);
    assert!(forge.error(&digest).await.contains("[vdi]"));
    let sound = forge.name(|_, _| {}, None);
    forge.fixture.restore(&sound).await.unwrap();
}

#[tokio::test]
async fn tables_that_cannot_be_are_refused() {
    let forge = Forge::new().await;
    let good = forge.table();
    let edit = |at: usize, bytes: &[u8]| {
        let mut table = good.clone();
        table[at..at + bytes.len()].copy_from_slice(bytes);
        table
    };
    for (what, table) in [
        ("billions of chunks", edit(20, &u32::MAX.to_le_bytes())),
        ("billions of packs", edit(16, &u32::MAX.to_le_bytes())),
        ("an exabyte of zeros", edit(8, &u64::MAX.to_le_bytes())),
        ("a newer version", edit(7, &[9])),
        ("nothing", Vec::new()),
        ("something else", vec![7; 1 << 20]),
        ("cut short", good[..good.len() - 1].to_vec()),
    ] {
        let digest = forge.name(|_, _| {}, Some(&table));
        let error = forge.error(&digest).await;
        assert!(error.contains("chunk table") || error.contains("another size"), "{what}: {error}");
        // Nor is any of it referred to.
        forge.fixture.layout.known("web", Some(&digest)).await.unwrap();
    }
}

#[tokio::test]
async fn frames_that_lie_are_refused() {
    let forge = Forge::new().await;
    let mut zstd = FrameWriter::new(3).unwrap();
    let frame =
        |offset: u32, len: usize| Frame { pack: 0, offset, len: u32::try_from(len).unwrap() };
    let text = vec![b'a'; 4096];
    let good = zstd.frame(&text).unwrap();
    let chunk =
        |offset, len, bytes: &[u8], frame| Chunk { offset, len, digest: digest(bytes), frame };

    // A frame that stays as long as it likes, in a chunk of a block.
    let bomb = zstd.frame(&vec![0; 200 << 20]).unwrap();
    assert!(bomb.len() < 64 << 10);
    let row = chunk(0, 4096, &[0; 4096], frame(0, bomb.len()));
    let error = forge.error(&forge.version_of(&bomb, vec![row])).await;
    assert!(error.contains("not the sound zstd of 4096 bytes"), "{error}");

    for (what, said, rows) in [
        ("other bytes", "has the digest", vec![chunk(0, 4096, b"other", frame(0, good.len()))]),
        ("too few", "has only 4096", vec![chunk(0, 5000, &text, frame(0, good.len()))]),
        ("half", "not the sound zstd", vec![chunk(0, 4096, &text, frame(0, good.len() / 2))]),
        ("the middle", "not the sound zstd", vec![chunk(0, 4096, &text, frame(3, good.len() - 3))]),
    ] {
        let error = forge.error(&forge.version_of(&good, rows)).await;
        assert!(error.contains(said) && error.contains("is damaged"), "{what}: {error}");
    }
    // One frame for many chunks is sound.
    let rows = (0..8).map(|n| chunk(n * 8192, 4096, &text, frame(0, good.len()))).collect();
    let disk = forge.fixture.restore(&forge.version_of(&good, rows)).await.unwrap();
    assert!(disk[7 * 8192..7 * 8192 + 4096] == text && disk[4096..8192] == [0; 4096]);
}
