//! Times and sizes for people.

use imgbake_types::Size;

/// A length of time in seconds: `0.3s`, `41.2s`, `1m 43s`, `2h 05m`.
pub fn human_seconds(seconds: f64) -> String {
    // Rounded first, so that 59.96 is not printed as "60.0s".
    let tenths = (seconds.max(0.0) * 10.0).round();
    if tenths < 600.0 {
        return format!("{:.1}s", tenths / 10.0);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number of seconds, not negative; a cast of a float saturates"
    )]
    let whole = seconds.round() as u64;
    let (hours, minutes) = (whole / 3600, whole / 60 % 60);
    if hours > 0 {
        format!("{hours}h {minutes:02}m")
    } else {
        format!("{minutes}m {:02}s", whole % 60)
    }
}

/// A number of bytes: `812.4 MiB`.
pub fn human_bytes(bytes: u64) -> String {
    Size::bytes(bytes).human()
}

/// A number of bytes where a table leaves zero empty.
pub(crate) fn some_bytes(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { human_bytes(bytes) }
}

/// A count with its noun: `1 file`, `41 files`.
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_short() {
        for (seconds, text) in [
            (0.0, "0.0s"),
            (-1.0, "0.0s"),
            (f64::NAN, "0.0s"),
            (0.34, "0.3s"),
            (59.94, "59.9s"),
            (59.96, "1m 00s"),
            (103.4, "1m 43s"),
            (3599.6, "1h 00m"),
            (7500.0, "2h 05m"),
        ] {
            assert_eq!(human_seconds(seconds), text, "{seconds}");
        }
    }
}
