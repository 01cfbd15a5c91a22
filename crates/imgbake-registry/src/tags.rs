//! What a tag's text says: a dated version, a channel, or something hidden.

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_types::{Algorithm, Digest, version::is_tag};

const HISTORY: &str = ".history";
const REFERRERS: &str = "sha256-";
const HOLD: &str = "hold-";
const LAYER: &str = "layer-";
/// What cosign's tags end in: signatures, attestations, bills of materials.
const COSIGN: [&str; 3] = [".sig", ".att", ".sbom"];
/// Digits of a key in a layer's tag: a tag has at most 128 characters, and 160 bits do not meet.
const DIGITS: usize = 40;
/// Which tags nobody may give.
pub(crate) const HIDDEN: &str = "names that begin with `sha256-` or `hold-`, end in `.history`, or are \
                                 `layer-` and 40 hex digits are the registry's own";

/// Whether a tag is the registry's own: referrers of a version, a channel's history, a hold, a layer.
pub fn is_hidden(tag: &str) -> bool {
    tag.starts_with(REFERRERS) || is_hold(tag) || tag.ends_with(HISTORY) || is_layer(tag)
}

/// Whether a tag has the form `YYYY.MM.DD-N` that imgbake gives versions.
pub fn is_dated(tag: &str) -> bool {
    let digits =
        |text: &str, len: usize| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    let Some((day, number)) = tag.split_once('-') else { return false };
    let parts: Vec<&str> = day.split('.').collect();
    matches!(parts[..], [y, m, d] if digits(y, 4) && digits(m, 2) && digits(d, 2))
        && !number.is_empty()
        && digits(number, number.len())
}

/// Refuses what cannot be a channel: no tag, a hidden one, or one that looks like a version.
pub fn check_channel(channel: &str) -> Result<(), BuildError> {
    let refuse = |why: &str| {
        let text = format!("`{channel}` cannot be a channel: {why}");
        Err(BuildError::new(BuildErrorKind::Usage, text)
            .help("choose a name such as dev, staging or prod"))
    };
    if !is_tag(channel) || channel.len() + HISTORY.len() > 128 {
        return refuse("a channel is letters, digits, `_`, `.` and `-`, 120 at most");
    }
    if is_hidden(channel) {
        return refuse(HIDDEN);
    }
    if is_dated(channel) {
        return refuse("it looks like a version, and versions never move");
    }
    Ok(())
}

/// The tag under which a version's referrers are listed (distribution-spec v1.1, "Referrers Tag
/// Schema").
pub(crate) fn referrers(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

/// What a tag is about: `sha256-HEX` lists what refers to a manifest, and names that begin with that and
/// a dot are of single ones, imgbake's where a registry keeps no lists and cosign's.
pub(crate) fn subject(tag: &str) -> Option<Digest> {
    let (list, _) = tag.split_once('.').unwrap_or((tag, ""));
    let hex = list.strip_prefix(REFERRERS)?;
    format!("{}:{hex}", Algorithm::Sha256.name()).parse().ok()
}

/// The tags under which cosign puts what it says of a manifest.
pub(crate) fn cosign(digest: &Digest) -> [String; COSIGN.len()] {
    COSIGN.map(|end| format!("{}{end}", referrers(digest)))
}

/// Whether a tag is one of cosign's.
pub(crate) fn is_cosign(tag: &str) -> bool {
    tag.starts_with(REFERRERS) && COSIGN.iter().any(|end| tag.ends_with(end))
}

/// The tag of the newest record of a channel's moves.
pub(crate) fn history(channel: &str) -> String {
    format!("{channel}{HISTORY}")
}

/// The channel whose history a tag is.
pub(crate) fn channel_of_history(tag: &str) -> Option<&str> {
    tag.strip_suffix(HISTORY)
}

/// The tag of a shared layer, and its label in a layout.
pub(crate) fn layer(key: &Digest) -> String {
    format!("{LAYER}{}", &key.hex()[..DIGITS])
}

/// Whether a tag is a shared layer's.
fn is_layer(tag: &str) -> bool {
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    tag.strip_prefix(LAYER).is_some_and(|digits| digits.len() == DIGITS && digits.bytes().all(hex))
}

/// The tag that keeps a version.
pub(crate) fn hold(version: &str) -> String {
    format!("{HOLD}{version}")
}

/// Whether a tag keeps a version.
pub(crate) fn is_hold(tag: &str) -> bool {
    tag.starts_with(HOLD)
}

/// The number in a tag `DAY-N`.
pub(crate) fn number_of_day(tag: &str, day: &str) -> Option<u32> {
    let number = tag.strip_prefix(day)?.strip_prefix('-')?;
    number.bytes().all(|b| b.is_ascii_digit()).then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_tags_apart() {
        for (tag, dated, hidden, channel) in [
            ("dev", false, false, true),
            ("2026.11.23-1", true, false, false),
            ("2026.11.23-017", true, false, false),
            ("2026.11.23", false, false, true),
            ("2026.11.23-rc1", false, false, true),
            ("sha256-00ff", false, true, false),
            ("sha256-00ff.sig", false, true, false),
            ("dev.history", false, true, false),
            ("hold-1.0", false, true, false),
            ("layer-00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff", false, true, false),
            ("layer-00ff", false, false, true),
            ("-dev", false, false, false),
            ("", false, false, false),
        ] {
            assert_eq!(is_dated(tag), dated, "{tag}");
            assert_eq!(is_hidden(tag), hidden, "{tag}");
            assert_eq!(check_channel(tag).is_ok(), channel, "{tag}");
        }
        assert!(check_channel(&"a".repeat(121)).is_err());
    }

    #[test]
    fn knows_what_a_tag_is_about() {
        let digest = Digest::sha256("x");
        for end in ["", ".sig", ".held-00ff", ".00ff00ff00ff00ff"] {
            assert_eq!(subject(&format!("{}{end}", referrers(&digest))), Some(digest.clone()));
        }
        assert!(cosign(&digest).iter().all(|tag| is_cosign(tag) && is_hidden(tag)));
        assert!(!is_cosign(&referrers(&digest)) && !is_cosign("web.sig"));
        let cut = &referrers(&digest)[..70];
        for tag in ["sha256-00ff", "sha256-", "dev.history", digest.hex(), cut] {
            assert_eq!(subject(tag), None, "{tag}");
        }
    }

    #[test]
    fn reads_a_days_number() {
        assert_eq!(number_of_day("2026.11.23-12", "2026.11.23"), Some(12));
        for tag in
            ["2026.11.22-1", "2026.11.23-", "2026.11.23-x", "2026.11.231", "2026.11.23-99999999999"]
        {
            assert_eq!(number_of_day(tag, "2026.11.23"), None, "{tag}");
        }
    }
}
