//! `[builder]`

use crate::tree::Node;
use crate::{Diagnostic, Schema};

/// A template has one builder.
pub(super) fn check(root: &Node, schema: &Schema, out: &mut Vec<Diagnostic>) {
    let entries = root.get("builder").map(Node::entries).unwrap_or_default();
    let mut known = entries.iter().filter(|entry| schema.builder(&entry.key).is_some());
    let Some(first) = known.next() else { return };
    for other in known {
        let message = format!("a template has one builder, and this is a second: `{}`", other.key);
        out.push(
            Diagnostic::new("one-builder", other.key_span.clone(), message)
                .label("the second")
                .help("leave one `[builder.KIND]` table; write a template for each builder")
                .related(first.key_span.clone(), "the first"),
        );
    }
}
