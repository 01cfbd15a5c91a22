//! The script of a native step.

use std::collections::BTreeMap;

use imgbake_comm::shell::quote;

use crate::guest::assignments;

/// Functions that every kind uses.
const COMMON: &str = include_str!("common.sh");
/// Refreshes apt's lists.
pub(super) const REFRESH: &str = include_str!("refresh.sh");

/// A script for the machine: functions, and calls of them.
pub(crate) struct Script {
    text: String,
    /// Variables that hold what only the script may see.
    pub(super) env: BTreeMap<String, String>,
}

impl Script {
    /// A script with these functions beside the common ones, and no call yet.
    pub(super) fn new(functions: &[&str]) -> Self {
        let text = std::iter::once(&COMMON).chain(functions).copied().collect();
        Self { text, env: BTreeMap::new() }
    }

    /// Sets a variable.
    pub(super) fn set(&mut self, variable: &str, value: &str) {
        self.text.push_str(&assignments(&[(variable, value)]));
    }

    /// Calls a function.
    pub(super) fn call<W: AsRef<str>>(
        &mut self,
        function: &str,
        arguments: impl IntoIterator<Item = W>,
    ) {
        self.text.push_str(function);
        for argument in arguments {
            self.text.extend([" ", &quote(argument.as_ref())]);
        }
        self.text.push('\n');
    }

    /// The whole script.
    pub(super) fn finish(mut self) -> (String, BTreeMap<String, String>) {
        self.text.push_str("finish\n");
        (self.text, self.env)
    }
}
