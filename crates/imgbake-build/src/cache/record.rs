//! What is written down of a layer: `layer.json`, which comes last and makes the folder a layer.
//!
//! The file is `{"digest":"sha256:HEX","layer":RECORD}`; the digest is that of RECORD's bytes as they
//! stand, so that a record that was changed by hand or by a failing disk is not believed.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use imgbake_disk::DiskFormat;
use imgbake_types::record::step::if_known;
use imgbake_types::record::{Document, Parent, Problem, format};
use imgbake_types::{Arch, Digest, Stage, StepReport};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::error::{CacheError, CacheErrorKind, io_at};
use crate::{Planted, Seed};

/// The file's name in a layer's folder.
pub(super) const FILE: &str = "layer.json";
/// The largest one that is read or written, in bytes.
const MAX: u64 = 8 << 20;

/// One layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LayerRecord {
    /// The oldest format of records that says all of it: [`LayerRecord::format`].
    pub format: u32,
    /// The key of the step that it is the result of.
    pub key: Digest,
    /// The layer that it is based on; none below a source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentLayer>,
    /// The step's stage: source, boot or provision.
    pub stage: Stage,
    /// The step's name.
    pub name: String,
    /// The image that it was made for first.
    pub image: String,
    /// The architecture.
    pub arch: Arch,
    /// When it was made.
    pub created: Timestamp,
    /// Which imgbake made it.
    pub tool: String,
    /// What the step took.
    pub seconds: f64,
    /// Bytes that the step made or moved.
    pub bytes: u64,
    /// What a provision step did when it ran.
    #[serde(default, deserialize_with = "if_known", skip_serializing_if = "Option::is_none")]
    pub report: Option<Box<StepReport>>,
    /// Whether others may be given it: not what has seen a sensitive value.
    pub shareable: bool,
    /// Its disk.
    pub disk: DiskFile,
    /// What its machine's extra disks hold, the first disk's first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<DiskFile>,
    /// What a source's layer knows beside its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseRecord>,
    /// What must be remembered of its machine until that is sealed.
    #[serde(default)]
    pub planted: Planted,
    /// The machine as it stood, where it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateRecord>,
    /// What this imgbake does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Records of layers without extra disks: every imgbake reads them.
const PLAIN: u32 = 1;
/// Records of layers with extra disks: who does not know of these must not use such a layer.
const WITH_EXTRA_DISKS: u32 = 2;

impl Document for LayerRecord {
    const FORMAT: u32 = WITH_EXTRA_DISKS;
}

/// The layer that another is based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentLayer {
    /// Its key.
    pub key: Digest,
    /// The digest of its disk's file: a layer that was made anew under the same key is another one.
    pub disk: Digest,
    /// The digests of its extra disks' files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<Digest>,
}

impl ParentLayer {
    /// A layer as what another is based on.
    pub(super) fn of(record: &LayerRecord) -> Self {
        Self {
            key: record.key.clone(),
            disk: record.disk.file.digest.clone(),
            extra: record.extra.iter().map(|extra| extra.file.digest.clone()).collect(),
        }
    }
}

/// A file of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerFile {
    /// Its name in the layer's folder, or the absolute path of a file that is not the cache's.
    pub file: Utf8PathBuf,
    /// Bytes that it takes on its file system.
    pub allocated: u64,
    /// The digest of its blocks that are not zero, and of its length (see `cache/proof.rs`).
    pub digest: Digest,
}

/// A layer's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFile {
    /// Its file.
    #[serde(flatten)]
    pub file: LayerFile,
    /// Raw or qcow2.
    #[serde(with = "text")]
    pub format: DiskFormat,
    /// The virtual disk's size in bytes.
    pub virtual_size: u64,
    /// The disk that it is an overlay of: as its own header names it, from its folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backing: Option<Utf8PathBuf>,
}

/// What a source said of its disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseRecord {
    /// What a version built on it records as its parent.
    pub parent: Parent,
    /// The disk's kernel, where the source had it at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelRecord>,
}

/// A kernel beside a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelRecord {
    /// The kernel image.
    pub kernel: LayerFile,
    /// The initial RAM disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initrd: Option<LayerFile>,
    /// The command line.
    pub cmdline: String,
}

/// A machine as it stood. It holds the machine's private ssh keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StateRecord {
    /// Memory and devices.
    pub file: LayerFile,
    /// What the builder said the state depends on (`Builder::signature`).
    pub signature: String,
    /// What lets a build into the machine.
    pub seed: Seed,
    /// Its identity in SMBIOS.
    #[serde(with = "text")]
    pub uuid: Uuid,
    /// The key of the layer from whose disk the machine was booted: its kernel runs.
    pub booted_from: Digest,
}

