//! What a home's layer cache holds, read without the program.

use std::fs::{self, File, TryLockError};

use camino::Utf8PathBuf;
use serde_json::Value;

use crate::TestHome;

/// One layer's folder.
#[derive(Debug)]
pub struct StoredLayer {
    /// The folder.
    pub dir: Utf8PathBuf,
    /// What its `layer.json` says.
    pub record: Value,
}

impl StoredLayer {
    /// The name of the step that it is the result of.
    pub fn name(&self) -> &str {
        self.record["name"].as_str().unwrap()
    }

    /// Its disk, an overlay.
    pub fn disk(&self) -> Utf8PathBuf {
        self.dir.join("disk.qcow2")
    }

    /// Its machine's memory and devices; the file need not exist.
    pub fn state(&self) -> Utf8PathBuf {
        self.dir.join("state")
    }

    /// Its record's file.
    pub fn json(&self) -> Utf8PathBuf {
        self.dir.join("layer.json")
    }
}

impl TestHome {
    /// Where its layers are.
    pub fn layers_dir(&self) -> Utf8PathBuf {
        self.home().join("cache/layers")
    }

    /// Its layers, in no order.
    pub fn layers(&self) -> Vec<StoredLayer> {
        let layer = |dir: Utf8PathBuf| {
            let text = fs::read(dir.join("layer.json")).ok()?;
            let mut value: Value = serde_json::from_slice(&text).unwrap();
            Some(StoredLayer { dir, record: value["layer"].take() })
        };
        self.layer_folders().into_iter().filter_map(layer).collect()
    }

    /// The one layer of the steps with this name.
    #[track_caller]
    pub fn layer(&self, name: &str) -> StoredLayer {
        let mut found: Vec<_> =
            self.layers().into_iter().filter(|layer| layer.name() == name).collect();
        assert_eq!(found.len(), 1, "layers of `{name}`: {found:?}");
        found.remove(0)
    }

    /// Folders of the cache that are no layers.
    pub(crate) fn half_layers(&self) -> Vec<String> {
        let half = |dir: &Utf8PathBuf| !dir.join("layer.json").exists();
        let folders = self.layer_folders().into_iter().filter(half);
        folders.map(|dir| format!("half a layer {dir}")).collect()
    }

    /// Locks of the cache that somebody holds.
    pub(crate) fn held_locks(&self) -> Vec<String> {
        let mut held = Vec::new();
        for entry in self.home().join("cache/locks").read_dir_utf8().into_iter().flatten() {
            let path = entry.unwrap().into_path();
            let Ok(file) = File::open(&path) else { continue };
            if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
                held.push(format!("a lock that is held {path}"));
            }
        }
        held
    }

    fn layer_folders(&self) -> Vec<Utf8PathBuf> {
        let entries = self.layers_dir().read_dir_utf8().into_iter().flatten();
        entries.map(|entry| entry.unwrap().into_path()).filter(|path| path.is_dir()).collect()
    }
}
