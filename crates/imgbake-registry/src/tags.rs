//! The tags that a registry makes; `imgbake_types::tag` shows what a tag's text says.

pub(crate) use imgbake_oci::referrers::tag as referrers;
use imgbake_types::Digest;
use imgbake_types::tag::{ChannelTag, ChannelTagKind, HOLD, LAYER, LAYER_DIGITS, REFERRERS};
pub(crate) use imgbake_types::tag::{is_hidden, subject};

/// What cosign's tags end in: signatures, attestations, bills of materials.
const COSIGN: [&str; 3] = [".sig", ".att", ".sbom"];
/// Which tags nobody may give.
pub(crate) const HIDDEN: &str = "names that begin with `sha256-` or `hold-`, end in `.history`, or look like a \
                                 layer's or a channel record's tag are the registry's own";

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
    ChannelTag { channel, kind: ChannelTagKind::Head }.to_string()
}

/// The channel whose history a tag is.
pub(crate) fn channel_of_history(tag: &str) -> Option<&str> {
    let tag = ChannelTag::parse(tag)?;
    (tag.kind == ChannelTagKind::Head).then_some(tag.channel)
}

/// The tag of a shared layer, and its label in a layout.
pub(crate) fn layer(key: &Digest) -> String {
    format!("{LAYER}{}", &key.hex()[..LAYER_DIGITS])
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
