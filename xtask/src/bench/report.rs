//! A bench's result: figures, ratios, and the machine they were taken on.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;

/// What `--json` prints.
#[derive(Serialize)]
pub(crate) struct Report {
    /// The bench's name.
    pub(crate) bench: &'static str,
    /// Processor, cores, memory, kernel.
    pub(crate) machine: String,
    /// Medians, in the unit of their name.
    pub(crate) figures: BTreeMap<&'static str, f64>,
    /// Ratios of medians.
    pub(crate) ratios: BTreeMap<&'static str, f64>,
}

/// The middle value; the mean of the two middle ones where their number is even.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

/// Two decimals, for people and for comparing.
pub(crate) fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// The machine in one line.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown processor", |(_, name)| name.trim());
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let meminfo = read("/proc/meminfo");
    let kib: u64 = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or(0);
    let os = read("/etc/os-release");
    let os = os
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or("unknown")
        .trim_matches('"');
    format!("{model}, {cores} cores, {} GiB, {os}", kib >> 20)
}
