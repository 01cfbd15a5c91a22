//! A boot loader's configuration: which kernel it starts first, and how. Pure.
//!
//! Format: GNU GRUB manual, "Writing full configuration files directly". Only what generated files
//! have is understood: words without quotes; anything else gives no entry.

use crate::error::QemuError;

/// What a GRUB configuration starts first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The kernel's path in the file system that GRUB reads.
    pub kernel: String,
    /// The initial RAM disk's path there.
    pub initrd: Option<String>,
    /// The command line, without GRUB's own variables.
    pub cmdline: String,
}

/// The first entry of a `grub.cfg`.
///
/// # Errors
/// [`QemuError::Unsuitable`]: there is none that we can start.
pub fn first_entry(text: &str) -> Result<Entry, QemuError> {
    let wrong = |why: &str| QemuError::unsuitable(format!("grub.cfg {why}"));
    let mut lines = text.lines().map(str::trim);
    let (linux, words) = lines
        .by_ref()
        .find_map(|line| Some((line, command(line, &["linux", "linux16", "linuxefi"])?)))
        .ok_or_else(|| wrong("has no `linux` line"))?;
    if linux.contains(['\'', '"', '\\']) {
        return Err(wrong(&format!("has quotes in `{linux}`")));
    }
    let (kernel, options) = words.split_first().ok_or_else(|| wrong("names no kernel"))?;
    let options: Vec<&str> =
        options.iter().copied().filter(|word| !word.starts_with('$')).collect();
    if !options.iter().any(|word| word.starts_with("root=")) {
        return Err(QemuError::unsuitable("grub.cfg's first entry has no root="));
    }
    let initrd = lines
        .take_while(|line| command(line, &["menuentry", "linux"]).is_none())
        .find_map(|line| command(line, &["initrd", "initrd16", "initrdefi"]));
    let initrd = match initrd.as_deref() {
        None | Some([]) => None,
        Some([one]) => Some((*one).to_owned()),
        Some(_) => return Err(QemuError::unsuitable("grub.cfg's first entry has several initrds")),
    };
    Ok(Entry { kernel: (*kernel).to_owned(), initrd, cmdline: options.join(" ") })
}

/// The words after a command, if the line is one of these commands.
fn command<'a>(line: &'a str, names: &[&str]) -> Option<Vec<&'a str>> {
    let mut words = line.split_whitespace();
    let name = words.next()?;
    // The end of an entry may be on its last command's line.
    names.contains(&name).then(|| words.filter(|word| *word != "}").collect())
}

/// A command line that surely speaks to the serial console, so that a failed boot can be read.
pub fn with_console(cmdline: &str, console: &str) -> String {
    let spoken = |word: &str| {
        word.strip_prefix("console=").is_some_and(|value| value.split(',').next() == Some(console))
    };
    if cmdline.split_whitespace().any(spoken) {
        return cmdline.to_owned();
    }
    format!("{cmdline} console={console}").trim_start().to_owned()
}

/// A command line whose kernel zeroes memory when it is freed and not when it is taken, unless it says
/// so itself: unused memory takes no space in a saved state, and has nobody's secrets in it.
/// Source: Linux, `Documentation/admin-guide/kernel-parameters.txt`.
pub fn with_zeroed_memory(cmdline: &str) -> String {
    if cmdline.split_whitespace().any(|word| word.starts_with("init_on_")) {
        return cmdline.to_owned();
    }
    format!("{cmdline} init_on_alloc=0 init_on_free=1").trim_start().to_owned()
}

/// A command line whose kernel writes to the disk soon, while a step still computes: before a machine is
/// saved, it waits for all that is not written. What a step finds is the same, but for three settings in
/// memory (Linux, `Documentation/admin-guide/sysctl/vm.rst`; on the command line since 5.8).
pub fn with_early_writes(cmdline: &str) -> String {
    if cmdline.split_whitespace().any(|word| word.starts_with("sysctl.vm.dirty_")) {
        return cmdline.to_owned();
    }
    let settings = "sysctl.vm.dirty_background_bytes=16777216 \
        sysctl.vm.dirty_expire_centisecs=100 sysctl.vm.dirty_writeback_centisecs=100";
    format!("{cmdline} {settings}").trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "
set timeout=0
menuentry 'Debian GNU/Linux' --class debian {
\tsearch --no-floppy --fs-uuid --set=root 1111
\techo\t'Loading Linux 6.1.0 ...'
\tlinux\t/boot/vmlinuz-6.1.0-56-cloud-amd64 root=UUID=1111 ro  console=tty0 $vt_handoff
\tinitrd\t/boot/initrd.img-6.1.0-56-cloud-amd64
}
menuentry 'Old' {
\tlinux /boot/vmlinuz-5.10 root=UUID=1111 ro
\tinitrd /boot/initrd.img-5.10
}
";

    #[test]
    fn takes_the_first_entry() {
        let entry = first_entry(DEBIAN).unwrap();
        assert_eq!(entry.kernel, "/boot/vmlinuz-6.1.0-56-cloud-amd64");
        assert_eq!(entry.initrd.as_deref(), Some("/boot/initrd.img-6.1.0-56-cloud-amd64"));
        assert_eq!(entry.cmdline, "root=UUID=1111 ro console=tty0");
    }

    #[test]
    fn the_initrd_is_the_same_entrys() {
        let entry = first_entry("linux /a root=/dev/vda1\nmenuentry x {\ninitrd /b\n}").unwrap();
        assert_eq!(entry.initrd, None);
        let entry = first_entry("linux /a root=/dev/vda1\ninitrd /b }").unwrap();
        assert_eq!(entry.initrd.as_deref(), Some("/b"));
    }

    #[test]
    fn says_what_it_does_not_understand() {
        for (text, why) in [
            ("", "no `linux` line"),
            ("blscfg\n", "no `linux` line"),
            ("linux\n", "names no kernel"),
            ("linux /a ro\n", "no root="),
            ("linux /a root=/dev/vda1 x=\"a b\"\n", "quotes"),
            ("linux /a root=/dev/vda1\ninitrd /a /b\n", "several"),
        ] {
            let error = first_entry(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn adds_a_console_that_is_not_there() {
        for (cmdline, expected) in [
            ("ro", "ro console=ttyS0"),
            ("", "console=ttyS0"),
            ("console=tty0 ro", "console=tty0 ro console=ttyS0"),
            ("console=ttyS0,115200n8 ro", "console=ttyS0,115200n8 ro"),
            ("console=ttyS01", "console=ttyS01 console=ttyS0"),
        ] {
            assert_eq!(with_console(cmdline, "ttyS0"), expected);
        }
    }

    #[test]
    fn memory_is_zeroed_unless_the_disk_says_otherwise() {
        assert_eq!(with_zeroed_memory("ro quiet"), "ro quiet init_on_alloc=0 init_on_free=1");
        assert_eq!(with_zeroed_memory("ro init_on_alloc=1"), "ro init_on_alloc=1");
        let own = "ro sysctl.vm.dirty_bytes=1048576";
        assert_eq!(with_early_writes(own), own);
        assert!(with_early_writes("ro").starts_with("ro sysctl.vm.dirty_background_bytes="));
    }
}