impl LayerRecord {
    /// The format of a record with these extra disks.
    pub(super) fn format(extra: &[DiskFile]) -> u32 {
        if extra.is_empty() { PLAIN } else { WITH_EXTRA_DISKS }
    }

    /// Every file that proves the layer, by the name that a person knows it by.
    pub(crate) fn files(&self) -> Vec<(&'static str, &LayerFile)> {
        let kernel = self.base.as_ref().and_then(|base| base.kernel.as_ref());
        let mut files = vec![("disk", &self.disk.file)];
        files.extend(self.extra.iter().map(|extra| ("extra disk", &extra.file)));
        files.extend(kernel.map(|kernel| ("kernel", &kernel.kernel)));
        let initrd = kernel.and_then(|kernel| kernel.initrd.as_ref());
        files.extend(initrd.map(|initrd| ("initrd", initrd)));
        files.extend(self.state.as_ref().map(|state| ("state", &state.file)));
        files
    }
}

impl LayerFile {
    /// Where the file of a layer in `dir` is; `None` for a name that leads out of the folder.
    pub(crate) fn path(&self, dir: &Utf8Path) -> Option<Utf8PathBuf> {
        let mut parts = self.file.components();
        let plain = matches!((parts.next(), parts.next()), (Some(Utf8Component::Normal(_)), None));
        (plain || self.file.is_absolute()).then(|| dir.join(&self.file))
    }
}

/// Values that serde knows by their text alone.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The bytes of a folder's `layer.json`; `None` where there is none.
pub(super) fn read(dir: &Utf8Path) -> io::Result<Option<Vec<u8>>> {
    let file = match imgbake_runtime::regular::open(dir.join(FILE)) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        opened => opened?,
    };
    let mut bytes = Vec::new();
    // One byte more than is right: then its digest is not.
    file.take(MAX + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Reads a record from the bytes of a `layer.json`.
pub(crate) fn parse(bytes: &[u8]) -> Result<LayerRecord, Problem> {
    let damaged = |why: &str| Problem::Damaged { why: why.to_owned() };
    let body =
        body(bytes).ok_or_else(|| damaged("its layer.json is not one that imgbake wrote"))?;
    let (head, layer) = body;
    if Digest::sha256(layer).to_string() != head {
        return Err(damaged("its layer.json was changed"));
    }
    format::read(layer.as_bytes()).map_err(|problem| match problem {
        Problem::Damaged { why } => damaged(&format!("its layer.json cannot be read: {why}")),
        newer @ Problem::Newer { .. } => newer,
    })
}

/// Whether a folder's layer is one that only a newer imgbake reads.
pub(super) fn is_newer(dir: &Utf8Path) -> bool {
    let bytes = read(dir).ok().flatten();
    bytes.is_some_and(|bytes| parse(&bytes).is_err_and(|problem| problem.is_newer()))
}

/// Reads of a record which layer it is based on, and no more.
pub(super) fn parent_of(bytes: &[u8]) -> Option<ParentLayer> {
    #[derive(Deserialize)]
    struct Brief {
        parent: Option<ParentLayer>,
    }
    serde_json::from_str::<Brief>(body(bytes)?.1).ok()?.parent
}

/// The digest's text and the record's.
fn body(bytes: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (digest, rest) = text.strip_prefix("{\"digest\":\"")?.split_once("\",\"layer\":")?;
    Some((digest, rest.strip_suffix("}\n")?))
}

/// Writes a record, at once: the folder is a layer when this returns, and none where it fails. Only this
/// user can read it. Nothing is synced: what a power cut takes of a layer, its proof misses.
pub(super) fn write(dir: &Utf8Path, record: &LayerRecord) -> Result<(), CacheError> {
    let layer = serde_json::to_string(record).map_err(|error| {
        CacheError::new(CacheErrorKind::Invalid, format!("cannot write a layer.json: {error}"))
    })?;
    let bytes = format!("{{\"digest\":\"{}\",\"layer\":{layer}}}\n", Digest::sha256(&layer));
    if bytes.len() as u64 > MAX {
        let why = format!("a layer.json would be longer than {} MiB", MAX >> 20);
        return Err(CacheError::new(CacheErrorKind::Invalid, why));
    }
    let (path, fresh) = (dir.join(FILE), dir.join("layer.json.new"));
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&fresh)
        .map_err(io_at("make", &fresh))?;
    file.write_all(bytes.as_bytes())
        .and_then(|()| fs::rename(&fresh, &path))
        .map_err(io_at("write", &path))?;
    Ok(())
}
