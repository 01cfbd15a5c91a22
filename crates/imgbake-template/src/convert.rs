//! From text to what a shape asks for.

use imgbake_types::{Size, Span, secret};

use crate::shape::{Form, Shape};
use crate::tree::{Node, Value};

/// Why a rendered string is not what its place asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotConverted {
    /// It is something else.
    WrongType,
    /// It holds a sensitive value, which can only be free text.
    Sensitive,
}

/// Turns a rendered string into the shape's kind of value.
pub(crate) fn rendered(node: &mut Node, shape: &Shape) -> Result<(), NotConverted> {
    let Value::Rendered { text, native } = &node.value else { return Ok(()) };
    if matches!(shape, Shape::Text(Form::Free)) {
        node.value = Value::Text(text.clone());
        return Ok(());
    }
    if text.contains(secret::OPEN) {
        return Err(NotConverted::Sensitive);
    }
    let word = text.trim();
    let value = match shape {
        Shape::Text(_) | Shape::Choice(_) => Some(Value::Text(text.clone())),
        Shape::Any => {
            let json = native.clone().unwrap_or_else(|| text.as_str().into());
            Some(Node::from_json(&json, &node.span).value)
        }
        Shape::Integer { .. } => word.parse().ok().map(Value::Integer),
        Shape::Number => word.parse().ok().map(Value::Float),
        Shape::Bool | Shape::Switch(_) => word.parse().ok().map(Value::Bool),
        Shape::List(_) => {
            list(word, native.as_ref()).map(|json| Node::from_json(&json, &node.span).value)
        }
        Shape::Map(_) | Shape::Table(_) | Shape::Tagged { .. } => None,
    };
    node.value = value.ok_or(NotConverted::WrongType)?;
    Ok(())
}

fn list(text: &str, native: Option<&serde_json::Value>) -> Option<serde_json::Value> {
    native
        .filter(|value| value.is_array())
        .cloned()
        .or_else(|| serde_json::from_str(text).ok().filter(serde_json::Value::is_array))
}

/// Whether a string has its form; else what it is not.
pub(crate) fn fits(text: &str, form: &Form) -> Result<(), String> {
    match form {
        Form::Free => Ok(()),
        Form::Size => text.parse::<Size>().map(drop).map_err(|error| error.to_string()),
        Form::Span => text.parse::<Span>().map(drop).map_err(|error| error.to_string()),
        Form::Pattern(pattern) if pattern.is_match(text) => Ok(()),
        Form::Pattern(pattern) => Err(format!("`{text}` does not match `{}`", pattern.as_str())),
    }
}
