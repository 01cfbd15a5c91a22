//! What lets a build into its own machine, and nobody else: a NoCloud seed with fresh keys.
//!
//! Formats: cloud-init's NoCloud datasource (`user-data` as `#cloud-config`, `meta-data`).

use imgbake_comm::KeyPair;
use serde::{Deserialize, Serialize};

/// The name of a virtio serial port by which a builder may offer a second way in: root's alone, with the seed's
/// keys, whatever the image's sshd and firewall allow.
pub const LOGIN_PORT: &str = "imgbake.login";

/// The seed of one machine. Written down, it holds the private keys as text.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seed {
    /// Who logs in.
    pub user: String,
    /// The user's key: made for this machine.
    pub user_key: KeyPair,
    /// The machine's ssh host key: made for this machine, and the only one that is accepted.
    pub host_key: KeyPair,
    /// cloud-init's instance id: a new one is a new first boot.
    pub instance_id: String,
    /// The machine's name while it is built: no other machine's, so that a seal can look for it.
    pub hostname: String,
    /// Whether this is a building machine, whose cloud-init shall do no more than let the build in;
    /// a verified clone's runs whole.
    pub lean: bool,
}

impl Seed {
    /// A seed with fresh keys for a machine.
    pub fn new(job: &str, machine: &str, user: &str, lean: bool) -> Self {
        Self {
            user: user.to_owned(),
            user_key: KeyPair::generate(),
            host_key: KeyPair::generate(),
            instance_id: format!("imgbake-{job}-{machine}"),
            hostname: format!("imgbake-{machine}-{}", unique()),
            lean,
        }
    }

    /// `meta-data`
    pub fn meta_data(&self) -> String {
        format!("instance-id: {}\nlocal-hostname: {}\n", self.instance_id, self.hostname)
    }

    /// `user-data`
    pub fn user_data(&self) -> String {
        let mut text = format!(
            "#cloud-config\ndisable_root: false\nssh_pwauth: false\nssh_deletekeys: true\n\
             ssh_keys:\n  ed25519_private: |\n{}  ed25519_public: {}\nusers:\n{}",
            indent(&self.host_key.private_openssh(), 4),
            self.host_key.public_openssh(),
            self.users(),
        );
        text.push_str("bootcmd:\n  - |\n");
        text.push_str(&indent(&self.login_port_script(), 4));
        if self.lean {
            // What a build does not need of a first boot: locale, apt sources, package updates, messages.
            text.push_str(
                "cloud_init_modules:\n  - bootcmd\n  - seed_random\n  - growpart\n  - resizefs\n  - set_hostname\n  \
                 - users-groups\n  - ssh\ncloud_config_modules: []\ncloud_final_modules: []\n\
                 package_update: false\nmanage_etc_hosts: false\n",
            );
        }
        text
    }

    /// What opens [`LOGIN_PORT`] in a machine whose own sshd may not let the build in.
    fn login_port_script(&self) -> String {
        include_str!("login_port.sh")
            .replace("@PORT@", LOGIN_PORT)
            .replace("@HOST_KEY@", &self.host_key.private_openssh())
            .replace("@USER_KEY@", &self.user_key.public_openssh())
    }

    fn users(&self) -> String {
        let key = self.user_key.public_openssh();
        if self.user == "root" {
            format!("  - name: root\n    ssh_authorized_keys:\n      - {key}\n")
        } else {
            format!(
                "  - name: {0}\n    shell: /bin/sh\n    lock_passwd: true\n    sudo: ALL=(ALL) NOPASSWD:ALL\n    \
                 ssh_authorized_keys:\n      - {key}\n",
                self.user
            )
        }
    }
}

/// Eight random hexadecimal digits with at least one from 0 to 9, so that it is no word.
fn unique() -> String {
    loop {
        let random = uuid::Uuid::new_v4().simple().to_string();
        let part = &random[..8];
        if part.bytes().any(|b| b.is_ascii_digit()) {
            return part.to_owned();
        }
    }
}

fn indent(text: &str, by: usize) -> String {
    let margin = " ".repeat(by);
    text.split_inclusive('\n').flat_map(|line| [margin.as_str(), line]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_cloud_init_reads() {
        let seed = Seed::new("build-1", "build", "admin", true);
        let text = seed.user_data();
        assert!(text.starts_with("#cloud-config\n"));
        assert!(text.contains("    -----BEGIN OPENSSH PRIVATE KEY-----\n"));
        assert!(text.contains("- name: admin") && text.contains("NOPASSWD"));
        assert!(seed.meta_data().contains("instance-id: imgbake-build-1-build"));
        assert!(!Seed::new("b", "m", "root", false).user_data().contains("sudo"));
        assert!(!text.contains('@') || !text.contains("@PORT@"), "{text}");
        assert!(text.contains("\n    port=/dev/virtio-ports/imgbake.login\n"), "{text}");
    }

    #[test]
    fn host_names_are_valid_and_differ() {
        let names: Vec<String> =
            (0..64).map(|_| Seed::new("job", "verify-1", "root", true).hostname).collect();
        for (place, name) in names.iter().enumerate() {
            let part = name.strip_prefix("imgbake-verify-1-").expect("the machine's name");
            // RFC 1123, section 2.1; Linux takes 64 bytes.
            assert!(name.len() <= 63, "{name}");
            assert!(part.len() == 8 && part.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
            assert!(part.bytes().any(|b| b.is_ascii_digit()), "{name}");
            assert!(!names[..place].contains(name), "{name}");
        }
    }
}
