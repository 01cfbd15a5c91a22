//! FAT12, FAT16 and FAT32: the files of a system partition.

use std::{
    fmt,
    io::{self, Read, Seek, SeekFrom, Write},
};

use fatfs::{FileSystem, FsOptions};

use super::Volume;
use crate::{
    DiskError, DiskErrorKind, Result,
    bytes::{to_u64, to_usize},
};

/// A folder with more entries than this is not read: the largest that FAT knows.
const MAX_ENTRIES: usize = 1 << 16;

/// A FAT volume. Paths are separated by `/`; letters' case is of no matter in them.
pub struct Fat {
    volume: Volume,
    system: FileSystem<Cursor>,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FatEntry {
    /// The long name where it has one, else the short one.
    pub name: String,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// A file's length in bytes.
    pub len: u64,
}

impl fmt::Debug for Fat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fat").field("volume", &self.volume).finish_non_exhaustive()
    }
}

impl Fat {
    /// Opens the file system on a volume.
    ///
    /// # Errors
    /// `Unsupported`: it is no FAT volume that makes sense.
    pub fn open(volume: Volume) -> Result<Self> {
        let cursor = Cursor { volume: volume.clone(), at: 0 };
        let system = FileSystem::new(cursor, FsOptions::new()).map_err(|error| {
            match failed("the FAT volume", &error) {
                error if error.kind() == DiskErrorKind::Io => {
                    DiskError::unsupported(error.detail().to_owned())
                }
                error => error,
            }
        })?;
        Ok(Self { volume, system })
    }

    /// A file's bytes.
    ///
    /// # Errors
    /// `Unsupported`: it has more than `limit` bytes.
    pub fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>> {
        let root = self.system.root_dir();
        let mut file =
            root.open_file(path.trim_matches('/')).map_err(|error| failed(path, &error))?;
        let len = file.seek(SeekFrom::End(0)).map_err(|error| failed(path, &error))?;
        if len > limit {
            let why = format!("{path} has {len} bytes, more than {limit}");
            return Err(DiskError::unsupported(why));
        }
        // A chain of clusters that ends early looks like a shorter file.
        if self.len_of(path)?.is_some_and(|listed| listed != len) {
            return Err(DiskError::corrupt(format!("{path} ends early: its clusters are damaged")));
        }
        file.seek(SeekFrom::Start(0)).map_err(|error| failed(path, &error))?;
        let mut bytes = vec![0; to_usize(len)];
        file.read_exact(&mut bytes).map_err(|error| failed(path, &error))?;
        Ok(bytes)
    }

    /// A file's length, as its folder has it; none for a short name.
    fn len_of(&self, path: &str) -> Result<Option<u64>> {
        let path = path.trim_matches('/');
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let entries = self.list(folder)?;
        let found = entries.into_iter().find(|entry| entry.name.eq_ignore_ascii_case(name));
        Ok(found.map(|entry| entry.len))
    }

    /// A folder's names, without `.` and `..`.
    pub fn list(&self, path: &str) -> Result<Vec<FatEntry>> {
        let root = self.system.root_dir();
        let folder = match path.trim_matches('/') {
            "" => root,
            path => root.open_dir(path).map_err(|error| failed(path, &error))?,
        };
        let mut entries = Vec::new();
        for entry in folder.iter() {
            let entry = entry.map_err(|error| failed(path, &error))?;
            if entries.len() == MAX_ENTRIES {
                return Err(DiskError::corrupt(format!("{path} has no end")));
            }
            let name = entry.file_name();
            if name != "." && name != ".." {
                let (is_folder, len) = (entry.is_dir(), entry.len());
                entries.push(FatEntry { name, is_folder, len });
            }
        }
        Ok(entries)
    }
}

fn failed(what: &str, error: &io::Error) -> DiskError {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => DiskErrorKind::NotFound,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => DiskErrorKind::Corrupt,
        _ => DiskErrorKind::Io,
    };
    DiskError::new(kind, format!("{what}: {error}"))
}

