//! Where a guest's packages come from.

use std::collections::BTreeMap;
use std::process::Command;

use super::commands;

/// What an image of Debian's own asks.
const DEBIAN: &str = "deb.debian.org";

/// Environment variables that lend the host's mirror to a step that installs packages; none where the
/// host asks Debian's own, or says nothing that a guest could use.
pub(super) fn environment() -> BTreeMap<&'static str, String> {
    // A host without apt has no mirror to lend.
    let format = "$(CREATED_BY)|$(CODENAME)|$(COMPONENT)|$(REPO_URI)";
    commands::output(Command::new("apt-get").args(["indextargets", "--format", format]))
        .map(|targets| lent(&targets))
        .unwrap_or_default()
}

fn lent(targets: &str) -> BTreeMap<&'static str, String> {
    let address = |codename: &str| {
        targets.lines().find_map(|line| {
            let fields: Vec<_> = line.split('|').collect();
            let [created_by, named, component, address] = fields[..] else { return None };
            // Neither a folder of the host nor a password is for the guest.
            let usable = address.starts_with("http") && !address.contains('@');
            (created_by == "Packages" && component == "main" && named == codename && usable)
                .then(|| address.trim_end_matches('/').to_owned())
        })
    };
    let Some(main) = address("bookworm") else { return BTreeMap::new() };
    if main.split('/').nth(2) == Some(DEBIAN) {
        return BTreeMap::new();
    }
    let security = address("bookworm-security");
    std::iter::once(("MIRROR", main))
        .chain(security.map(|address| ("SECURITY_MIRROR", address)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_lent_only_where_it_is_another() {
        let main = |address: &str| format!("Packages|bookworm|main|{address}\n");
        let security = "Packages|bookworm-security|main|http://m.test/debian-security/\n";
        for (targets, mirror) in [
            (String::new(), None),
            ("garbage\n".to_owned(), None),
            (main("http://deb.debian.org/debian/"), None),
            (main("https://deb.debian.org/debian"), None),
            (main("file:/srv/debian/"), None),
            (main("http://me:pw@m.test/debian/"), None),
            (main("http://m.test/debian/"), Some("http://m.test/debian")),
        ] {
            let lent = lent(&format!("{targets}{security}"));
            assert_eq!(lent.get("MIRROR").map(String::as_str), mirror, "{targets}");
            assert_eq!(lent.contains_key("SECURITY_MIRROR"), mirror.is_some(), "{targets}");
        }
    }
}
