//! The shell scripts: parts that are files of their own, put together with a machine's values.

use imgbake_build::Seed;
use imgbake_comm::shell::quote;

use crate::operations::Selection;
use crate::plant::Canary;

const COMMON: &str = include_str!("script/common.sh");
const IDENTITIES: &str = include_str!("script/identities.sh");
const SEAL: &str = include_str!("script/seal.sh");
const LATE: &str = include_str!("script/late.sh");
const PLANT: &str = include_str!("script/plant.sh");
/// The functions of the operations: `op_` and the name, `-` as `_`.
const OPERATIONS: [&str; 6] = [
    include_str!("script/identity.sh"),
    include_str!("script/access.sh"),
    include_str!("script/network.sh"),
    include_str!("script/traces.sh"),
    include_str!("script/credentials.sh"),
    include_str!("script/tools.sh"),
];

/// The late script's file name in systemd's folder of shutdown hooks.
const HOOK_NAME: &str = "zz-imgbake-seal";

/// Where the scripts work: `/` and its programs, but in tests.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    /// Before every path.
    pub root: String,
    /// `PATH`: a hook of systemd-shutdown gets none.
    pub path: String,
}

impl Default for Tree {
    fn default() -> Self {
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
        Self { root: String::new(), path }
    }
}

/// What the operations must know of the build.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// The build's login.
    pub user: String,
    /// The base64 body of its public key.
    pub key: String,
    /// The name that the seed gave the machine.
    pub hostname: String,
    /// The resolv.conf that the machine's boot wrote; empty where it wrote none.
    pub resolv_conf: String,
    /// Distinguishes this seal's lines on the console from any others.
    pub nonce: String,
}

impl Facts {
    pub(crate) fn new(seed: &Seed, resolv_conf: String, nonce: String) -> Self {
        let public = seed.user_key.public_openssh();
        Self {
            user: seed.user.clone(),
            key: public.split(' ').nth(1).unwrap_or_default().to_owned(),
            hostname: seed.hostname.clone(),
            resolv_conf,
            nonce,
        }
    }
}

/// The first phase, for `sh -s`. More commands may follow it on standard input.
pub(crate) fn seal(tree: &Tree, facts: &Facts, selection: &Selection) -> String {
    let values = [
        ("R", tree.root.as_str()),
        ("NONCE", &facts.nonce),
        ("HOOK_NAME", HOOK_NAME),
        ("TRIM", if selection.trims() { "1" } else { "" }),
        ("KEY", &facts.key),
        ("H", &facts.hostname),
        ("HR", &escaped(&facts.hostname)),
        ("RESOLV", facts.resolv_conf.trim_end_matches('\n')),
        ("LATE", &late(tree, facts, selection)),
    ];
    let operations =
        format!("operations() {{\nreport_identities\n{}}}\n", calls(selection.first_phase()));
    let parts = [&head(tree), &assign(&values), &user(facts), COMMON, IDENTITIES];
    format!("{}{}{operations}{SEAL}main </dev/null\n", parts.concat(), OPERATIONS.concat())
}

/// The late phase, but for the values that the first one adds before it.
fn late(tree: &Tree, facts: &Facts, selection: &Selection) -> String {
    let operations = format!("late_operations() {{\n:\n{}}}\n", calls(selection.late_phase()));
    format!(
        "{}{}{COMMON}{}{operations}{LATE}main </dev/null\n",
        head(tree),
        user(facts),
        OPERATIONS.concat()
    )
}

/// Planting, for `sh -s`.
pub(crate) fn plant(tree: &Tree, canaries: &[Canary]) -> String {
    let calls = lines(canaries.iter().map(Canary::call));
    let main = format!(
        "main() {{\numask 077\ncd /\n{calls}report_identities\nreport_resolv_conf\n}}\nmain </dev/null\n"
    );
    [&head(tree), &assign(&[("R", &tree.root)]), IDENTITIES, PLANT, &main].concat()
}

fn head(tree: &Tree) -> String {
    format!("PATH={}\nLC_ALL=C\nexport PATH LC_ALL\n", quote(&tree.path))
}

fn user(facts: &Facts) -> String {
    assign(&[("U", &facts.user), ("UR", &escaped(&facts.user))])
}

fn assign(values: &[(&str, &str)]) -> String {
    lines(values.iter().map(|(name, value)| format!("{name}={}", quote(value))))
}

fn calls(names: impl Iterator<Item = &'static str>) -> String {
    lines(names.map(|name| format!("run {name} op_{}", name.replace('-', "_"))))
}

fn lines(texts: impl Iterator<Item = String>) -> String {
    texts.flat_map(|text| [text, "\n".to_owned()]).collect()
}

/// A name as a basic regular expression (POSIX, chapter 9.3) that matches it alone, also between `/`.
fn escaped(name: &str) -> String {
    name.chars()
        .flat_map(|c| ".[]*^$\\/".contains(c).then_some('\\').into_iter().chain([c]))
        .collect()
}

#[cfg(test)]
mod tests {
    use imgbake_types::spec::SealSpec;

    use super::*;

    #[test]
    fn every_operation_has_a_function() {
        let selection =
            crate::check(&SealSpec { also: vec!["package-lists".into()], ..SealSpec::default() });
        for name in selection.expect("selects").first_phase() {
            let function = format!("\nop_{}() {{\n", name.replace('-', "_"));
            assert_eq!(OPERATIONS.concat().matches(&function).count(), 1, "{function}");
        }
    }

    #[test]
    fn escapes() {
        assert_eq!(escaped("a.b$-c/d"), r"a\.b\$-c\/d");
    }
}
