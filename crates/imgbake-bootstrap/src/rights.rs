//! Whether this process may make the namespaces in which packages are installed: in containers and on hardened
//! hosts it often may not, and what fails then says little.

use std::fs;

use crate::error::BootstrapError;
use crate::root::is_root;

/// Linux, `include/uapi/linux/capability.h`, `CAP_SYS_ADMIN`.
const SYS_ADMIN: u32 = 21;
/// Ids that a root's users and groups need beside root's.
const IDS: u64 = 65536;

/// Checks what can be known without trying. Gives how it is done.
///
/// # Errors
/// [`BootstrapError::NoNamespaces`]: what is missing, and what to do.
pub fn check_namespaces() -> Result<&'static str, BootstrapError> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    if is_root() {
        return if may_administrate(&read("/proc/self/status")) {
            Ok("as root")
        } else {
            Err(missing(
                "root has no CAP_SYS_ADMIN here, as in containers by default",
                "start the container with `--cap-add SYS_ADMIN` (and `--security-opt apparmor=unconfined`), or run as \
                 an ordinary user where user namespaces are allowed",
            ))
        };
    }
    for (path, off) in [
        ("/proc/sys/user/max_user_namespaces", "0"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
    ] {
        if read(path).trim() == off {
            let name = path.trim_start_matches("/proc/sys/").replace('/', ".");
            return Err(missing(
                &format!("this kernel lets no ordinary user make namespaces ({name} = {off})"),
                "set it with sysctl(8), or run as root",
            ));
        }
    }
    let uid = rustix::process::geteuid().as_raw();
    let passwd = read("/etc/passwd");
    let user = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
    });
    let user = user.unwrap_or_else(|| uid.to_string());
    for file in ["/etc/subuid", "/etc/subgid"] {
        if ids(&read(file), &user, uid) < IDS {
            let why = format!("{file} gives the user {user} fewer than {IDS} ids");
            let range = "100000-165535";
            return Err(missing(
                &why,
                &format!("as root: usermod --add-subuids {range} --add-subgids {range} {user}"),
            ));
        }
    }
    Ok("as an ordinary user, with the ids of /etc/subuid")
}

fn missing(why: &str, help: &str) -> BootstrapError {
    BootstrapError::NoNamespaces { why: why.to_owned(), help: help.to_owned() }
}

/// Whether a status (`proc(5)`) has the capability.
fn may_administrate(status: &str) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    // Where it is not shown, it is tried.
    effective.is_none_or(|set| set >> SYS_ADMIN & 1 == 1)
}

/// How many ids a file (`subuid(5)`) gives a user.
fn ids(text: &str, user: &str, uid: u32) -> u64 {
    let of = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let count = fields.nth(1)?.trim().parse::<u64>().ok()?;
        (name == user || name == uid.to_string()).then_some(count)
    };
    text.lines().filter_map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_capabilities_and_ids() {
        assert!(may_administrate("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        // Docker's default set.
        assert!(!may_administrate("CapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n"));
        assert!(may_administrate(""));
        let text = "ann:100000:65536\n1001:300000:1000\nbob:165536:65536\n";
        assert_eq!(ids(text, "ann", 1000), 65536);
        assert_eq!(ids(text, "eve", 1001), 1000);
        assert_eq!(ids(text, "joe", 1002), 0);
    }
}
