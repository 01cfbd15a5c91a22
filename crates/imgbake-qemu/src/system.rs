//! What the system on a disk says of itself, read without starting it: whether it can accept
//! a login by credentials, and what these must contain.

use std::collections::BTreeSet;

use imgbake_disk::DiskErrorKind;
use imgbake_disk::fs::Ext4;

use crate::error::QemuError;

/// The first systemd that takes credentials from SMBIOS and files from them (`NEWS`, version 252).
const LEAST_SYSTEMD: u32 = 252;

/// Folders of systemd's own library, whose name has its version: plain, Fedora's, Debian's and Ubuntu's.
const LIBRARIES: [&str; 4] =
    ["/usr/lib/systemd", "/usr/lib64/systemd", "/usr/lib/x86_64-linux-gnu/systemd", "/lib/systemd"];

/// Folders of networkd's configuration.
const NETWORKS: [&str; 2] = ["/etc/systemd/network", "/usr/local/lib/systemd/network"];

/// Units that are started at boot.
const WANTS: &str = "/etc/systemd/system/multi-user.target.wants";

/// Files of accounts and keys have no more bytes than this.
const LARGEST: u64 = 1 << 20;

/// Numbers of people's accounts (`login.defs`, `UID_MIN` and `UID_MAX`).
const PEOPLE: std::ops::RangeInclusive<u32> = 1000..=60000;

/// The account that a build logs in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// Its name.
    pub(crate) name: String,
    /// Its home folder.
    pub(crate) home: String,
    /// The number that it shall get; `None` where it is on the disk already.
    pub(crate) new_uid: Option<u32>,
    /// Its authorized keys, where it has some already: whether the last line is a whole one.
    pub(crate) keys: Option<Keys>,
}

/// How a file of authorized keys ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// With a whole line.
    WholeLine,
    /// In the midst of a line.
    PartOfLine,
}

/// The account for a login, if credentials can make it.
pub(crate) fn account(root: &Ext4, user: &str) -> Result<Account, QemuError> {
    check_systemd(root)?;
    check_network(root)?;
    check_sshd(root, user)?;
    let passwd = text(root, "/etc/passwd")?.unwrap_or_default();
    let mut account = match found(&passwd, user) {
        Some(home) => Account { name: user.to_owned(), home, new_uid: None, keys: None },
        None if user == "root" => return Err(QemuError::unsuitable("its /etc/passwd has no root")),
        None => {
            let group = text(root, "/etc/group")?.unwrap_or_default();
            Account {
                name: user.to_owned(),
                home: format!("/home/{user}"),
                new_uid: Some(free_number(&passwd, &group)?),
                keys: None,
            }
        }
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if !account.home.starts_with('/') || !account.home.chars().all(plain) {
        let why = format!("the home folder of {user} is {}", account.home);
        return Err(QemuError::Unsuitable(why));
    }
    let keys = text(root, &format!("{}/.ssh/authorized_keys", account.home))?;
    account.keys = keys.map(|keys| {
        if keys.is_empty() || keys.ends_with('\n') { Keys::WholeLine } else { Keys::PartOfLine }
    });
    Ok(account)
}

fn check_systemd(root: &Ext4) -> Result<(), QemuError> {
    let version =
        systemd(root).ok_or_else(|| QemuError::unsuitable("there is no systemd on its disk"))?;
    if version < LEAST_SYSTEMD {
        let why = format!("systemd {version} on its disk is older than {LEAST_SYSTEMD}");
        return Err(QemuError::Unsuitable(why));
    }
    let init = root.link_target("/sbin/init").or_else(|_| root.link_target("/usr/sbin/init"));
    match init {
        Ok(target) if target.ends_with(b"/systemd") => Ok(()),
        _ => Err(QemuError::unsuitable("its init is not systemd")),
    }
}

/// Whether the disk's sshd may let the build in: where it does not, a seed opens another way.
fn check_sshd(root: &Ext4, user: &str) -> Result<(), QemuError> {
    let folder = "/etc/ssh/sshd_config.d";
    let names = root.list(folder).unwrap_or_default().into_iter();
    let more = names.filter(|entry| entry.name.ends_with(b".conf"));
    let more = more.map(|entry| format!("{folder}/{}", String::from_utf8_lossy(&entry.name)));
    for path in more.chain(["/etc/ssh/sshd_config".to_owned()]) {
        let config = text(root, &path).ok().flatten().unwrap_or_default();
        if let Some(line) = refuses(&config, user) {
            return Err(QemuError::Unsuitable(format!("its {path} says `{line}`")));
        }
    }
    Ok(())
}

/// The line of a sshd_config(5) by which sshd may not let a user in.
fn refuses<'c>(config: &'c str, user: &str) -> Option<&'c str> {
    config.lines().map(str::trim).find(|line| {
        let mut words = line.split(|c: char| c.is_whitespace() || matches!(c, '=' | '"'));
        let keyword = words.next().unwrap_or_default().to_ascii_lowercase();
        let value = words.find(|word| !word.is_empty()).unwrap_or_default();
        match keyword.as_str() {
            "permitrootlogin" => user == "root" && value == "no",
            "allowusers" | "allowgroups" | "denyusers" | "denygroups" | "authenticationmethods" => {
                true
            }
            _ => false,
        }
    })
}

