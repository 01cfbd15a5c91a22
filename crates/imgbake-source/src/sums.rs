//! `SHA256SUMS` and `SHA512SUMS` files, in the form of GNU coreutils (`DIGEST  NAME`, `DIGEST *NAME`)
//! of BSD and OpenSSL (`SHA256 (NAME) = DIGEST`), or a digest alone.

use std::io::Read;
use std::str::FromStr;

use camino::Utf8Path;
use imgbake_runtime::error::io_at;
use imgbake_types::Digest;
use secrecy::ExposeSecret;

use crate::client::SourceClient;
use crate::error::SourceError;
use crate::location::{Location, open_file};

/// The largest file that is read: distributions' are a few kilobytes.
const MAX_BYTES: usize = 4 << 20;

/// How many names an error lists.
const NAMES_SHOWN: usize = 12;

/// The digest of the file `name` by the checksum file at a URL or path; markers in it are revealed.
pub(crate) async fn digest_of(
    client: &SourceClient<'_>,
    location: &str,
    name: &str,
) -> Result<Digest, SourceError> {
    let secrets = client.job.secrets();
    let location = Location::parse(secrets.reveal(location).expose_secret())?;
    let text = match &location {
        Location::Http(url) => client.text(url, MAX_BYTES).await?,
        Location::File(path) => read(path)?,
    };
    find(&text, name, &secrets.redact(&location.to_string()))
}

