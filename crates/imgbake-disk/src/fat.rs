//! FAT volumes made in a file, without mounting: same files, same bytes.

use std::{
    cell::Cell,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt as _,
};

use camino::Utf8Path;
use fatfs::{
    Date, DateTime, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider,
};

use crate::{
    DiskError, Result,
    bytes::{to_u64, to_usize},
    file::OutFile,
};

/// From here on a volume is FAT32, which firmware expects of a system partition: 65,525 clusters
/// of 512 bytes and the tables for them (Microsoft's FAT specification 1.03, "FAT Type
/// Determination").
const FAT32_FROM: u64 = 34 << 20;
/// Up to here FAT32 takes clusters of one sector.
const SMALL_CLUSTERS_TO: u64 = 260 << 20;
/// Less does not hold the tables and a file.
const MIN_LEN: u64 = 64 << 10;
const MAX_LEN: u64 = 2 << 40;

/// A volume to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FatSpec {
    /// Its first byte in the file.
    pub offset: u64,
    /// Its length in bytes; from 34 MiB on it is FAT32, below that FAT12 or FAT16.
    pub len: u64,
    /// Its label: at most 11 ASCII characters, without small letters.
    pub label: String,
    /// Its serial number.
    pub volume_id: u32,
}

/// Makes a volume in the file at `path`, which exists and is made longer where it is too short.
/// `files` are paths with `/` and their bytes; folders are made as needed. Every time in it is
/// 1980-01-01. What the range held before and the volume does not use stays: start from a hole.
pub fn write_fat(path: &Utf8Path, spec: &FatSpec, files: &[(&str, &[u8])]) -> Result<()> {
    fill(&OutFile::open(path)?, spec, files).map_err(|e| e.in_file(path))
}

/// Makes a volume in a file of its own, of `spec.offset + spec.len` bytes.
pub fn create_fat(path: &Utf8Path, spec: &FatSpec, files: &[(&str, &[u8])]) -> Result<()> {
    fill(&OutFile::create(path)?, spec, files).map_err(|e| e.in_file(path))
}

fn fill(out: &OutFile, spec: &FatSpec, files: &[(&str, &[u8])]) -> Result<()> {
    let label = check(spec)?;
    let end = spec.offset + spec.len;
    let fail = |e| DiskError::io("cannot read the file's length", e);
    if out.file.metadata().map_err(fail)?.len() < end {
        out.set_len(end)?;
    }
    let slot = Cell::new(0);
    let mut region =
        Region { file: &out.file, offset: spec.offset, len: spec.len, at: 0, slot: &slot };
    let mut options = FormatVolumeOptions::new().volume_id(spec.volume_id).volume_label(label);
    if spec.len >= FAT32_FROM {
        options = options.fat_type(FatType::Fat32);
        if spec.len <= SMALL_CLUSTERS_TO {
            options = options.bytes_per_cluster(512);
        }
    }
    fatfs::format_volume(&mut region, options)
        .map_err(|e| fat_error("cannot make the volume", e))?;
    region.at = 0;
    let times = FsOptions::new().time_provider(&EPOCH).update_accessed_date(false);
    let volume =
        FileSystem::new(region, times).map_err(|e| fat_error("cannot open the volume", e))?;
    for (name, bytes) in files {
        add(&volume, out, &slot, name, bytes)
            .map_err(|e| fat_error(&format!("cannot add `{name}`"), e))?;
    }
    // Counting also notes the number of free clusters in the volume.
    let counted = volume.stats().map(drop);
    counted
        .and_then(|()| volume.unmount())
        .map_err(|e| fat_error("cannot finish the volume", e))?;
    out.sync()
}

