//! How far a copy is: bytes, rate, time left.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use imgbake_oci::{BodySource, BoxError, SourceStream};
use imgbake_runtime::StageGuard;
use imgbake_types::{Digest, Size};

use super::end::Source;
use crate::blob::Blob;

/// How often rate and time left are reported.
const EVERY: Duration = Duration::from_secs(1);
/// How much a second of measurement counts against what was measured before.
const WEIGHT: f64 = 0.3;

/// The progress of one copy. Clones are the same.
#[derive(Clone)]
pub(crate) struct Meter(Arc<Inner>);

struct Inner {
    stage: Arc<StageGuard>,
    total: u64,
    state: Mutex<State>,
}

struct State {
    /// Bytes that are settled.
    settled: u64,
    /// Bytes so far of each blob that is on its way.
    moving: BTreeMap<Digest, u64>,
    /// Bytes that were really moved.
    moved: u64,
    reported: (Instant, u64),
    /// Bytes a second, smoothed.
    rate: f64,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meter")
    }
}

impl Meter {
    pub(crate) fn new(stage: &Arc<StageGuard>, total: u64) -> Self {
        let begun = State {
            settled: 0,
            moving: BTreeMap::new(),
            moved: 0,
            reported: (Instant::now(), 0),
            rate: 0.0,
        };
        Self(Arc::new(Inner { stage: Arc::clone(stage), total, state: Mutex::new(begun) }))
    }

    /// Bytes that were really moved.
    pub(crate) fn moved(&self) -> u64 {
        self.state().moved
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A blob is being moved from this offset on.
    fn begin(&self, digest: &Digest, at: u64) {
        self.state().moving.insert(digest.clone(), at);
    }

    /// More of a blob has come.
    pub(crate) fn more(&self, digest: &Digest, bytes: u64) {
        let mut state = self.state();
        state.moved += bytes;
        *state.moving.entry(digest.clone()).or_default() += bytes;
        self.emit(&mut state);
    }

    /// A blob is where it shall be, however it came there.
    pub(crate) fn settle(&self, blob: &Blob) {
        let mut state = self.state();
        state.moving.remove(&blob.digest);
        state.settled += blob.size;
        self.emit(&mut state);
    }

    fn emit(&self, state: &mut State) {
        let moving: u64 = state.moving.values().sum();
        let done = (state.settled + moving).min(self.0.total);
        self.0.stage.progress(done, Some(self.0.total));
        let (then, before) = state.reported;
        if then.elapsed() < EVERY {
            return;
        }
        let now = bytes_per_second(state.moved - before, then.elapsed());
        state.rate =
            if state.rate == 0.0 { now } else { state.rate * (1.0 - WEIGHT) + now * WEIGHT };
        state.reported = (Instant::now(), state.moved);
        self.0.stage.status(words(state.rate, self.0.total - done));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn bytes_per_second(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64()
}

/// "41 MiB/s, 2 min left"
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people; both are positive"
)]
fn words(rate: f64, left: u64) -> String {
    let speed = format!("{}/s", Size::bytes(rate as u64).human());
    if rate < 1.0 {
        return speed;
    }
    match (left as f64 / rate) as u64 {
        seconds @ 0..=99 => format!("{speed}, {seconds} s left"),
        seconds @ 100..=5999 => format!("{speed}, {} min left", seconds.div_ceil(60)),
        seconds => format!("{speed}, {} h left", seconds.div_ceil(3600)),
    }
}

/// A blob of an image, counted as it is read.
#[derive(Debug)]
pub(crate) struct Feed<'a> {
    pub(crate) from: &'a dyn Source,
    pub(crate) blob: &'a Blob,
    pub(crate) meter: Meter,
}

#[async_trait]
impl BodySource for Feed<'_> {
    async fn open(&self, from: u64) -> Result<SourceStream, BoxError> {
        let (meter, digest) = (self.meter.clone(), self.blob.digest.clone());
        meter.begin(&digest, from);
        let (owner, range) = (self.from.label(), from..self.blob.size);
        let stream = self.from.blobs().read_blob(&owner, self.blob, range);
        let counted = stream.inspect(move |bytes| {
            if let Ok(bytes) = bytes {
                meter.more(&digest, bytes.len() as u64);
            }
        });
        Ok(counted.map_err(BoxError::from).boxed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_rate_and_time_left() {
        const MIB: u64 = 1 << 20;
        let rate = bytes_per_second(40 * MIB, Duration::from_secs(2));
        for (left, expected) in
            [(60 * MIB, "3 s left"), (4000 * MIB, "4 min left"), (200_000 * MIB, "3 h left")]
        {
            let reported = words(rate, left);
            assert!(reported.contains("/s, ") && reported.ends_with(expected), "{reported}");
        }
        assert!(!words(0.0, 1).contains("left"));
    }
}
