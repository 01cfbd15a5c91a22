//! Whether a given value is one that a variable may take.

use imgbake_types::secret;
use imgbake_types::spec::VariableType;
use serde_json::Value;

use crate::variable::{Variable, type_name, type_of};

/// A value as it was given.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SetValue<'v> {
    /// From an environment variable or a flag: still to be read as the variable's type.
    Text(&'v str),
    /// From a file or the template.
    Typed(&'v Value),
}

/// Why a variable cannot take a value. No word of a sensitive value is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// The value as the variable's type, if it may take it.
pub(crate) fn fit(variable: &Variable, given: SetValue<'_>) -> Result<Value, Misfit> {
    let value = match given {
        SetValue::Text(text) => read(text, variable.kind),
        SetValue::Typed(value) => (type_of(value) == Some(variable.kind)).then(|| value.clone()),
    };
    let value = value.filter(flat).ok_or_else(|| wrong_type(variable, given))?;
    if holds_marker(&value) {
        return Err(Misfit {
            code: "marker",
            message: format!("`{}` holds a secret's marker", variable.name),
            help: Some("insert a sensitive variable in the template itself".into()),
        });
    }
    if variable.sensitive && value.as_str().is_some_and(str::is_empty) {
        return Err(Misfit {
            code: "empty-secret",
            message: format!("the sensitive variable `{}` is empty", variable.name),
            help: None,
        });
    }
    allowed(variable, &value)?;
    pattern(variable, &value)?;
    Ok(value)
}

fn read(text: &str, kind: VariableType) -> Option<Value> {
    let word = text.trim();
    match kind {
        VariableType::String => Some(text.into()),
        VariableType::Number => word
            .parse::<i64>()
            .map(Value::from)
            .or_else(|_| word.parse::<f64>().map(Value::from))
            .ok()
            .filter(Value::is_number),
        VariableType::Bool => word.parse::<bool>().ok().map(Value::from),
        VariableType::List if word.starts_with('[') => {
            serde_json::from_str(word).ok().filter(Value::is_array)
        }
        VariableType::List if word.is_empty() => Some(Value::Array(Vec::new())),
        VariableType::List => Some(word.split(',').map(str::trim).collect()),
    }
}

/// A list's items must be plain.
fn flat(value: &Value) -> bool {
    let plain = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
    match value {
        Value::Array(items) => items.iter().all(plain),
        value => plain(value),
    }
}

fn holds_marker(value: &Value) -> bool {
    items(value).iter().any(|item| item.as_str().is_some_and(|text| text.contains(secret::OPEN)))
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

fn wrong_type(variable: &Variable, given: SetValue<'_>) -> Misfit {
    let want = type_name(variable.kind);
    let message = match given {
        _ if variable.sensitive => format!("`{}` must be a {want}", variable.name),
        SetValue::Text(text) => format!("`{}` must be a {want}, not `{text}`", variable.name),
        SetValue::Typed(value) => format!("`{}` must be a {want}, not `{value}`", variable.name),
    };
    let help = match variable.kind {
        VariableType::String => "a text in quotes",
        VariableType::Number => "a number such as 2 or 0.5",
        VariableType::Bool => "`true` or `false`",
        VariableType::List => "a list such as `[\"a\", \"b\"]` or, on the command line, `a,b`",
    };
    Misfit { code: "variable-type", message, help: Some(help.into()) }
}

/// Whether two values are one: 1 and 1.0 are.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    one == other || (one.is_number() && one.as_f64() == other.as_f64())
}

fn allowed(variable: &Variable, value: &Value) -> Result<(), Misfit> {
    let Some(allowed) = &variable.allowed else { return Ok(()) };
    let stranger = items(value).iter().find(|item| !allowed.iter().any(|one| same(one, item)));
    let Some(stranger) = stranger else { return Ok(()) };
    let message = if variable.sensitive {
        format!("`{}` is none of the values that it may take", variable.name)
    } else {
        format!("`{}` cannot be `{}`", variable.name, bare(stranger))
    };
    let known: Vec<String> = allowed.iter().map(|one| format!("`{}`", bare(one))).collect();
    let help = (!variable.sensitive).then(|| format!("one of {}", known.join(", ")));
    Err(Misfit { code: "variable-not-allowed", message, help })
}

fn pattern(variable: &Variable, value: &Value) -> Result<(), Misfit> {
    let Some(pattern) = &variable.pattern else { return Ok(()) };
    let stranger =
        items(value).iter().filter_map(Value::as_str).find(|text| !pattern.is_match(text));
    let Some(stranger) = stranger else { return Ok(()) };
    let message = if variable.sensitive {
        format!("`{}` does not match its pattern", variable.name)
    } else {
        format!("`{}` cannot be `{stranger}`: it does not match its pattern", variable.name)
    };
    let help = Some(format!("the pattern is `{}`", written(pattern.as_str())));
    Err(Misfit { code: "variable-pattern", message, help })
}

/// The pattern as the author wrote it: the checker asks for the whole string.
fn written(pattern: &str) -> &str {
    pattern.strip_prefix("^(?:").and_then(|rest| rest.strip_suffix(")$")).unwrap_or(pattern)
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
