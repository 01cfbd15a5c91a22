//! A disk image opened for reading: its format found, its backing chain followed.

use std::{fmt, os::unix::fs::MetadataExt as _, str::FromStr};

use camino::{Utf8Path, Utf8PathBuf};

use crate::{
    DiskError, DiskSource, Extent, Result,
    file::HostFile,
    qcow2::{self, Header, Qcow2},
    raw::Raw,
    source::ExtentList,
};

/// Longest backing chain that is followed: one layer a step, with room.
const MAX_DEPTH: usize = 64;

/// The formats that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiskFormat {
    /// The file's bytes are the disk's.
    Raw,
    /// QEMU's copy-on-write format, versions 2 and 3.
    Qcow2,
}

impl fmt::Display for DiskFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        })
    }
}

impl FromStr for DiskFormat {
    type Err = DiskError;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "raw" => Ok(Self::Raw),
            "qcow2" => Ok(Self::Qcow2),
            _ => {
                Err(DiskError::unsupported(format!("disk format `{name}`: raw and qcow2 are read")))
            }
        }
    }
}

/// A virtual disk, read only. Any number of threads may read it at once.
#[derive(Debug)]
pub struct DiskImage {
    path: Utf8PathBuf,
    layer: Layer,
    backing: Option<Box<Self>>,
}

#[derive(Debug)]
enum Layer {
    Raw(Raw),
    Qcow2(Box<Qcow2>),
}

impl DiskImage {
    /// Opens the image at `path`, of the format its first bytes show, with its backing chain.
    /// For an image that came from elsewhere use [`DiskImage::open_flat`].
    pub fn open(path: &Utf8Path) -> Result<Self> {
        Chain::default().open(path, None, true)
    }

    /// Opens the image at `path` as `format`, whatever its bytes look like. A raw disk whose guest
    /// wrote a qcow2 header onto it stays raw.
    pub fn open_as(path: &Utf8Path, format: DiskFormat) -> Result<Self> {
        Chain::default().open(path, Some(format), true)
    }

    /// Opens a foreign image: one that names a backing file is refused, since it would make us
    /// read any file of this host into the disk.
    pub fn open_flat(path: &Utf8Path) -> Result<Self> {
        Chain::default().open(path, None, false)
    }

    /// The format of the topmost file.
    pub fn format(&self) -> DiskFormat {
        match self.layer {
            Layer::Raw(_) => DiskFormat::Raw,
            Layer::Qcow2(_) => DiskFormat::Qcow2,
        }
    }

    /// The topmost file.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The image below this one, where there is one.
    pub fn backing(&self) -> Option<&Self> {
        self.backing.as_deref()
    }
}

impl DiskImage {
    /// Where this disk may differ from the disk in the file `base`, on which it stands: what the images
    /// above that file hold, clusters that are reported to be zero among it. Sorted, apart, inside the
    /// disk. `None` where `base` is not in the backing chain. Beyond the end of a shorter `base`, what
    /// is in no extent is zero.
    ///
    /// # Errors
    /// A table cannot be read, or `base` cannot be found.
    pub fn extents_above(&self, base: &Utf8Path) -> Result<Option<Vec<Extent>>> {
        let base = identity(base)?;
        let mut held = Vec::new();
        let mut image = self;
        while identity(&image.path)? != base {
            let (Layer::Qcow2(qcow2), Some(below)) = (&image.layer, image.backing()) else {
                return Ok(None);
            };
            held.extend(qcow2.held()?);
            // What a shorter image cuts off stays cut off, however long those above it are.
            let (offset, end) = (qcow2.virtual_size(), below.virtual_size());
            held.push(Extent { offset, len: end.saturating_sub(offset) });
            image = below;
        }
        held.sort_unstable();
        let mut list = ExtentList::new(self.virtual_size());
        for extent in held {
            list.push(extent.offset, extent.len);
        }
        Ok(Some(list.finish()))
    }
}