/// The version of systemd on a disk: 252 of `libsystemd-shared-252.so` or `…-252.26-1.fc38.so`.
fn systemd(root: &Ext4) -> Option<u32> {
    let names = LIBRARIES.iter().filter_map(|folder| root.list(folder).ok()).flatten();
    let versions = names.filter_map(|entry| {
        let name = String::from_utf8(entry.name).ok()?;
        let rest = name.strip_prefix("libsystemd-shared-")?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    });
    // An update may have left an older one.
    versions.max()
}

/// Whether the disk's system asks for an address without cloud-init's configuration.
fn check_network(root: &Ext4) -> Result<(), QemuError> {
    let wanted = |unit: &str| root.link_metadata(format!("{WANTS}/{unit}")).is_ok();
    // It asks on every link that nothing else configures.
    if wanted("NetworkManager.service") {
        return Ok(());
    }
    let named = |folder: &str, suffix: &str, cloud_init: &str| {
        let entries = root.list(folder).unwrap_or_default().into_iter();
        let names = entries.map(|entry| String::from_utf8_lossy(&entry.name).into_owned());
        let own = names.filter(|name| name.ends_with(suffix) && !name.starts_with(cloud_init));
        own.map(|name| format!("{folder}/{name}")).collect::<Vec<_>>()
    };
    let netplan = named("/etc/netplan", ".yaml", "50-cloud-init");
    let networks = NETWORKS.iter().flat_map(|folder| named(folder, ".network", "10-cloud-init"));
    let networks: Vec<String> = networks.collect();
    if networks.len() + netplan.len() == 0 || !wanted("systemd-networkd.service") {
        return Err(QemuError::unsuitable("its system configures no network without cloud-init"));
    }
    let waits = |path: &String| {
        let text = text(root, path).ok().flatten().unwrap_or_default();
        !is_optional(&text)
    };
    if netplan.is_empty() && !networks.iter().any(waits) {
        return Err(QemuError::unsuitable("its network never counts as online without cloud-init"));
    }
    Ok(())
}

/// Whether a systemd.network(5) file's links do not count for `network-online.target`. With no others, what
/// waits for that waits for two minutes, until systemd-networkd-wait-online gives up.
fn is_optional(network: &str) -> bool {
    network.lines().any(|line| {
        let value = line.trim().strip_prefix("RequiredForOnline").map(str::trim_start);
        let value = value.and_then(|rest| rest.strip_prefix('=')).map(str::trim);
        value.is_some_and(|value| ["no", "n", "false", "f", "off", "0"].contains(&value))
    })
}

/// The home folder of an account in passwd(5).
fn found(passwd: &str, user: &str) -> Option<String> {
    let mut accounts = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let fields = accounts.find(|fields| fields.first() == Some(&user))?;
    fields.get(5).map(|&home| home.to_owned())
}

/// The number that useradd(8) would give: one more than the greatest of people's, free as a group's too.
fn free_number(passwd: &str, group: &str) -> Result<u32, QemuError> {
    let numbers = |text: &str| -> BTreeSet<u32> {
        text.lines().filter_map(|line| line.split(':').nth(2)?.parse().ok()).collect()
    };
    let (users, groups) = (numbers(passwd), numbers(group));
    let next = users.range(PEOPLE).next_back().map_or(*PEOPLE.start(), |last| last + 1);
    (next..=*PEOPLE.end())
        .find(|number| !groups.contains(number))
        .ok_or_else(|| QemuError::unsuitable("no number is free for its user"))
}

fn text(root: &Ext4, path: &str) -> Result<Option<String>, QemuError> {
    match root.read(path, LARGEST) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == DiskErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/nonexistent:/x\n\
        debian:x:1000:1000:Debian,,,:/home/debian:/bin/bash\n";

    #[test]
    fn knows_a_link_that_is_never_online() {
        for (text, optional) in [
            ("[Link]\nRequiredForOnline=no\n", true),
            ("[Link]\n RequiredForOnline = false \n", true),
            ("[Link]\nRequiredForOnline=routable\n", false),
            ("[Link]\n#RequiredForOnline=no\n", false),
            ("[Network]\nDHCP=yes\n", false),
        ] {
            assert_eq!(is_optional(text), optional, "{text}");
        }
    }

    #[test]
    fn knows_an_sshd_that_refuses_the_build() {
        for (config, user, refused) in [
            ("PermitRootLogin no\n", "root", true),
            ("#PermitRootLogin no\nPermitRootLogin prohibit-password\n", "root", false),
            ("PermitRootLogin no\n", "admin", false),
            ("Port 22\n  permitrootlogin=\"no\"\n", "root", true),
            ("AllowUsers ops\n", "root", true),
            ("DenyGroups wheel\n", "admin", true),
            ("AuthenticationMethods publickey,keyboard-interactive\n", "root", true),
            ("AllowTcpForwarding no\n", "root", false),
        ] {
            assert_eq!(refuses(config, user).is_some(), refused, "{config}");
        }
    }

    #[test]
    fn finds_a_home_and_a_number() {
        assert_eq!(found(PASSWD, "debian").as_deref(), Some("/home/debian"));
        assert_eq!(found(PASSWD, "admin"), None);
        assert_eq!(free_number(PASSWD, "").unwrap(), 1001);
        assert_eq!(free_number(PASSWD, "docker:x:1001:\n").unwrap(), 1002);
        assert_eq!(free_number("root:x:0:0::/:/x\n", "").unwrap(), 1000);
        assert!(free_number("last:x:60000:60000::/:/x\n", "").is_err());
    }
}
