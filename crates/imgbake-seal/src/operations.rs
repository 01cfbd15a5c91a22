//! The table of operations, and which of them a template wants.

use imgbake_build::Operation;
use imgbake_types::spec::SealSpec;

use crate::error::SealError;

const fn by_default(name: &'static str, about: &'static str) -> Operation {
    Operation { name, about, default: true }
}

const fn on_request(name: &'static str, about: &'static str) -> Operation {
    Operation { name, about, default: false }
}

/// Every operation, in the order in which they run. Those that read the list of accounts come before
/// the one that takes the build's user out.
pub(crate) static OPERATIONS: [Operation; 37] = [
    by_default("machine-id", "/etc/machine-id: empty, so that each clone makes its own unattended"),
    by_default("dbus-id", "D-Bus's own machine id"),
    by_default("ssh-host-keys", "ssh host keys"),
    by_default("random-seed", "random seeds, the boot loader's too"),
    by_default("credential-secret", "systemd's key for credentials"),
    by_default("timesync-clock", "the last time that systemd-timesyncd knew"),
    by_default("iscsi-initiator", "the iSCSI initiator's name"),
    by_default("nvme-host", "the NVMe host's name and id"),
    by_default(
        "default-certificate",
        "Debian's self-signed certificate, which each clone makes anew",
    ),
    by_default("agent-keys", "keys and ids of Puppet, Salt and Chef agents"),
    by_default("wireguard-keys", "private keys of WireGuard"),
    by_default("authorized-keys", "the build's public key in every home"),
    by_default(
        "home-credentials",
        "credentials of cloud and developer tools, private keys, known hosts",
    ),
    by_default("package-credentials", "passwords of package sources: apt's and pip's"),
    by_default("shell-histories", "histories of shells and prompts"),
    by_default("mail", "mail of every user"),
    by_default("build-user", "the build's user: account, home, sudo rules, mail"),
    by_default("cloud-init", "cloud-init's state, seed, logs and generated configuration"),
    by_default("dhcp-leases", "DHCP leases and client identifiers"),
    by_default("udev-net-rules", "network names bound to this machine's hardware"),
    by_default("hostname", "the name that the build gave the machine"),
    by_default("hosts", "that name in /etc/hosts"),
    by_default("resolv-conf", "name servers that the build's network gave"),
    by_default("proxies", "proxies of apt, dnf, yum, wget and the environment"),
    by_default("build-repositories", "package sources marked `# imgbake: build-only`"),
    by_default(
        "build-tools",
        "tools that `install` put there for the build, with what they needed",
    ),
    by_default("package-caches", "downloaded packages"),
    on_request("package-lists", "apt's package lists"),
    by_default(
        "agent-caches",
        "caches, reports and temporary files of Puppet, Salt, Chef and Ansible",
    ),
    by_default("backup-files", "passwd-, shadow- and their like"),
    by_default("swap-files", "pages of memory in swap files"),
    by_default("crash-dumps", "core dumps and crash reports"),
    by_default("logs", "log files: emptied, rotated ones removed, folders kept"),
    by_default("journal", "systemd's journal"),
    by_default("wtmp", "records of logins"),
    by_default("tmp", "/tmp and /var/tmp"),
    by_default("trim", "deleted bytes: free blocks and file-system journals"),
];

/// What stays in an image, for the documentation.
pub const LEFT: [&str; 8] = [
    "authorized_keys: every key but the build's own",
    "accounts, passwords and sudo rules that a step made",
    "/etc/hosts and the host name, but for what the build's seed wrote there",
    "name servers that a step configured",
    "package sources that are not marked `# imgbake: build-only`",
    "scripts and configuration of cloud-init",
    "log folders with their owners and modes: files in them are emptied, rotated ones removed",
    "keys and certificates under /etc that no operation names",
];

/// Operations that are repeated when every process has ended, for shutting down writes such files again.
const LATE: [&str; 13] = [
    "machine-id",
    "random-seed",
    "timesync-clock",
    "shell-histories",
    "build-user",
    "cloud-init",
    "dhcp-leases",
    "agent-caches",
    "crash-dumps",
    "logs",
    "journal",
    "wtmp",
    "tmp",
];

