//! The program with its home on a file system of a few MiB.

use std::process::Command;

use crate::{Run, TestHome, program, run_tool};

/// Whether this user may mount in a namespace of its own.
pub fn can_mount() -> bool {
    run_tool("unshare", &["-m", "mount", "-t", "tmpfs", "-o", "size=1M", "none", "/mnt"]).code == 0
}

/// Runs the program in a mount namespace of its own, once the shell script `mounts` has mounted there
/// what it wants; the home is `$IMGBAKE_HOME`. Exit code 99: it could not.
pub fn run_with_mounts(home: &TestHome, mounts: &str, args: &[&str]) -> Run {
    let script = format!("{{ {mounts}\n}} || exit 99\nexec \"$PROGRAM\" \"$@\"");
    let mut command = home.tool("unshare");
    command.args(["-m", "sh", "-c", script.as_str(), "sh"]).args(args).env("PROGRAM", program());
    crate::home::finish(&mut command)
}

/// Runs the program with a fresh home on a tmpfs of `mib` MiB, then `images`; the mount goes with the
/// namespace. The list of versions follows the program's own standard output, as `versions: […]`.
pub fn run_on_small_disk(home: &TestHome, mib: u64, args: &[&str]) -> Run {
    let script = r#"
        mkdir -p "$SMALL" && mount -t tmpfs -o "size=${MIB}M" none "$SMALL" || exit 99
        export IMGBAKE_HOME="$SMALL/home"
        "$PROGRAM" "$@"; code=$?
        printf 'versions: '; "$PROGRAM" images --json
        exit $code"#;
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-c", script, "sh"])
        .args(args)
        .env("SMALL", home.dir().join("small"))
        .env("MIB", mib.to_string())
        .env("PROGRAM", program())
        .env("NO_COLOR", "1")
        .current_dir(home.dir());
    crate::home::finish(&mut command)
}