fn read(path: &Utf8Path) -> Result<String, SourceError> {
    let mut bytes = Vec::new();
    let read = open_file(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(io_at("read", path))?;
    if bytes.len() > MAX_BYTES {
        let why = format!("{path} is longer than {MAX_BYTES} bytes");
        return Err(SourceError::NoChecksumFile(why.into()));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The digest that a checksum file gives for a file of this name. `sums` names the checksum file in
/// errors.
pub(crate) fn find(text: &str, name: &str, sums: &str) -> Result<Digest, SourceError> {
    let lines: Vec<(String, Digest)> = text.lines().filter_map(line).collect();
    let mut found: Option<&Digest> = None;
    for (_, digest) in lines.iter().filter(|(listed, _)| base(listed) == name) {
        match found {
            // A file may list both algorithms: the longer digest counts.
            Some(other) if other.algorithm() == digest.algorithm() && other != digest => {
                return Err(SourceError::TwoChecksums {
                    sums: sums.to_owned(),
                    name: name.to_owned(),
                });
            }
            Some(other) if other.algorithm() >= digest.algorithm() => {}
            _ => found = Some(digest),
        }
    }
    let digest = found.cloned().or_else(|| if lines.is_empty() { only_digest(text) } else { None });
    digest.ok_or_else(|| SourceError::NoChecksum {
        sums: sums.to_owned(),
        name: name.to_owned(),
        listed: listed(&lines),
    })
}

/// The digest in a file that holds nothing else: it can only be the one file's.
fn only_digest(text: &str) -> Option<Digest> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let digits =
        text.strip_prefix("sha256:").or_else(|| text.strip_prefix("sha512:")).unwrap_or(text);
    Digest::from_hex(digits).ok()
}

/// The names that a checksum file lists, as an error shows them.
fn listed(lines: &[(String, Digest)]) -> String {
    let mut names: Vec<String> =
        lines.iter().take(NAMES_SHOWN).map(|(name, _)| printable(name)).collect();
    if lines.len() > NAMES_SHOWN {
        names.push(format!("and {} more", lines.len() - NAMES_SHOWN));
    }
    names.join(", ")
}

/// A foreign name without control characters and not endless.
fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(100).collect()
}

fn base(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The name and digest of one line; none for what is no checksum.
fn line(text: &str) -> Option<(String, Digest)> {
    let text = text.trim_start_matches('\u{feff}').trim_end();
    gnu(text).or_else(|| bsd(text))
}

fn gnu(text: &str) -> Option<(String, Digest)> {
    // A leading backslash says that the name is escaped (coreutils, "cksum output modes").
    let (escaped, text) = text.strip_prefix('\\').map_or((false, text), |rest| (true, rest));
    let (digits, rest) = text.split_once([' ', '\t'])?;
    let digest = Digest::from_hex(digits).ok()?;
    let rest = rest.trim_start_matches([' ', '\t']);
    let name = rest.strip_prefix('*').unwrap_or(rest);
    let name =
        if escaped { name.replace("\\n", "\n").replace("\\\\", "\\") } else { name.to_owned() };
    (!name.is_empty()).then_some((name, digest))
}

fn bsd(text: &str) -> Option<(String, Digest)> {
    let (algorithm, rest) = text.split_once('(')?;
    let (name, digits) = rest.rsplit_once(')')?;
    let digits = digits.trim_start().strip_prefix('=')?.trim();
    // OpenSSL 3 writes SHA2-256.
    let algorithm = algorithm.trim().to_ascii_lowercase().replace("sha2-", "sha").replace('-', "");
    let digest = Digest::from_str(&format!("{algorithm}:{}", digits.to_ascii_lowercase())).ok()?;
    Some((name.to_owned(), digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(byte: char, len: usize) -> String {
        std::iter::repeat_n(byte, len).collect()
    }

    #[test]
    fn formats_in_use() {
        let (a, b) = (hex('a', 64), hex('B', 128));
        for (text, name, expected) in [
            (format!("{a}  disk.img\n"), "disk.img", &a),
            (format!("{a} *disk.img\r\n"), "disk.img", &a),
            (format!("{a}\tdisk.img"), "disk.img", &a),
            (format!("{a}  ./images/disk.img"), "disk.img", &a),
            (format!("{a}  other\n{b}  disk img"), "disk img", &b),
            (format!("SHA256 (disk.img) = {a}"), "disk.img", &a),
            (format!("SHA512 (dir/disk (1).img) = {b}"), "disk (1).img", &b),
            (
                format!(
                    "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# disk.img: 12 bytes\nSHA256 (disk.img) = {a}\n-----BEGIN PGP SIGNATURE-----\niQ"
                ),
                "disk.img",
                &a,
            ),
            (format!("{a}  disk.img\n{b}  disk.img"), "disk.img", &b),
            (format!("{b}  disk.img\n{a}  disk.img"), "disk.img", &b),
            (format!("{a}  disk.img\n{a}  x/disk.img"), "disk.img", &a),
            (format!("\\{a}  a\\\\b"), "a\\b", &a),
            (format!("\u{feff}{a}  disk.img"), "disk.img", &a),
            (a.clone(), "disk.img", &a),
            (format!("\u{feff}\n{b}\r\n"), "disk.img", &b),
            (format!("sha256:{a}\n"), "disk.img", &a),
            (format!("SHA2-256(disk.img)= {a}"), "disk.img", &a),
        ] {
            let digest = find(&text, name, "SUMS").unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(digest.hex(), expected.to_lowercase(), "{text}");
        }
    }

    #[test]
    fn errors_list_what_is_there() {
        let (a, b) = (hex('a', 64), hex('b', 64));
        let error = find(&format!("{a}  one\n{b}  two\x1b[2J"), "disk.img", "SUMS").unwrap_err();
        assert_eq!(error.to_string(), "SUMS has no checksum for `disk.img`");
        assert_eq!(error.help().as_deref(), Some("it has: one, two[2J"));
        let many = format!("{a}  f\n").repeat(40);
        assert!(find(&many, "x", "SUMS").unwrap_err().help().unwrap().ends_with("and 28 more"));
        for text in [
            "",
            &format!("{a}\n{b}"),
            "<html>not found</html>",
            "d41d8cd98f00b204e9800998ecf8427e  disk.img",
        ] {
            let error = find(text, "disk.img", "SUMS").unwrap_err();
            assert!(error.help().unwrap().contains("no line such as"), "{text}");
        }
        let error =
            find(&format!("{a}  disk.img\n{b}  x/disk.img"), "disk.img", "SUMS").unwrap_err();
        assert!(error.to_string().contains("two different"), "{error}");
        assert!(find(&format!("SHA512 (disk.img) = {a}"), "disk.img", "SUMS").is_err());
    }
}
