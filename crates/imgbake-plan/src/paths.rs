//! Paths of a template, made absolute.

use std::borrow::Cow;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use percent_encoding::percent_decode_str;

/// Whether a location is fetched over the network.
pub(crate) fn is_remote(location: &str) -> bool {
    location.starts_with("http://") || location.starts_with("https://")
}

/// A path against a folder, without `.` parts. A `..` stays: what it means is the file system's to
/// say, where a link may lead elsewhere.
pub(crate) fn absolute(folder: &Utf8Path, path: &Utf8Path) -> Utf8PathBuf {
    shown(&folder.join(path))
}

/// A path without `.` parts.
pub(crate) fn shown(path: &Utf8Path) -> Utf8PathBuf {
    path.components().filter(|part| *part != Utf8Component::CurDir).collect()
}

/// The path in a `file:` URL (RFC 8089), whose percent signs are decoded, or a plain path as it is.
pub(crate) fn local(text: &str) -> Cow<'_, str> {
    let Some(path) = text.strip_prefix("file:") else { return text.into() };
    let path = path.strip_prefix("//localhost").or_else(|| path.strip_prefix("//")).unwrap_or(path);
    // What is not UTF-8 then cannot be meant: no path of a template is.
    percent_decode_str(path).decode_utf8().unwrap_or(path.into())
}

/// An http(s) URL as it is; `file:` and plain paths as an absolute path.
pub(crate) fn location(folder: &Utf8Path, text: &str) -> String {
    if is_remote(text) {
        return text.to_owned();
    }
    absolute(folder, Utf8Path::new(&*local(text))).into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        for (given, expected) in [
            ("https://x/y", "https://x/y"),
            ("http://x/y", "http://x/y"),
            ("a.qcow2", "/t/a.qcow2"),
            ("./a/./b", "/t/a/b"),
            ("../a", "/t/../a"),
            ("/a", "/a"),
            ("file:a", "/t/a"),
            ("file:/a", "/a"),
            ("file:///a", "/a"),
            ("file://localhost/a", "/a"),
            ("file:///my%20disk.raw", "/my disk.raw"),
            ("file:my%20disk.raw", "/t/my disk.raw"),
            ("file:///100%", "/100%"),
            ("my%20disk.raw", "/t/my%20disk.raw"),
        ] {
            assert_eq!(location(Utf8Path::new("/t"), given), expected, "{given}");
        }
    }
}
