//! Raw disks: the file is the disk, its holes are the disk's holes.

use rustix::{fs::SeekFrom, io::Errno};

use crate::{DiskError, Extent, Result, file::HostFile, source::ExtentList};

/// A raw disk. Its size is the file's, rounded up to a whole 512-byte sector.
#[derive(Debug)]
pub(crate) struct Raw {
    file: HostFile,
}

impl Raw {
    pub(crate) fn new(file: HostFile) -> Self {
        Self { file }
    }

    pub(crate) fn virtual_size(&self) -> u64 {
        self.file.len.next_multiple_of(512)
    }

    pub(crate) fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_padded(offset, buf, "reading the raw disk")
    }

    /// What `SEEK_DATA` and `SEEK_HOLE` say (lseek(2)); everything where they are not known.
    pub(crate) fn extents(&self) -> Result<Vec<Extent>> {
        let mut list = ExtentList::new(self.file.len);
        let mut at = 0;
        while at < self.file.len {
            let data = match rustix::fs::seek(&self.file.file, SeekFrom::Data(at)) {
                Ok(data) => data.max(at),
                Err(Errno::NXIO) => break,
                Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                    list.push(at, self.file.len - at);
                    break;
                }
                Err(e) => return Err(self.seek_failed(at, e)),
            };
            let hole = match rustix::fs::seek(&self.file.file, SeekFrom::Hole(data)) {
                Ok(hole) if hole > data => hole,
                Ok(_) | Err(Errno::NXIO) => self.file.len,
                Err(e) => return Err(self.seek_failed(data, e)),
            };
            list.push(data, hole - data);
            at = hole;
        }
        Ok(list.finish())
    }

    fn seek_failed(&self, at: u64, errno: Errno) -> DiskError {
        DiskError::io("cannot look for holes", errno.into()).in_file(&self.file.path).at(at)
    }
}
