//! The residue check: searches a disk's bytes for many patterns at once while they are captured.

use aho_corasick::{AhoCorasick, MatchKind, packed};
use imgbake_build::{Hit, Pattern, Tap};

/// Bytes of a pattern that are searched for: a longer secret's beginning is as bad as the whole.
const LONGEST: usize = 256;
/// Shorter patterns would be found by chance ([`Pattern::bytes`]).
const SHORTEST: usize = 6;
/// Hits reported of each pattern; after that it is not looked for any more, which bounds memory and time.
const HITS: usize = 8;

/// Patterns of one pass: as many as the vector searcher takes. Measured on one busy core with 1.3 GiB of
/// programs and libraries: 9.9 GiB/s with 10 patterns, 6.2 with 60; the same library's automaton
/// alone reaches 0.5, with its own prefilter 1.0. Hundreds of patterns take a pass for each 60.
const GROUP: usize = 60;

/// Searches consecutive pieces of a disk for patterns. One thread feeds it.
///
/// A match may lie across pieces that follow one another without a gap.
#[derive(Debug)]
pub struct ResidueScanner {
    patterns: Vec<Pattern>,
    found: Vec<usize>,
    groups: Vec<Group>,
    hits: Vec<Hit>,
    /// The last bytes of the pieces so far, where a match may begin that the next piece completes.
    tail: Vec<u8>,
    /// Where the next piece must begin to follow the tail.
    next: u64,
    longest: usize,
}

/// Patterns that are looked for together, as places in the list of all.
#[derive(Debug)]
struct Group {
    members: Vec<usize>,
    searcher: Searcher,
}

#[derive(Debug)]
enum Searcher {
    /// Vector instructions (SSSE3, AVX2, NEON).
    Packed(packed::Searcher),
    /// For processors without them.
    Automaton(AhoCorasick),
}

impl Searcher {
    fn new<'p>(
        patterns: impl Iterator<Item = &'p Vec<u8>> + Clone,
    ) -> Result<Self, aho_corasick::BuildError> {
        let packed = packed::Config::new()
            .match_kind(packed::MatchKind::LeftmostFirst)
            .builder()
            .extend(patterns.clone())
            .build();
        match packed {
            Some(searcher) => Ok(Self::Packed(searcher)),
            None => AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostFirst)
                .build(patterns)
                .map(Self::Automaton),
        }
    }

    /// Where the first match begins.
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Packed(searcher) => searcher.find(bytes).map(|found| found.start()),
            Self::Automaton(searcher) => searcher.find(bytes).map(|found| found.start()),
        }
    }
}

impl ResidueScanner {
    /// A scanner for patterns; such of fewer than six bytes, and repeated ones, are left out.
    pub fn new(patterns: Vec<Pattern>) -> Self {
        let mut kept: Vec<Pattern> = Vec::new();
        for mut pattern in patterns.into_iter().filter(|pattern| pattern.bytes.len() >= SHORTEST) {
            pattern.bytes.truncate(LONGEST);
            if !kept.contains(&pattern) {
                kept.push(pattern);
            }
        }
        let mut scanner = Self {
            found: vec![0; kept.len()],
            groups: Vec::new(),
            hits: Vec::new(),
            tail: Vec::new(),
            next: 0,
            longest: kept.iter().map(|pattern| pattern.bytes.len()).max().unwrap_or(0),
            patterns: kept,
        };
        let all: Vec<usize> = (0..scanner.patterns.len()).collect();
        scanner.groups =
            all.chunks(GROUP).filter_map(|members| scanner.group(members.to_vec())).collect();
        scanner
    }

    /// A group of those members that have not been found often enough; none if there are no more.
    fn group(&mut self, mut members: Vec<usize>) -> Option<Group> {
        members.retain(|&at| self.found[at] < HITS);
        if members.is_empty() {
            return None;
        }
        match Searcher::new(members.iter().map(|&at| &self.patterns[at].bytes)) {
            Ok(searcher) => Some(Group { members, searcher }),
            // A check that cannot be made must not pass.
            Err(error) => {
                self.hits.push(Hit {
                    name: format!("no residue check: {error}"),
                    severe: true,
                    offset: 0,
                });
                None
            }
        }
    }

