//! References to versions: `[HOST/]NAME[:TAG][@sha256:…]`, as in OCI. Where there are both, the digest decides.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::version::is_tag;
use crate::{Digest, ParseError};

/// What comes after a reference's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A version or a channel.
    Tag(String),
    /// A version's manifest digest.
    Digest(Digest),
}

/// A name with, perhaps, a registry host and a version, channel or digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    /// A registry's host and port; none for the local layout.
    pub host: Option<String>,
    /// The image's name: lower-case path components.
    pub name: String,
    /// The version, channel or digest.
    pub target: Option<Target>,
}

impl Reference {
    /// A local reference to a tag.
    pub fn tag(name: &str, tag: &str) -> Self {
        Self { host: None, name: name.to_owned(), target: Some(Target::Tag(tag.to_owned())) }
    }

    /// The tag, where the reference has one.
    pub fn tag_name(&self) -> Option<&str> {
        match &self.target {
            Some(Target::Tag(tag)) => Some(tag),
            _ => None,
        }
    }
}

/// Whether a text is an image name (distribution-spec, "Pulling manifests", without upper case):
/// components of letters and digits joined by `.`, `_`, `__` or dashes, separated by `/`.
pub fn is_name(text: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let component = |part: &str| {
        let bytes = part.as_bytes();
        let edges =
            bytes.first().copied().is_some_and(alnum) && bytes.last().copied().is_some_and(alnum);
        edges
            && bytes.iter().all(|&b| alnum(b) || matches!(b, b'.' | b'_' | b'-'))
            && !part.contains("..")
            && !part.contains("___")
    };
    !text.is_empty() && text.len() <= 255 && text.split('/').all(component)
}

/// Whether the first component of a reference with several is a registry's host, as in OCI clients: if it
/// has a dot or a port, is `localhost`, or an IPv6 address in brackets (distribution's reference grammar, `domain`).
pub fn is_host(first: &str) -> bool {
    if let Some((address, port)) = first.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let port =
            port.strip_prefix(':').map_or(port.is_empty(), |port| port.parse::<u16>().is_ok());
        return port && address.parse::<Ipv6Addr>().is_ok();
    }
    first.starts_with(|c: char| c.is_ascii_alphanumeric())
        && first.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':'))
        && (first.contains(['.', ':']) || first == "localhost")
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(f, "{host}/")?;
        }
        f.write_str(&self.name)?;
        match &self.target {
            Some(Target::Tag(tag)) => write!(f, ":{tag}"),
            Some(Target::Digest(digest)) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error =
            || ParseError::new(text, "a reference such as debian-12:dev or debian-12@sha256:…");
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| error())?)),
            None => (text, None),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(error());
        }
        let (host, name) = match path.split_once('/') {
            Some((host, name)) if is_host(host) => (Some(host.to_owned()), name),
            _ => (None, path),
        };
        if !is_name(name) {
            return Err(error());
        }
        let target =
            digest.map(Target::Digest).or_else(|| tag.map(|tag| Target::Tag(tag.to_owned())));
        Ok(Self { host, name: name.to_owned(), target })
    }
}

impl TryFrom<String> for Reference {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_prints() {
        let digest = format!("a/b@{}", Digest::sha256("x"));
        for text in [
            "debian-12",
            "debian-12:dev",
            "reg.example:5000/team/web:2026.11.23-1",
            "[::1]:5000/a:b",
            "[fe80::1]/a",
            &digest,
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        let parsed: Reference = "localhost:5000/web:prod".parse().unwrap();
        assert_eq!(parsed.host.as_deref(), Some("localhost:5000"));
        assert_eq!((parsed.name.as_str(), parsed.tag_name()), ("web", Some("prod")));
        let both: Reference = format!("a/b:1.0@{}", Digest::sha256("x")).parse().unwrap();
        assert_eq!(both.to_string(), digest);
    }

    #[test]
    fn refuses_what_is_no_host() {
        for host in [
            "[::1",
            "[::1]x",
            "[::1]:port",
            "[x]",
            "reg.example x",
            "reg.example\n",
            "reg.example\u{1b}[2J",
            "reg.example?x=",
            "r.é",
        ] {
            assert!(format!("{host}/web").parse::<Reference>().is_err(), "{host:?}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in
            ["", ":dev", "Debian", "a//b", "a:b:c", "../x", "a@sha256:1", "web:-x", "-a", "a..b"]
        {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }
}
