//! What others do with the same disks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::disks::Disks;
use super::worker::size;
use crate::Result;
use crate::bench::ground::Ground;
use crate::bench::{commands, files};

/// One peer's time and bytes.
pub(super) struct Cost {
    pub(super) seconds: f64,
    pub(super) bytes: u64,
}

/// All peers' on the first disk.
pub(super) struct Peers {
    pub(super) zstd: Cost,
    pub(super) zstd_d: f64,
    qemu_zlib: Cost,
    qemu_zstd: Cost,
    casync: Cost,
    casync_rebuild: Cost,
    skopeo: Cost,
}

/// A peer's figures' name, and where they are.
type Named = (&'static str, fn(&Peers) -> &Cost);

/// Peers whose figures are named after them.
pub(super) const NAMES: [Named; 5] = [
    ("qemu_img_zlib", |peers| &peers.qemu_zlib),
    ("qemu_img_zstd", |peers| &peers.qemu_zstd),
    ("casync", |peers| &peers.casync),
    ("casync_rebuild", |peers| &peers.casync_rebuild),
    ("skopeo", |peers| &peers.skopeo),
];

impl Peers {
    /// Runs each once.
    pub(super) fn run(ground: &Ground, disks: &Disks) -> Result<Self> {
        let dir = ground.dir.join("registry/peers");
        files::remove(&dir)?;
        fs::create_dir_all(&dir)?;
        // All find the disk in the page cache.
        std::io::copy(&mut fs::File::open(&disks.first)?, &mut std::io::sink())?;
        let packed = dir.join("first.zst");
        let zstd = timed(
            Command::new("zstd")
                .args(["-q", "-3", "-T2", "-f"])
                .arg(&disks.first)
                .arg("-o")
                .arg(&packed),
            &packed,
        )?;
        let raw = dir.join("first.raw");
        let zstd_d = commands::seconds(
            Command::new("zstd").args(["-q", "-d", "-f"]).arg(&packed).arg("-o").arg(&raw),
        )?;
        fs::remove_file(&raw)?;
        let qcow2 = |kind: &str| {
            let out = dir.join(format!("{kind}.qcow2"));
            let mut convert = Command::new("qemu-img");
            convert.args(["convert", "-c", "-W", "-m", "16", "-f", "raw", "-O", "qcow2", "-o"]);
            convert.arg(format!("compression_type={kind}")).arg(&disks.first).arg(&out);
            timed(&mut convert, &out)
        };
        let store = dir.join("casync");
        let casync = |disk: &Path, name: &str| {
            let before = size(&store)?;
            let mut make = Command::new("casync");
            make.arg("make")
                .arg(format!("--store={}", store.display()))
                .arg(dir.join(name))
                .arg(disk);
            let seconds = commands::seconds(&mut make)?;
            Ok::<_, Box<dyn std::error::Error>>(Cost { seconds, bytes: size(&store)? - before })
        };
        Ok(Self {
            zstd_d,
            qemu_zlib: qcow2("zlib")?,
            qemu_zstd: qcow2("zstd")?,
            casync: casync(&disks.first, "first.caibx")?,
            casync_rebuild: casync(&disks.rebuild, "rebuild.caibx")?,
            skopeo: skopeo(&dir, &packed)?,
            zstd,
        })
    }
}

/// Runs a command, and looks at what it wrote.
fn timed(command: &mut Command, output: &Path) -> Result<Cost> {
    Ok(Cost { seconds: commands::seconds(command)?, bytes: fs::metadata(output)?.len() })
}

/// `skopeo copy` of an image with one layer, the packed disk, to a registry of this host.
fn skopeo(dir: &Path, packed: &Path) -> Result<Cost> {
    let layout = dir.join("layout");
    let bytes = one_layer(&layout, packed)?;
    let server = Server::start(&dir.join("server"))?;
    let mut copy = Command::new("skopeo");
    copy.args(["copy", "--insecure-policy", "--dest-tls-verify=false"]);
    copy.arg(format!("oci:{}:disk", layout.display()));
    copy.arg(format!("docker://{}/disk:1", server.address));
    let seconds = commands::seconds(&mut copy)?;
    Ok(Cost { seconds, bytes })
}

/// An OCI image layout with one image of one layer; gives the layer's size.
fn one_layer(layout: &Path, packed: &Path) -> Result<u64> {
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let bytes = fs::read(packed)?;
    let put = |bytes: &[u8], kind: &str| {
        let digest = imgbake_types::Digest::sha256(bytes);
        fs::write(blobs.join(digest.hex()), bytes)?;
        Ok::<_, std::io::Error>(
            serde_json::json!({"mediaType": kind, "digest": digest, "size": bytes.len()}),
        )
    };
    let layer = put(&bytes, "application/vnd.oci.image.layer.v1.tar+zstd")?;
    let config = put(b"{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}",
        "application/vnd.oci.image.config.v1+json")?;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]});
    let mut manifest = put(&serde_json::to_vec(&manifest)?, kind)?;
    manifest["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": "disk"});
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(layout.join("index.json"), serde_json::to_vec(&index)?)?;
    fs::write(layout.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}")?;
    Ok(bytes.len() as u64)
}

/// A `docker-registry` on this host, until it is dropped.
pub(super) struct Server {
    /// Host and port.
    pub(super) address: String,
    process: Child,
}

/// How long the server may take to answer.
const START_LIMIT: Duration = Duration::from_secs(20);

impl Server {
    /// Starts one whose files are in a folder.
    pub(super) fn start(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let config: PathBuf = dir.join("config.yml");
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
                 http:\n  addr: {address}\n",
                dir.join("data").display()
            ),
        )?;
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("docker-registry: {error}"))?;
        let server = Self { address, process };
        // Nothing shows when it listens: asked again and again, ever more rarely.
        let (started, mut wait) = (Instant::now(), Duration::from_millis(50));
        while std::net::TcpStream::connect(&server.address).is_err() {
            if started.elapsed() > START_LIMIT {
                return Err("docker-registry did not start".into());
            }
            std::thread::sleep(wait);
            wait = (wait * 2).min(Duration::from_secs(1));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
