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
    /// Bytes of the open run that are in no chunk yet: fewer than the longest chunk has.
    open: Vec<u8>,
    /// Where they begin on the disk.
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
        Self { params, masks, open: Vec::new(), start: 0 }
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
        let open = std::mem::take(&mut self.open);
        let mut rest = &open[..];
        while !rest.is_empty() {
            rest = self.chunk(rest, take);
        }
        self.open = open;
        self.open.clear();
    }

    /// Takes in a part of a run. Chunks are given out of `bytes` itself, but for one that began before.
    fn add(&mut self, offset: u64, bytes: &[u8], take: &mut impl FnMut(u64, &[u8])) {
        if self.open.is_empty() || offset > self.start + to_u64(self.open.len()) {
            self.end(take);
            self.start = offset;
        }
        let max = to_usize(u64::from(self.params.max));
        let mut rest = bytes;
        while !self.open.is_empty() {
            let before = self.open.len();
            let more = rest.len().min(max - before);
            let mut open = std::mem::take(&mut self.open);
            open.extend_from_slice(&rest[..more]);
            if open.len() < max {
                self.open = open;
                return;
            }
            let used = max - self.chunk(&open, take).len();
            rest = &rest[used.saturating_sub(before)..];
            open.truncate(before);
            open.drain(..used.min(before));
            self.open = open;
        }
        while rest.len() >= max {
            rest = self.chunk(rest, take);
        }
        self.open.extend_from_slice(rest);
    }

    /// Gives the chunk at the start of some bytes; what is behind it is left.
    fn chunk<'a>(&mut self, bytes: &'a [u8], take: &mut impl FnMut(u64, &[u8])) -> &'a [u8] {
        let [min, average, max] = [self.params.min, self.params.average, self.params.max]
            .map(|size| to_usize(u64::from(size)));
        let (strict, loose) = self.masks;
        let (_, len) = cut(bytes, min, average, max, strict, loose, strict << 1, loose << 1);
        let (chunk, rest) = bytes.split_at(len);
        take(self.start, chunk);
        self.start += to_u64(len);
        rest
    }
}
