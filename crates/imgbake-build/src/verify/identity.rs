//! What makes a machine this machine and no other: to be different in each clone, and to last.

use std::collections::BTreeMap;

use imgbake_comm::Communicator;
use imgbake_types::record::TestOutcome;

use super::outcome::Checked;
use crate::BuildError;

/// A machine's identities by name. A value is a digest where the thing itself is a secret; a machine
/// that lacks one has no entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity(BTreeMap<String, String>);

/// Must differ between two clones. Each line of a value is an identity of its own.
const DIFFER: [&str; 9] = [
    "machine-id",
    "ssh-host-key",
    "hostname",
    "dhcp-id",
    "random-seed",
    "iscsi-initiator",
    "nvme-host",
    "default-certificate",
    "agent-key",
];
/// Of these, every machine has one.
const NEEDED: [&str; 2] = ["machine-id", "ssh-host-key"];
/// Must be the same before and after a restart.
const LAST: [&str; 4] = ["machine-id", "ssh-host-key", "hostname", "cloud-init-instance"];

/// Reads them: lines of `name value`.
const SCRIPT: &str = r#"
say() { [ -n "$2" ] && echo "$1 $2"; }
say machine-id "$(cat /etc/machine-id 2>/dev/null)"
for key in /etc/ssh/ssh_host_*_key.pub /etc/dropbear/*.pub; do
  [ -f "$key" ] && say ssh-host-key "$(cut -d' ' -f2 "$key")"
done
say hostname "$(cat /proc/sys/kernel/hostname)"
for lease in /var/lib/dhcp/*.lease* /var/lib/NetworkManager/*.lease /run/systemd/netif/leases/*; do
  [ -f "$lease" ] && sed -n 's/^ *default-duid \(.*\);$/dhcp-id \1/p; s/^CLIENTID=\(.*\)$/dhcp-id \1/p' "$lease"
done
for seed in /var/lib/systemd/random-seed /var/lib/urandom/random-seed /var/lib/seedrng/seed.*; do
  [ -s "$seed" ] && say random-seed "$(sha256sum < "$seed" | cut -d' ' -f1)"
done
say iscsi-initiator "$(sed -n 's/^InitiatorName=//p' /etc/iscsi/initiatorname.iscsi 2>/dev/null)"
say nvme-host "$(cat /etc/nvme/hostnqn 2>/dev/null)"
digest() { [ -s "$2" ] && say "$1" "$(sha256sum < "$2" | cut -d' ' -f1)"; }
digest default-certificate /etc/ssl/private/ssl-cert-snakeoil.key
for key in /etc/puppetlabs/puppet/ssl/private_keys/*.pem /var/lib/puppet/ssl/private_keys/*.pem \
  /etc/salt/pki/minion/minion.pem; do
  digest agent-key "$key"
done
say cloud-init-instance "$(cat /var/lib/cloud/data/instance-id 2>/dev/null)"
for sem in /var/lib/cloud/instance/sem/config_*; do
  [ -f "$sem" ] && say first-boot-work "$(ls -l --time-style=+%s "$sem" 2>/dev/null | tr -s ' ' | cut -d' ' -f6-)"
done
true
"#;

/// Reads a machine's identities.
pub(super) async fn collect(comm: &dyn Communicator) -> Result<Identity, BuildError> {
    let out = comm.check(comm.script("root", None, SCRIPT)).await?;
    Ok(parse(&out))
}

fn parse(out: &str) -> Identity {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in out.lines().filter_map(|line| line.split_once(' ')) {
        let all = found.entry(name.to_owned()).or_default();
        if !all.is_empty() {
            all.push('\n');
        }
        all.push_str(value.trim());
    }
    Identity(found)
}

/// One result for each identity that both clones have; and for each that every machine must have.
pub(super) fn compare(one: &Identity, two: &Identity) -> Vec<TestOutcome> {
    DIFFER
        .into_iter()
        .filter_map(|name| {
            let values = (one.0.get(name), two.0.get(name));
            let detail = match values {
                (Some(first), Some(second)) => first
                    .lines()
                    .find(|line| second.lines().any(|other| other == *line))
                    .map(|value| format!("both have {value}")),
                _ if NEEDED.contains(&name) => Some("a clone has none".to_owned()),
                _ => return None,
            };
            Some(TestOutcome {
                name: format!("clones differ in {name}"),
                machine: "verify-1 and verify-2".to_owned(),
                passed: detail.is_none(),
                seconds: 0.0,
                detail: detail.unwrap_or_default(),
            })
        })
        .collect()
}

/// What must last did.
pub(super) fn same_after_restart(before: &Identity, after: &Identity) -> Checked {
    let changed: Vec<&str> = LAST
        .into_iter()
        .chain(["first-boot-work"])
        .filter(|name| before.0.get(*name) != after.0.get(*name))
        .collect();
    if changed.is_empty() {
        Ok(String::new())
    } else {
        Err(format!("changed by a restart: {}", changed.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_shared_host_key_of_two_is_found() {
        let one = parse("machine-id a\nssh-host-key k1\nssh-host-key k2\n");
        let two = parse("machine-id b\nssh-host-key k3\nssh-host-key k2\n");
        let results = compare(&one, &two);
        assert_eq!(results.len(), 2);
        assert!(results[0].passed && !results[1].passed);
        assert!(results[1].detail.contains("k2"));
    }

    #[test]
    fn a_clone_without_an_identity_fails() {
        let one = parse("machine-id a\nssh-host-key k1\n");
        let results = compare(&one, &parse("ssh-host-key k2\n"));
        assert!(!results[0].passed && results[1].passed);
    }

    #[test]
    fn a_restart_keeps_identity() {
        let before = parse("machine-id a\nrandom-seed x\n");
        assert!(same_after_restart(&before, &parse("machine-id a\nrandom-seed y\n")).is_ok());
        assert!(same_after_restart(&before, &parse("machine-id b\n")).is_err());
    }
}
