//! What the fuzz targets see of this crate beside its public interface: a registry's answers, and the
//! files that say who the user is. What cannot be is refused; what is taken must be so.
#![expect(clippy::expect_used, reason = "what is wrong ends the fuzz target")]

use bytes::Bytes;
use imgbake_http::header::{HeaderMap, HeaderValue, RANGE};
use imgbake_http::{Url, resolve_redirect};

use crate::challenge::Challenge;
use crate::credentials::{AuthFile, Lookup, login_of};
use crate::endpoint::Endpoint;
use crate::error_body::parse;
use crate::manifests::MANIFEST_TYPES;
use crate::token::Answer;
use crate::{RawManifest, blobs, index::Index, links, referrers, upload};

/// How many kinds of answers there are.
pub const KINDS: u8 = 11;
/// The kind that is a manifest.
pub const MANIFEST: u8 = 8;

/// The longest words of an error, in characters.
const SHOWN: usize = 300;

/// Reads an answer of some kind.
///
/// # Panics
/// What was taken of it cannot be.
pub fn answer(kind: u8, bytes: &[u8]) {
    let text = str::from_utf8(bytes).unwrap_or_default();
    match kind {
        0 => drop(Challenge::best([text].into_iter())),
        1 => drop(Answer::read(bytes).map(|answer| answer.token())),
        2 => logins(bytes),
        3 => drop(login_of(bytes)),
        4 => next(text),
        5 => _ = blobs::first(text),
        6 => reached(bytes),
        7 => message(bytes),
        MANIFEST => manifest(bytes),
        9 => drop(serde_json::from_slice::<Index>(bytes)),
        _ => host(text),
    }
}

fn logins(bytes: &[u8]) {
    let Some(file) = AuthFile::parse(bytes) else { return };
    for host in ["registry.example", "docker.io"] {
        drop(file.helper(host));
        if let Lookup::Login { login, .. } = file.look_up(host, "team/web") {
            assert!(login.is_identity || !login.user.is_empty(), "a login without a user");
        }
    }
}

fn next(header: &str) {
    let Some(target) = links::next_of(header) else { return };
    let from = Url::parse("https://registry.example/v2/").expect("is a URL");
    if let Ok(next) = resolve_redirect(&from, Some(&target)) {
        assert_eq!(next.scheme(), "https", "a way out of TLS");
    }
}

fn reached(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    headers.extend(HeaderValue::from_bytes(bytes).map(|value| (RANGE, value)));
    let _ = upload::reached(&headers);
}

fn message(bytes: &[u8]) {
    let message = parse(bytes);
    assert!(message.chars().count() <= SHOWN && !message.contains(char::is_control));
}

fn manifest(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let Ok(raw) = RawManifest::prove(&bytes, None, None, "the registry") else { return };
    assert!(MANIFEST_TYPES.contains(&raw.media_type.as_str()));
    drop(referrers::describe(&raw));
}

fn host(text: &str) {
    let Ok(endpoint) = Endpoint::new(text, false) else { return };
    let url = endpoint.url("web", "tags/list");
    assert!(endpoint.owns(&url) && url.scheme() == "https", "{url} is another's");
}
