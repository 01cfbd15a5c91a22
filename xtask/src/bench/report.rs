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
    pub(crate) figures: BTreeMap<String, f64>,
    /// Ratios of medians.
    pub(crate) ratios: BTreeMap<String, f64>,
}

impl Report {
    /// A report of this machine.
    pub(crate) fn new(bench: &'static str) -> Self {
        Self { bench, machine: machine(), figures: BTreeMap::new(), ratios: BTreeMap::new() }
    }

    /// Adds a figure; gives it back.
    pub(crate) fn figure(&mut self, name: impl Into<String>, value: f64) -> f64 {
        self.figures.insert(name.into(), round(value));
        value
    }

    /// Adds a ratio.
    pub(crate) fn ratio(&mut self, name: impl Into<String>, value: f64) {
        self.ratios.insert(name.into(), round(value));
    }

    /// A figure that was added.
    pub(crate) fn value(&self, name: &str) -> f64 {
        self.figures.get(name).copied().unwrap_or_default()
    }

    /// Figures and ratios as a Markdown table.
    pub(crate) fn table(&self) -> String {
        let figures =
            self.figures.iter().map(|(name, value)| format!("| `{name}` | {value:.2} |\n"));
        let ratios =
            self.ratios.iter().map(|(name, value)| format!("| `{name}` (ratio) | {value:.2} |\n"));
        format!("| figure | value |\n| --- | --- |\n{}", figures.chain(ratios).collect::<String>())
    }
}

/// The middle value; the mean of the two middle ones where their number is even; 0 of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.get(middle) {
        None => 0.0,
        Some(&upper) if sorted.len().is_multiple_of(2) => f64::midpoint(sorted[middle - 1], upper),
        Some(&upper) => upper,
    }
}

/// Bytes in MiB.
#[expect(clippy::cast_precision_loss, reason = "a figure of two decimals")]
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Two decimals, for people and for comparing.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// The machine in one line.
fn machine() -> String {
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
