//! Encoding blocks on several threads, written in order, with little in memory.
//!
//! Batches go round the workers in turn, each worker with a small channel of its own: the writer
//! takes them in order, and no worker runs ahead of the slowest by more than its channel.

use std::{num::NonZero, sync::mpsc, thread};

use super::progress::Progress;
use crate::{DiskSource, Result, bytes::to_usize, source::blocks, zero::is_zero};

/// Blocks in one batch.
const BATCH: usize = 16;
/// Batches a worker may have ready.
const AHEAD: usize = 4;

/// A block that is not all zero, encoded.
struct Block<T> {
    /// Its number: its offset over the block size.
    index: u64,
    data: T,
}

/// How many threads `wanted` means; 0 asks the machine.
fn threads(wanted: usize) -> usize {
    let machine = || thread::available_parallelism().map_or(1, NonZero::get).min(8);
    if wanted == 0 { machine() } else { wanted.min(64) }
}

/// Reads every `size`-byte block that the source's extents touch, encodes those that are not zero
/// with the function that `encoder` makes for each of `wanted` threads, and hands them to `write` in
/// order, each with its number: its offset over the block size.
pub(super) fn run<T, E>(
    source: &dyn DiskSource,
    size: u64,
    wanted: usize,
    progress: &mut Progress<'_>,
    encoder: impl Fn() -> Result<E> + Sync,
    mut write: impl FnMut(u64, T) -> Result<()>,
) -> Result<()>
where
    T: Send,
    E: FnMut(&[u8]) -> Result<T>,
{
    let (extents, threads) = (&source.extents()?, threads(wanted));
    let encoder = &encoder;
    thread::scope(|scope| {
        let mut ready = Vec::new();
        for worker in 0..threads {
            let (send, receive) = mpsc::sync_channel(AHEAD);
            ready.push(receive);
            scope.spawn(move || {
                let work = || -> Result<()> {
                    let mut encode = encoder()?;
                    let mut buffer = vec![0; to_usize(size)];
                    let mut numbers = blocks(extents, size);
                    for turn in 0_usize.. {
                        let mine = turn % threads == worker;
                        let batch: Vec<u64> = numbers.by_ref().take(BATCH).collect();
                        let Some(last) = batch.last().copied() else { break };
                        if !mine {
                            continue;
                        }
                        let done = encode_batch(source, &batch, &mut buffer, &mut encode)?;
                        if send.send(Ok((done, last))).is_err() {
                            break;
                        }
                    }
                    Ok(())
                };
                if let Err(error) = work() {
                    // The writer may have stopped for a reason of its own.
                    let _gone = send.send(Err(error));
                }
            });
        }
        // The first worker that has ended has no batch left, and so have those after it.
        let mut turns = ready.iter().cycle();
        while let Some(Ok(batch)) = turns.next().map(mpsc::Receiver::recv) {
            let (blocks, last) = batch?;
            for Block { index, data } in blocks {
                write(index, data)?;
            }
            progress.reach((last + 1) * size);
        }
        Ok(())
    })
}

fn encode_batch<T>(
    source: &dyn DiskSource,
    batch: &[u64],
    buffer: &mut [u8],
    encode: &mut impl FnMut(&[u8]) -> Result<T>,
) -> Result<Vec<Block<T>>> {
    let size = crate::bytes::to_u64(buffer.len());
    let mut done = Vec::with_capacity(batch.len());
    for &index in batch {
        source.read_at(index * size, buffer)?;
        if !is_zero(buffer) {
            done.push(Block { index, data: encode(buffer)? });
        }
    }
    Ok(done)
}
