//! Where a sensitive value may stand: only where it goes into the machine or a request by a way that
//! neither prints nor stores it.

use std::sync::LazyLock;

use imgbake_types::secret;
use regex::Regex;

use crate::messages::{SENSITIVE_HERE, sensitive_here};
use crate::tree::{Node, Value};
use crate::{Diagnostic, Schema};

/// Those places that are no provisioner's to say.
static PLACES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(test\[\d+\]\.run|source\.(url|headers\..*))$").expect("a fixed pattern")
});

/// Checks a rendered and converted tree; every such mistake, of the conversion too, then says where a
/// sensitive value may stand.
pub(crate) fn sensitive_places(root: &Node, schema: &Schema, out: &mut Vec<Diagnostic>) {
    for entry in root.entries() {
        if entry.key == "provision" {
            for (index, step) in entry.node.items().iter().enumerate() {
                let kind = step.get("type").and_then(Node::text);
                let kind = kind.and_then(|name| schema.provisioner(name));
                let keys = kind.map_or(&[][..], |kind| kind.sensitive);
                let path = format!("provision[{index}]");
                let allowed = |place: &str| keys.iter().any(|key| is_below(place, &path, key));
                visit(step, &path, &allowed, out);
            }
        } else {
            visit(&entry.node, &entry.key, &|place| PLACES.is_match(place), out);
        }
    }
    for mistake in out.iter_mut().filter(|mistake| mistake.code == SENSITIVE_HERE) {
        mistake.help = Some(help(schema));
    }
}

/// Whether a place is a key of a step, or something below it.
fn is_below(place: &str, step: &str, key: &str) -> bool {
    let rest = place.strip_prefix(step).and_then(|rest| rest.strip_prefix('.'));
    rest.and_then(|rest| rest.strip_prefix(key))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn visit(node: &Node, path: &str, allowed: &dyn Fn(&str) -> bool, out: &mut Vec<Diagnostic>) {
    match &node.value {
        Value::Text(text) if text.contains(secret::OPEN) && !allowed(path) => {
            out.push(sensitive_here(node, path));
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                visit(item, &format!("{path}[{index}]"), allowed, out);
            }
        }
        Value::Table(entries) => {
            for entry in entries {
                visit(&entry.node, &format!("{path}.{}", entry.key), allowed, out);
            }
        }
        _ => {}
    }
}

/// Where it may stand.
fn help(schema: &Schema) -> String {
    let mut keys: Vec<String> = Vec::new();
    for key in schema.provisioners().iter().flat_map(|kind| kind.sensitive) {
        let key = format!("`{key}`");
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let steps = match keys.split_last() {
        None => String::new(),
        Some((only, [])) => format!("in a step's {only}, "),
        Some((last, others)) => format!("in a step's {} and {last}, ", others.join(", ")),
    };
    format!(
        "a sensitive variable may stand {steps}in a test's `run`, and in the source's `url` and \
         `headers`"
    )
}
