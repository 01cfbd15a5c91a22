//! Rules that no schema can say: keys that need or exclude each other, names, forms.

mod matrix;
mod provision;
mod publish;
mod sensitive;
mod source;
mod variables;

use crate::Diagnostic;
use crate::suggest;
use crate::tree::{Node, Value};

pub(crate) use matrix::combinations;
pub(crate) use sensitive::sensitive_places;
pub(crate) use variables::declare;

/// What the rules look at.
pub(crate) struct Scope<'t> {
    pub(crate) root: &'t Node,
    pub(crate) seal_operations: &'t [String],
}

/// Checks all rules but those of `[variables]`. A string that is not rendered yet passes.
pub(crate) fn check(scope: &Scope<'_>, out: &mut Vec<Diagnostic>) {
    if let Some(node) = scope.root.get("source").filter(|node| is_table(node)) {
        source::check(node, out);
    }
    provision::check(scope.root, out);
    publish::check(scope.root, out);
    seal(scope, out);
}

fn is_table(node: &Node) -> bool {
    matches!(node.value, Value::Table(_))
}

/// The strings of a list that are known now.
fn texts(node: Option<&Node>) -> impl Iterator<Item = (&Node, &str)> {
    node.map(Node::items).unwrap_or_default().iter().filter_map(|item| Some((item, item.text()?)))
}

fn seal(scope: &Scope<'_>, out: &mut Vec<Diagnostic>) {
    let Some(seal) = scope.root.get("seal").filter(|_| !scope.seal_operations.is_empty()) else {
        return;
    };
    let known: Vec<&str> = scope.seal_operations.iter().map(String::as_str).collect();
    for (node, name) in texts(seal.get("skip")).chain(texts(seal.get("also"))) {
        if !known.contains(&name) {
            let message = format!("there is no seal operation `{name}`");
            let help = suggest::hint(name, &known)
                .unwrap_or_else(|| "`imgbake plan` lists the operations".into());
            out.push(Diagnostic::new("seal-operation", node.span.clone(), message).help(help));
        }
    }
}
