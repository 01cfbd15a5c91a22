//! Finding what is zero, fast: most of a disk is.

use std::ops::Range;

/// The block in which zeros are looked for: a page, and the usual file-system block.
pub const ZERO_BLOCK: usize = 4096;

/// Whether all of `bytes` is zero. Stops at the first block that is not.
pub fn is_zero(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<128>();
    let any = |bytes: &[u8]| bytes.iter().fold(0, |all, byte| all | byte) != 0;
    blocks.iter().all(|block| !any(block)) && !any(rest)
}

/// The ranges of `buffer` that hold data, in order: whole [`ZERO_BLOCK`]s (the last may be short)
/// that are not all zero, neighbours merged. The buffer's start counts as aligned.
pub fn zero_runs(buffer: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let zero_at = |at: usize| is_zero(&buffer[at..buffer.len().min(at + ZERO_BLOCK)]);
        while at < buffer.len() && zero_at(at) {
            at += ZERO_BLOCK;
        }
        let start = at;
        while at < buffer.len() && !zero_at(at) {
            at += ZERO_BLOCK;
        }
        (start < buffer.len()).then(|| start..at.min(buffer.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_aligned_and_merged() {
        let mut buffer = vec![0; 5 * ZERO_BLOCK + 100];
        for at in [ZERO_BLOCK, 3 * ZERO_BLOCK - 1, 5 * ZERO_BLOCK + 99] {
            buffer[at] = 1;
        }
        let runs: Vec<_> = zero_runs(&buffer).collect();
        assert_eq!(runs, [ZERO_BLOCK..3 * ZERO_BLOCK, 5 * ZERO_BLOCK..5 * ZERO_BLOCK + 100]);
        assert_eq!(zero_runs(&[]).count(), 0);
        assert_eq!(zero_runs(&vec![0; 9999]).count(), 0);
    }

    proptest::proptest! {
        #[test]
        fn runs_cover_every_byte_that_is_not_zero(
            len in 0..40_000_usize,
            marks in proptest::collection::vec(0..40_000_usize, 0..8),
        ) {
            let mut buffer = vec![0_u8; len];
            for mark in marks.into_iter().filter(|mark| *mark < len) {
                buffer[mark] = 7;
            }
            let mut rebuilt = vec![0_u8; len];
            let mut end = 0;
            for run in zero_runs(&buffer) {
                assert!(run.start >= end && run.start % ZERO_BLOCK == 0 && run.end > run.start);
                end = run.end;
                rebuilt[run.clone()].copy_from_slice(&buffer[run]);
            }
            assert_eq!(rebuilt, buffer);
        }
    }
}
