//! The disks of a machine that runs: each a chain of images whose topmost one it writes to.

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::extra_beside;

use crate::argv::{ROOT_NODE, extra_node};
use crate::files::Files;

/// One disk of a machine that runs.
#[derive(Debug, Clone)]
pub(crate) struct LiveDisk {
    /// The topmost image.
    pub(crate) path: Utf8PathBuf,
    /// The disk's size in bytes.
    pub(crate) virtual_size: u64,
    /// Its first image's node in QEMU.
    node: String,
    /// How often it was frozen: the number of its topmost image.
    frozen: u32,
}

impl LiveDisk {
    /// The root disk.
    pub(crate) fn root(path: Utf8PathBuf, virtual_size: u64) -> Self {
        Self { path, virtual_size, node: ROOT_NODE.to_owned(), frozen: 0 }
    }

    /// An extra disk; `number` counts from 1.
    pub(crate) fn extra(path: Utf8PathBuf, virtual_size: u64, number: usize) -> Self {
        Self { path, virtual_size, node: extra_node(number), frozen: 0 }
    }

    /// The topmost image's node.
    pub(crate) fn topmost(&self) -> String {
        self.numbered(self.frozen)
    }

    fn numbered(&self, number: u32) -> String {
        if number == 0 { self.node.clone() } else { format!("{}-{number}", self.node) }
    }

    /// The next image that is put on top.
    pub(crate) fn next(&self, files: &Files) -> Self {
        let frozen = self.frozen + 1;
        let path = files.path(&format!("-{}.qcow2", self.numbered(frozen)));
        Self { path, frozen, ..self.clone() }
    }
}

/// Where each of a machine's disks is frozen to, the root disk to `root`.
pub(crate) fn frozen_to(root: &Utf8Path, disks: usize) -> Vec<Utf8PathBuf> {
    let extra = (1..disks).map(|number| extra_beside(root, number));
    std::iter::once(root.to_owned()).chain(extra).collect()
}
