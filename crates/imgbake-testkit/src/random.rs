//! Random moments that can be had again.

use std::process::Child;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Random numbers from a seed: that of the variable `IMGBAKE_TEST_SEED`, or of the clock.
#[derive(Debug)]
pub struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    /// Random with a seed that a test prints, so that a failure's can be given again.
    #[expect(clippy::new_without_default, reason = "no two are the same")]
    pub fn new() -> Self {
        let given = std::env::var("IMGBAKE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into()
        });
        Self { seed, state: seed }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A random time from nothing up to a limit.
    pub fn time(&mut self, limit: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(limit.as_micros()).unwrap()))
    }

    /// A random number below a limit; 0 where the limit is 0. The numbers are SplitMix64's (Steele, Lea
    /// and Flood, 2014).
    pub fn below(&mut self, limit: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        z % limit.max(1)
    }

    /// Ends a process with SIGKILL once some time has passed: the one wait of these tests that is for
    /// no event.
    pub fn kill(child: &mut Child, after: Duration) {
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
