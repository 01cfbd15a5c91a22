//! Packed disks: xz, gzip and zstd, known by their first bytes, unpacked into a sparse file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;

use camino::Utf8Path;
use imgbake_disk::zero::zero_runs;
use imgbake_runtime::{RuntimeError, space};
use imgbake_types::Size;

use crate::blocking::Meter;
use crate::error::SourceError;

/// Memory that an xz stream may ask for: `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;
/// liblzma's `LZMA_CONCATENATED`: streams one after another are one file, as xz(1) has it.
const XZ_CONCATENATED: u32 = 0x08;
/// The largest zstd window: 128 MiB, the format's own recommendation (RFC 8878, section 3.1.1.1.2,
/// and zstd's default limit).
const ZSTD_WINDOW_LOG: u32 = 27;
/// What is unpacked at once.
const CHUNK: usize = 1 << 20;

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Xz,
    Gzip,
    Zstd,
}

impl Packing {
    /// What the first bytes say: xz-file-format 2.1.1.1, RFC 1952 2.3.1, RFC 8878 3.1.1.
    pub(crate) fn of(first: &[u8]) -> Option<Self> {
        match first {
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Xz => "xz",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    fn decoder(self, packed: impl BufRead + 'static) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Self::Xz => {
                let stream =
                    liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, XZ_CONCATENATED)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(packed, stream))
            }
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        })
    }
}

/// How much an unpacked disk may be, so that a few bytes cannot fill the host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes written: holes do not count.
    pub(crate) data: u64,
    /// The disk's size, holes and all.
    pub(crate) size: u64,
}

impl Limits {
    /// What a file system has room for. A size beyond 8 TiB is no disk image but a bomb.
    pub(crate) fn of(path: &Utf8Path) -> Self {
        Self { data: space::free_bytes(path).unwrap_or(u64::MAX), size: 8 << 40 }
    }
}

/// Unpacks `packed` into the empty file `disk`: blocks of zeros stay holes. Gives the disk's size.
pub(crate) fn unpack(
    packing: Packing,
    packed: File,
    (disk, path): (&File, &Utf8Path),
    limits: Limits,
    meter: &Meter,
) -> Result<u64, SourceError> {
    let bad = |at: u64, error: io::Error| {
        let what = match error.kind() {
            io::ErrorKind::UnexpectedEof => "end too early: the file is cut",
            _ => "are damaged",
        };
        let unpacked = Size::bytes(at);
        SourceError::Packed { packing: packing.name(), what, unpacked, source: error }
    };
    let mut decoder =
        packing.decoder(BufReader::with_capacity(CHUNK, packed)).map_err(|e| bad(0, e))?;
    let mut buffer = vec![0; CHUNK];
    let (mut size, mut data) = (0_u64, 0_u64);
    loop {
        let filled = fill(&mut decoder, &mut buffer).map_err(|e| bad(size, e))?;
        if filled == 0 {
            break;
        }
        for run in zero_runs(&buffer[..filled]) {
            data += run.len() as u64;
            if data > limits.data {
                return Err(space::full(path, None).into());
            }
            let at = size + run.start as u64;
            disk.write_all_at(&buffer[run], at).map_err(|e| RuntimeError::io("write", path, e))?;
        }
        size += filled as u64;
        if size > limits.size {
            let limit = Size::bytes(limits.size);
            return Err(SourceError::TooLarge { packing: packing.name(), limit });
        }
        meter.at(size)?;
    }
    disk.set_len(size)
        .and_then(|()| disk.sync_all())
        .map_err(|e| RuntimeError::io("write", path, e))?;
    Ok(size)
}

/// Reads until the buffer is full or the stream ends: blocks stay aligned.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
