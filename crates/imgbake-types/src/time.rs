//! Spans of time, as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::ParseError;

/// A length of time. Text form: `90s`, `10m`, `1h 30m`, `500ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(Duration);

impl Span {
    /// A span of whole seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// As the standard library's type.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

/// A number of seconds for people, in its largest unit: `42 s`, `12 min`, `3 h`, `5 days`.
pub fn rough(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX).as_secs();
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min", whole / 60),
        3600..172_800 => format!("{} h", whole / 3600),
        _ => format!("{} days", whole / 86_400),
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut secs, millis) = (self.0.as_secs(), self.0.subsec_millis());
        let mut parts = Vec::new();
        for (unit, scale) in [("h", 3600), ("m", 60), ("s", 1)] {
            if secs >= scale {
                parts.push(format!("{}{unit}", secs / scale));
                secs %= scale;
            }
        }
        if millis > 0 || parts.is_empty() {
            parts.push(format!("{millis}ms"));
        }
        f.write_str(&parts.join(" "))
    }
}

impl FromStr for Span {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new(text, "a length of time such as 90s, 10m, 1h 30m or 7d");
        let span: jiff::Span = text.parse().map_err(|_| error())?;
        // A month has no length of its own.
        let span = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours());
        let span = span.map_err(|_| error())?;
        Duration::try_from(span).map(Self).map_err(|_| error())
    }
}

impl TryFrom<String> for Span {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^([0-9]+ ?(d|h|m|s|ms) ?)+$",
            "description": "A length of time: 90s, 10m, 1h 30m, 7d.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        for (text, millis, printed) in [
            ("90s", 90_000, "1m 30s"),
            ("1h 30m", 5_400_000, "1h 30m"),
            ("500ms", 500, "500ms"),
            ("0s", 0, "0ms"),
            ("7d 1h", 608_400_000, "169h"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.duration().as_millis(), millis);
            assert_eq!(span.to_string(), printed);
        }
        for text in ["", "10", "-5s", "soon", "1mo", "1y"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
