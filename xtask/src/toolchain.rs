//! The house's rule: one toolchain builds it, and `rust-version` says from which on it compiles.
//!
//! No older toolchain is at hand to compile with. So `rust-version` is bounded from two sides: below by
//! what every dependency declares to need, above by the pinned toolchain. Between them
//! `clippy::incompatible_msrv` reports each function of the standard library that is newer.

use cargo_metadata::MetadataCommand;
use cargo_metadata::semver::Version;

use crate::{Result, repository};

/// Checks `rust-toolchain.toml` against `Cargo.toml` and both against the dependencies.
pub(crate) fn check() -> Result<()> {
    let pinned = pinned(&std::fs::read_to_string(repository::root().join("rust-toolchain.toml"))?)?;
    // Crates of other systems are not downloaded, and so cannot be asked.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let options = ["--locked", "--offline", "--filter-platform", &platform].map(str::to_owned);
    let metadata =
        MetadataCommand::new().current_dir(repository::root()).other_options(options).exec()?;
    let (own, theirs): (Vec<_>, Vec<_>) =
        metadata.packages.iter().partition(|package| package.source.is_none());
    let mut wrong = Vec::new();
    let mut declared = pinned.clone();
    for package in own {
        match &package.rust_version {
            Some(version) => declared = declared.min(version.clone()),
            None => wrong.push(format!("{} has no rust-version", package.name)),
        }
        if package.rust_version.as_ref().is_some_and(|version| *version > pinned) {
            wrong.push(format!("{} needs more than the pinned Rust {pinned}", package.name));
        }
    }
    for package in theirs {
        if let Some(needed) = package.rust_version.as_ref().filter(|needed| **needed > declared) {
            wrong.push(format!(
                "{} needs Rust {needed}, and rust-version is {declared}",
                package.name
            ));
        }
    }
    if wrong.is_empty() {
        println!("toolchain: Rust {pinned}, compiles from {declared} on");
        return Ok(());
    }
    Err(wrong.join("\n").into())
}

/// The exact version that `rust-toolchain.toml` names.
fn pinned(text: &str) -> Result<Version> {
    let channel = text
        .lines()
        .find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"'))
        .ok_or("rust-toolchain.toml names no channel")?;
    Version::parse(channel)
        .map_err(|_| format!("rust-toolchain.toml: `{channel}` is not an exact version").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_exact_version_pins() {
        assert_eq!(pinned("[toolchain]\nchannel = \"1.95.0\"\n").unwrap(), Version::new(1, 95, 0));
        for text in ["channel = \"stable\"", "channel = \"1.95\"", "[toolchain]"] {
            assert!(pinned(text).is_err(), "{text}");
        }
    }
}