/// The operations that a template wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection(Vec<&'static Operation>);

impl Selection {
    /// The one operation that has no function of its own: it is what the late phase ends with.
    pub(crate) const TRIM: &str = "trim";

    /// Whether an operation runs.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|operation| operation.name == name)
    }

    /// Whether all of these run.
    pub fn has_all(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.has(name))
    }

    /// Whether deleted bytes are wiped. Without that, nothing that was ever on the disk is surely gone.
    pub fn trims(&self) -> bool {
        self.has(Self::TRIM)
    }

    /// Names of the operations of the first phase, in order.
    pub(crate) fn first_phase(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|operation| operation.name).filter(|name| *name != Self::TRIM)
    }

    /// Names of the operations that the late phase repeats, in order.
    pub(crate) fn late_phase(&self) -> impl Iterator<Item = &'static str> {
        self.first_phase().filter(|name| LATE.contains(name))
    }
}

/// Which operations `[seal]` asks for.
///
/// # Errors
/// [`SealError::UnknownOperation`]: a name in `skip` or `also` is no operation's; the nearest is named.
pub fn check(spec: &SealSpec) -> Result<Selection, SealError> {
    for (key, names) in [("skip", &spec.skip), ("also", &spec.also)] {
        for name in names {
            if !OPERATIONS.iter().any(|operation| operation.name == name) {
                return Err(unknown(key, name));
            }
        }
    }
    let wanted = |operation: &&Operation| {
        (operation.default || spec.also.iter().any(|name| name == operation.name))
            && !spec.skip.iter().any(|name| name == operation.name)
    };
    Ok(Selection(OPERATIONS.iter().filter(wanted).collect()))
}

fn unknown(key: &'static str, name: &str) -> SealError {
    let lower = name.replace('_', "-").to_lowercase();
    let names = || OPERATIONS.iter().map(|operation| operation.name);
    let near = names().find(|known| lower.len() >= 3 && known.starts_with(&lower)).or_else(|| {
        let (distance, near) =
            names().map(|known| (strsim::damerau_levenshtein(&lower, known), known)).min()?;
        (distance <= (lower.len() / 3).max(1)).then_some(near)
    });
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the operations are: {}", names().collect::<Vec<_>>().join(", ")),
    };
    SealError::UnknownOperation { key, name: name.to_owned(), help }
}

#[cfg(test)]
mod tests {
    use imgbake_build::{BuildError, BuildErrorKind};

    use super::*;

    fn spec(skip: &[&str], also: &[&str]) -> SealSpec {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        SealSpec { skip: owned(skip), also: owned(also), ..SealSpec::default() }
    }

    #[test]
    fn selects() {
        let all = check(&spec(&[], &[])).expect("selects");
        assert!(all.has("machine-id") && all.trims() && !all.has("package-lists"));
        let some = check(&spec(&["trim", "logs"], &["package-lists"])).expect("selects");
        assert!(!some.trims() && !some.has("logs") && some.has("package-lists"));
        assert!(!some.late_phase().any(|name| name == "logs"));
    }

    #[test]
    fn names_are_unique() {
        for (at, operation) in OPERATIONS.iter().enumerate() {
            assert!(!operation.about.is_empty(), "{}", operation.name);
            assert!(OPERATIONS[at + 1..].iter().all(|other| other.name != operation.name));
        }
        assert!(LATE.iter().all(|late| OPERATIONS.iter().any(|operation| operation.name == *late)));
    }

    #[test]
    fn unknown_names_are_corrected() {
        for (given, help) in [
            ("machineid", "did you mean `machine-id`?"),
            ("ssh_host_keys", "did you mean `ssh-host-keys`?"),
            ("logz", "did you mean `logs`?"),
            ("cloud", "did you mean `cloud-init`?"),
            ("frobnicate", "the operations are: machine-id, dbus-id"),
        ] {
            let error = check(&spec(&[given], &[])).expect_err("refuses");
            assert!(
                error.help().is_some_and(|text| text.starts_with(help)),
                "{error}: {:?}",
                error.help()
            );
            assert_eq!(BuildError::from(error).kind(), BuildErrorKind::Usage);
        }
        assert!(check(&spec(&[], &["nothing-like-it"])).is_err());
    }
}
