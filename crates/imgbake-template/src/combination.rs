//! One combination of a template's matrix.

use std::collections::BTreeMap;

use serde_json::Value;

/// Values that a template's matrix gives to variables; empty for a template without a matrix.
pub type Combination = BTreeMap<String, Value>;

/// `suite = trixie, size = l`
pub(crate) fn words(combination: &Combination) -> String {
    let bare = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let all: Vec<String> =
        combination.iter().map(|(name, value)| format!("`{name} = {}`", bare(value))).collect();
    all.join(", ")
}
