//! What is in the cache, without reading disks.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_types::{Digest, Stage};
use jiff::Timestamp;
use serde::Serialize;

use super::LayerCache;
use super::error::CacheError;
use super::layer::USED;
use super::lock::Lock;
use super::record::{self, LayerRecord};

/// One layer, as `imgbake cache ls` shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerInfo {
    /// Its step's key.
    pub key: Digest,
    /// The key of the layer that it is based on.
    pub parent: Option<Digest>,
    /// The image that it was made for first.
    pub image: String,
    /// The step's name.
    pub name: String,
    /// The step's stage.
    pub stage: Stage,
    /// When it was made.
    pub created: Timestamp,
    /// When it was used last.
    pub used: Timestamp,
    /// Bytes that its disk takes, and all else but the state.
    pub disk_bytes: u64,
    /// Bytes that the machine's state takes.
    pub state_bytes: u64,
    /// Whether others may be given it.
    pub shareable: bool,
    /// Whether it is in use now.
    pub in_use: bool,
    /// How many layers are based on it.
    pub children: usize,
}

/// What a folder of the cache holds.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Digest,
    pub(super) dir: Utf8PathBuf,
    pub(super) content: Content,
    pub(super) bytes: Bytes,
    pub(super) used: SystemTime,
}

#[derive(Debug)]
pub(super) enum Content {
    /// No record: half a layer, or one that is being made.
    Half,
    /// A record that cannot be believed, as it stands.
    Broken(Vec<u8>),
    /// A layer that only a newer imgbake reads.
    Newer,
    /// A layer, whose files may or may not be right.
    Layer(Box<LayerRecord>),
}

/// Bytes that a folder takes on its file system.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bytes {
    pub(super) disk: u64,
    pub(super) state: u64,
}

impl Entry {
    pub(super) fn record(&self) -> Option<&LayerRecord> {
        match &self.content {
            Content::Layer(record) => Some(record),
            Content::Half | Content::Broken(_) | Content::Newer => None,
        }
    }

    pub(super) fn parent(&self) -> Option<&Digest> {
        self.record()?.parent.as_ref().map(|parent| &parent.key)
    }
}

impl LayerCache {
    /// Every layer, the one that was used last first. Files are not proved.
    pub fn list(&self) -> Vec<LayerInfo> {
        let entries = self.survey().unwrap_or_default();
        let mut children: BTreeMap<&Digest, usize> = BTreeMap::new();
        for parent in entries.iter().filter_map(Entry::parent) {
            *children.entry(parent).or_default() += 1;
        }
        let mut list: Vec<_> = entries
            .iter()
            .filter_map(|entry| {
                let record = entry.record()?;
                Some(LayerInfo {
                    key: entry.key.clone(),
                    parent: entry.parent().cloned(),
                    image: record.image.clone(),
                    name: record.name.clone(),
                    stage: record.stage,
                    created: record.created,
                    used: Timestamp::try_from(entry.used).unwrap_or(record.created),
                    disk_bytes: entry.bytes.disk,
                    state_bytes: entry.bytes.state,
                    shareable: record.shareable,
                    in_use: Lock::is_held(&self.lock_path(&entry.key, "use")),
                    children: children.get(&entry.key).copied().unwrap_or_default(),
                })
            })
            .collect();
        list.sort_by_key(|info| std::cmp::Reverse(info.used));
        list
    }

    /// Every folder of the cache, in no order.
    pub(super) fn survey(&self) -> Result<Vec<Entry>, CacheError> {
        let entry = |key: Digest| {
            let dir = self.folder(&key);
            let content = match record::read(&dir) {
                Ok(Some(bytes)) => match record::parse(&bytes) {
                    Ok(record) => Content::Layer(Box::new(record)),
                    Err(problem) if problem.is_newer() => Content::Newer,
                    Err(_) => Content::Broken(bytes),
                },
                Ok(None) => Content::Half,
                // One that cannot be read now is not judged.
                Err(_) => return None,
            };
            let used = dir.join(USED).metadata().or_else(|_| dir.metadata());
            let used = used.and_then(|used| used.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            let bytes = folder_bytes(&dir);
            Some(Entry { key, dir, content, bytes, used })
        };
        Ok(self.keys()?.into_iter().filter_map(entry).collect())
    }
}

/// What a layer's folder takes. Files that it refers to are not the cache's.
pub(super) fn folder_bytes(dir: &Utf8Path) -> Bytes {
    let mut bytes = Bytes::default();
    for entry in dir.read_dir_utf8().into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        let taken = metadata.blocks() * 512;
        match entry.file_name() {
            "state" => bytes.state += taken,
            _ => bytes.disk += taken,
        }
    }
    bytes
}