fn check(spec: &FatSpec) -> Result<[u8; 11]> {
    if !(MIN_LEN..MAX_LEN).contains(&spec.len) || spec.offset.checked_add(spec.len).is_none() {
        return Err(DiskError::unsupported(format!("a FAT volume of {} bytes", spec.len)));
    }
    let plain = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || b" _-".contains(&c);
    let bytes = spec.label.as_bytes();
    if bytes.is_empty() || bytes.len() > 11 || !bytes.iter().copied().all(plain) {
        return Err(DiskError::unsupported(format!("the volume label `{}`", spec.label)));
    }
    let mut label = [b' '; 11];
    label[..bytes.len()].copy_from_slice(bytes);
    Ok(label)
}

fn add(
    volume: &FileSystem<Region<'_>>,
    out: &OutFile,
    slot: &Cell<u64>,
    name: &str,
    bytes: &[u8],
) -> io::Result<()> {
    let mut folder = volume.root_dir();
    let (folders, file) = name.rsplit_once('/').unwrap_or(("", name));
    let parts = folders.split('/').filter(|part| !part.is_empty());
    for (depth, part) in parts.enumerate() {
        folder = folder.create_dir(part)?;
        if folder.iter().next().transpose()?.is_some() {
            mend_dots(&out.file, slot.get(), depth == 0)?;
        }
    }
    let mut file = folder.create_file(file)?;
    file.truncate()?;
    file.write_all(bytes)?;
    file.flush()
}

/// Takes the long names from a new folder's `.` and `..`. fatfs 0.3 writes them, but the two must
/// be the folder's first two entries, and the root's cluster is 0 in them, on FAT32 too
/// (Microsoft's FAT specification 1.03, "FAT Directories").
/// `slot` is where the folder's first short entry was found.
fn mend_dots(file: &File, slot: u64, in_root: bool) -> io::Result<()> {
    const LONG_NAME: u8 = 0x0F;
    const DELETED: u8 = 0xE5;
    let Some(start) = slot.checked_sub(32) else { return Ok(()) };
    let mut entries = [0; 128];
    file.read_exact_at(&mut entries, start)?;
    let long = |at: usize| entries[at + 11] == LONG_NAME;
    if long(0)
        && long(64)
        && &entries[32..43] == b".          "
        && &entries[96..107] == b"..         "
    {
        let mut mended = [0; 128];
        mended[..32].copy_from_slice(&entries[32..64]);
        mended[32..64].copy_from_slice(&entries[96..128]);
        if in_root {
            mended[32 + 20..32 + 22].fill(0);
            mended[32 + 26..32 + 28].fill(0);
        }
        mended[64] = DELETED;
        mended[96] = DELETED;
        file.write_all_at(&mended, start)?;
    }
    Ok(())
}

fn fat_error(doing: &str, error: io::Error) -> DiskError {
    // fatfs 0.3 has no kind of its own for a full volume.
    if error.kind() == io::ErrorKind::Other && error.to_string().contains("No space") {
        return DiskError::full(format!("{doing}: the volume is full"));
    }
    DiskError::io(doing, error)
}

/// The one time that everything has: the first that FAT can say.
#[derive(Debug)]
struct Epoch;

static EPOCH: Epoch = Epoch;

impl TimeProvider for Epoch {
    fn get_current_date(&self) -> Date {
        Date { year: 1980, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> DateTime {
        let time = Time { hour: 0, min: 0, sec: 0, millis: 0 };
        DateTime { date: self.get_current_date(), time }
    }
}

/// A part of a file, as a file of its own.
struct Region<'a> {
    file: &'a File,
    /// Where in the file the directory entry that was read last starts: fatfs reads their names,
    /// and nothing else, by 11 bytes.
    slot: &'a Cell<u64>,
    offset: u64,
    len: u64,
    at: u64,
}

impl Region<'_> {
    fn room(&self, wanted: usize) -> usize {
        to_usize(self.len.saturating_sub(self.at)).min(wanted)
    }
}

