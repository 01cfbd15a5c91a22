//! Where packages come from while a root is made. Pure.
//!
//! An image keeps the template's mirror, or the distribution's own as mmdebstrap knows it. The host's
//! mirror serves the build only: it may be one that exists nowhere else.

use imgbake_types::spec::{BootstrapSpec, Distribution};

use crate::packages::components;

/// The fields that [`host_mirrors`] reads, for `apt-get indextargets --format`.
pub(crate) const TARGET_FORMAT: &str = "$(CREATED_BY)|$(ORIGIN)|$(LABEL)|$(RELEASE)|$(REPO_URI)";
/// Options by which apt names each archive by its `InRelease` file and leaves the packages' indices
/// unread: 20 ms instead of 400 where the host keeps no cache of them.
pub(crate) const QUICKLY: [&str; 4] = [
    "-o",
    "Acquire::IndexTargets::deb::Packages::DefaultEnabled=false",
    "-o",
    "Acquire::IndexTargets::deb::imgbake::MetaKey=InRelease",
];
/// What creates the targets that describe an archive: apt's own index, or the one of [`QUICKLY`].
const CREATORS: [&str; 2] = ["Packages", "imgbake"];

/// The archive's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirrors {
    /// The releases and their updates.
    pub(crate) main: String,
    /// The security updates; none where nobody knows.
    pub(crate) security: Option<String>,
}

/// Suites that are updated in place and have no others beside them.
const ROLLING: [&str; 3] = ["sid", "unstable", "experimental"];

/// Whether updates are to be taken in.
pub(crate) fn wants_updates(spec: &BootstrapSpec) -> bool {
    spec.updates.unwrap_or(true) && !ROLLING.contains(&spec.suite.as_str())
}

/// The mirrors of a distribution that a host uses, from lines of [`TARGET_FORMAT`]. One with a
/// password in it is no one else's to use.
pub(crate) fn host_mirrors(targets: &str, distribution: Distribution) -> Option<Mirrors> {
    let name = match distribution {
        Distribution::Debian => "Debian",
        Distribution::Ubuntu => "Ubuntu",
    };
    let (mut main, mut security) = (None, None);
    for line in targets.lines() {
        let fields: Vec<_> = line.split('|').collect();
        let [created_by, origin, label, release, address] = fields[..] else { continue };
        let usable = (address.starts_with("http://") || address.starts_with("https://"))
            && !address.contains('@');
        // Backports have an origin of their own; a proposed-updates archive has the main one's.
        if !CREATORS.contains(&created_by) || origin != name || !usable {
            continue;
        }
        if release.ends_with("-security") {
            security.get_or_insert(address);
        } else if label == name {
            main.get_or_insert(address);
        }
    }
    Some(Mirrors { main: main?.to_owned(), security: security.map(str::to_owned) })
}

/// The mirrors that a template's address stands for. Debian's security archive is beside the main
/// one, Ubuntu's is in it.
pub(crate) fn named_mirrors(mirror: &str, distribution: Distribution) -> Mirrors {
    let main = mirror.trim_end_matches('/').to_owned();
    let security = match distribution {
        Distribution::Ubuntu => Some(main.clone()),
        Distribution::Debian => beside(&main),
    };
    Mirrors { main, security }
}

/// `…/debian` → `…/debian-security`, also where a snapshot's date follows.
fn beside(main: &str) -> Option<String> {
    let mut parts: Vec<&str> = main.split('/').collect();
    let place = parts.iter().rposition(|part| *part == "debian")?;
    parts[place] = "debian-security";
    Some(parts.join("/"))
}

/// One suite of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suite {
    /// The archive's address, perhaps with a login in it.
    pub(crate) address: String,
    /// The suite's name.
    pub(crate) name: String,
}

/// The suites of a `sources.list` (sources.list(5), one-line style) that a build takes packages from.
pub(crate) fn suites(list: &str, spec: &BootstrapSpec) -> Vec<Suite> {
    let suite = |line: &str| {
        let rest = line.strip_prefix("deb ")?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        let mut words = rest.split_whitespace();
        Some(Suite { address: words.next()?.to_owned(), name: words.next()?.to_owned() })
    };
    let wanted = |suite: &Suite| wants_updates(spec) || suite.name == spec.suite;
    list.lines().filter_map(suite).filter(wanted).collect()
}