/// What distinguishes a file from every other on this host.
fn identity(path: &Utf8Path) -> Result<(u64, u64)> {
    let fail = |e| DiskError::io("cannot read the file's metadata", e).in_file(path);
    let metadata = std::fs::metadata(path).map_err(fail)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl DiskSource for DiskImage {
    fn virtual_size(&self) -> u64 {
        match &self.layer {
            Layer::Raw(raw) => raw.virtual_size(),
            Layer::Qcow2(qcow2) => qcow2.virtual_size(),
        }
    }

    fn extents(&self) -> Result<Vec<Extent>> {
        match &self.layer {
            Layer::Raw(raw) => raw.extents(),
            Layer::Qcow2(qcow2) => qcow2.extents(self.backing()),
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        match &self.layer {
            Layer::Raw(raw) => raw.read_at(offset, buf),
            Layer::Qcow2(qcow2) => qcow2.read_at(self.backing(), offset, buf),
        }
    }
}

/// What was opened on the way down, so that a loop ends and memory stays bounded.
#[derive(Debug, Default)]
struct Chain {
    files: Vec<(u64, u64)>,
    table_bytes: u64,
}

impl Chain {
    fn open(
        &mut self,
        path: &Utf8Path,
        format: Option<DiskFormat>,
        backing_allowed: bool,
    ) -> Result<DiskImage> {
        let file = HostFile::open(path)?;
        self.remember(&file)?;
        let format = match format {
            Some(format) => format,
            None => probe(&file)?,
        };
        let (layer, backing) = match format {
            DiskFormat::Raw => (Layer::Raw(Raw::new(file)), None),
            DiskFormat::Qcow2 => {
                let header = qcow2::read_header(&file)?;
                let backing = match &header.backing {
                    Some(_) if !backing_allowed => {
                        let why = "the image names a backing file, which is not followed here";
                        return Err(DiskError::unsupported(why).in_file(path));
                    }
                    Some(name) => Some(Box::new(self.open_backing(path, name, &header)?)),
                    None => None,
                };
                self.table_bytes += header.l1_bytes();
                if self.table_bytes > 4 * qcow2::MAX_L1_BYTES {
                    let why = "the chain's tables are larger than imgbake reads";
                    return Err(DiskError::unsupported(why).in_file(path));
                }
                (Layer::Qcow2(Box::new(Qcow2::load(file, header)?)), backing)
            }
        };
        Ok(DiskImage { path: path.to_owned(), layer, backing })
    }

    fn open_backing(&mut self, path: &Utf8Path, name: &str, header: &Header) -> Result<DiskImage> {
        let below = backing_path(path, name)?;
        let format = header.backing_format.as_deref().map(str::parse).transpose();
        let format = format.map_err(|e: DiskError| e.in_file(path))?;
        // A format that was guessed is not trusted to name further files.
        self.open(&below, format, format.is_some())
    }

    fn remember(&mut self, file: &HostFile) -> Result<()> {
        let fail = |e| DiskError::io("cannot read the file's metadata", e).in_file(&file.path);
        let metadata = file.file.metadata().map_err(fail)?;
        let id = (metadata.dev(), metadata.ino());
        if self.files.contains(&id) {
            return Err(DiskError::corrupt("the backing chain loops").in_file(&file.path));
        }
        if self.files.len() >= MAX_DEPTH {
            let why = format!("the backing chain is longer than {MAX_DEPTH} files");
            return Err(DiskError::unsupported(why).in_file(&file.path));
        }
        self.files.push(id);
        Ok(())
    }
}

fn probe(file: &HostFile) -> Result<DiskFormat> {
    let mut magic = [0; 4];
    file.read_padded(0, &mut magic, "reading the first bytes")?;
    Ok(if magic == qcow2::MAGIC { DiskFormat::Qcow2 } else { DiskFormat::Raw })
}

/// The backing file's path: a relative one stands beside the image that names it. QEMU's
/// `protocol:` names are refused, apart from `file:`.
fn backing_path(image: &Utf8Path, name: &str) -> Result<Utf8PathBuf> {
    let plain = name.strip_prefix("file:").unwrap_or(name);
    if plain.split('/').next().is_some_and(|first| first.contains(':')) {
        let why = format!("backing file `{name}` is not a plain path");
        return Err(DiskError::unsupported(why).in_file(image));
    }
    Ok(image.parent().unwrap_or(Utf8Path::new("")).join(plain))
}