    /// Searches one piece. Pieces come in the disk's order.
    pub fn scan(&mut self, offset: u64, bytes: &[u8]) {
        if self.longest == 0 || bytes.is_empty() {
            return;
        }
        let keep = self.longest - 1;
        if offset != self.next {
            self.tail.clear();
        }
        let before = self.tail.len();
        if before > 0 {
            // What begins in the tail and ends in this piece.
            let mut seam = std::mem::take(&mut self.tail);
            seam.extend_from_slice(&bytes[..bytes.len().min(keep)]);
            self.search(offset - before as u64, &seam, |start, end| start < before && end > before);
            self.tail = seam;
            self.tail.truncate(before);
        }
        self.search(offset, bytes, |_, _| true);
        if bytes.len() >= keep {
            self.tail.clear();
            self.tail.extend_from_slice(&bytes[bytes.len() - keep..]);
        } else {
            self.tail.extend_from_slice(bytes);
            let surplus = self.tail.len().saturating_sub(keep);
            self.tail.drain(..surplus);
        }
        self.next = offset + bytes.len() as u64;
    }

    /// Finds every place where a pattern begins, and there every pattern that begins.
    fn search(&mut self, offset: u64, bytes: &[u8], counts: impl Fn(usize, usize) -> bool) {
        for group in std::mem::take(&mut self.groups) {
            let mut group = Some(group);
            let mut from = 0;
            while let Some(current) = group.take() {
                let Some(start) = current.searcher.find(&bytes[from..]).map(|start| from + start)
                else {
                    self.groups.push(current);
                    break;
                };
                let place = |length| counts(start, start + length);
                let saturated =
                    self.record(&current.members, offset + start as u64, &bytes[start..], place);
                group = if saturated { self.group(current.members) } else { Some(current) };
                from = start + 1;
            }
        }
    }

    /// Records each member that the bytes begin with; returns whether one has been found often enough.
    fn record(
        &mut self,
        members: &[usize],
        offset: u64,
        bytes: &[u8],
        counts: impl Fn(usize) -> bool,
    ) -> bool {
        let mut saturated = false;
        for &at in members {
            let pattern = &self.patterns[at];
            if bytes.starts_with(&pattern.bytes) && counts(pattern.bytes.len()) {
                self.hits.push(Hit { name: pattern.name.clone(), severe: pattern.severe, offset });
                self.found[at] += 1;
                saturated |= self.found[at] >= HITS;
            }
        }
        saturated
    }

    /// What was found: at most eight places of each pattern, in the disk's order.
    pub fn finish(mut self) -> Vec<Hit> {
        self.hits.sort_by_key(|hit| hit.offset);
        self.hits
    }
}

impl Tap for ResidueScanner {
    fn data(&mut self, offset: u64, bytes: &[u8]) {
        self.scan(offset, bytes);
    }

