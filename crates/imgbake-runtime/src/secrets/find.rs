//! Where in a text secrets stand, however they are written.
//!
//! Short secrets are looked for as a whole. Of longer ones every stretch of [`STRETCH`] bytes counts: a
//! secret is often cut, by a line's end, a dump's columns or a buffer's, and half of it is too much already.

use std::collections::HashSet;
use std::ops::Range;

use aho_corasick::AhoCorasick;

use super::parts::{Part, is_random};
use super::views::{self, View};

/// Bytes of a secret that are never shown in a row.
pub(super) const STRETCH: usize = 7;
/// The same of secrets that may be words: fewer would hide words of honest text.
const STRETCH_OF_WORDS: usize = 12;
/// Shorter secrets are not looked for in decoded bytes, where they would be found at random.
const DECODED: usize = 6;

/// What finds secrets.
#[derive(Default)]
pub(super) struct Finder {
    /// Short ones as a whole.
    short: Wholes,
    /// Those of the short ones that are looked for in decoded bytes.
    decoded: Wholes,
    /// Stretches of those that look like random.
    random: Stretches<STRETCH>,
    /// Stretches of all others.
    words: Stretches<STRETCH_OF_WORDS>,
    /// Stretches of all, without blanks; in decoded text nothing is there at random.
    any: Stretches<STRETCH>,
}

impl Finder {
    /// A finder of these parts.
    pub(super) fn new<'p>(parts: impl Iterator<Item = &'p Part> + Clone) -> Self {
        let bytes = |part: &'p Part| part.text.trim().as_bytes();
        let (mut random, mut words, mut any) =
            <(Stretches<_>, Stretches<_>, Stretches<_>)>::default();
        let mut short: Vec<&[u8]> = Vec::new();
        for part in parts {
            let text = bytes(part);
            let is_random = part.pem || is_random(&part.text);
            match text.len() {
                0 => continue,
                len if is_random && len >= STRETCH => random.add(text),
                len if len > STRETCH_OF_WORDS => words.add(text),
                _ => short.push(text),
            }
            if text.len() >= STRETCH {
                any.add(text);
                let dense: Vec<u8> =
                    text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
                any.add(&dense);
            }
        }
        let decoded = short.iter().copied().filter(|text| text.len() >= DECODED);
        Self {
            decoded: Wholes::new(decoded),
            short: Wholes::new(short.iter().copied()),
            random,
            words,
            any,
        }
    }

    /// Whether it looks for nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.short.is_empty() && self.random.is_empty() && self.words.is_empty()
    }

    /// Where secrets stand, in order, none touching another.
    pub(super) fn spans(&self, text: &[u8]) -> Vec<Range<usize>> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut found = Vec::new();
        self.plain(text, &mut |range| found.push(range));
        let shown = [views::shown(text, false), views::shown(text, true), views::unescaped(text)];
        for view in shown.iter().flatten() {
            self.plain(view.bytes(), &mut |range| found.push(view.place(&range)));
        }
        // A decoded text may be a text in base64 again.
        let visible = shown[0].as_ref().map_or(text, View::bytes);
        for view in decodings(visible) {
            let outer = |range: Range<usize>| {
                let range = view.place(&range);
                shown[0].as_ref().map_or(range.clone(), |shown| shown.place(&range))
            };
            self.decoded(view.bytes(), &mut |range| found.push(outer(range)));
            for inner in decodings(view.bytes()) {
                self.decoded(inner.bytes(), &mut |range| found.push(outer(inner.place(&range))));
            }
        }
        if let Some(dense) = views::dense(visible) {
            let mut report = |range: Range<usize>| {
                let range = dense.place(&range);
                found.push(shown[0].as_ref().map_or(range.clone(), |shown| shown.place(&range)));
            };
            self.random.find(dense.bytes(), &mut report);
            self.words.find(dense.bytes(), &mut report);
        }
        merged(found, text)
    }

    fn plain(&self, bytes: &[u8], report: &mut dyn FnMut(Range<usize>)) {
        self.short.find(bytes, report);
        self.random.find(bytes, report);
        self.words.find(bytes, report);
    }

    fn decoded(&self, bytes: &[u8], report: &mut dyn FnMut(Range<usize>)) {
        self.decoded.find(bytes, report);
        self.any.find(bytes, report);
    }
}

