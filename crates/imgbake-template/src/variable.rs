//! A variable as the template declares it.

use std::ops::Range;

use imgbake_types::spec::VariableType;
use regex::Regex;

/// A declared variable.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its name, used as `{{ var.NAME }}`.
    pub name: String,
    /// What kind of value it takes.
    pub kind: VariableType,
    /// One line for people.
    pub description: Option<String>,
    /// Never printed and never stored.
    pub sensitive: bool,
    /// The value where the caller gives none.
    pub default: Option<serde_json::Value>,
    /// The only values it may take; for a list, its items.
    pub allowed: Option<Vec<serde_json::Value>>,
    /// What the whole of a string must match.
    pub(crate) pattern: Option<Regex>,
    /// Where its name stands in the template.
    pub(crate) span: Range<usize>,
}

/// A type's name as the template writes it.
pub(crate) const fn type_name(kind: VariableType) -> &'static str {
    match kind {
        VariableType::String => "string",
        VariableType::Number => "number",
        VariableType::Bool => "bool",
        VariableType::List => "list",
    }
}

/// The type of a value, where a variable may hold it.
pub(crate) const fn type_of(value: &serde_json::Value) -> Option<VariableType> {
    match value {
        serde_json::Value::String(_) => Some(VariableType::String),
        serde_json::Value::Number(_) => Some(VariableType::Number),
        serde_json::Value::Bool(_) => Some(VariableType::Bool),
        serde_json::Value::Array(_) => Some(VariableType::List),
        serde_json::Value::Null | serde_json::Value::Object(_) => None,
    }
}

/// Whether a name can be written after `var.`.
pub(crate) fn is_identifier(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}
