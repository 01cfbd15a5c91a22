//! What makes a machine accept its build's login without cloud-init: systemd credentials in SMBIOS strings.
//! Pure.
//!
//! Formats: systemd.system-credentials(7) for `tmpfiles.extra` and `sysusers.extra`, systemd(1) for SMBIOS
//! type 11, tmpfiles.d(5) and sysusers.d(5). The machine's boot makes each file anew, and again after a
//! restart; only the login's own keys are left as they are then, for a step may have added some.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use imgbake_build::Seed;

use crate::system::{Account, Keys};

/// Idle work of a boot that no build needs: none of these changes what a step finds, and nobody would enable
/// or start one of them.
const MASKED: [&str; 3] = ["e2scrub_reap.service", "getty@tty1.service", "systemd-pstore.service"];

/// The SMBIOS strings that make the login, the pinned host key and the account.
pub(crate) fn strings(seed: &Seed, account: &Account) -> Vec<String> {
    let mut strings = vec![credential("tmpfiles.extra", &files(seed, account))];
    if let Some(uid) = account.new_uid {
        let Account { name, home, .. } = account;
        strings.push(credential(
            "sysusers.extra",
            &format!("u {name} {uid} \"imgbake build\" {home} /bin/sh\n"),
        ));
    }
    strings
}

/// The kernel's command line for a machine that accepts the login by credentials.
pub(crate) fn cmdline(cmdline: &str, seed: &Seed) -> String {
    let masks = MASKED.map(|unit| format!(" systemd.mask={unit}")).concat();
    format!("{cmdline} cloud-init=disabled systemd.hostname={}{masks}", seed.hostname)
        .trim_start()
        .to_owned()
}

fn credential(name: &str, text: &str) -> String {
    format!("io.systemd.credential.binary:{name}={}", STANDARD.encode(text))
}

/// tmpfiles.d(5) lines.
fn files(seed: &Seed, account: &Account) -> String {
    let Account { name, home, .. } = account;
    let host_key = STANDARD.encode(seed.host_key.private_openssh());
    let host_key_public = STANDARD.encode(format!("{}\n", seed.host_key.public_openssh()));
    // Host keys that a base disk or an earlier boot left are not this machine's.
    let mut lines = vec![
        "r /etc/ssh/ssh_host_*".to_owned(),
        format!("f+~ /etc/ssh/ssh_host_ed25519_key 0600 root root - {host_key}"),
        format!("f+~ /etc/ssh/ssh_host_ed25519_key.pub 0644 root root - {host_key_public}"),
    ];
    if account.new_uid.is_some() {
        lines.push(format!("d {home} 0700 {name} {name}"));
    }
    lines.push(format!("d {home}/.ssh :0700 :{name} :{name}"));
    let key = seed.user_key.public_openssh();
    let (kind, key) = match account.keys {
        // Left as it is once it is there.
        None => ("f~", format!("{key}\n")),
        Some(Keys::WholeLine) => ("w+~", format!("{key}\n")),
        Some(Keys::PartOfLine) => ("w+~", format!("\n{key}\n")),
    };
    let keys = STANDARD.encode(key);
    lines.push(format!("{kind} {home}/.ssh/authorized_keys 0600 {name} {name} - {keys}"));
    if name != "root" {
        let rule = STANDARD.encode(format!("{name} ALL=(ALL) NOPASSWD:ALL\n"));
        lines.push(format!("f+~ /etc/sudoers.d/90-imgbake 0440 root root - {rule}"));
    }
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(string: &str, name: &str) -> String {
        let prefix = format!("io.systemd.credential.binary:{name}=");
        let text = string.strip_prefix(&prefix).expect("its name");
        String::from_utf8(STANDARD.decode(text).expect("base64")).expect("text")
    }

    fn account(name: &str, home: &str, new_uid: Option<u32>, keys: Option<Keys>) -> Account {
        Account { name: name.into(), home: home.into(), new_uid, keys }
    }

    #[test]
    fn root_gets_a_key_and_the_machine_its_host_key() {
        let seed = Seed::new("job", "build", "root", true);
        let strings = strings(&seed, &account("root", "/root", None, None));
        assert_eq!(strings.len(), 1);
        let files = decoded(&strings[0], "tmpfiles.extra");
        let key = STANDARD.encode(format!("{}\n", seed.user_key.public_openssh()));
        let line = format!("f~ /root/.ssh/authorized_keys 0600 root root - {key}\n");
        assert!(files.ends_with(&line), "{files}");
        let host_key = STANDARD.encode(seed.host_key.private_openssh());
        assert!(files.contains(&format!("ssh_host_ed25519_key 0600 root root - {host_key}\n")));
        assert!(!files.contains("sudoers"));
    }

    #[test]
    fn a_new_user_is_made_with_its_rule() {
        let seed = Seed::new("job", "build", "admin", true);
        let strings = strings(&seed, &account("admin", "/home/admin", Some(1001), None));
        assert_eq!(
            decoded(&strings[1], "sysusers.extra"),
            "u admin 1001 \"imgbake build\" /home/admin /bin/sh\n"
        );
        let files = decoded(&strings[0], "tmpfiles.extra");
        assert!(files.contains("\nd /home/admin 0700 admin admin\n"), "{files}");
        assert!(files.contains("f+~ /etc/sudoers.d/90-imgbake 0440 root root - "), "{files}");
    }

    #[test]
    fn keys_that_are_there_stay() {
        let seed = Seed::new("job", "build", "debian", true);
        for (keys, start) in [(Keys::WholeLine, "ssh-ed25519 "), (Keys::PartOfLine, "\nssh-")] {
            let account = account("debian", "/srv/debian", None, Some(keys));
            let strings = strings(&seed, &account);
            assert_eq!(strings.len(), 1, "it has an account");
            let files = decoded(&strings[0], "tmpfiles.extra");
            let line = files.lines().find(|line| line.contains("authorized_keys")).expect("a line");
            assert!(line.starts_with("w+~ /srv/debian/.ssh/"), "{line}");
            let text = STANDARD.decode(line.rsplit(' ').next().expect("its end")).expect("base64");
            assert!(text.starts_with(start.as_bytes()), "{keys:?}");
        }
    }

    #[test]
    fn the_command_line_turns_cloud_init_off() {
        let mut seed = Seed::new("job", "build", "root", true);
        seed.hostname = "imgbake-build-1".to_owned();
        let line = cmdline("root=UUID=1 ro", &seed);
        assert!(
            line.starts_with(
                "root=UUID=1 ro cloud-init=disabled systemd.hostname=imgbake-build-1 "
            ),
            "{line}"
        );
    }
}