/// All that a text may decode to.
fn decodings(text: &[u8]) -> impl Iterator<Item = View> {
    let base64 = (0..4).filter_map(|phase| views::base64(text, phase));
    let hex = (0..2).filter_map(|phase| views::hex(text, phase));
    base64.chain(hex).chain(views::words(text))
}

/// Ranges in order, those that touch as one, none within a character.
fn merged(mut found: Vec<Range<usize>>, text: &[u8]) -> Vec<Range<usize>> {
    let inside = |at: usize| text.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
    found.sort_by_key(|range| range.start);
    let mut out: Vec<Range<usize>> = Vec::new();
    for mut range in found {
        while range.start > 0 && inside(range.start) {
            range.start -= 1;
        }
        while inside(range.end) {
            range.end += 1;
        }
        match out.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => out.push(range),
        }
    }
    out
}

/// Secrets that are found as a whole.
#[derive(Default)]
struct Wholes(Option<AhoCorasick>);

impl Wholes {
    fn new<'p>(texts: impl Iterator<Item = &'p [u8]>) -> Self {
        let texts: Vec<&[u8]> = texts.collect();
        // Fewer than 2^31 short texts always make an automaton.
        Self((!texts.is_empty()).then(|| AhoCorasick::new(texts).ok()).flatten())
    }

    fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn find(&self, bytes: &[u8], report: &mut dyn FnMut(Range<usize>)) {
        let Some(automaton) = &self.0 else { return };
        for found in automaton.find_overlapping_iter(bytes) {
            report(found.range());
        }
    }
}

/// Every stretch of `N` bytes of some texts.
struct Stretches<const N: usize> {
    all: HashSet<[u8; N]>,
    /// Which first three bytes any of them has, by a hash: most bytes of a text are passed over by it.
    first: Vec<u64>,
}

impl<const N: usize> Default for Stretches<N> {
    fn default() -> Self {
        Self { all: HashSet::new(), first: Vec::new() }
    }
}

/// Bits of [`Stretches::first`].
const FIRST: usize = 1 << 16;

fn hash(bytes: &[u8]) -> usize {
    let number = u32::from(bytes[0]) | u32::from(bytes[1]) << 8 | u32::from(bytes[2]) << 16;
    // Fibonacci hashing: Knuth, The Art of Computer Programming, volume 3, section 6.4.
    (number.wrapping_mul(0x9E37_79B1) >> 16) as usize % FIRST
}

impl<const N: usize> Stretches<N> {
    fn add(&mut self, text: &[u8]) {
        self.first.resize(FIRST / 64, 0);
        for stretch in text.windows(N) {
            let stretch: [u8; N] = stretch.try_into().unwrap_or([0; N]);
            let bit = hash(&stretch);
            self.first[bit / 64] |= 1 << (bit % 64);
            self.all.insert(stretch);
        }
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn find(&self, bytes: &[u8], report: &mut dyn FnMut(Range<usize>)) {
        if self.is_empty() {
            return;
        }
        let mut current: Option<Range<usize>> = None;
        for (at, stretch) in bytes.windows(N).enumerate() {
            let bit = hash(stretch);
            if self.first[bit / 64] >> (bit % 64) & 1 == 0 || !self.all.contains(stretch) {
                continue;
            }
            match &mut current {
                Some(range) if at <= range.end => range.end = at + N,
                _ => {
                    current.replace(at..at + N).into_iter().for_each(&mut *report);
                }
            }
        }
        current.into_iter().for_each(report);
    }
}
