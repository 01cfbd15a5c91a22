//! `[[matrix]]`

use std::collections::BTreeMap;

use crate::Diagnostic;
use crate::combination::{Combination, words};
use crate::suggest;
use crate::tree::{Entry, Node, Value};
use crate::value::{SetValue, fit, same};
use crate::variable::Variable;

/// The most builds that one template makes.
const MOST: usize = 256;

/// Reads the combinations that the tables give, each with its mistakes; none if there is no table.
pub(crate) fn combinations(
    root: &Node,
    declared: &BTreeMap<String, Variable>,
    out: &mut Vec<Diagnostic>,
) -> Vec<Combination> {
    let Some(matrix) = root.get("matrix").filter(|node| matches!(node.value, Value::List(_)))
    else {
        return Vec::new();
    };
    if matrix.items().is_empty() {
        out.push(empty(matrix, "`matrix` has no table"));
    }
    let mut all: Vec<Combination> = Vec::new();
    for table in matrix.items() {
        let Some(axes) = axes(table, declared, out) else { continue };
        let builds = axes.iter().map(|axis| axis.values.len()).fold(1, usize::saturating_mul);
        if builds.saturating_add(all.len()) > MOST {
            let message = format!("a template makes at most {MOST} builds");
            let label = format!("{builds} builds in this table");
            out.push(
                Diagnostic::new("matrix", table.span.clone(), message)
                    .label(label)
                    .help("give fewer values, or make a second template"),
            );
            break;
        }
        let combinations = product(&axes);
        if let Some(known) = combinations.iter().find(|one| all.contains(*one)) {
            out.push(twice(table, known));
        }
        all.extend(combinations);
    }
    all
}

/// A variable and the values that it takes in turn.
struct Axis<'t> {
    name: &'t str,
    values: Vec<serde_json::Value>,
}

/// A table's axes in the template's order; `None` if it is no table or any of them has a mistake.
fn axes<'t>(
    table: &'t Node,
    declared: &BTreeMap<String, Variable>,
    out: &mut Vec<Diagnostic>,
) -> Option<Vec<Axis<'t>>> {
    if !table.is_table() {
        return None;
    }
    let before = out.len();
    if table.entries().is_empty() {
        out.push(empty(table, "a `[[matrix]]` names no variable"));
    }
    let axes = table.entries().iter().filter_map(|entry| {
        let variable = variable(entry, declared, out)?;
        Some(Axis { name: &entry.key, values: values(variable, &entry.node, out)? })
    });
    let axes = axes.collect();
    (out.len() == before).then_some(axes)
}

fn variable<'d>(
    entry: &Entry,
    declared: &'d BTreeMap<String, Variable>,
    out: &mut Vec<Diagnostic>,
) -> Option<&'d Variable> {
    let name = &entry.key;
    let Some(variable) = declared.get(name) else {
        let known: Vec<&str> =
            declared.values().filter(|one| !one.sensitive).map(|one| one.name.as_str()).collect();
        let help = suggest::hint(name, &known)
            .unwrap_or_else(|| format!("declare it: `[variables.{name}]`"));
        out.push(
            Diagnostic::new(
                "undefined-name",
                entry.key_span.clone(),
                format!("no variable `{name}` is declared"),
            )
            .label("not defined")
            .help(help),
        );
        return None;
    };
    if variable.sensitive {
        // The caret is at the variable's name: the axis's own line shows the secret.
        let message = format!("the sensitive variable `{name}` cannot be in a matrix");
        out.push(
            Diagnostic::new("sensitive-here", variable.span.clone(), message)
                .label("a secret in the template is no secret")
                .help(format!(
                    "take `{name}` out of `[[matrix]]`; the caller sets IMGBAKE_VAR_{name}"
                )),
        );
        return None;
    }
    Some(variable)
}

fn values(
    variable: &Variable,
    list: &Node,
    out: &mut Vec<Diagnostic>,
) -> Option<Vec<serde_json::Value>> {
    // What is no list was reported by the schema's check.
    let Value::List(items) = &list.value else { return None };
    if items.is_empty() {
        out.push(empty(list, &format!("`{}` has no value", variable.name)));
    }
    let mut values: Vec<serde_json::Value> = Vec::new();
    for item in items {
        match fit(variable, SetValue::Typed(&item.json())) {
            Err(misfit) => out.push(
                Diagnostic::new(misfit.code, item.span.clone(), misfit.message)
                    .maybe_help(misfit.help)
                    .related(variable.span.clone(), "declared here"),
            ),
            Ok(value) => {
                if values.iter().any(|one| same(one, &value)) {
                    let message = format!("`{}` has the same value twice", variable.name);
                    out.push(
                        Diagnostic::new("matrix", item.span.clone(), message)
                            .label("the second")
                            .help("take one of them out"),
                    );
                }
                values.push(value);
            }
        }
    }
    Some(values)
}

fn product(axes: &[Axis<'_>]) -> Vec<Combination> {
    axes.iter().fold(vec![Combination::new()], |all, axis| {
        all.iter()
            .flat_map(|one| {
                axis.values.iter().map(move |value| {
                    let mut one = one.clone();
                    one.insert(axis.name.to_owned(), value.clone());
                    one
                })
            })
            .collect()
    })
}

fn empty(node: &Node, message: &str) -> Diagnostic {
    Diagnostic::new("matrix", node.span.clone(), message)
        .help("name a variable with its values: `suite = [\"bookworm\", \"trixie\"]`")
}

fn twice(table: &Node, combination: &Combination) -> Diagnostic {
    let message = format!("an earlier table has {} too", words(combination));
    Diagnostic::new("matrix", table.span.clone(), message).help("take it out of one of them")
}
