//! A layer in the making: a folder under its final name that nobody else sees.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::sync::{Arc, Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_disk::{DiskFormat, DiskImage, DiskSource};
use imgbake_runtime::Job;
use imgbake_runtime::job::remove_path;
use imgbake_types::{Arch, Digest, Stage, StepReport};
use jiff::Timestamp;
use serde_json::Map;
use uuid::Uuid;

use super::LayerCache;
use super::base::TakenBase;
use super::claim::Claim;
use super::error::{CacheError, CacheErrorKind, io_at};
use super::find::check_backing;
use super::layer::{self, Layer};
use super::lock::Lock;
use super::proof::{Flaw, Proofs};
use super::record::{self, DiskFile, LayerRecord, ParentLayer, StateRecord};
use crate::{BaseDisk, Planted, Seed, extra_beside};

const DISK: &str = "disk.qcow2";
const STATE: &str = "state";

/// What a build knows of the layer that it made.
#[derive(Debug, Clone)]
pub struct NewLayer {
    /// The step's stage: source, boot or provision.
    pub stage: Stage,
    /// The step's name.
    pub name: String,
    /// The image that it is made for.
    pub image: String,
    /// The architecture.
    pub arch: Arch,
    /// This program's name and version.
    pub tool: String,
    /// What the step took.
    pub seconds: f64,
    /// Bytes that the step made or moved.
    pub bytes: u64,
    /// What a provision step did.
    pub report: Option<Box<StepReport>>,
    /// Whether others may be given it.
    pub shareable: bool,
    /// What must be remembered of the machine until it is sealed.
    pub planted: Planted,
    /// The machine, where its state was written to [`Draft::state`]. Without it, such a file is
    /// removed.
    pub state: Option<NewState>,
}

/// What a build knows of a machine that it saved.
#[derive(Debug, Clone)]
pub struct NewState {
    /// What the builder says the state depends on.
    pub signature: String,
    /// What lets a build into the machine.
    pub seed: Seed,
    /// Its identity in SMBIOS.
    pub uuid: Uuid,
    /// The key of the layer from whose disk it was booted: below this one.
    pub booted_from: Digest,
}

/// A layer in the making. Its folder goes when it is dropped, unless it was committed or is held.
#[derive(Debug)]
pub struct Draft(Arc<Folder>);

/// Lets a draft's folder live until it is dropped, whether the draft is committed or not: for a
/// machine that is based on its disk.
#[derive(Debug, Clone)]
pub struct Hold {
    _folder: Arc<Folder>,
}

