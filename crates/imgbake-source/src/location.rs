//! Where a file is: an http(s) URL or a path.

use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BuildError, BuildErrorKind};
use url::Url;

/// A place that a file can be read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    Http(Url),
    File(Utf8PathBuf),
}

impl Location {
    /// Reads an absolute path, a `file:` URL, or an `http:` or `https:` URL.
    pub(crate) fn parse(text: &str) -> Result<Self, BuildError> {
        // The text itself can hold a secret: only its kind of mistake is told.
        let wrong = |why: &str| {
            BuildError::new(BuildErrorKind::Usage, format!("the source's location {why}"))
                .help("give an https:// or http:// URL, a file: URL, or a path")
        };
        if text.starts_with('/') {
            return Ok(Self::File(text.into()));
        }
        let url =
            Url::parse(text).map_err(|error| wrong("cannot be read as a URL").because(error))?;
        match url.scheme() {
            "http" | "https" if url.has_host() => Ok(Self::Http(url)),
            "file" => url
                .to_file_path()
                .ok()
                .and_then(|path| Utf8PathBuf::from_path_buf(path).ok())
                .map(Self::File)
                .ok_or_else(|| {
                    wrong("is a file: URL without an absolute path of this host in UTF-8")
                }),
            other => Err(wrong(&format!("has the scheme `{other}`, which imgbake does not fetch"))),
        }
    }

    /// The file's own name, without folders: what a checksum file calls it.
    pub(crate) fn base_name(&self) -> String {
        match self {
            Self::File(path) => path.file_name().unwrap_or_default().to_owned(),
            Self::Http(url) => percent_decoded(url.path().rsplit('/').next().unwrap_or_default()),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.fmt(f),
            Self::Http(url) => f.write_str(&shown(url)),
        }
    }
}

/// A URL for people: without user, password, query and fragment, which can hold secrets.
pub(crate) fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

/// Percent-decoding (RFC 3986, section 2.1); what is not UTF-8 then stays as it was.
fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digit = |at: usize| char::from(*tail.get(at)?).to_digit(16);
        if let (b'%', Some(high), Some(low)) = (first, digit(0), digit(1)) {
            out.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
            rest = &tail[2..];
        } else {
            out.push(first);
            rest = tail;
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

/// Opens a file to read, with words for the usual mistakes.
pub(crate) fn open_file(path: &Utf8Path) -> Result<std::fs::File, BuildError> {
    let file = std::fs::File::open(path).map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let kind = if missing { BuildErrorKind::NotFound } else { BuildErrorKind::Failed };
        BuildError::new(kind, format!("cannot open {path}")).because(error)
    })?;
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        _ => Err(BuildError::new(BuildErrorKind::Usage, format!("{path} is not a regular file"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_urls_and_paths() {
        for (text, shown, name) in [
            ("/srv/a b.qcow2", "/srv/a b.qcow2", "a b.qcow2"),
            ("file:/srv/a%20b.raw", "/srv/a b.raw", "a b.raw"),
            ("file:///srv/x.raw", "/srv/x.raw", "x.raw"),
            (
                "https://u:p@h.example:8443/d/a%2Bb.img?token=1#f",
                "https://h.example:8443/d/a%2Bb.img",
                "a+b.img",
            ),
            ("http://h.example", "http://h.example/", ""),
            ("http://h.example/100%", "http://h.example/100%", "100%"),
        ] {
            let location = Location::parse(text).unwrap();
            assert_eq!(location.to_string(), shown);
            assert_eq!(location.base_name(), name);
        }
    }

    #[test]
    fn refuses_the_rest_without_repeating_it() {
        for text in [
            "",
            "disk.raw",
            "ftp://h/secret",
            "file://other/secret",
            "https://",
            "data:,secret",
            "http://[secret",
        ] {
            let error = Location::parse(text).unwrap_err();
            assert_eq!(error.kind(), BuildErrorKind::Usage, "{text}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
