//! Canaries and identities: what the captured bytes are searched for to prove a seal.
//!
//! A canary is random text, put where an operation must clean. One that survives is no secret, so it
//! does not weigh as a leak of this build (`severe` is false): it says that the seal did not reach that
//! place, which fails a build unless the template says `residue = "warn"`, as it must where a disk
//! cannot be trimmed. Nothing is planted, and no identity looked for, where the operations that would
//! remove it are skipped.

use imgbake_build::{Pattern, Seed};
use imgbake_comm::shell::quote;
use uuid::Uuid;

use crate::operations::Selection;

/// A place for a canary, the operations that clean it, and the shell words that plant `@`.
struct CanaryPath {
    name: &'static str,
    operations: &'static [&'static str],
    function: &'static str,
    path: &'static str,
    line: &'static str,
}

const CANARIES: [CanaryPath; 7] = [
    file("/tmp", &["tmp"], "/tmp/imgbake-canary", "@"),
    file("/var/tmp", &["tmp"], "/var/tmp/imgbake-canary", "@"),
    file(
        "root's shell history",
        &["shell-histories"],
        "/root/.bash_history",
        "export IMGBAKE_CANARY=@",
    ),
    file("/var/log", &["logs"], "/var/log/imgbake-canary.log", "@"),
    file(
        "root's .netrc",
        &["home-credentials"],
        "/root/.netrc",
        "machine imgbake-canary.invalid login imgbake password @",
    ),
    // A syslog daemon may write it as well.
    CanaryPath {
        name: "the journal",
        operations: &["journal", "logs"],
        function: "plant_journal",
        path: "",
        line: "imgbake canary @",
    },
    CanaryPath {
        name: "a deleted file",
        operations: &["trim"],
        function: "plant_deleted",
        path: "",
        line: "@",
    },
];

