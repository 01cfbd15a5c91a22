//! Rules that no schema can say: keys that need or exclude each other, names, forms.

mod builder;
mod matrix;
mod provision;
mod publish;
mod sensitive;
mod source;
mod variables;

use crate::suggest;
use crate::tree::{Node, Value};
use crate::{Diagnostic, Schema};

pub(crate) use matrix::combinations;
pub(crate) use sensitive::sensitive_places;
pub(crate) use variables::declare;

/// What the rules look at.
pub(crate) struct Scope<'t> {
    pub(crate) root: &'t Node,
    pub(crate) schema: &'t Schema,
    pub(crate) seal_operations: &'t [String],
}

/// Checks all rules but those of `[variables]`. A string that is not rendered yet passes.
pub(crate) fn check(scope: &Scope<'_>, out: &mut Vec<Diagnostic>) {
    if let Some(node) = scope.root.get("source").filter(|node| node.is_table()) {
        source::check(node, out);
    }
    builder::check(scope.root, scope.schema, out);
    provision::check(scope.root, scope.schema, out);
    publish::check(scope.root, out);
    seal(scope, out);
    allowed(scope.root, out);
}

/// `[seal] allow_sensitive` names sensitive variables.
fn allowed(root: &Node, out: &mut Vec<Diagnostic>) {
    let Some(list) = root.get("seal").and_then(|seal| seal.get("allow_sensitive")) else { return };
    let variables = root.get("variables").map(Node::entries).unwrap_or_default();
    let is_sensitive = |node: &Node| {
        node.get("sensitive").is_some_and(|value| matches!(value.value, Value::Bool(true)))
    };
    let sensitive = variables.iter().filter(|entry| is_sensitive(&entry.node));
    let known: Vec<&str> = sensitive.map(|entry| entry.key.as_str()).collect();
    for (node, name) in list.texts() {
        if !known.contains(&name) {
            let message = format!("there is no sensitive variable `{name}`");
            let help = suggest::hint(name, &known).unwrap_or_else(|| {
                "`allow_sensitive` names variables that have `sensitive = true`".into()
            });
            out.push(Diagnostic::new("seal-variable", node.span.clone(), message).help(help));
        }
    }
}

fn seal(scope: &Scope<'_>, out: &mut Vec<Diagnostic>) {
    let Some(seal) = scope.root.get("seal").filter(|_| !scope.seal_operations.is_empty()) else {
        return;
    };
    let known: Vec<&str> = scope.seal_operations.iter().map(String::as_str).collect();
    let lists = ["skip", "also"].into_iter().filter_map(|key| seal.get(key));
    for (node, name) in lists.flat_map(Node::texts) {
        if !known.contains(&name) {
            let message = format!("there is no seal operation `{name}`");
            let help = suggest::hint(name, &known)
                .unwrap_or_else(|| "`imgbake seal --list` lists the operations".into());
            out.push(Diagnostic::new("seal-operation", node.span.clone(), message).help(help));
        }
    }
}
