//! Requests, taken apart.

use axum::body::Body;
use axum::http::{HeaderMap, Method, Uri, header};

/// One request, taken apart.
pub(super) struct Call {
    pub(super) method: Method,
    /// The repository, and what of it: `blobs/…`, `manifests/…`.
    pub(super) name: String,
    pub(super) rest: String,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

impl Call {
    /// A parameter of the query.
    pub(super) fn query(&self, key: &str) -> Option<String> {
        query(&self.uri, key)
    }

    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A parameter of a query.
pub(super) fn query(uri: &Uri, key: &str) -> Option<String> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| *name == key).map(|(_, value)| unescaped(value)).next()
}

/// Percent-decoding, for ASCII.
pub(super) fn unescaped(text: &str) -> String {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at(2);
        out.push(char::from(u8::from_str_radix(code, 16).unwrap()));
        out.push_str(rest);
    }
    out
}
