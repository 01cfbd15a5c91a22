//! The digest of a virtual disk: sha256 over its raw bytes, holes never read.

use sha2::{Digest as _, Sha256};

use crate::{DiskSource, Result, bytes::to_usize, source::pieces};

static ZEROS: [u8; 65536] = [0; 65536];

/// Hashes a virtual disk from front to back; runs of zeros are reported, not read.
#[derive(Clone, Debug, Default)]
pub struct DiskHasher {
    sha256: Sha256,
    len: u64,
}

impl DiskHasher {
    /// A hasher of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.len += crate::bytes::to_u64(bytes.len());
    }

    /// Takes in `len` zero bytes.
    pub fn update_zeros(&mut self, len: u64) {
        self.len += len;
        let mut left = len;
        while left > 0 {
            let some = to_usize(left).min(ZEROS.len());
            self.sha256.update(&ZEROS[..some]);
            left -= crate::bytes::to_u64(some);
        }
    }

    /// Bytes taken in so far, zeros among them.
    pub fn position(&self) -> u64 {
        self.len
    }

    /// The sha256.
    pub fn finish(self) -> [u8; 32] {
        self.sha256.finalize().into()
    }
}

/// The sha256 of the whole of `source`. `progress` gets the bytes done since its last call; they
/// add up to the virtual size.
pub fn hash_disk(source: &dyn DiskSource, progress: &mut dyn FnMut(u64)) -> Result<[u8; 32]> {
    let mut hasher = DiskHasher::new();
    let mut buffer = vec![0; 1 << 20];
    for piece in pieces(&source.extents()?, 1 << 20) {
        let before = hasher.position();
        hasher.update_zeros(piece.offset - before);
        let bytes = &mut buffer[..to_usize(piece.len)];
        source.read_at(piece.offset, bytes)?;
        hasher.update(bytes);
        progress(hasher.position() - before);
    }
    let rest = source.virtual_size().saturating_sub(hasher.position());
    hasher.update_zeros(rest);
    progress(rest);
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_told_are_zeros_read() {
        let (mut reported, mut read) = (DiskHasher::new(), DiskHasher::new());
        for hasher in [&mut reported, &mut read] {
            hasher.update(b"head");
        }
        reported.update_zeros(200_001);
        read.update(&vec![0; 200_001]);
        assert_eq!(reported.position(), 200_005);
        assert_eq!(reported.finish(), read.finish());
    }

    #[test]
    fn a_disk_hashes_as_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = camino::Utf8Path::from_path(dir.path()).unwrap().join("disk.raw");
        let mut disk = vec![0; 5 << 20];
        disk[3 << 20] = 1;
        std::fs::write(&path, b"start").unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(5 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[1], 3 << 20).unwrap();
        disk[..5].copy_from_slice(b"start");
        let mut done = 0;
        let image = crate::DiskImage::open(&path).unwrap();
        let digest = hash_disk(&image, &mut |count| done += count).unwrap();
        assert_eq!(digest, <[u8; 32]>::from(Sha256::digest(&disk)));
        assert_eq!(done, 5 << 20);
    }
}
