//! Which package indices a suite has, by its Release file. Pure.
//!
//! Formats: `InRelease` and `Release` as apt reads them (apt-secure(8); Debian's repository format,
//! "Release files"); the frame of `InRelease` is RFC 9580, section 7, "Cleartext Signature Framework".

use std::collections::BTreeSet;

use imgbake_types::Digest;

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END: &str = "-----END PGP SIGNATURE-----";

/// The indices of the components' packages, a line `SHA256 SIZE NAME` each, sorted. They alone decide
/// which packages a suite has: a Release file's date, its other architectures and its other indices do
/// not. Nothing is proved here: the signature is checked when the packages are installed.
///
/// # Errors
/// What is wrong with the text, to stand behind its address.
pub(crate) fn indices(
    text: &str,
    components: &[&str],
    arch: &str,
) -> Result<BTreeSet<String>, &'static str> {
    let fields = signed(text)?;
    let mut folders = vec![format!("binary-{arch}")];
    if !no_index_for_all(fields) {
        folders.push("binary-all".to_owned());
    }
    let listed: Vec<(&str, String)> = sha256_section(fields).collect();
    if listed.is_empty() {
        return Err("is no Release file with SHA256 digests");
    }
    let mut found = BTreeSet::new();
    for component in components {
        for folder in &folders {
            let plain = format!("{component}/{folder}/Packages");
            let packed = format!("{plain}.");
            // Where the plain index has no line, its packed forms have.
            let exact = listed.iter().any(|(name, _)| *name == plain);
            let wanted = |name: &str| if exact { name == plain } else { name.starts_with(&packed) };
            found.extend(
                listed.iter().filter(|(name, _)| wanted(name)).map(|(_, line)| line.clone()),
            );
        }
    }
    if found.is_empty() {
        return Err("lists no packages of the wanted components and architecture");
    }
    Ok(found)
}

/// What names the state of some suites: the digest of their names and indices, in any order. No
/// address is in it, so that all mirrors of one state give the same.
pub(crate) fn state<'a>(suites: impl IntoIterator<Item = (&'a str, BTreeSet<String>)>) -> Digest {
    let mut texts: Vec<String> = suites
        .into_iter()
        .map(|(name, indices)| {
            let lines: Vec<String> = indices.into_iter().collect();
            format!("suite {name}\n{}\n", lines.join("\n"))
        })
        .collect();
    texts.sort();
    Digest::sha256(texts.concat())
}

/// The fields inside an `InRelease` file's frame; a `Release` file has none.
fn signed(text: &str) -> Result<&str, &'static str> {
    let Some(framed) = text.strip_prefix(BEGIN) else { return Ok(text) };
    let cut = "is cut short: its signature has no end";
    let (head, rest) = framed.split_once("\n\n").ok_or(cut)?;
    let (fields, signature) = rest.split_once(SIGNATURE).ok_or(cut)?;
    if head.contains(SIGNATURE) || !signature.contains(END) {
        return Err(cut);
    }
    Ok(fields)
}

/// Whether apt reads no `binary-all` index beside the architecture's.
fn no_index_for_all(fields: &str) -> bool {
    let said =
        fields.lines().find_map(|line| line.strip_prefix("No-Support-for-Architecture-all:"));
    said.is_some_and(|value| value.trim() == "Packages")
}

/// Name and normal line of each file that the section `SHA256` lists.
fn sha256_section(fields: &str) -> impl Iterator<Item = (&str, String)> {
    let section = fields.lines().skip_while(|line| line.trim_end() != "SHA256:").skip(1);
    section.take_while(|line| line.starts_with([' ', '\t'])).filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (digest, size, name) = (words.next()?, words.next()?, words.next()?);
        let digest = Digest::from_hex(digest).ok().filter(|digest| digest.hex().len() == 64)?;
        let size: u64 = size.parse().ok()?;
        Some((name, format!("{} {size} {name}", digest.hex())))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A Release file with an index for each name, whose digest is of the text beside it.
    pub(crate) fn release(head: &str, indices: &[(&str, &str)]) -> String {
        let line = |(name, of): &(&str, &str)| {
            format!(" {} {:>16} {name}\n", Digest::sha256(of).hex(), of.len())
        };
        let lines: String = indices.iter().map(line).collect();
        format!("Origin: Debian\n{head}MD5Sum:\n 00 0 main/binary-amd64/Packages\nSHA256:\n{lines}")
    }

    pub(crate) fn framed(release: &str) -> String {
        format!("{BEGIN}\nHash: SHA256\n\n{release}{SIGNATURE}\n\nabc=\n{END}\n")
    }

    const MAIN: (&str, &str) = ("main/binary-amd64/Packages", "one");

    fn of(text: &str) -> Result<Digest, &'static str> {
        Ok(state([("bookworm", indices(text, &["main"], "amd64")?)]))
    }

    #[test]
    fn only_the_wanted_indices_count() {
        let first =
            of(&framed(&release("Date: Sat, 11 Jul 2026 10:16:37 UTC\n", &[MAIN]))).unwrap();
        let others = [
            MAIN,
            ("main/binary-amd64/Packages.xz", "two"),
            ("main/binary-arm64/Packages", "three"),
            ("main/source/Sources", "four"),
            ("main/debian-installer/binary-amd64/Packages", "five"),
            ("contrib/binary-amd64/Packages", "six"),
        ];
        for head in ["", "Date: Sun, 12 Jul 2026 10:16:37 UTC\nValid-Until: never\n"] {
            for text in [release(head, &others), framed(&release(head, &others))] {
                assert_eq!(of(&text).unwrap(), first, "{text}");
            }
        }
        let all = ("main/binary-all/Packages", "all");
        let supported = of(&release("", &[MAIN, all])).unwrap();
        assert_ne!(supported, first);
        let head = "No-Support-for-Architecture-all: Packages\n";
        assert_eq!(of(&release(head, &[MAIN, all])).unwrap(), first);
        assert_ne!(of(&release("", &[(MAIN.0, "newer")])).unwrap(), first);
        let packed =
            [("main/binary-amd64/Packages.xz", "x"), ("main/binary-amd64/Packages.gz", "g")];
        assert_ne!(of(&release("", &packed)).unwrap(), of(&release("", &packed[1..])).unwrap());
    }

    #[test]
    fn what_is_no_release_file_is_told() {
        let whole = framed(&release("", &[MAIN]));
        for cut in 0..whole.len() {
            let result = of(&whole[..cut]);
            assert!(result.is_err() || cut == whole.len() - 1, "{cut}");
        }
        for text in [
            "<html>log in first</html>".to_owned(),
            release("", &[("main/binary-arm64/Packages", "other")]),
            release("", &[MAIN]).replace("SHA256", "SHA1"),
            release("", &[MAIN]).replace(" 3 main", " -3 main"),
            format!("SHA256:\n {} 3 {}\n", "0".repeat(63), MAIN.0),
        ] {
            assert!(of(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn suites_are_told_apart_and_their_order_is_not() {
        let set =
            |text: &str| indices(&release("", &[(MAIN.0, text)]), &["main"], "amd64").unwrap();
        let (a, b) = (("a", set("1")), ("b", set("2")));
        assert_eq!(state([a.clone(), b.clone()]), state([b.clone(), a.clone()]));
        assert_ne!(state([a.clone(), b.clone()]), state([("b", a.1.clone()), ("a", b.1)]));
        assert_ne!(state([a.clone()]), state([a, ("b", BTreeSet::new())]));
    }
}
