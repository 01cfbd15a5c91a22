//! What a foreign descriptor may say of what it leads to.

use imgbake_build::BuildError;
use imgbake_types::Algorithm;

use crate::Result;
use crate::oci::{Descriptor, TITLE};

/// The largest blob that is moved, in bytes: more than any disk, and far from where sums overflow.
const LARGEST: u64 = 1 << 44;
/// The longest media type (RFC 6838, section 4.2, twice, with a `/`).
const LONGEST_TYPE: usize = 255;

/// Checks what a foreign document says of something it leads to. `owner` is the document.
pub(crate) fn check(descriptor: &Descriptor, owner: &str) -> Result<()> {
    let digest = &descriptor.digest;
    let refuse = |why: &str| {
        Err(BuildError::failed(format!("{owner} cannot be copied: the blob {digest} {why}")))
    };
    if digest.algorithm() != Algorithm::Sha256 {
        return refuse("has a digest that is not sha256");
    }
    if descriptor.size > LARGEST {
        return refuse("is said to be larger than 16 TiB");
    }
    let media_type = descriptor.media_type.as_bytes();
    let is_graphic = media_type.iter().all(u8::is_ascii_graphic);
    if !(1..=LONGEST_TYPE).contains(&media_type.len()) || !is_graphic {
        return refuse("has a media type that is none");
    }
    if descriptor
        .rest
        .get("urls")
        .and_then(|urls| urls.as_array())
        .is_some_and(|urls| !urls.is_empty())
    {
        return refuse("is somewhere else, at `urls`: such blobs are not copied");
    }
    match descriptor.annotations.get(TITLE) {
        Some(title) if !is_title(title) => refuse(&format!(
            "has a title that leads out of a folder: `{}`",
            title.escape_debug().take(100).collect::<String>()
        )),
        _ => Ok(()),
    }
}

/// Whether a title can be a file's path below some folder.
fn is_title(title: &str) -> bool {
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    title.len() <= 4096
        && !title.contains(|c: char| c.is_control() || c == '\\')
        && title.split('/').all(plain)
}

#[cfg(test)]
mod tests {
    use imgbake_types::Digest;
    use serde_json::json;

    use super::*;

    #[test]
    fn refuses_what_cannot_be() {
        let good = json!({
            "mediaType": "application/x", "digest": Digest::sha256("x").to_string(), "size": 1,
            "annotations": { TITLE: "disk/image.qcow2" }
        });
        let with = |key: &str, value: serde_json::Value| {
            let mut changed = good.clone();
            changed[key] = value;
            changed
        };
        let title = |title: &str| with("annotations", json!({ TITLE: title }));
        let sha512 = Digest::from_sha512(&[0; 64]).to_string();
        for (value, expected) in [
            (good.clone(), None),
            (with("size", json!(1_u64 << 50)), Some("16 TiB")),
            (with("digest", json!(sha512)), Some("not sha256")),
            (with("mediaType", json!("")), Some("media type")),
            (with("mediaType", json!("a\u{7}b")), Some("media type")),
            (with("urls", json!(["https://elsewhere.example/"])), Some("urls")),
            (with("urls", json!([])), None),
            (title("../../etc/shadow"), Some("leads out")),
            (title("/etc/shadow"), Some("leads out")),
            (title("a\0b"), Some("leads out")),
            (title("a//b"), Some("leads out")),
        ] {
            let descriptor: Descriptor = serde_json::from_value(value.clone()).unwrap();
            let got = check(&descriptor, "r/x").err().map(|error| error.to_string());
            match (got, expected) {
                (None, None) => {}
                (Some(got), Some(part)) => assert!(got.contains(part), "{value}: {got}"),
                (got, expected) => panic!("{value}: {got:?}, not {expected:?}"),
            }
        }
    }
}
