//! How much of the cache a build uses.

use std::fmt;
use std::str::FromStr;

use imgbake_types::ParseError;

/// What a build takes from the cache and leaves in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheMode {
    /// Disks and the states of machines.
    #[default]
    Full,
    /// Disks alone: machines boot.
    Disk,
    /// Nothing: every step runs, and no layer is made.
    Off,
}

impl fmt::Display for CacheMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Disk => "disk",
            Self::Off => "off",
        })
    }
}

impl FromStr for CacheMode {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "full" => Ok(Self::Full),
            "disk" => Ok(Self::Disk),
            "off" => Ok(Self::Off),
            _ => Err(ParseError::new(text, "a cache mode: full, disk or off")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_prints() {
        for mode in [CacheMode::Full, CacheMode::Disk, CacheMode::Off] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        let error = "warm".parse::<CacheMode>().unwrap_err().to_string();
        assert_eq!(error, "`warm` is not a cache mode: full, disk or off");
    }
}
