//! Writes a home, a folder of shared layers and two remote repositories as this version of imgbake
//! writes them: `cargo run -p imgbake-registry --example write_fixture -- EMPTY_FOLDER`.
//!
//! What it wrote is kept under `tests/fixtures/`, one archive for each stored format, and read by every
//! later version.
#![expect(clippy::unwrap_used, reason = "what cannot be written is no fixture")]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::cache::NewState;
use imgbake_build::cache::{Layer, NewLayer};
use imgbake_build::capture::{CaptureRequest, NoTap};
use imgbake_build::evidence::record_verify;
use imgbake_build::{
    BaseDisk, Capture, KernelFiles, LayerCache, LayerShare, LocalDisk, Naming, Pattern, Planted,
    Registry, Seed, SharedLayer,
};
use imgbake_disk::overlay::create_overlay;
use imgbake_disk::{DiskFormat, DiskImage};
use imgbake_oci::{Remote, RemoteOptions};
use imgbake_registry::transfer::{End, copy};
use imgbake_registry::{GcRequest, Layout, LayoutShare, Retention};
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets};
use imgbake_testkit::{Habits, TestRegistry, channel_move, image_config};
use imgbake_types::record::{
    ChannelMove, ComposedMove, ImageConfig, LayerRef, Parent, Proof, StageRecord, Swap,
    TestOutcome, VerifyRecord, VerifyStatus, VersionRef, VersionView,
};
use imgbake_types::{Action, Arch, Digest, Size, Stage, Target};
use jiff::{SignedDuration, Timestamp};

const KIB: usize = 1 << 10;
const DISK: usize = 256 * KIB;

#[tokio::main]
async fn main() {
    let root = Utf8PathBuf::from(std::env::args().nth(1).unwrap());
    assert!(root.read_dir_utf8().unwrap().next().is_none(), "{root} is not empty");
    let home = Home::new(root.canonicalize_utf8().unwrap().join("home"));
    let job = begin(&home, "fixture-0000000001");
    home.secret_key().unwrap();
    let layout = Layout::open(home.registry()).unwrap();
    let versions = Versions { layout: &layout, job: &job };
    versions.write().await;
    let layers = layers(&home, &job);
    share(&root.join("shared"), &job, &layers).await;
    for (folder, no_referrers) in [("remote", false), ("remote-without-referrers", true)] {
        let registry = TestRegistry::start(Habits { no_referrers, ..Habits::default() }).await;
        push(&registry, &layout, &job).await;
        registry.save("team/web", &root.join(folder));
    }
    job.end().unwrap();
    // A job that was killed: its journal and its folder stay.
    let killed = begin(&home, "build-0000000002");
    killed
        .record(&imgbake_runtime::journal::Entry::Process { program: "qemu".to_owned() })
        .unwrap();
    fs::write(killed.work().join("disk.raw"), "half a disk").unwrap();
    for unwanted in ["registry/leases", "cache/locks", "cache/transfers"] {
        let _ = fs::remove_dir_all(home.root().join(unwanted));
    }
}

fn begin(home: &Home, id: &str) -> Job {
    let (events, _) = Events::channel(id, Secrets::default());
    Job::begin(home, id, Cancel::new(), events, Secrets::default()).unwrap()
}

/// Bytes that cannot be compressed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

struct Versions<'a> {
    layout: &'a Layout,
    job: &'a Job,
}