/// What each machine has of its own, as the operations of `identity.sh` remove it, and what the build's login leaves.
const IDENTITIES: [&str; 31] = [
    "/etc/machine-id",
    "/var/lib/dbus/machine-id",
    "/etc/ssh/ssh_host_*",
    "/etc/dropbear/dropbear_*_host_key",
    "/var/lib/*random-seed",
    "/var/lib/seedrng/seed.*",
    "/boot/*random-seed",
    "/efi/*random-seed",
    "/etc/chef/*.pem",
    "/etc/cinc/*.pem",
    "/etc/wireguard/*",
    "/root/.puppetlabs/etc/puppet/ssl/*",
    "/home/*/.puppetlabs/etc/puppet/ssl/*",
    "/etc/systemd/network/*.netdev",
    "/etc/iscsi/initiatorname.iscsi",
    "/etc/nvme/hostnqn",
    "/etc/nvme/hostid",
    "/etc/ssl/certs/ssl-cert-snakeoil.pem",
    "/etc/ssl/private/ssl-cert-snakeoil.key",
    "/etc/puppet/ssl/*",
    "/etc/puppetlabs/puppet/ssl/*",
    "/var/lib/puppet/*",
    "/etc/salt/pki/*",
    "/etc/salt/minion_id",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/*-",
    "/root/.ssh/*",
    "/home/*/.ssh/*",
    "/boot/grub/grubenv",
];

/// Patterns of paths that differ in two machines of one image.
pub(crate) fn own_paths() -> impl Iterator<Item = &'static str> {
    let planted = CANARIES.iter().map(|canary| canary.path).filter(|path| !path.is_empty());
    planted.chain(IDENTITIES)
}

const fn file(
    name: &'static str,
    operations: &'static [&'static str],
    path: &'static str,
    line: &'static str,
) -> CanaryPath {
    CanaryPath { name, operations, function: "plant_file", path, line }
}

/// Random text in one place.
pub(crate) struct Canary {
    place: &'static CanaryPath,
    token: String,
}

impl Canary {
    /// Fresh ones for each place that the seal will clean.
    pub(crate) fn all(selection: &Selection) -> Vec<Self> {
        CANARIES
            .iter()
            .filter(|place| selection.trims() && selection.has_all(place.operations))
            .map(|place| Self { place, token: Uuid::new_v4().simple().to_string() })
            .collect()
    }

    /// The script's line that plants it.
    pub(crate) fn call(&self) -> String {
        let line = quote(&self.place.line.replace('@', &self.token));
        match self.place.path {
            "" => format!("{} {line}", self.place.function),
            path => format!("{} \"$R{path}\" {line}", self.place.function),
        }
    }

    /// What must not be found.
    pub(crate) fn pattern(&self) -> Pattern {
        pattern(format!("canary in {}", self.place.name), self.token.as_bytes())
    }
}

fn pattern(name: String, bytes: &[u8]) -> Pattern {
    Pattern { name, bytes: bytes.to_vec(), severe: false }
}

/// Identities that the scripts reported, as far as the seal removes them.
pub(crate) fn identities(reported: &str, selection: &Selection, seed: &Seed) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    if !selection.trims() {
        return patterns;
    }
    let seed_body = seed.host_key.public_openssh().split(' ').nth(1).unwrap_or_default().to_owned();
    let mut seed_path = None;
    for line in reported.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            ["machine-id", id]
                if id.len() == 32
                    && selection.has_all(&["machine-id", "dbus-id", "journal", "logs"]) =>
            {
                patterns
                    .push(pattern("machine id of the build's machine".to_owned(), id.as_bytes()));
            }
            ["seed", path, digits] if selection.has("random-seed") => {
                if let Some(bytes) =
                    unhex(digits).filter(|bytes| bytes.len() >= 16 && varied(bytes))
                {
                    patterns.push(pattern(format!("random seed {path}"), &bytes));
                }
            }
            // The runner searches for the seed's own keys.
            ["hostkey", path, body] if body == seed_body => seed_path = Some(path.to_owned()),
            ["hostkey" | "private", path, body]
                if body.len() >= 32
                    && seed_path.as_deref() != Some(path)
                    && selection.has("ssh-host-keys") =>
            {
                patterns.push(pattern(format!("ssh host key {path}"), distinct(body).as_bytes()));
            }
            ["agent", path, body] if body.len() >= 32 && selection.has("agent-keys") => {
                patterns.push(pattern(format!("agent's key {path}"), body.as_bytes()));
            }
            _ => {}
        }
    }
    patterns
}

/// The seed's host name, where it is one that no other file would hold by chance.
pub(crate) fn hostname(selection: &Selection, seed: &Seed) -> Option<Pattern> {
    let needed =
        ["hostname", "hosts", "cloud-init", "logs", "journal", "wtmp", "mail", "dhcp-leases"];
    let random = |part: &str| {
        part.len() >= 8
            && part.bytes().all(|b| b.is_ascii_hexdigit())
            && part.bytes().any(|b| b.is_ascii_digit())
    };
    (selection.trims() && selection.has_all(&needed) && seed.hostname.split(['-', '.']).any(random))
        .then(|| pattern("host name of the build's machine".to_owned(), seed.hostname.as_bytes()))
}

/// The resolv.conf that the boot wrote, as the planting script reported.
pub(crate) fn resolv_conf(reported: &str) -> String {
    reported
        .lines()
        .filter_map(|line| line.strip_prefix("resolv\t"))
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// Without the first bytes, which are the same in every key of a kind: RFC 4253, section 6.6.
fn distinct(body: &str) -> &str {
    if body.starts_with("AAAA") { body.get(body.len() / 2..).unwrap_or(body) } else { body }
}

fn varied(bytes: &[u8]) -> bool {
    let mut seen: Vec<u8> = bytes.to_vec();
    seen.sort_unstable();
    seen.dedup();
    seen.len() >= 8
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let bytes = digits.as_bytes();
    bytes
        .chunks(2)
        .map(|pair| {
            u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16)
                .ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use imgbake_types::spec::SealSpec;

    use super::*;

    fn selection(skip: &[&str]) -> Selection {
        let skip = skip.iter().map(ToString::to_string).collect();
        crate::check(&SealSpec { skip, ..SealSpec::default() }).expect("selects")
    }

    #[test]
    fn plants_only_what_will_be_cleaned() {
        let all = Canary::all(&selection(&[]));
        assert_eq!(all.len(), CANARIES.len());
        assert!(
            all.iter().all(|canary| canary.pattern().bytes.len() == 32 && !canary.pattern().severe)
        );
        let names = |skip: &[&str]| -> Vec<String> {
            Canary::all(&selection(skip)).iter().map(|canary| canary.pattern().name).collect()
        };
        assert_eq!(
            names(&["tmp", "logs"]),
            [
                "canary in root's shell history",
                "canary in root's .netrc",
                "canary in a deleted file"
            ]
        );
        assert!(names(&["trim"]).is_empty());
    }

    #[test]
    fn reads_identities() {
        let seed = Seed::new("build-0a1b2c3d4e", "build", "root", true);
        let own = seed.host_key.public_openssh();
        let own = own.split(' ').nth(1).expect("a body");
        let reported = format!(
            "machine-id\t0123456789abcdef0123456789abcdef\nseed\t/s\t{}\nseed\t/zeros\t{}\nseed\t/odd\tabc\n\
             hostkey\t/etc/ssh/a\t{own}\nprivate\t/etc/ssh/a\t{own}\nhostkey\t/etc/ssh/b\tAAAA{}\nmachine-id\tno\nnoise\n\
             agent\t/etc/chef/client.pem\t{}\nagent\t/etc/cinc/client.pem\tshort\n",
            "00112233445566778899aabbccddeeff".repeat(2),
            "00".repeat(32),
            "B".repeat(60),
            "C".repeat(64),
        );
        let names = |skip: &[&str]| -> Vec<String> {
            identities(&reported, &selection(skip), &seed)
                .into_iter()
                .map(|pattern| pattern.name)
                .collect()
        };
        assert_eq!(
            names(&[]),
            [
                "machine id of the build's machine",
                "random seed /s",
                "ssh host key /etc/ssh/b",
                "agent's key /etc/chef/client.pem"
            ]
        );
        assert_eq!(names(&["journal", "ssh-host-keys", "agent-keys"]), ["random seed /s"]);
        assert!(names(&["trim"]).is_empty());
    }

    #[test]
    fn a_common_host_name_is_not_looked_for() {
        let mut seed = Seed::new("build-1", "build", "root", true);
        let found = hostname(&selection(&[]), &seed).expect("a seed's own name is no other's");
        assert_eq!(found.bytes, seed.hostname.as_bytes());
        assert_eq!(hostname(&selection(&["hosts"]), &seed), None);
        seed.hostname = "imgbake-build".to_owned();
        assert_eq!(hostname(&selection(&[]), &seed), None);
    }

    /// What the script removes of seeds and keys by a fixed path is known to differ.
    #[test]
    fn seeds_and_keys_that_sealing_removes_are_a_machines_own() {
        let script = include_str!("script/identity.sh");
        let dropped = script.split_whitespace().filter_map(|word| {
            let path = word.strip_prefix("\"$R")?.replace('"', "");
            (path.contains("seed") || path.contains(".pem")).then_some(path)
        });
        let dropped: Vec<String> = dropped.collect();
        assert!(dropped.len() > 8, "{dropped:?}");
        for path in dropped {
            let known = own_paths().any(|pattern| imgbake_types::glob::matches(pattern, &path));
            assert!(known, "{path}");
        }
    }
}
