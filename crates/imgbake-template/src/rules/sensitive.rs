//! Where a sensitive value may stand: only where it goes into the machine or a request by a way that
//! neither prints nor stores it.

use std::sync::LazyLock;

use imgbake_types::secret;
use regex::Regex;

use crate::Diagnostic;
use crate::messages::sensitive_here;
use crate::tree::{Node, Value};

static PLACES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"^(provision\[\d+\]\.(env\..*|inline\[\d+\]|content)|test\[\d+\]\.run|source\.(url|headers\..*))$",
    )
    .expect("a fixed pattern")
});

/// Checks a rendered and converted tree.
pub(crate) fn sensitive_places(root: &Node, out: &mut Vec<Diagnostic>) {
    visit(root, "", out);
}

fn visit(node: &Node, path: &str, out: &mut Vec<Diagnostic>) {
    match &node.value {
        Value::Text(text) if text.contains(secret::OPEN) && !PLACES.is_match(path) => {
            out.push(sensitive_here(node, path));
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                visit(item, &format!("{path}[{index}]"), out);
            }
        }
        Value::Table(entries) => {
            for entry in entries {
                let dot = if path.is_empty() { "" } else { "." };
                visit(&entry.node, &format!("{path}{dot}{}", entry.key), out);
            }
        }
        _ => {}
    }
}