impl Versions<'_> {
    async fn write(&self) {
        self.publish("base", "2026.11.19", 1, None).await;
        let base = self.publish("base", "2026.11.20", 2, None).await;
        self.verify(&base, VerifyStatus::Passed, "2026-11-20T11:00:00Z").await;
        self.move_to(&base, "prod", "2026-11-20T12:00:00Z", None).await;
        let base = self.publish("base", "2026.11.22", 3, None).await;
        self.verify(&base, VerifyStatus::Passed, "2026-11-22T11:00:00Z").await;
        let first = self.publish("web", "2026.11.21", 4, Some(&base)).await;
        self.verify(&first, VerifyStatus::Passed, "2026-11-21T11:00:00Z").await;
        let second = self.publish("web", "2026.11.22", 5, Some(&base)).await;
        self.verify(&second, VerifyStatus::Failed, "2026-11-22T12:00:00Z").await;
        let third = self.publish("web", "2026.11.23", 6, Some(&base)).await;
        self.verify(&third, VerifyStatus::Failed, "2026-11-23T11:00:00Z").await;
        self.verify(&third, VerifyStatus::Passed, "2026-11-23T12:00:00Z").await;
        self.move_to(&first, "dev", "2026-11-21T12:00:00Z", None).await;
        self.move_to(&first, "prod", "2026-11-21T13:00:00Z", Some("first release")).await;
        self.move_to(&third, "dev", "2026-11-23T13:00:00Z", None).await;
        self.move_to(&third, "prod", "2026-11-23T14:00:00Z", Some("TLS 1.0 is off")).await;
        self.move_to(&first, "prod", "2026-11-23T15:00:00Z", Some("rolled back")).await;
        let held = format!("web:{}", second.version).parse().unwrap();
        self.layout.hold(&held, "for the incident report").await.unwrap();
        self.collect().await;
    }

    async fn publish(
        &self,
        name: &str,
        day: &str,
        seed: u64,
        parent: Option<&VersionView>,
    ) -> VersionView {
        let mut disk = vec![0; DISK];
        disk[..2 * KIB].copy_from_slice(&noise(1000, 2 * KIB));
        disk[DISK / 2..DISK / 2 + 4 * KIB].copy_from_slice(&noise(seed, 4 * KIB));
        let naming = Naming::Dated { day: day.to_owned() };
        let config = config(name, day, parent);
        self.layout.publish(&self.capture(&disk), config, &naming).await.unwrap()
    }

    fn capture(&self, disk: &[u8]) -> Capture {
        let folder = tempfile::tempdir_in(self.job.work()).unwrap().keep();
        let folder = Utf8PathBuf::from_path_buf(folder).unwrap();
        let path = folder.join("disk");
        fs::write(&path, disk).unwrap();
        let image = DiskImage::open_as(&path, DiskFormat::Raw).unwrap();
        let request = CaptureRequest {
            disk: &image,
            folder: &folder,
            known: imgbake_build::KnownChunks::default(),
            changed: None,
            tap: Box::new(NoTap),
            cancel: &Cancel::new(),
            progress: &|_| {},
        };
        imgbake_build::capture::capture(request).unwrap().0
    }

    async fn verify(&self, version: &VersionView, status: VerifyStatus, time: &str) {
        let record = VerifyRecord {
            subject: version.digest.clone(),
            time: time.parse().unwrap(),
            status,
            tests: vec![
                TestOutcome {
                    name: "boots".to_owned(),
                    machine: "verify-1".to_owned(),
                    passed: true,
                    seconds: 33.5,
                    detail: String::new(),
                },
                TestOutcome {
                    name: "serves".to_owned(),
                    machine: "verify-1".to_owned(),
                    passed: status == VerifyStatus::Passed,
                    seconds: 1.5,
                    detail: "curl: (7) Failed to connect".to_owned(),
                },
            ],
            seconds: 41.25,
            disk_sha256: version.disk.sha256.clone(),
        };
        record_verify(&*self.layout.image(&version.name), &record).await.unwrap();
    }

    async fn move_to(&self, to: &VersionView, channel: &str, time: &str, reason: Option<&str>) {
        let image = self.layout.image(&to.name);
        let state = image.state(&channel.parse().unwrap()).await.unwrap();
        let version = VersionRef { version: to.version.clone(), digest: to.digest.clone() };
        let entry = ChannelMove {
            time: time.parse().unwrap(),
            action: if channel == "dev" { Action::Build } else { Action::Promote },
            source: (channel != "dev").then(|| format!("{}:dev", to.name)),
            reason: reason.map(str::to_owned),
            ..channel_move(&state, channel, version)
        };
        let moved = image.swap(&ComposedMove::new(entry).unwrap()).await.unwrap();
        assert!(matches!(moved, Swap::Moved(_)), "{moved:?}");
    }

    /// Takes the first base away: its name is remembered.
    async fn collect(&self) {
        let request = GcRequest {
            retention: Retention {
                keep: Some(3),
                keep_per_channel: Some(3),
                days: [("prod".to_owned(), 30)].into(),
            },
            grace: SignedDuration::ZERO,
            dry_run: false,
            now: Timestamp::now() + SignedDuration::from_hours(24 * 365),
            clock: None,
        };
        let keep_all = self.layout.gc(request.clone()).await.unwrap();
        assert_eq!(keep_all.versions.iter().filter(|version| !version.kept).count(), 0);
        let retention = Retention { keep: Some(2), ..request.retention.clone() };
        self.layout.gc(GcRequest { retention, ..request }).await.unwrap();
    }
}

