//! Chunks from the registry's packs.

use bytes::Bytes;
use futures::StreamExt;
use imgbake_build::capture::disk_error;
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_disk::DiskError;
use imgbake_disk::chunk::FrameReader;
use imgbake_oci::Repository;
use imgbake_types::Digest;
use tokio::runtime::Handle;

use super::queue::{Piece, Queue};
use super::sink::Sink;
use super::watch::Watch;
use crate::Result;
use crate::files::damaged;
use crate::transfer::meter::Meter;

/// Threads that take chunks from the registry, each with a request of its own.
const REQUESTS: usize = 6;

/// Takes chunks from a repository.
pub(super) struct Fetch<'a> {
    repository: &'a Repository,
    sink: &'a Sink<'a>,
    meter: &'a Meter,
    handle: &'a Handle,
    watch: &'a Watch,
}

impl<'a> Fetch<'a> {
    pub(super) fn new(
        repository: &'a Repository,
        sink: &'a Sink<'a>,
        meter: &'a Meter,
        handle: &'a Handle,
        watch: &'a Watch,
    ) -> Self {
        Self { repository, sink, meter, handle, watch }
    }

    /// Takes all pieces; of a registry that gives none, whole packs.
    pub(super) fn all(&self, pieces: Vec<Piece>) -> Result<()> {
        let count = pieces.len();
        let queue = Queue::new(pieces);
        self.watch.share(REQUESTS, count, |next| {
            let mut reader = FrameReader::new().map_err(disk_error)?;
            while next().is_some()
                && let Some(piece) = queue.next(self.repository.ignores_ranges())
            {
                self.piece(&piece, &mut reader)?;
            }
            Ok(())
        })
    }

    /// Takes one piece as it comes: no more is in memory than the frame that is not whole yet.
    fn piece(&self, piece: &Piece, reader: &mut FrameReader) -> Result<()> {
        let digest = Digest::from_sha256(&piece.pack.sha256);
        let mut stream = self.repository.blob(&digest, piece.pack.size, piece.range());
        let mut coming =
            Coming { fetch: self, piece, next: 0, at: piece.offset, buffer: Vec::new() };
        loop {
            let bytes: Option<Bytes> = self
                .handle
                .block_on(self.watch.cancel().run(stream.next()))
                .map_err(BuildError::from)?
                .transpose()?;
            let Some(bytes) = bytes else { break };
            self.meter.more(&digest, bytes.len() as u64);
            coming.take(&bytes, reader)?;
        }
        coming.end()
    }
}

/// A piece that is coming.
struct Coming<'a> {
    fetch: &'a Fetch<'a>,
    piece: &'a Piece,
    /// Which of the piece's chunks is waited for.
    next: usize,
    /// Where in the pack the buffer begins.
    at: u64,
    buffer: Vec<u8>,
}

impl Coming<'_> {
    fn take(&mut self, bytes: &[u8], reader: &mut FrameReader) -> Result<()> {
        let chunks = self.fetch.sink.table().chunks();
        self.buffer.extend_from_slice(bytes);
        let end = self.at + self.buffer.len() as u64;
        let mut wanted = end;
        while let Some(chunk) = self.piece.chunks.get(self.next).map(|number| &chunks[*number]) {
            wanted = u64::from(chunk.frame.offset);
            if chunk.frame.end() > end {
                break;
            }
            let place = |offset: u64| usize::try_from(offset - self.at).unwrap_or(usize::MAX);
            let frame = &self.buffer[place(wanted)..place(chunk.frame.end())];
            let proved = reader
                .chunk(frame, chunk.len, &chunk.digest)
                .map_err(|error| self.lie(chunk.frame.offset, &error))?;
            self.fetch.sink.put(&chunk.digest, proved)?;
            self.next += 1;
            wanted = end;
        }
        // Frames come in order, so that what is before the next one is of no use.
        let used = usize::try_from(wanted.min(end) - self.at).unwrap_or(0);
        self.buffer.drain(..used);
        self.at += used as u64;
        Ok(())
    }

    fn end(&self) -> Result<()> {
        if self.next == self.piece.chunks.len() {
            return Ok(());
        }
        let name = self.fetch.repository.label();
        let digest = Digest::from_sha256(&self.piece.pack.sha256);
        Err(damaged(format!("{name} gave only a part of the pack {digest}")))
    }

    fn lie(&self, offset: u32, error: &DiskError) -> BuildError {
        let name = self.fetch.repository.label();
        let digest = Digest::from_sha256(&self.piece.pack.sha256);
        let why = error.detail();
        let what =
            format!("{name} gives wrong bytes for the pack {digest}: from byte {offset} on, {why}");
        BuildError::new(BuildErrorKind::Failed, what).help(
            "the registry, or something before it, is damaged or hostile: none of these bytes were \
             used",
        )
    }
}