    fn finish(self: Box<Self>) -> Vec<Hit> {
        Self::finish(*self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(name: &str, bytes: &[u8]) -> Pattern {
        Pattern { name: name.to_owned(), bytes: bytes.to_vec(), severe: name.starts_with('G') }
    }

    fn offsets(hits: &[Hit], name: &str) -> Vec<u64> {
        hits.iter().filter(|hit| hit.name == name).map(|hit| hit.offset).collect()
    }

    #[test]
    fn finds_across_pieces_but_not_across_gaps() {
        let mut scanner =
            ResidueScanner::new(vec![pattern("G", b"needle-1"), pattern("b", b"needle-2")]);
        scanner.scan(100, b"..need");
        scanner.scan(106, b"l");
        scanner.scan(107, b"e-1..needle-2");
        scanner.scan(120, b"need");
        scanner.scan(130, b"le-1");
        let hits = scanner.finish();
        assert_eq!(offsets(&hits, "G"), [102]);
        assert_eq!(offsets(&hits, "b"), [112]);
        assert!(hits[0].severe && !hits[1].severe);
    }

    #[test]
    fn overlapping_contained_and_equal_patterns_all_count() {
        let patterns = [
            ("whole", "abcdefghij"),
            ("inside", "cdefgh"),
            ("prefix", "abcdef"),
            ("after", "hijklm"),
        ];
        let mut patterns: Vec<_> =
            patterns.iter().map(|(name, bytes)| pattern(name, bytes.as_bytes())).collect();
        patterns.push(pattern("G twin", b"abcdef"));
        patterns.push(pattern("prefix", b"abcdef"));
        let mut scanner = ResidueScanner::new(patterns);
        scanner.scan(0, b"xabcdefghijklm");
        let hits = scanner.finish();
        let shown: Vec<_> = hits.iter().map(|hit| (hit.name.as_str(), hit.offset)).collect();
        assert_eq!(
            shown,
            [("whole", 1), ("prefix", 1), ("G twin", 1), ("inside", 3), ("after", 8)]
        );
    }

    #[test]
    fn hits_are_bounded_and_do_not_hide_others() {
        let mut scanner =
            ResidueScanner::new(vec![pattern("a", b"aaaaaa"), pattern("G", b"secret!")]);
        let mut disk = vec![b'a'; 1 << 20];
        disk.extend_from_slice(b"secret!");
        for (number, piece) in disk.chunks(4096).enumerate() {
            scanner.scan(number as u64 * 4096, piece);
        }
        let hits = scanner.finish();
        assert_eq!((offsets(&hits, "a").len(), offsets(&hits, "G")), (HITS, vec![1 << 20]));
    }

    #[test]
    fn many_patterns_go_in_several_passes() {
        let patterns: Vec<_> = (0..3 * GROUP)
            .map(|n| pattern(&n.to_string(), format!("needle-{n:04}").as_bytes()))
            .collect();
        let mut scanner = ResidueScanner::new(patterns.clone());
        let disk: Vec<u8> = patterns.iter().flat_map(|pattern| pattern.bytes.clone()).collect();
        disk.chunks(7)
            .enumerate()
            .for_each(|(number, piece)| scanner.scan(number as u64 * 7, piece));
        let found: Vec<String> = scanner.finish().into_iter().map(|hit| hit.name).collect();
        assert_eq!(found, patterns.into_iter().map(|pattern| pattern.name).collect::<Vec<_>>());
    }

    #[test]
    fn short_and_absent_patterns_are_no_trouble() {
        let mut scanner = ResidueScanner::new(vec![pattern("short", b"ab"), pattern("empty", b"")]);
        scanner.scan(0, b"abababab");
        assert!(scanner.finish().is_empty());
        let mut long = ResidueScanner::new(vec![pattern("long", &[b'x'; 5000])]);
        long.scan(0, &[b'x'; 300]);
        assert!(!long.finish().is_empty());
    }

    proptest! {
        /// However a disk is cut into pieces, the hits are those of a plain search.
        #[test]
        fn cuts_do_not_matter(
            disk in proptest::collection::vec(0_u8..3, 0..400),
            needles in proptest::collection::vec(proptest::collection::vec(0_u8..3, 6..12), 1..5),
            cuts in proptest::collection::vec(1_usize..40, 1..80),
            start in 0_u64..1000,
        ) {
            let patterns: Vec<_> = needles.iter().enumerate().map(|(n, bytes)| pattern(&n.to_string(), bytes)).collect();
            let mut scanner = ResidueScanner::new(patterns.clone());
            let (mut at, mut turn) = (0, 0);
            while at < disk.len() {
                let end = (at + cuts[turn % cuts.len()]).min(disk.len());
                scanner.scan(start + at as u64, &disk[at..end]);
                (at, turn) = (end, turn + 1);
            }
            let hits = scanner.finish();
            for pattern in &patterns {
                let plain: Vec<u64> = disk
                    .windows(pattern.bytes.len())
                    .enumerate()
                    .filter(|(_, window)| *window == pattern.bytes)
                    .map(|(at, _)| start + at as u64)
                    .take(HITS)
                    .collect();
                prop_assert_eq!(offsets(&hits, &pattern.name), plain);
            }
        }
    }
}