fn config(name: &str, day: &str, parent: Option<&VersionView>) -> ImageConfig {
    let parent = match parent {
        Some(parent) => Parent {
            reference: Some(format!("{}:{}", parent.name, parent.version).parse().unwrap()),
            native: None,
            digest: parent.digest.clone(),
            kind: "image".to_owned(),
        },
        None => Parent {
            reference: None,
            native: None,
            digest: Digest::sha256("the bootstrap's key"),
            kind: "bootstrap".to_owned(),
        },
    };
    let stage = |stage: Stage, name: &str, layer: bool| StageRecord {
        stage,
        name: name.to_owned(),
        seconds: 12.5,
        bytes: 4096,
        cached: layer,
        layer: layer
            .then(|| LayerRef { key: key(name), created: "2026-11-20T10:00:00Z".parse().unwrap() }),
        report: None,
        seal: None,
    };
    ImageConfig {
        created: format!("{}T10:00:00Z", day.replace('.', "-")).parse().unwrap(),
        description: Some("a web server".to_owned()),
        parent: Some(parent),
        labels: [("team".to_owned(), "web".to_owned())].into(),
        proof: proof(),
        stages: vec![
            stage(Stage::Source, "source", true),
            stage(Stage::Boot, "boot", true),
            stage(Stage::Provision, "nginx", false),
            stage(Stage::Seal, "seal", false),
            stage(Stage::Capture, "capture", false),
        ],
        ..image_config(name)
    }
}

/// With every key that a template can give.
fn proof() -> Proof {
    serde_json::from_value(serde_json::json!({
        "machine": {
            "cpus": 2, "memory": "1GiB", "disk": "4GiB", "extra_disks": ["1GiB"], "accel": "tcg",
            "cpu": "max", "firmware": "uefi", "boot": "firmware", "boot_timeout": "10m",
            "restore_timeout": "1m", "shutdown_timeout": "3m", "args": ["-device", "virtio-rng-pci"]
        },
        "verify": {
            "enabled": true, "clones": 2, "firmware": ["bios", "uefi"],
            "allow_failed_units": ["mcelog.service"]
        },
        "tests": [
            { "name": "serves", "run": "curl -fsS localhost", "user": "admin", "timeout": "30s" },
            { "run": "test -n \"⟦secret:token⟧\"" }
        ]
    }))
    .unwrap()
}

fn key(name: &str) -> Digest {
    Digest::sha256(name)
}

/// A source's layer and two on it, one with a machine's state.
fn layers(home: &Home, job: &Job) -> Vec<Layer> {
    let cache = LayerCache::open(home, Size::mib(1024)).unwrap();
    let draft = cache.begin(cache.try_claim(&key("source")).unwrap().unwrap(), None).unwrap();
    draft.take_base(&base_disk(job.work()), job).unwrap();
    let source = draft.commit(new_layer(Stage::Source, "source")).unwrap();
    let mut boot = new_layer(Stage::Boot, "boot");
    boot.state = Some(NewState {
        signature: "qemu 10.0.2".to_owned(),
        seed: Seed::new("build-0000000000", "build", "root", true),
        uuid: uuid::Uuid::default(),
        booted_from: key("source"),
    });
    let boot = layer(&cache, &source, boot);
    let mut nginx = new_layer(Stage::Provision, "nginx");
    nginx.shareable = false;
    let nginx = layer(&cache, &boot, nginx);
    vec![source, boot, nginx]
}

