//! Where a file is: an http(s) URL or a path.

use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_http::{Url, shown};
use percent_encoding::percent_decode_str;

use crate::error::SourceError;

/// Where a file can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    Http(Url),
    File(Utf8PathBuf),
}

impl Location {
    /// Reads an absolute path, a `file:` URL, or an `http:` or `https:` URL.
    pub(crate) fn parse(text: &str) -> Result<Self, SourceError> {
        // The text itself can hold a secret: only its kind of mistake is reported.
        let wrong = |why: &str| SourceError::Location { why: why.to_owned(), source: None };
        if text.starts_with('/') {
            return Ok(Self::File(text.into()));
        }
        let url = Url::parse(text).map_err(|error| SourceError::Location {
            why: "cannot be read as a URL".to_owned(),
            source: Some(error),
        })?;
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
            Self::Http(url) => {
                let name = url.path().rsplit('/').next().unwrap_or_default();
                // What is not UTF-8 then stays as it was.
                percent_decode_str(name).decode_utf8().unwrap_or(name.into()).into_owned()
            }
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

/// Opens a file to read; the usual mistakes have errors of their own.
pub(crate) fn open_file(path: &Utf8Path) -> Result<std::fs::File, SourceError> {
    imgbake_runtime::regular::open(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::InvalidInput => SourceError::NotAFile(path.to_owned()),
        _ => SourceError::Open { path: path.to_owned(), source },
    })
}

#[cfg(test)]
mod tests {
    use imgbake_build::BuildErrorKind;

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
