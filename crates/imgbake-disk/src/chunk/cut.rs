//! Where chunks begin and end.

use std::ops::Range;

use fastcdc::v2020::{Normalization, cut, select_masks};

use super::{PARAMS, Params};
use crate::{
    bytes::{to_u64, to_usize},
    zero::{ZERO_BLOCK, is_zero, zero_runs},
};

/// Cuts a disk's data into chunks. Where it cuts depends on the bytes alone: neither on how they are
/// handed over, nor on where the disk has holes.
///
/// Whole blocks of zeros are left out (a disk's blocks begin at multiples of [`ZERO_BLOCK`]); what is
/// between two of them is a run, and each run is cut by itself.
#[derive(Debug)]
pub struct Cutter {
    params: Params,
    masks: (u64, u64),
    /// The open run's bytes that are in no chunk yet, after `done` bytes that are.
    run: Vec<u8>,
    done: usize,
    /// The disk's offset of `run[0]`.
    start: u64,
}

impl Default for Cutter {
    fn default() -> Self {
        Self::new(PARAMS)
    }
}

impl Cutter {
    /// A cutter at a disk's start, or at the start of a window that is cut by itself.
    pub fn new(params: Params) -> Self {
        let masks = select_masks(to_usize(u64::from(params.average)), Normalization::Level1);
        Self { params, masks, run: Vec::new(), done: 0, start: 0 }
    }

    /// Takes in the disk's bytes at `offset`, which lies at or after the end of those before; what is
    /// between is zero. Gives the chunks that are certain to `take`, each with its offset.
    pub fn data(&mut self, offset: u64, bytes: &[u8], take: &mut impl FnMut(u64, &[u8])) {
        // Blocks count from the disk's start, wherever the bytes begin.
        let head = to_usize(offset.next_multiple_of(to_u64(ZERO_BLOCK)) - offset).min(bytes.len());
        if !is_zero(&bytes[..head]) {
            self.add(offset, &bytes[..head], take);
        }
        for Range { start, end } in zero_runs(&bytes[head..]) {
            let at = head + start;
            self.add(offset + to_u64(at), &bytes[at..head + end], take);
        }
    }

    /// Ends the open run: what comes after it is cut by itself.
    pub fn end(&mut self, take: &mut impl FnMut(u64, &[u8])) {
        while self.done < self.run.len() {
            self.chunk(take);
        }
        self.run.clear();
        self.done = 0;
    }

    fn add(&mut self, offset: u64, bytes: &[u8], take: &mut impl FnMut(u64, &[u8])) {
        let end = self.start + to_u64(self.run.len());
        if offset > end || self.run.is_empty() {
            self.end(take);
            self.start = offset;
        }
        self.run.extend_from_slice(bytes);
        let max = to_usize(u64::from(self.params.max));
        while self.run.len() - self.done >= max {
            self.chunk(take);
        }
        // What is open is shorter than a chunk, so that this moves little.
        self.run.drain(..self.done);
        self.start += to_u64(self.done);
        self.done = 0;
    }

    /// Gives the next chunk of the open run.
    fn chunk(&mut self, take: &mut impl FnMut(u64, &[u8])) {
        let open = &self.run[self.done..];
        let [min, average, max] = [self.params.min, self.params.average, self.params.max]
            .map(|size| to_usize(u64::from(size)));
        let (strict, loose) = self.masks;
        let (_, len) = cut(open, min, average, max, strict, loose, strict << 1, loose << 1);
        take(self.start + to_u64(self.done), &open[..len]);
        self.done += len;
    }
}