/// A place in a volume, as fatfs wants it.
struct Cursor {
    volume: Volume,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = to_usize(self.volume.len().saturating_sub(self.at)).min(buffer.len());
        self.volume.read_at(self.at, &mut buffer[..left]).map_err(io::Error::other)?;
        self.at += to_u64(left);
        Ok(left)
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.volume.len().checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// fatfs has no reader that does not write; nothing is ever written.
impl Write for Cursor {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use camino::Utf8Path;

    use super::*;
    use crate::{DiskImage, fat::FatSpec};

    fn open(dir: &Utf8Path, len: u64) -> Fat {
        let path = dir.join("fat.img");
        let spec = FatSpec { offset: 0, len, label: "ESP".into(), volume_id: 1 };
        let loader = vec![0x5A; 100_000];
        let files: [(&str, &[u8]); 2] =
            [("EFI/BOOT/BOOTX64.EFI", &loader), ("EFI/debian/grub.cfg", b"set x=1\n")];
        crate::fat::create_fat(&path, &spec, &files).unwrap();
        Fat::open(Volume::whole(Arc::new(DiskImage::open(&path).unwrap()))).unwrap()
    }

    #[test]
    fn reads_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        for len in [1 << 20, 64 << 20] {
            let fat = open(Utf8Path::from_path(dir.path()).unwrap(), len);
            assert_eq!(fat.read("EFI/debian/GRUB.CFG", 100).unwrap(), b"set x=1\n");
            assert_eq!(fat.read("/EFI/BOOT/BOOTX64.EFI", 1 << 20).unwrap(), vec![0x5A; 100_000]);
            let names: Vec<_> = fat.list("EFI").unwrap().into_iter().map(|e| e.name).collect();
            assert_eq!(names, ["BOOT", "debian"]);
            assert_eq!(fat.list("/").unwrap().len(), 1);
            assert!(fat.list("/").unwrap()[0].is_folder);
        }
    }

    #[test]
    fn refuses_what_is_not_there_and_what_is_too_long() {
        let dir = tempfile::tempdir().unwrap();
        let fat = open(Utf8Path::from_path(dir.path()).unwrap(), 1 << 20);
        for (path, kind) in [
            ("EFI/none", DiskErrorKind::NotFound),
            ("EFI/BOOT/BOOTX64.EFI", DiskErrorKind::Unsupported),
        ] {
            assert_eq!(fat.read(path, 99_999).unwrap_err().kind(), kind, "{path}");
        }
        let path = Utf8Path::from_path(dir.path()).unwrap().join("none.img");
        std::fs::write(&path, vec![0; 1 << 20]).unwrap();
        let volume = Volume::whole(Arc::new(DiskImage::open(&path).unwrap()));
        assert_eq!(Fat::open(volume).unwrap_err().kind(), DiskErrorKind::Unsupported);
    }

    /// Chains that lead to clusters that no file can have (0 and 1), to themselves, or out of the volume.
    #[test]
    fn a_damaged_table_of_clusters_ends_in_an_error_or_in_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        for len in [1 << 20, 64 << 20] {
            drop(open(dir, len));
            let path = dir.join("fat.img");
            let sound = std::fs::read(&path).unwrap();
            let number = |at: usize| usize::from(u16::from_le_bytes([sound[at], sound[at + 1]]));
            // The boot sector: bytes of a sector at 11, sectors before the table at 14, of the table at
            // 22, or at 36 where that is none.
            let sectors = if number(22) == 0 { number(36) } else { number(22) };
            let (table, table_len) = (number(11) * number(14), number(11) * sectors);
            for value in [0_u8, 1, 2, 0x0F, 0x7F, 0xF6] {
                for step in [1, 2, 4] {
                    let mut bytes = sound.clone();
                    let entries = &mut bytes[table + 8..table + table_len];
                    entries.fill(0);
                    entries.iter_mut().step_by(step).for_each(|byte| *byte = value);
                    std::fs::write(&path, &bytes).unwrap();
                    let volume = Volume::whole(Arc::new(DiskImage::open(&path).unwrap()));
                    let Ok(fat) = Fat::open(volume) else { continue };
                    let read = fat.read("EFI/BOOT/BOOTX64.EFI", 1 << 20);
                    // A chain of zeros ends nowhere: it leads to no cluster. A loop may give bytes.
                    assert!(value > 0 || read.is_err(), "{len} {step}");
                }
            }
        }
    }
}
