//! Whether the time of day can be believed: ages decide what is deleted, and a clock that jumps makes
//! everything old.
//!
//! Each collection writes down the time of day beside the kernel's time since boot, which nobody sets. The
//! next one compares how far both came.

use std::fs;

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_types::record::format::{self, Document, Written};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::files::{self, read_small};
use crate::store::{Store, json};

const FILE: &str = "clock.json";
/// What a clock may be set by: time zones are none of it.
const TOLERANCE: SignedDuration = SignedDuration::from_hours(1);

/// A reading of this machine's clocks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    /// The time of day.
    pub time: Timestamp,
    /// Which boot of which machine (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// Seconds since that boot (`/proc/uptime`, `proc(5)`).
    pub uptime: f64,
}

impl Document for Clock {}

impl Clock {
    /// Reads the clocks. None where the kernel does not show them.
    pub fn read() -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let uptime = uptime.split_ascii_whitespace().next()?.parse().ok()?;
        Some(Self { time: Timestamp::now(), boot, uptime })
    }

    /// How far the time of day came from where it should be since an earlier reading. After a restart it is
    /// only known that it cannot go back.
    fn jump(&self, earlier: &Self) -> SignedDuration {
        let passed = self.time.duration_since(earlier.time);
        let jump = if self.boot == earlier.boot {
            let seconds = (self.uptime - earlier.uptime).clamp(0.0, 1e10);
            SignedDuration::try_from_secs_f64(seconds)
                .map_or(SignedDuration::ZERO, |ran| passed - ran)
        } else {
            passed.min(SignedDuration::ZERO)
        };
        if jump.abs() > TOLERANCE { jump } else { SignedDuration::ZERO }
    }
}

/// Compares with the reading before.
///
/// # Errors
/// [`BuildErrorKind::Refused`]: the clock jumped.
pub(super) fn check(store: &Store, now: &Clock) -> Result<()> {
    let path = store.root().join(FILE);
    // One that cannot be read, or is of a newer format, says nothing, and is written anew.
    let earlier = read_small(&path).ok().flatten();
    let earlier: Option<Clock> = earlier.and_then(|bytes| format::read(&bytes).ok());
    let Some(earlier) = earlier else { return Ok(()) };
    let jump = now.jump(&earlier);
    if jump.is_zero() {
        return Ok(());
    }
    let (time, before) = (shown(now.time), shown(earlier.time));
    let how = if jump.is_negative() { "back" } else { "ahead" };
    let hours = jump.as_hours().abs();
    let what = format!(
        "the clock says {time}, {hours} hours {how} of where it should be after {before}: nothing was deleted"
    );
    Err(BuildError::new(BuildErrorKind::Refused, what).help(
        "versions and blobs go by their age: set the clock, or, where it is right now, use \
         `imgbake gc --trust-clock`",
    ))
}

/// Writes a reading down for the next collection. The lock must be held.
pub(super) fn remember(store: &Store, now: &Clock) -> Result<()> {
    files::write(&store.scratch(), &store.root().join(FILE), &json(&Written(now))?)
}

fn shown(time: Timestamp) -> String {
    time.round(jiff::Unit::Second).unwrap_or(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_seen() {
        let start: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let at = |hours: i64, boot: &str, uptime: f64| Clock {
            time: start.checked_add(SignedDuration::from_hours(hours)).unwrap(),
            boot: boot.to_owned(),
            uptime,
        };
        let earlier = at(0, "a", 7200.0);
        for (now, jump) in [
            (at(0, "a", 7200.0), 0),
            (at(24, "a", 7200.0 + 86_400.0), 0),
            (at(1, "a", 7200.0), 0),
            (at(87_600, "a", 7300.0), 87_599),
            (at(-5, "a", 7300.0), -5),
            (at(87_600, "b", 10.0), 0),
            (at(-87_600, "b", 10.0), -87_600),
        ] {
            assert_eq!(now.jump(&earlier).as_hours(), jump, "{now:?}");
        }
    }
}
