//! Finding a layer: it is there whole, with all it is based on, or it is not used.

use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_types::Digest;
use imgbake_types::record::Problem;

use super::LayerCache;
use super::layer::Layer;
use super::lock::Lock;
use super::proof::{Flaw, Proofs};
use super::record::{self, LayerRecord, ParentLayer};

/// The longest chain that is followed: imgbake reads no longer chain of disks either.
const MAX_DEPTH: usize = 64;

/// What there is of a key's layer.
#[derive(Debug)]
pub enum Found {
    /// It is whole, and stays while this lives.
    Layer(Layer),
    /// There is none.
    None,
    /// There is one that is not what was saved, and why: it is not used, and gone where nobody stands
    /// on it.
    Damaged(String),
}

/// Why a layer is not used.
#[derive(Debug)]
pub(super) struct Bad {
    reason: String,
    /// Whether it can never be used again, nor what is based on it; else it could not be read now.
    fatal: bool,
    /// Layers that are dead, the topmost first, each with the record that was judged.
    dead: Vec<(Digest, Vec<u8>)>,
}

impl Bad {
    fn fatal(reason: String) -> Self {
        Self { reason, fatal: true, dead: Vec::new() }
    }

    fn unread(reason: String) -> Self {
        Self { reason, fatal: false, dead: Vec::new() }
    }
}

impl From<Flaw> for Bad {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Wrong(reason) => Self::fatal(reason),
            Flaw::Unread(reason) => Self::unread(reason),
        }
    }
}

impl LayerCache {
    /// The layer of a key, if it is there whole with all it is based on. It and all below it are held
    /// while the value lives. Files that were not proved since they were touched, or since the host
    /// was booted, are read in full: then this takes a second a gigabyte; else microseconds.
    pub fn find(&self, key: &Digest) -> Found {
        match self.judge(key, 0) {
            Ok(Some(layer)) => Found::Layer(layer),
            Ok(None) => Found::None,
            Err(bad) => {
                for (key, judged) in &bad.dead {
                    // What cannot be removed now is found again.
                    let _ = self.remove_dead(key, judged);
                }
                Found::Damaged(bad.reason)
            }
        }
    }

    /// Finds a layer without touching it.
    pub(super) fn judge(&self, key: &Digest, depth: usize) -> Result<Option<Layer>, Bad> {
        let dir = self.folder(key);
        // No lock file is made for what is not there.
        if dir.join(record::FILE).symlink_metadata().is_err() {
            return Ok(None);
        }
        let lock = Lock::shared(&self.lock_path(key, "use"))
            .map_err(|error| Bad::unread(error.to_string()))?;
        let bytes = match record::read(&dir) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(error) => return Err(Bad::unread(format!("cannot read {dir}: {error}"))),
        };
        match self.judge_content(&dir, key, &bytes, depth) {
            Ok((record, parent)) => Ok(Some(Layer::new(dir, record, parent, lock))),
            Err(mut bad) => {
                if bad.fatal {
                    bad.dead.insert(0, (key.clone(), bytes));
                }
                Err(bad)
            }
        }
    }

    fn judge_content(
        &self,
        dir: &Utf8Path,
        key: &Digest,
        bytes: &[u8],
        depth: usize,
    ) -> Result<(LayerRecord, Option<Layer>), Bad> {
        let record = record::parse(bytes).map_err(|problem| match problem {
            Problem::Damaged { why } => Bad::fatal(why),
            // It is whole for whoever made it.
            newer @ Problem::Newer { .. } => Bad::unread(newer.to_string()),
        })?;
        check_record(&record, key, depth).map_err(Bad::fatal)?;
        let parent = self.judge_parent(&record, depth)?;
        check_files(dir, &record, parent.as_ref())?;
        Ok((record, parent))
    }

    fn judge_parent(&self, record: &LayerRecord, depth: usize) -> Result<Option<Layer>, Bad> {
        let Some(below) = &record.parent else { return Ok(None) };
        let name = below.key.short();
        match self.judge(&below.key, depth + 1) {
            Ok(Some(parent)) if ParentLayer::of(parent.record()) == *below => Ok(Some(parent)),
            Ok(Some(_)) => Err(Bad::fatal(format!("the layer {name} below it was made anew"))),
            Ok(None) => Err(Bad::fatal(format!("the layer {name} below it is gone"))),
            Err(mut bad) => {
                if !bad.reason.starts_with("of the layers below it, ") {
                    bad.reason = format!("of the layers below it, {name}: {}", bad.reason);
                }
                Err(bad)
            }
        }
    }
}

fn check_record(record: &LayerRecord, key: &Digest, depth: usize) -> Result<(), String> {
    if &record.key != key {
        return Err(format!("its folder holds the layer {}", record.key.short()));
    }
    if depth >= MAX_DEPTH {
        return Err(format!("it is based on more than {MAX_DEPTH} layers"));
    }
    Ok(())
}

fn check_files(dir: &Utf8Path, record: &LayerRecord, parent: Option<&Layer>) -> Result<(), Flaw> {
    check_backing(dir, record, parent)?;
    let mut proofs = Proofs::load(dir);
    for (name, file) in record.files() {
        let path = file.path(dir).ok_or_else(|| {
            Flaw::Wrong(format!("its {name} is said to be {}, outside its folder", file.file))
        })?;
        proofs.check(name, &path, file)?;
    }
    proofs.save();
    Ok(())
}

/// The name in the overlay's header must lead to the very disk of the layer below: in a home that was
/// moved or copied, an absolute one leads to the old place.
pub(super) fn check_backing(
    dir: &Utf8Path,
    record: &LayerRecord,
    parent: Option<&Layer>,
) -> Result<(), Flaw> {
    let below = parent.map(Layer::disk_path);
    check_one(dir, "disk", record.disk.backing.as_deref(), below.as_deref())?;
    // The first layer with a machine has the first ones.
    let below = parent.map(Layer::extra_paths).unwrap_or_default();
    if below.len() > record.extra.len() {
        return Err(Flaw::Wrong("it lacks an extra disk of the layer below it".to_owned()));
    }
    for (index, extra) in record.extra.iter().enumerate() {
        let below = below.get(index).map(Utf8PathBuf::as_path);
        check_one(dir, "extra disk", extra.backing.as_deref(), below)?;
    }
    Ok(())
}

fn check_one(
    dir: &Utf8Path,
    what: &str,
    backing: Option<&Utf8Path>,
    below: Option<&Utf8Path>,
) -> Result<(), Flaw> {
    let id = |path: &Utf8Path| path.metadata().map(|file| (file.dev(), file.ino())).ok();
    match (backing, below) {
        (None, None) => Ok(()),
        (Some(name), Some(below)) => {
            let (named, below) = (id(&dir.join(name)), id(below));
            if named.is_some() && named == below {
                return Ok(());
            }
            let words = format!("its {what} is based on {name}, which is not the layer below it");
            Err(Flaw::Wrong(words))
        }
        _ => Err(Flaw::Wrong(format!("its {what} is not based on the layer below it"))),
    }
}
