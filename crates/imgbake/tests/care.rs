//! The local registry's care at the command line, without guests: versions are published by the library.
#![expect(clippy::disallowed_methods, reason = "tests run the program")]
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

use std::fs;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::capture::{CaptureRequest, NoTap, capture};
use imgbake_build::{Naming, Registry};
use imgbake_disk::{DiskFormat, DiskImage};
use imgbake_registry::Layout;
use imgbake_runtime::Cancel;
use imgbake_testkit::image_config;
use imgbake_types::record::{ImageConfig, VersionView};

const MIB: usize = 1 << 20;

struct Home {
    dir: Utf8PathBuf,
    runtime: tokio::runtime::Runtime,
    _temp: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(temp.path().to_owned()).unwrap();
        Self { dir, runtime: tokio::runtime::Runtime::new().unwrap(), _temp: temp }
    }

    fn registry(&self) -> Utf8PathBuf {
        self.dir.join("home/registry")
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Utf8PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Publishes a disk under a name, with what the registry knows of it.
    fn publish(&self, version: &str, disk: &[u8]) -> VersionView {
        fs::create_dir_all(self.registry()).unwrap();
        let layout = Layout::open(self.registry()).unwrap();
        let path = self.write("disk", disk);
        let image = DiskImage::open_as(&path, DiskFormat::Raw).unwrap();
        let folder = self.dir.join(format!("capture-{version}"));
        fs::create_dir(&folder).unwrap();
        let request = CaptureRequest {
            disk: &image,
            folder: &folder,
            known: self.runtime.block_on(layout.known("web", None)).unwrap(),
            changed: None,
            tap: Box::new(NoTap),
            cancel: &Cancel::new(),
            progress: &|_| {},
        };
        let (captured, _) = capture(request).unwrap();
        let created = "2020-01-01T00:00:00Z".parse().unwrap();
        let config = ImageConfig { created, ..image_config("web") };
        let naming = Naming::Fixed(version.parse().unwrap());
        self.runtime.block_on(layout.publish(&captured, config, &naming)).unwrap()
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imgbake"));
        command.env("IMGBAKE_HOME", self.dir.join("home")).env("NO_COLOR", "1");
        let output = command.current_dir(&self.dir).args(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }
}

/// Bytes that cannot be compressed, with a hole before and after them.
fn disk() -> Vec<u8> {
    let mut bytes = vec![0; 4 * MIB];
    let mut state = 7_u64;
    for byte in &mut bytes[MIB..3 * MIB] {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state.to_le_bytes()[3];
    }
    bytes
}

/// The largest blob: the pack.
fn pack(registry: &Utf8Path) -> Utf8PathBuf {
    let entries = registry.join("blobs/sha256").read_dir_utf8().unwrap().map(Result::unwrap);
    entries.max_by_key(|entry| entry.metadata().unwrap().len()).unwrap().into_path()
}

#[test]
fn a_damaged_pack_comes_back_from_a_disk_at_hand() {
    let home = Home::new();
    home.publish("1", &disk());
    let pack = pack(&home.registry());
    let whole = fs::read(&pack).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    fs::write(&pack, &damaged).unwrap();

    let (code, out, err) = home.run(&["verify", "--deep"]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(out.contains("chunks are in no other pack here"), "{out}");
    assert!(err.contains("`--seed`"), "{err}");
    // One that is no disk is reported at once; one that has other bytes is no help.
    home.write("seed.qcow2", b"QFI\xfb and no more");
    let (code, out, err) = home.run(&["verify", "--deep", "--seed", "seed.qcow2"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("cannot take chunks from seed.qcow2"), "{err}");
    home.write("other.raw", &vec![7; 2 * MIB]);
    assert_eq!(home.run(&["verify", "--deep", "--seed", "other.raw"]).0, 1);
    assert!(fs::read(&pack).unwrap() == damaged);

    home.write("exported.raw", &disk());
    let args = ["verify", "--deep", "--seed", "other.raw", "--seed", "exported.raw"];
    let (code, out, err) = home.run(&args);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("put back from exported.raw (1), its own chunks ("), "{out}");
    assert!(fs::read(&pack).unwrap() == whole);
    assert_eq!(home.run(&["verify", "--deep"]).0, 0);
}

#[test]
fn gc_tells_which_bytes_are_dead_and_who_keeps_them() {
    let home = Home::new();
    home.publish("whole", &disk());
    let mut half = disk();
    half[2 * MIB..].fill(0);
    home.publish("half", &half);
    home.write("imgbake.toml", b"[retention]\nkeep = 1\n");
    let (code, out, err) = home.run(&["gc", "--dry-run"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("unreclaimed: "), "{out}");
    assert!(out.contains("used by web:half\n"), "{out}");
    let json: serde_json::Value =
        serde_json::from_str(&home.run(&["gc", "--dry-run", "--json"]).1).unwrap();
    let of = |name: &str| {
        let versions = json["versions"].as_array().unwrap();
        versions.iter().find(|version| version["version"] == name).unwrap()["dead_bytes"].clone()
    };
    assert!(of("whole").is_null() && of("half") == json["dead_bytes"], "{json}");
    assert!(json["dead_bytes"].as_u64().unwrap() > MIB as u64 / 2, "{json}");
    // A name that went is given to no other version.
    assert_eq!(home.run(&["gc", "--grace", "0s"]).0, 0);
    let (code, _, err) = home.run(&["show", "web:whole"]);
    assert_eq!(code, 1, "{err}");
}