#[derive(Debug)]
struct Folder {
    cache: LayerCache,
    key: Digest,
    dir: Utf8PathBuf,
    below: Option<Digest>,
    /// Held from the beginning, if it was there then.
    parent: Mutex<Option<Layer>>,
    base: Mutex<Option<TakenBase>>,
    /// Taken away when the folder has become a layer.
    claim: Mutex<Option<Claim>>,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if lock(&self.claim).is_some() {
            // What cannot be removed is swept later: it has no record.
            let _ = remove_path(&self.dir);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LayerCache {
    /// Begins the layer of a claim's key: an empty folder under its final name, without a record. What
    /// a killed build left there goes first, and a layer that is damaged. `parent` is the key of the
    /// layer that it is based on; that one must be there when this one is committed, not before.
    ///
    /// # Errors
    /// The layer is there already ([`CacheErrorKind::Exists`]; see [`LayerCache::remove`]), or it is
    /// damaged and in use ([`CacheErrorKind::InUse`]); the folder cannot be made.
    pub fn begin(&self, claim: Claim, parent: Option<&Digest>) -> Result<Draft, CacheError> {
        let (key, dir) = (claim.key().clone(), self.folder(claim.key()));
        if matches!(self.judge(&key, 0), Ok(Some(_))) {
            let words = format!("the layer {} is there already", key.short());
            return Err(CacheError::new(CacheErrorKind::Exists, words));
        }
        if record::is_newer(&dir) {
            let words = format!("the layer {} was made by a newer imgbake, and stays", key.short());
            return Err(CacheError::new(CacheErrorKind::Format, words));
        }
        if self.remove_claimed(&claim, |_| true)?.is_none() {
            let words = format!("the layer {} is damaged, but in use", key.short());
            return Err(CacheError::new(CacheErrorKind::InUse, words));
        }
        DirBuilder::new().mode(0o700).create(&dir).map_err(io_at("make the folder", &dir))?;
        let held = parent.and_then(|below| self.judge(below, 0).ok().flatten());
        Ok(Draft(Arc::new(Folder {
            cache: self.clone(),
            key,
            dir,
            below: parent.cloned(),
            parent: Mutex::new(held),
            base: Mutex::default(),
            claim: Mutex::new(Some(claim)),
        })))
    }
}

impl Draft {
    /// Whose layer it shall be.
    pub fn key(&self) -> &Digest {
        &self.0.key
    }

    /// Its folder.
    pub fn dir(&self) -> &Utf8Path {
        &self.0.dir
    }

    /// Where its disk shall be.
    pub fn disk(&self) -> Utf8PathBuf {
        self.0.dir.join(DISK)
    }

    /// Where the machine's state shall be.
    pub fn state(&self) -> Utf8PathBuf {
        self.0.dir.join(STATE)
    }

    /// Makes a base disk the layer's: one that was made in the job's work folder is moved in, with its
    /// kernel, one elsewhere is referred to by its path. Gives the disk as it is to be used from now
    /// on; while a machine is based on it, [`Draft::hold`] the draft.
    ///
    /// # Errors
    /// The disk is native to a builder; it cannot be read, or is based on another file; a file cannot be
    /// moved. All is then where it was.
    pub fn take_base(&self, base: &BaseDisk, job: &Job) -> Result<BaseDisk, CacheError> {
        let taken = TakenBase::take(base, job.work(), self.dir())?;
        let disk = BaseDisk { location: taken.disk().clone().into(), ..base.clone() };
        *lock(&self.0.base) = Some(taken);
        Ok(disk)
    }

    /// Lets the folder live on if committing it fails: take one before a machine is based on its disk,
    /// and drop it when that machine is gone. Once it is committed, the [`Layer`] is what to hold.
    pub fn hold(&self) -> Hold {
        Hold { _folder: Arc::clone(&self.0) }
    }

    /// Makes it a layer: digests its files and writes its record. The layer is in use from
    /// its first moment on. Drops what is over the cache's budget. It blocks for about a second a
    /// gigabyte.
    ///
    /// # Errors
    /// The layer below is not there ([`CacheErrorKind::Parent`]), its files do not fit together
    /// ([`CacheErrorKind::Invalid`]), the disk is full. There is then no layer.
    pub fn commit(self, new: NewLayer) -> Result<Layer, CacheError> {
        let folder = &*self.0;
        let dir = &folder.dir;
        let parent = folder.parent()?;
        let mut proofs = Proofs::load(dir);
        folder.settle(new.state.is_some())?;
        let record = folder.record(new, parent.as_ref(), &mut proofs)?;
        let held = Lock::shared(&folder.cache.lock_path(&folder.key, "use"))?;
        proofs.save();
        layer::touch(dir)?;
        record::write(dir, &record)?;
        let layer = Layer::new(dir.clone(), record, parent, held);
        drop(lock(&folder.claim).take());
        folder.cache.keep_to_budget();
        Ok(layer)
    }
}

impl Folder {
    fn parent(&self) -> Result<Option<Layer>, CacheError> {
        let Some(below) = &self.below else { return Ok(None) };
        let held = lock(&self.parent).clone();
        let layer = held.or_else(|| self.cache.judge(below, 0).ok().flatten());
        let missing = || {
            let words = format!("the layer {} below it was not made", below.short());
            CacheError::new(CacheErrorKind::Parent, words)
        };
        layer.map(Some).ok_or_else(missing)
    }

    /// Makes the files private and durable; a state that nobody speaks of goes.
    fn settle(&self, keep_state: bool) -> Result<(), CacheError> {
        if !keep_state {
            remove_path(&self.dir.join(STATE))?;
        }
        for entry in self.dir.read_dir_utf8().map_err(io_at("read the folder", &self.dir))? {
            let entry = entry.map_err(io_at("read the folder", &self.dir))?;
            let path = entry.path();
            if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
                let words = format!("{path} has no place in a layer");
                return Err(CacheError::new(CacheErrorKind::Invalid, words));
            }
            fs::set_permissions(path, Permissions::from_mode(0o600))
                .map_err(io_at("make private", path))?;
        }
        Ok(())
    }

    fn record(
        &self,
        new: NewLayer,
        parent: Option<&Layer>,
        proofs: &mut Proofs,
    ) -> Result<LayerRecord, CacheError> {
        let (disk, base) = match (&*lock(&self.base), parent) {
            (Some(base), None) => base.record(&self.dir, proofs)?,
            (None, Some(_)) => (self.overlay("disk", DISK.into(), proofs)?, None),
            (None, None) => {
                return Err(self.invalid("it is based on no layer and has no base disk"));
            }
            (Some(_), Some(_)) => return Err(self.invalid("a base disk is based on no layer")),
        };
        let extra = self.extra(proofs)?;
        let state = new.state.map(|state| self.state(state, proofs)).transpose()?;
        let record = LayerRecord {
            format: LayerRecord::format(&extra),
            key: self.key.clone(),
            parent: parent.map(|layer| ParentLayer::of(layer.record())),
            stage: new.stage,
            name: new.name,
            image: new.image,
            arch: new.arch,
            created: Timestamp::now(),
            tool: new.tool,
            seconds: new.seconds,
            bytes: new.bytes,
            report: new.report,
            shareable: new.shareable,
            disk,
            extra,
            base,
            planted: new.planted,
            state,
            rest: Map::new(),
        };
        check_backing(&self.dir, &record, parent).map_err(|flaw| match flaw {
            Flaw::Wrong(why) | Flaw::Unread(why) => self.invalid(&why),
        })?;
        if let Some(state) = &record.state
            && state.booted_from != self.key
            && parent.and_then(|layer| layer.with_key(&state.booted_from)).is_none()
        {
            return Err(self.invalid("its machine was booted from a layer that is not below it"));
        }
        Ok(record)
    }

    /// The extra disks that a machine was saved with.
    fn extra(&self, proofs: &mut Proofs) -> Result<Vec<DiskFile>, CacheError> {
        let disk = self.dir.join(DISK);
        (1..)
            .map(|number| extra_beside(&disk, number))
            .take_while(|path| path.exists())
            .map(|path| {
                let name = path.file_name().unwrap_or_default();
                self.overlay("extra disk", name.into(), proofs)
            })
            .collect()
    }

    /// A disk that a machine was saved to.
    fn overlay(
        &self,
        what: &'static str,
        name: Utf8PathBuf,
        proofs: &mut Proofs,
    ) -> Result<DiskFile, CacheError> {
        let path = self.dir.join(&name);
        let image = DiskImage::open(&path)?;
        let named = image.backing().map(|below| {
            // A relative name was joined to the folder.
            below.path().strip_prefix(&self.dir).unwrap_or_else(|_| below.path()).to_owned()
        });
        Ok(DiskFile {
            file: proofs.measure(what, &path, name)?,
            format: DiskFormat::Qcow2,
            virtual_size: image.virtual_size(),
            backing: named,
        })
    }

    fn state(&self, new: NewState, proofs: &mut Proofs) -> Result<StateRecord, CacheError> {
        Ok(StateRecord {
            file: proofs.measure("state", &self.dir.join(STATE), STATE.into())?,
            signature: new.signature,
            seed: new.seed,
            uuid: new.uuid,
            booted_from: new.booted_from,
        })
    }

    fn invalid(&self, why: &str) -> CacheError {
        let words = format!("{} cannot become a layer: {why}", self.dir);
        CacheError::new(CacheErrorKind::Invalid, words)
    }
}