impl Read for Region<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.len() == 11 {
            self.slot.set(self.offset + self.at);
        }
        let room = self.room(buf.len());
        let count = self.file.read_at(&mut buf[..room], self.offset + self.at)?;
        self.at += to_u64(count);
        Ok(count)
    }
}

impl Write for Region<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let room = self.room(buf.len());
        let count = self.file.write_at(&buf[..room], self.offset + self.at)?;
        self.at += to_u64(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Region<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::DiskErrorKind;

    fn spec(offset: u64, len: u64) -> FatSpec {
        FatSpec { offset, len, label: "ESP".into(), volume_id: 0x1234_5678 }
    }

    #[test]
    fn files_come_back_from_a_region() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("disk.raw");
        let loader = vec![0x5A; 300_000];
        let files: [(&str, &[u8]); 2] =
            [("EFI/BOOT/BOOTX64.EFI", &loader), ("EFI/debian/grub.cfg", b"set x=1\n")];
        let mut made = Vec::new();
        for _ in 0..2 {
            fs::write(&path, vec![0xEE; 1 << 20]).unwrap();
            write_fat(&path, &spec(1 << 20, 64 << 20), &files).unwrap();
            made.push(fs::read(&path).unwrap());
        }
        assert!(made[0] == made[1], "the same twice");
        assert!(made[0][..1 << 20].iter().all(|byte| *byte == 0xEE));
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let slot = Cell::new(0);
        let region = Region { file: &file, offset: 1 << 20, len: 64 << 20, at: 0, slot: &slot };
        let volume = FileSystem::new(region, FsOptions::new()).unwrap();
        assert_eq!(volume.fat_type(), FatType::Fat32);
        assert_eq!(volume.volume_id(), 0x1234_5678);
        assert_eq!(volume.read_volume_label_from_root_dir().unwrap().unwrap(), "ESP");
        let mut back = Vec::new();
        let root = volume.root_dir();
        root.open_file("EFI/BOOT/BOOTX64.EFI").unwrap().read_to_end(&mut back).unwrap();
        assert!(back == loader);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("disk.raw");
        let big = vec![1; 1 << 20];
        let error = create_fat(&path, &spec(0, 1 << 20), &[("big", &big)]).unwrap_err();
        assert_eq!(error.kind(), DiskErrorKind::Full, "{error}");
        for bad in [spec(0, 512), spec(u64::MAX, 1 << 20), spec(0, u64::MAX)] {
            assert_eq!(
                create_fat(&path, &bad, &[]).unwrap_err().kind(),
                DiskErrorKind::Unsupported
            );
        }
        for len in [MIN_LEN, 5 << 20, FAT32_FROM - 512, FAT32_FROM, SMALL_CLUSTERS_TO + 512] {
            create_fat(&path, &spec(0, len), &[("a", b"a")]).unwrap();
        }
        let label = FatSpec { label: "small".into(), ..spec(0, 1 << 20) };
        assert_eq!(create_fat(&path, &label, &[]).unwrap_err().kind(), DiskErrorKind::Unsupported);
    }

    #[test]
    fn folders_start_with_their_dots() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("disk.raw");
        let files: [(&str, &[u8]); 3] =
            [("EFI/BOOT/a", b"a"), ("EFI/BOOT/b", b"b"), ("EFI/c/d", b"d")];
        create_fat(&path, &spec(0, 64 << 20), &files).unwrap();
        let disk = fs::read(&path).unwrap();
        let folders: Vec<_> = disk
            .chunks_exact(512)
            .filter(|sector| sector.starts_with(b".          ") && sector[11] == 0x10)
            .collect();
        assert_eq!(folders.len(), 3);
        for folder in &folders {
            assert!(folder[32..].starts_with(b"..         "));
        }
        let parents: Vec<_> = folders.iter().map(|f| [f[52], f[53], f[58], f[59]]).collect();
        assert_eq!(
            parents.iter().filter(|parent| **parent == [0; 4]).count(),
            1,
            "EFI is in the root"
        );
    }
}
