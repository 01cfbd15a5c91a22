//! `[variables]`

use std::collections::BTreeMap;

use imgbake_types::spec::VariableType;
use regex::Regex;

use crate::Diagnostic;
use crate::tree::{Entry, Node, Value};
use crate::value::{SetValue, fit};
use crate::variable::{Variable, is_identifier, type_name, type_of};

/// Reads the declared variables, each with its mistakes.
pub(crate) fn declare(root: &Node, out: &mut Vec<Diagnostic>) -> BTreeMap<String, Variable> {
    let mut declared = BTreeMap::new();
    for entry in root.get("variables").map(Node::entries).unwrap_or_default() {
        if !is_identifier(&entry.key) {
            let message = format!("`{}` cannot be a variable's name", entry.key);
            out.push(
                Diagnostic::new("variable-name", entry.key_span.clone(), message)
                    .help("letters, digits and `_`, and no digit first, so that `var.NAME` works"),
            );
        }
        if entry.node.is_table() {
            let variable = one(entry, out);
            declared.insert(entry.key.clone(), variable);
        }
    }
    declared
}

fn one(entry: &Entry, out: &mut Vec<Diagnostic>) -> Variable {
    let node = &entry.node;
    let default = node.get("default").map(Node::json);
    let allowed = node.get("allowed").filter(|node| matches!(node.value, Value::List(_)));
    let sensitive = node.get("sensitive").is_some_and(|node| node.value == Value::Bool(true));
    let mut variable = Variable {
        name: entry.key.clone(),
        kind: kind(node, default.as_ref()),
        description: node.get("description").and_then(Node::text).map(str::to_owned),
        sensitive,
        default: None,
        allowed: None,
        pattern: None,
        span: entry.key_span.clone(),
    };
    variable.pattern = pattern(node, variable.kind, out);
    if sensitive {
        secret(node, &variable, out);
    }
    if let Some(list) = allowed.filter(|_| !sensitive) {
        // The pattern is checked on the allowed values too: one that fails it can never be given.
        for item in list.items() {
            check_allowed(&variable, item, out);
        }
        variable.allowed = Some(list.items().iter().map(Node::json).collect());
    }
    if let Some(node) = node.get("default").filter(|_| !sensitive)
        && let Some(value) = &default
    {
        match fit(&variable, SetValue::Typed(value)) {
            Ok(value) => variable.default = Some(value),
            Err(misfit) => out.push(
                Diagnostic::new(misfit.code, node.span.clone(), misfit.message)
                    .label("the default")
                    .maybe_help(misfit.help),
            ),
        }
    }
    variable
}

fn kind(node: &Node, default: Option<&serde_json::Value>) -> VariableType {
    let named = node.get("type").and_then(Node::text).and_then(|name| {
        [VariableType::String, VariableType::Number, VariableType::Bool, VariableType::List]
            .into_iter()
            .find(|kind| type_name(*kind) == name)
    });
    named.or_else(|| default.and_then(type_of)).unwrap_or(VariableType::String)
}

fn pattern(node: &Node, kind: VariableType, out: &mut Vec<Diagnostic>) -> Option<Regex> {
    let written = node.get("pattern")?;
    let text = written.text()?;
    if matches!(kind, VariableType::Number | VariableType::Bool) {
        let message = format!("a {} has no pattern", type_name(kind));
        out.push(
            Diagnostic::new("variable-pattern", written.span.clone(), message)
                .help("`allowed` lists the values that it may take"),
        );
        return None;
    }
    // Alone first: a text such as `a)(b` is a pattern only inside the group around it.
    let compiled = Regex::new(text).and_then(|_| Regex::new(&format!("^(?:{text})$")));
    match compiled {
        Ok(regex) => Some(regex),
        Err(error) => {
            let why = error.to_string();
            let why =
                why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            out.push(
                Diagnostic::new(
                    "variable-pattern",
                    written.span.clone(),
                    "not a regular expression",
                )
                .label(why),
            );
            None
        }
    }
}

fn secret(node: &Node, variable: &Variable, out: &mut Vec<Diagnostic>) {
    let name = &variable.name;
    for key in ["default", "allowed"] {
        if node.entry(key).is_none() {
            continue;
        }
        // The caret is at the variable's name: the key's own line shows the secret.
        out.push(
            Diagnostic::new(
                "sensitive-default",
                variable.span.clone(),
                format!("the sensitive variable `{name}` cannot have `{key}`"),
            )
            .label("a secret in the template is no secret")
            .help(format!("take `{key}` out; the caller sets IMGBAKE_VAR_{name}")),
        );
    }
    if variable.kind != VariableType::String {
        let place = node.get("type").or_else(|| node.get("default")).unwrap_or(node);
        let message = format!("the sensitive variable `{name}` must be a string");
        out.push(Diagnostic::new("sensitive-type", place.span.clone(), message));
    }
}

fn check_allowed(variable: &Variable, item: &Node, out: &mut Vec<Diagnostic>) {
    let value = item.json();
    let whole = match variable.kind {
        VariableType::List => serde_json::Value::Array(vec![value]),
        _ => value,
    };
    if let Err(misfit) = fit(variable, SetValue::Typed(&whole)) {
        out.push(
            Diagnostic::new(misfit.code, item.span.clone(), misfit.message)
                .label("can never be given")
                .maybe_help(misfit.help),
        );
    }
}
