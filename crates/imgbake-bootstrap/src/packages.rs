//! The packages of an image that boots in clouds and hypervisors. Pure.

use imgbake_types::Arch;
use imgbake_types::spec::{BootstrapSpec, Distribution};

/// What every image has: an init, a way in, cloud-init, networking, time, growing the root, and an
/// initramfs that unpacks fast.
const COMMON: [&str; 21] = [
    "systemd-sysv",
    "systemd-timesyncd",
    "libpam-systemd",
    "dbus",
    "udev",
    "openssh-server",
    "cloud-init",
    "cloud-guest-utils",
    "locales",
    "lsb-release",
    "fdisk",
    "e2fsprogs",
    "sudo",
    "iproute2",
    "netbase",
    "procps",
    "kmod",
    "ca-certificates",
    "python3-minimal",
    "initramfs-tools",
    "lz4",
];

/// Suites whose systemd still holds resolved.
const RESOLVED_IN_SYSTEMD: [&str; 3] = ["bullseye", "focal", "jammy"];
/// Suites whose cloud-init asks for addresses with ISC's client alone.
const ISC_CLIENT: [&str; 4] = ["bullseye", "bookworm", "focal", "jammy"];

/// Packages that do the work of one that every image has, and conflict with it: whoever asks for one of them
/// does without ours, as `apt install` would have it.
const INSTEAD: [(&str, &[&str]); 3] = [
    ("initramfs-tools", &["dracut"]),
    ("systemd-timesyncd", &["chrony", "ntpsec", "openntpd", "ntp"]),
    ("systemd-resolved", &["resolvconf", "openresolv"]),
];

/// The packages that mmdebstrap installs for a source, in order, none twice. One that the template names with
/// `-` before it is left out.
pub fn packages(spec: &BootstrapSpec, arch: Arch) -> Vec<String> {
    let suite = spec.suite.as_str();
    let mut names = vec![spec.kernel.clone().unwrap_or_else(|| kernel(spec.distribution, arch))];
    names.extend(COMMON.map(str::to_owned));
    if !RESOLVED_IN_SYSTEMD.contains(&suite) {
        names.push("systemd-resolved".to_owned());
    }
    if ISC_CLIENT.contains(&suite) {
        names.push("isc-dhcp-client".to_owned());
    }
    let is_asked_for = |package: &&str| spec.packages.iter().any(|name| name == package);
    for (ours, others) in INSTEAD {
        if others.iter().any(&is_asked_for) && !is_asked_for(&ours) {
            names.retain(|name| name != ours);
        }
    }
    for name in &spec.packages {
        if let Some(left_out) = name.strip_prefix('-') {
            names.retain(|name| name != left_out);
        } else if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// The distribution's smallest kernel for virtual machines.
fn kernel(distribution: Distribution, arch: Arch) -> String {
    match distribution {
        Distribution::Debian => format!("linux-image-cloud-{}", arch.oci_name()),
        Distribution::Ubuntu => "linux-image-virtual".to_owned(),
    }
}

/// The archive's components.
pub(crate) fn components(spec: &BootstrapSpec) -> String {
    match (&spec.components, spec.distribution) {
        (Some(components), _) => components.join(","),
        (None, Distribution::Debian) => "main".to_owned(),
        (None, Distribution::Ubuntu) => "main,universe".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::spec;

    #[test]
    fn each_suite_has_its_packages() {
        for (distribution, suite, arch, has, lacks) in [
            (
                Distribution::Debian,
                "bookworm",
                Arch::X86_64,
                "linux-image-cloud-amd64",
                "dhcpcd-base",
            ),
            (
                Distribution::Debian,
                "bookworm",
                Arch::X86_64,
                "isc-dhcp-client",
                "linux-image-virtual",
            ),
            (
                Distribution::Debian,
                "trixie",
                Arch::Aarch64,
                "linux-image-cloud-arm64",
                "isc-dhcp-client",
            ),
            (
                Distribution::Ubuntu,
                "jammy",
                Arch::X86_64,
                "linux-image-virtual",
                "systemd-resolved",
            ),
            (Distribution::Ubuntu, "noble", Arch::X86_64, "systemd-resolved", "isc-dhcp-client"),
        ] {
            let names = packages(&spec(distribution, suite), arch);
            assert!(names.iter().any(|name| name == has), "{suite}: {has}");
            assert!(!names.iter().any(|name| name == lacks), "{suite}: {lacks}");
        }
    }

    #[test]
    fn ours_give_way() {
        for (asked, lacks) in [
            (&["dracut"][..], "initramfs-tools"),
            (&["chrony"][..], "systemd-timesyncd"),
            (&["resolvconf"], "systemd-resolved"),
            (&["-systemd-timesyncd"], "systemd-timesyncd"),
            (&["nginx", "-nginx"], "nginx"),
        ] {
            let mut spec = spec(Distribution::Debian, "bookworm");
            spec.packages = asked.iter().map(ToString::to_string).collect();
            let names = packages(&spec, Arch::X86_64);
            assert!(!names.iter().any(|name| name == lacks), "{asked:?}");
            assert!(names.iter().all(|name| !name.starts_with('-')), "{asked:?}");
        }
        let mut spec = spec(Distribution::Debian, "bookworm");
        spec.packages = vec!["nginx".to_owned()];
        assert!(packages(&spec, Arch::X86_64).iter().any(|name| name == "systemd-timesyncd"));
    }

    #[test]
    fn the_template_adds_and_chooses() {
        let mut spec = spec(Distribution::Debian, "bookworm");
        spec.packages = vec!["nginx".to_owned(), "sudo".to_owned()];
        spec.kernel = Some("linux-image-amd64".to_owned());
        let names = packages(&spec, Arch::X86_64);
        assert_eq!(names[0], "linux-image-amd64");
        assert_eq!(names.iter().filter(|name| *name == "sudo").count(), 1);
        assert_eq!(names.last().map(String::as_str), Some("nginx"));
        assert_eq!(components(&spec), "main");
        spec.components = Some(vec!["main".to_owned(), "contrib".to_owned()]);
        assert_eq!(components(&spec), "main,contrib");
    }
}
