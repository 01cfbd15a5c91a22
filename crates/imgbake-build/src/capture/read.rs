//! The reader: pieces of a disk's windows to whoever looks at them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use imgbake_disk::chunk::Cutter;
use imgbake_disk::hash::DiskHasher;
use imgbake_disk::zero::{ZERO_BLOCK, is_zero};
use imgbake_disk::{DiskSource, Extent};
use imgbake_runtime::Cancel;

use super::piece::{Buffers, Piece};
use super::pipeline::{Content, Feed};
use super::tap::{Hit, Tap};
use crate::BuildError;
use crate::error::disk_error;

/// Bytes read at once: the unit that goes through the queues.
const PIECE: u64 = 2 << 20;
/// Pieces that wait for the hasher or the tap.
const QUEUE: usize = 6;

/// What goes over a disk.
pub(super) struct Reader<'a> {
    pub(super) disk: &'a dyn DiskSource,
    /// What is read: sorted and apart. Each is cut by itself.
    pub(super) windows: &'a [Extent],
    /// Whether the pieces are hashed: then there is one window, the whole disk.
    pub(super) hashed: bool,
    pub(super) cancel: &'a Cancel,
    pub(super) stop: &'a AtomicBool,
    pub(super) progress: &'a (dyn Fn(u64) + Sync),
}

/// A bounded queue of pieces.
pub(super) fn queue() -> (SyncSender<Arc<Piece>>, Receiver<Arc<Piece>>) {
    sync_channel(QUEUE)
}

impl Reader<'_> {
    /// Reads every window and hands its pieces on; gives the bytes read.
    pub(super) fn run(
        self,
        feed: &mut Feed,
        hasher: &SyncSender<Arc<Piece>>,
        tap: &SyncSender<Arc<Piece>>,
    ) -> Result<u64, BuildError> {
        let extents = self.disk.extents().map_err(disk_error)?;
        let (mut cutter, buffers) = (Cutter::default(), Buffers::new());
        let mut read = 0;
        // The chunks of a piece are out before the next is read: so it ends soon.
        let mut wanted = true;
        for window in self.windows {
            for piece in pieces(&extents, *window) {
                if !wanted || self.stop.load(Ordering::Relaxed) || self.cancel.is_cancelled() {
                    return Ok(read);
                }
                let piece = Arc::new(buffers.read(self.disk, piece)?);
                read += piece.bytes.len() as u64;
                (self.progress)(piece.offset);
                if is_zero(&piece.bytes) {
                    continue;
                }
                // The hasher has the longest way to go: it begins first. A receiver that is gone has
                // failed, and says so itself.
                if self.hashed {
                    let _ = hasher.send(Arc::clone(&piece));
                }
                let _ = tap.send(Arc::clone(&piece));
                let is_dense = piece.is_dense();
                cutter.data(piece.offset, &piece.bytes, &mut |offset, chunk| {
                    let place = piece.place(offset, chunk.len()).filter(|_| is_dense);
                    let content = match place {
                        Some(place) => Content::In(Arc::clone(&piece), place),
                        None => Content::Apart(chunk.to_vec()),
                    };
                    wanted &= feed.chunk(offset, content);
                });
            }
            cutter.end(&mut |offset, chunk| {
                wanted &= feed.chunk(offset, Content::Apart(chunk.to_vec()));
            });
        }
        Ok(read)
    }
}

/// The sha256 of a disk whose pieces come in order, with zeros between them.
pub(super) fn hash(queue: &Receiver<Arc<Piece>>, virtual_size: u64) -> [u8; 32] {
    let mut hasher = DiskHasher::new();
    for piece in queue {
        hasher.update_zeros(piece.offset - hasher.position());
        hasher.update(&piece.bytes);
    }
    hasher.update_zeros(virtual_size.saturating_sub(hasher.position()));
    hasher.finish()
}

/// Shows the tap every piece.
pub(super) fn look(queue: &Receiver<Arc<Piece>>, mut tap: Box<dyn Tap>) -> Vec<Hit> {
    for piece in queue {
        tap.data(piece.offset, &piece.bytes);
    }
    tap.finish()
}

/// Cuts the extents in a window, widened to whole blocks, into pieces.
fn pieces(extents: &[Extent], window: Extent) -> impl Iterator<Item = Extent> {
    let block = ZERO_BLOCK as u64;
    let mut end = window.offset;
    let mut wide = Vec::new();
    let first = extents.partition_point(|extent| extent.end() <= window.offset / block * block);
    let inside = extents[first..].iter().take_while(|extent| extent.offset < window.end());
    for extent in inside {
        let offset = (extent.offset / block * block).max(end);
        end = extent.end().next_multiple_of(block).min(window.end()).max(end);
        if offset < end {
            wide.push(Extent { offset, len: end - offset });
        }
    }
    wide.into_iter().flat_map(|extent| {
        (extent.offset..extent.end())
            .step_by(usize::try_from(PIECE).unwrap_or(usize::MAX))
            .map(move |offset| Extent { offset, len: PIECE.min(extent.end() - offset) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_blocks_inside_the_window() {
        let extent = |offset, len| Extent { offset, len };
        let extents = [extent(100, 10), extent(8191, 2), extent(1 << 20, (4 << 20) + 1)];
        let cut = |offset, len| {
            pieces(&extents, extent(offset, len)).map(|p| (p.offset, p.len)).collect::<Vec<_>>()
        };
        assert_eq!(
            cut(0, 16 << 20),
            [(0, 4096), (4096, 8192), (1 << 20, 2 << 20), (3 << 20, 2 << 20), (5 << 20, 4096)]
        );
        // What is in no extent is zero: nothing of it is read.
        assert_eq!(cut(50, 4060), [(50, 4046)]);
        assert_eq!(cut(12_000, (1 << 20) - 11_000), [(12_000, 288), (1 << 20, 1000)]);
        assert_eq!(cut(20_000, 100), []);
    }
}
