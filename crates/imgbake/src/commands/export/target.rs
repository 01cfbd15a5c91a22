//! A block device, a FIFO or standard output, which takes a disk's bytes as they are.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_disk::ExportFormat;
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Job, StageGuard};
use imgbake_types::{Digest, Size};
use rustix::fs::{FallocateFlags, OFlags};
use sha2::Digest as _;

use super::convert::convert;
use crate::failure::Failure;

/// Bytes that are copied at a time.
const PIECE: usize = 1 << 20;

/// What takes a disk's bytes and is no file.
#[derive(Debug)]
pub(in crate::commands) struct Target {
    path: Utf8PathBuf,
    kind: Kind,
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A block device; with `force` also one that is in use or holds data.
    Device {
        force: bool,
    },
    Fifo,
    Stdout,
}

impl Target {
    /// One of a kind.
    pub(super) fn new(path: Utf8PathBuf, kind: Kind) -> Self {
        Self { path, kind }
    }

    /// Its name, for people.
    pub(in crate::commands) fn name(&self) -> &str {
        if self.kind == Kind::Stdout { "standard output" } else { self.path.as_str() }
    }

    /// Whether its bytes are mixed with what the command prints there.
    pub(in crate::commands) fn is_stdout(&self) -> bool {
        self.kind == Kind::Stdout
    }

    /// Writes a raw disk there in a format; removes the raw disk.
    pub(in crate::commands) async fn write(
        &self,
        job: &Job,
        version: &Digest,
        raw: &Utf8Path,
        format: ExportFormat,
        stage: Arc<StageGuard>,
    ) -> Result<(), Failure> {
        let from = if format == ExportFormat::Raw {
            raw.to_owned()
        } else {
            let converted = job.work().join("export.converted");
            convert(job, version, raw, &converted, format, &stage).await?;
            imgbake_runtime::job::remove_path(raw)?;
            converted
        };
        stage.status(format!("writing {}", self.name()));
        let (path, kind, source, seen) =
            (self.path.clone(), self.kind, from.clone(), Arc::clone(&stage));
        let cancel = job.cancel().clone();
        let writing = tokio::task::spawn_blocking(move || {
            let go_on = |done, total| {
                seen.progress(done, Some(total));
                cancel
                    .check()
                    .map_err(|error| io::Error::new(io::ErrorKind::Interrupted, error.to_string()))
            };
            match kind {
                Kind::Device { force } => onto_device(&source, &path, force, &go_on),
                Kind::Fifo => {
                    stream(&source, &mut File::options().write(true).open(&path)?, &go_on)
                }
                Kind::Stdout => stream(&source, &mut io::stdout().lock(), &go_on),
            }
        });
        let written = job.cancel().run(writing).await.map_err(BuildError::from)?;
        let written =
            written.map_err(|error| Failure::internal(format!("writing did not end: {error}")))?;
        let (digest, bytes) = written.map_err(|error| self.failed(error))?;
        imgbake_runtime::job::remove_path(&from)?;
        if let Some(stage) = Arc::into_inner(stage) {
            stage.finish(bytes, format!("{format}, sha256 {}", digest.short()));
        }
        Ok(())
    }

    fn failed(&self, error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::from(BuildError::failed(format!(
                "whoever reads {} has gone",
                self.name()
            )));
        }
        Failure::from(io_at("write", &self.path)(error))
    }

    /// A device that something uses, or that holds anything, is not written over by accident.
    pub(super) fn refuse_used(&self) -> Result<(), Failure> {
        let path = &self.path;
        let refused = |why: &str| {
            let what = format!("the device {path} {why}");
            Failure::from(
                BuildError::new(BuildErrorKind::Refused, what)
                    .help("`--force` writes over it all the same"),
            )
        };
        let mut device = match open_device(path, false) {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error()) => {
                return Err(refused("is in use: it is mounted, or part of something else"));
            }
            opened => opened.map_err(io_at("open", path))?,
        };
        let mut start = vec![0; PIECE];
        let read = read_full(&mut device, &mut start).map_err(io_at("read", path))?;
        if start[..read].iter().any(|byte| *byte != 0) {
            return Err(refused("holds data"));
        }
        Ok(())
    }
}

/// Opens a device; without `force` for nobody else: of what is mounted or part of something else, Linux then
/// says that it is busy (`open(2)`, `O_EXCL`).
fn open_device(path: &Utf8Path, force: bool) -> io::Result<File> {
    let exclusive = if force { OFlags::empty() } else { OFlags::EXCL };
    let flags = i32::try_from(exclusive.bits()).map_err(io::Error::other)?;
    File::options().read(true).write(true).custom_flags(flags).open(path)
}

type GoOn<'a> = dyn Fn(u64, u64) -> io::Result<()> + 'a;

/// Copies a disk to a device, zeroes what is a hole in the file, and reads the device again.
fn onto_device(
    from: &Utf8Path,
    to: &Utf8Path,
    force: bool,
    go_on: &GoOn<'_>,
) -> io::Result<(Digest, u64)> {
    let mut source = File::open(from)?;
    let len = source.metadata()?.len();
    let mut device = open_device(to, force)?;
    let room = device.seek(SeekFrom::End(0))?;
    if room < len {
        let (room, len) = (Size::bytes(room).human(), Size::bytes(len).human());
        return Err(io::Error::other(format!("it has {room}, and the disk has {len}")));
    }
    let mut sha256 = sha2::Sha256::new();
    let mut buffer = vec![0; PIECE];
    let (mut at, total) = (0, len * 2);
    while at < len {
        let read = read_full(&mut source, &mut buffer)?;
        let piece = &buffer[..read];
        sha256.update(piece);
        let zeroed = piece.iter().all(|byte| *byte == 0) && {
            // Devices that cannot forget blocks zero them; where that is not possible either, zeros are written.
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&device, hole, at, read as u64).is_ok()
        };
        if !zeroed {
            device.write_all_at(piece, at)?;
        }
        at += read as u64;
        go_on(at, total)?;
    }
    device.sync_all()?;
    // What was just written would be read from memory.
    rustix::fs::fadvise(&device, 0, None, rustix::fs::Advice::DontNeed)?;
    let written = Digest::from_sha256(&sha256.finalize());
    device.seek(SeekFrom::Start(0))?;
    let mut sha256 = sha2::Sha256::new();
    let mut back = device.take(len);
    let mut done = len;
    loop {
        let read = read_full(&mut back, &mut buffer)?;
        if read == 0 {
            break;
        }
        sha256.update(&buffer[..read]);
        done += read as u64;
        go_on(done, total)?;
    }
    let found = Digest::from_sha256(&sha256.finalize());
    if found != written {
        return Err(io::Error::other(format!(
            "it gives back other bytes: {found}, written was {written}"
        )));
    }
    Ok((written, len))
}

/// Copies a file to whoever reads.
fn stream(from: &Utf8Path, to: &mut impl Write, go_on: &GoOn<'_>) -> io::Result<(Digest, u64)> {
    let mut source = File::open(from)?;
    let total = source.metadata()?.len();
    let mut sha256 = sha2::Sha256::new();
    let mut buffer = vec![0; PIECE];
    let mut done = 0;
    loop {
        let read = read_full(&mut source, &mut buffer)?;
        if read == 0 {
            break;
        }
        sha256.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        done += read as u64;
        go_on(done, total)?;
    }
    to.flush()?;
    Ok((Digest::from_sha256(&sha256.finalize()), done))
}

/// Reads until the buffer is full or nothing is left.
fn read_full(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match from.read(&mut buffer[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
