//! What user-data is, by its first line (cloud-init, "User-data formats").

/// What a first line may be.
pub(super) const KINDS: &str = "the first line is `#cloud-config`, `#!` and an interpreter, `#include`, \
     `#cloud-boothook`, `## template: jinja`, or a MIME header";

/// The first lines of other kinds.
const OTHERS: [&str; 10] = [
    "#!",
    "#include",
    "#cloud-boothook",
    "#part-handler",
    "#cloud-config-archive",
    "#cloud-config-jsonp",
    "## template:",
    "content-type:",
    "mime-version:",
    "from ",
];

/// A kind of user-data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Settings in YAML.
    CloudConfig,
    /// Any other.
    Other,
}

/// Which kind a text is.
///
/// # Errors
/// cloud-init would pass it over: why, as text.
pub(super) fn kind(text: &str) -> Result<Kind, String> {
    let first = text.lines().next().unwrap_or_default();
    let lower = first.to_lowercase();
    if OTHERS.iter().any(|begin| lower.starts_with(begin)) {
        return Ok(Kind::Other);
    }
    match first.trim_end() {
        "#cloud-config" => Ok(Kind::CloudConfig),
        // A marker of a variable, or what a variable holds.
        marker if !imgbake_types::secret::names(marker).is_empty() => Ok(Kind::Other),
        "" => {
            Err("the user-data has an empty first line, and cloud-init would pass it over"
                .to_owned())
        }
        other => Err(format!(
            "the user-data begins with `{}`, and cloud-init would pass it over",
            other.chars().take(60).collect::<String>()
        )),
    }
}

/// Settings in it that restart or power off a machine: a step does neither.
pub(super) fn restarts(text: &str) -> Vec<&'static str> {
    let keys = ["power_state", "package_reboot_if_required"];
    let begins = |key: &&str| {
        text.lines().any(|line| {
            line.strip_prefix(*key).is_some_and(|rest| rest.trim_start().starts_with(':'))
        })
    };
    keys.into_iter().filter(|key| begins(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_what_it_is() {
        for (text, expected) in [
            ("#cloud-config\na: 1\n", Some(Kind::CloudConfig)),
            ("#cloud-config \r\na: 1\n", Some(Kind::CloudConfig)),
            ("#!/bin/sh\n", Some(Kind::Other)),
            ("Content-Type: multipart/mixed\n", Some(Kind::Other)),
            ("## template: jinja\n#cloud-config\n", Some(Kind::Other)),
            ("⟦secret:all⟧", Some(Kind::Other)),
            ("#cloud-confg\n", None),
            ("# cloud-config\n", None),
            ("packages: [x]\n", None),
            ("\n#cloud-config\n", None),
            ("", None),
        ] {
            assert_eq!(kind(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn restarts_are_seen() {
        let text =
            "#cloud-config\npower_state:\n  mode: reboot\n# package_reboot_if_required: true\n";
        assert_eq!(restarts(text), ["power_state"]);
        assert!(restarts("#cloud-config\nruncmd:\n  - power_state: no\n").is_empty());
    }
}