fn base_disk(dir: &Utf8Path) -> BaseDisk {
    let path = dir.join("base.raw");
    let file = File::create(&path).unwrap();
    file.set_len(DISK as u64).unwrap();
    file.write_all_at(&noise(7, 4 * KIB), 64 * KIB as u64).unwrap();
    let kernel = dir.join("vmlinuz");
    fs::write(&kernel, noise(8, KIB)).unwrap();
    let initrd = dir.join("initrd");
    fs::write(&initrd, noise(9, KIB)).unwrap();
    BaseDisk {
        location: LocalDisk {
            path,
            format: imgbake_disk::DiskFormat::Raw,
            virtual_size: DISK as u64,
            kernel: Some(KernelFiles { kernel, initrd: Some(initrd), cmdline: "quiet".to_owned() }),
            extra: Vec::new(),
        }
        .into(),
        parent: Parent {
            reference: None,
            native: None,
            digest: key("bootstrap"),
            kind: "bootstrap".to_owned(),
        },
        bytes: 12,
        cached: false,
    }
}

fn layer(cache: &LayerCache, below: &Layer, new: NewLayer) -> Layer {
    let claim = cache.try_claim(&key(&new.name)).unwrap().unwrap();
    let draft = cache.begin(claim, Some(below.key())).unwrap();
    let format = DiskImage::open(&below.disk_path()).unwrap().format();
    create_overlay(&draft.disk(), &below.disk_path(), format, DISK as u64, 12).unwrap();
    let mut disk = OpenOptions::new().append(true).open(draft.disk()).unwrap();
    disk.write_all(&noise(10, KIB)).unwrap();
    if new.state.is_some() {
        fs::write(draft.state(), noise(11, KIB)).unwrap();
    }
    draft.commit(new).unwrap()
}

fn new_layer(stage: Stage, name: &str) -> NewLayer {
    NewLayer {
        stage,
        name: name.to_owned(),
        image: "web".to_owned(),
        arch: Arch::X86_64,
        tool: format!("imgbake {}", env!("CARGO_PKG_VERSION")),
        seconds: 12.5,
        bytes: 4096,
        report: None,
        shareable: true,
        planted: Planted {
            patterns: vec![Pattern {
                name: "canary".to_owned(),
                bytes: b"imgbake-canary-0000000000".to_vec(),
                severe: true,
            }],
            resolv_conf: "nameserver 10.0.2.3\n".to_owned(),
        },
        state: None,
    }
}

/// Shares a layer as a build does.
async fn share(dir: &Utf8Path, job: &Job, layers: &[Layer]) {
    let share = LayoutShare::open(dir).unwrap();
    for layer in layers.iter().filter(|layer| layer.record().shareable) {
        let (record, disk) = (layer.record(), layer.local_disk());
        let name = format!("disk.{}", record.disk.format);
        let mut files = vec![(name.clone(), disk.path.clone())];
        if let Some(kernel) = &disk.kernel {
            files.push(("kernel".to_owned(), kernel.kernel.clone()));
            files.extend(kernel.initrd.iter().map(|path| ("initrd".to_owned(), path.clone())));
        }
        let public = serde_json::json!({
            "stage": record.stage, "name": record.name, "image": record.image,
            "arch": record.arch, "tool": record.tool, "seconds": record.seconds,
            "bytes": record.bytes, "planted": record.planted, "disk": name,
            "virtual_size": disk.virtual_size,
            "parent": record.base.as_ref().map(|base| &base.parent),
            "cmdline": disk.kernel.as_ref().map(|kernel| &kernel.cmdline)
        });
        let layer = SharedLayer {
            key: layer.key().clone(),
            parent: layer.parent().map(|parent| parent.key().clone()),
            record: serde_json::to_vec(&public).unwrap(),
            files,
        };
        share.push(job, layer).await.unwrap();
    }
}

/// Pushes every version of `web` and names the channel `prod`.
async fn push(registry: &TestRegistry, layout: &Layout, job: &Job) {
    let remote = Remote::connect(job, &registry.host(), &RemoteOptions::default()).await.unwrap();
    let repository = remote.repository("team/web").unwrap();
    let from = End::local(layout, "web").unwrap();
    for version in layout.versions(Some("web")).await.unwrap() {
        let to = End::remote(job, repository.clone());
        let target = Target::Tag(version.version().to_string());
        copy(job, &from, &target, &to, None).await.unwrap();
        if version.channels().iter().any(|channel| channel == "prod") {
            let manifest = repository.manifest(&target).await.unwrap().unwrap();
            repository.move_tag("prod", None, &manifest).await.unwrap();
        }
    }
}
