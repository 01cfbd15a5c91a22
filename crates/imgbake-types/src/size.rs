//! Sizes in bytes, as people write them.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::ParseError;

/// A number of bytes. Text form: `4GiB`, `512MiB`, `1536KiB`, `64B`; powers of 1024 only, since
/// disks and memory are made of them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Size(u64);

const UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// The pattern that the template's JSON Schema gives for a size.
pub const SIZE_PATTERN: &str = "^[0-9]+(TiB|GiB|MiB|KiB|B)$";

impl Size {
    /// A size from a number of bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size from a number of mebibytes.
    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// The number of bytes.
    pub const fn as_bytes(self) -> u64 {
        self.0
    }

    /// For people: one decimal and the largest fitting unit, `812.4 MiB`.
    pub fn human(self) -> String {
        let (unit, scale) =
            UNITS.into_iter().find(|&(_, scale)| self.0 >= scale).unwrap_or(("B", 1));
        if scale == 1 {
            return format!("{} {unit}", self.0);
        }
        #[expect(clippy::cast_precision_loss, reason = "rounded to one decimal for people")]
        let value = self.0 as f64 / scale as f64;
        format!("{value:.1} {unit}")
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = UNITS
            .into_iter()
            .find(|&(_, scale)| self.0 >= scale && self.0.is_multiple_of(scale))
            .unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

impl FromStr for Size {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new(text, "a size such as 4GiB, 512MiB or 64KiB");
        let (digits, scale) = UNITS
            .into_iter()
            .find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)))
            .ok_or_else(error)?;
        let number: u64 = digits.trim_end().parse().map_err(|_| error())?;
        number.checked_mul(scale).map(Self).ok_or_else(error)
    }
}

impl TryFrom<String> for Size {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

impl JsonSchema for Size {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": SIZE_PATTERN,
            "description": "A number of bytes: 4GiB, 512MiB, 64KiB.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        for (text, bytes, printed, human) in [
            ("4GiB", 4 << 30, "4GiB", "4.0 GiB"),
            ("1536KiB", 1_572_864, "1536KiB", "1.5 MiB"),
            ("7B", 7, "7B", "7 B"),
            ("0B", 0, "0B", "0 B"),
            ("1024MiB", 1 << 30, "1GiB", "1.0 GiB"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!(size.as_bytes(), bytes);
            assert_eq!(size.to_string(), printed);
            assert_eq!(size.human(), human);
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "4", "4GB", "GiB", "-1GiB", "99999999999TiB", "1.5GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
