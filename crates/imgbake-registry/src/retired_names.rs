//! Names of versions that are gone: `given.json`. What a version's name means never changes, so that a
//! name which gc takes away is remembered with the digest that had it.
//!
//! Other tools know nothing of the file: what they copy into the layout or out of it leaves it alone.

use std::collections::BTreeMap;

use imgbake_types::Digest;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::files::{self, MAX_LIST, parse, read_bounded, sync_dir};
use crate::store::{Store, list_json};

const FILE: &str = "given.json";

/// Versions that are gone: image, version, digest.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct RetiredNames(BTreeMap<String, BTreeMap<String, Digest>>);

impl RetiredNames {
    /// Reads what is remembered.
    pub(crate) fn read(store: &Store) -> Result<Self> {
        let path = store.root().join(FILE);
        let Some(bytes) = read_bounded(&path, MAX_LIST)? else { return Ok(Self::default()) };
        parse(&bytes, path.as_str()).map_err(|error| {
            error.help(
                "put it back from a copy of the registry; without it, names of versions that are gone \
                 can be given again",
            )
        })
    }

    /// Replaces what is remembered; durable when it returns. The lock must be held.
    pub(crate) fn write(&self, store: &Store) -> Result<()> {
        files::write(&store.scratch(), &store.root().join(FILE), &list_json(self)?)?;
        sync_dir(store.root())
    }

    /// Remembers a version.
    pub(crate) fn add(&mut self, name: &str, version: &str, digest: &Digest) {
        self.0.entry(name.to_owned()).or_default().insert(version.to_owned(), digest.clone());
    }

    /// The version that had a name and is gone.
    pub(crate) fn find(&self, name: &str, version: &str) -> Option<&Digest> {
        self.0.get(name)?.get(version)
    }

    /// The names that versions of an image had.
    pub(crate) fn versions(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flat_map(|versions| versions.keys().map(String::as_str))
    }
}