/// The `sources.list` of a build; `None` where the mirrors do not hold all that it needs.
pub(crate) fn sources_list(spec: &BootstrapSpec, mirrors: &Mirrors) -> Option<String> {
    let (suite, components) = (&spec.suite, components(spec).replace(',', " "));
    let main = &mirrors.main;
    let list = format!("deb {main} {suite} {components}\n");
    if !wants_updates(spec) {
        return Some(list);
    }
    let security = mirrors.security.as_ref()?;
    Some(format!(
        "{list}deb {main} {suite}-updates {components}\ndeb {security} {suite}-security {components}\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::spec;

    const TARGETS: &str = "Packages|Debian|Debian|bookworm|http://mirror.test/debian/\n\
        DEP-11|Debian|Debian|bookworm|http://other.test/debian/\n\
        Packages|Debian Backports|Debian Backports|bookworm-backports|http://back.test/debian/\n\
        Packages|Debian|Debian-Security|bookworm-security|http://mirror.test/debian-security/\n\
        garbage\n";

    #[test]
    fn a_host_says_where_its_packages_come_from() {
        let found = host_mirrors(TARGETS, Distribution::Debian).unwrap();
        let quickly = TARGETS.replace("Packages|", "imgbake|");
        assert_eq!(host_mirrors(&quickly, Distribution::Debian).as_ref(), Some(&found));
        assert_eq!(found.main, "http://mirror.test/debian/");
        assert_eq!(found.security.as_deref(), Some("http://mirror.test/debian-security/"));
        assert_eq!(host_mirrors(TARGETS, Distribution::Ubuntu), None);
        for secret in [
            "Packages|Debian|Debian|sid|http://me:pw@mirror.test/debian/",
            "Packages|Debian|Debian|sid|file:/srv/",
        ] {
            assert_eq!(host_mirrors(secret, Distribution::Debian), None, "{secret}");
        }
    }

    #[test]
    fn security_is_beside_debian_and_within_ubuntu() {
        for (mirror, distribution, security) in [
            ("http://m.test/debian/", Distribution::Debian, Some("http://m.test/debian-security")),
            (
                "http://s.test/archive/debian/2026Z",
                Distribution::Debian,
                Some("http://s.test/archive/debian-security/2026Z"),
            ),
            ("http://m.test/packages", Distribution::Debian, None),
            ("http://m.test/ubuntu", Distribution::Ubuntu, Some("http://m.test/ubuntu")),
        ] {
            assert_eq!(
                named_mirrors(mirror, distribution).security.as_deref(),
                security,
                "{mirror}"
            );
        }
    }

    #[test]
    fn a_list_names_what_is_wanted() {
        let mut spec = spec(Distribution::Debian, "bookworm");
        let mirrors = named_mirrors("http://m.test/debian", Distribution::Debian);
        let list = sources_list(&spec, &mirrors).unwrap();
        assert_eq!(
            list,
            "deb http://m.test/debian bookworm main\ndeb http://m.test/debian bookworm-updates main\n\
             deb http://m.test/debian-security bookworm-security main\n"
        );
        let unknown = Mirrors { security: None, ..mirrors };
        assert_eq!(sources_list(&spec, &unknown), None);
        spec.updates = Some(false);
        assert_eq!(sources_list(&spec, &unknown).unwrap().lines().count(), 1);
        let names = |list: &str, spec: &BootstrapSpec| {
            suites(list, spec).into_iter().map(|suite| suite.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&list, &spec), ["bookworm"]);
        spec.updates = None;
        assert_eq!(names(&list, &spec), ["bookworm", "bookworm-updates", "bookworm-security"]);
        let other = "deb-src http://m.test x main\n# deb\ndeb [trusted=yes a=b] http://o.test/ y main\ndeb\n";
        assert_eq!(
            suites(other, &spec),
            [Suite { address: "http://o.test/".to_owned(), name: "y".to_owned() }]
        );
        (spec.updates, spec.suite) = (None, "sid".to_owned());
        assert_eq!(sources_list(&spec, &unknown).unwrap().lines().count(), 1);
    }
}
