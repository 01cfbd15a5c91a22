//! Parts of a hundred.

use std::fmt;
use std::str::FromStr;

/// A part of a hundred, `10%`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percent(f64);

impl Percent {
    /// Whether a number is at most so much more than another.
    pub(crate) fn allows(self, was: u64, is: u64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "a rule about percents needs no last digit")]
        let (was, is) = (was as f64, is as f64);
        is <= was * (1.0 + self.0 / 100.0)
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        number
            .filter(|number| number.is_finite() && *number >= 0.0)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no percentage, such as \"10%\""))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_numbers_with_a_sign() {
        let ten: Percent = "10%".parse().unwrap();
        assert!(ten.allows(100, 110) && !ten.allows(100, 111) && ten.allows(100, 1));
        assert_eq!(ten.to_string(), "10%");
        for text in ["10", "-1%", "%", "inf%", "ten%", ""] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
    }
}
