//! The public key of a repository.

use std::fs;

use camino::Utf8Path;

use crate::error::StepError;

/// A key that may be given to a package manager.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// For apt the ending of its file's name, by its form (`apt-secure(8)`); for apk the whole name.
    pub(super) ending: String,
}

impl Key {
    /// Reads a key of a file or text, for apt or apk.
    pub(super) fn read(
        path: Option<&Utf8Path>,
        text: Option<&str>,
        is_apt: bool,
    ) -> Result<Option<Self>, StepError> {
        let (bytes, what) = match (path, text) {
            (Some(path), _) => {
                let read = fs::read(path);
                let bytes =
                    read.map_err(|source| StepError::Read { path: path.to_owned(), source })?;
                (bytes, format!("the key {path}"))
            }
            (None, Some(text)) => (text.as_bytes().to_vec(), "`key_text`".to_owned()),
            (None, None) => return Ok(None),
        };
        let ending = if is_apt { of_apt(&bytes) } else { of_apk(&bytes, path) };
        let ending = ending.map_err(|why| StepError::Usage(format!("{what} {why}")))?;
        Ok(Some(Self { ending }))
    }
}

fn of_apt(bytes: &[u8]) -> Result<String, &'static str> {
    if holds(bytes, b"PRIVATE KEY BLOCK") {
        return Err("is a private key: give the public one (`gpg --export --armor`)");
    }
    if holds(bytes, b"-----BEGIN PGP PUBLIC KEY BLOCK-----") {
        return Ok("asc".to_owned());
    }
    // The first packet of a public key (RFC 9580, 4.2): its old and its new form.
    match bytes.first() {
        Some(0x98..=0x9b | 0xc6) => Ok("gpg".to_owned()),
        Some(0x94..=0x97 | 0xc5) => Err("is a private key: give the public one (`gpg --export`)"),
        _ => Err("is no OpenPGP key, neither as text nor binary"),
    }
}

fn of_apk(bytes: &[u8], path: Option<&Utf8Path>) -> Result<String, &'static str> {
    if !holds(bytes, b"-----BEGIN PUBLIC KEY-----") {
        return Err("is no public key in PEM form");
    }
    let name = path.and_then(Utf8Path::file_name).ok_or("has no name")?;
    Ok(name.to_owned())
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_by_their_bytes() {
        for (bytes, found) in [
            (&b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ==\n"[..], Ok("asc")),
            (b"Comment\n-----BEGIN PGP PUBLIC KEY BLOCK-----\n", Ok("asc")),
            (b"\x99\x02\x0d\x04", Ok("gpg")),
            (b"\xc6\x33\x04", Ok("gpg")),
            (b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n", Err("is a private key")),
            (b"\x95\x04", Err("is a private key")),
            (b"<html>not found</html>", Err("is no OpenPGP key")),
            (b"", Err("is no OpenPGP key")),
        ] {
            match (of_apt(bytes), found) {
                (Ok(ending), Ok(expected)) => assert_eq!(ending, expected, "{bytes:?}"),
                (Err(why), Err(part)) => assert!(why.starts_with(part), "{bytes:?}: {why}"),
                (other, _) => panic!("{bytes:?}: {other:?}"),
            }
        }
        let path = Some(Utf8Path::new("/k/a@b.rsa.pub"));
        assert_eq!(of_apk(b"-----BEGIN PUBLIC KEY-----\n", path), Ok("a@b.rsa.pub".to_owned()));
        assert!(of_apk(b"-----BEGIN RSA PRIVATE KEY-----\n", path).is_err());
    }
}
