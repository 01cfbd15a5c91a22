//! The words of the checker's diagnostics.

use std::ops::Range;

use crate::Diagnostic;
use crate::convert::NotConverted;
use crate::shape::{Field, Form, Shape, TableShape};
use crate::suggest;
use crate::tree::{Entry, Node, Value};

/// Keys that one may well try, and what to say of them.
const KNOWN_STRANGERS: [(&str, &str, &str); 3] = [
    ("source", "iso", "an ISO source is not supported yet; use `bootstrap`, `url` or `image`"),
    ("builder", "aws", "only the `qemu` builder exists so far"),
    ("builder", "openstack", "only the `qemu` builder exists so far"),
];

/// Types of steps for machines that no builder makes yet.
const WINDOWS: [&str; 4] = ["powershell", "windows-shell", "windows-restart", "windows-update"];

/// `[builder.qemu]`, `[[provision]]`, or the template itself.
fn place(path: &str) -> String {
    match path {
        "" => "the template".into(),
        path if path.ends_with(']') => {
            format!("`[[{}]]`", path.rsplit_once('[').map_or(path, |(name, _)| name))
        }
        path => format!("`[{path}]`"),
    }
}

pub(crate) fn unknown_key(
    entry: &Entry,
    shape: &TableShape,
    path: &str,
    tag: &[&str],
) -> Diagnostic {
    let names: Vec<&str> = shape.names().into_iter().chain(tag.first().copied()).collect();
    let stranger = KNOWN_STRANGERS
        .iter()
        .find(|(table, key, _)| *table == path && *key == entry.key)
        .map(|(_, _, help)| (*help).to_owned());
    Diagnostic::new(
        "unknown-key",
        entry.key_span.clone(),
        format!("unknown key `{}` in {}", entry.key, place(path)),
    )
    .label("not known here")
    .maybe_help(stranger.or_else(|| suggest::hint(&entry.key, &names)))
}

/// Unknown keys that another `type` knows get a hint that says so.
pub(crate) fn point_to_owner(
    found: &mut [Diagnostic],
    node: &Node,
    chosen: &str,
    variants: &[(String, TableShape)],
) {
    for diagnostic in found.iter_mut().filter(|one| one.code == "unknown-key") {
        let owner = node
            .entries()
            .iter()
            .find(|entry| diagnostic.span() == Some(entry.key_span.clone()))
            .and_then(|entry| {
                let owner = variants.iter().find(|(_, table)| table.field(&entry.key).is_some())?;
                Some((entry.key.as_str(), owner.0.as_str()))
            });
        if let Some((key, owner)) = owner {
            diagnostic.help =
                Some(format!("`{key}` belongs to `type = \"{owner}\"`; this is `{chosen}`"));
        }
    }
}

pub(crate) fn missing(field: &Field, path: &str, span: &Range<usize>) -> Diagnostic {
    let table = matches!(field.shape, Shape::Table(_));
    let message = if path.is_empty() && table {
        format!("the table `[{}]` is missing", field.name)
    } else {
        format!("{} needs the key `{}`", place(path), field.name)
    };
    Diagnostic::new("missing-key", span.clone(), message).help(field.about())
}

pub(crate) fn no_tag(
    node: &Node,
    tag: &str,
    variants: &[(String, TableShape)],
    path: &str,
) -> Diagnostic {
    let score = |table: &TableShape| {
        node.entries().iter().filter(|entry| table.field(&entry.key).is_some()).count()
    };
    let scores: Vec<usize> = variants.iter().map(|(_, table)| score(table)).collect();
    let best = scores.iter().copied().max().unwrap_or_default();
    let mut at_best = variants.iter().zip(&scores).filter(|(_, score)| **score == best);
    let names: Vec<&str> = variants.iter().map(|(name, _)| name.as_str()).collect();
    let help = match (at_best.next(), at_best.next()) {
        (Some(((name, _), _)), None) => format!("add `{tag} = \"{name}\"`"),
        _ => format!("add `{tag}`, one of {}", suggest::list(&names)),
    };
    let message = format!("{} needs the key `{tag}`", place(path));
    Diagnostic::new("missing-key", node.span.clone(), message).help(help)
}

pub(crate) fn wrong_type(node: &Node, shape: &Shape, path: &str) -> Diagnostic {
    let message = format!("`{path}` must be {}, not {}", shape.noun(), node.kind());
    Diagnostic::new("wrong-type", node.span.clone(), message)
        .label(format!("expected {}", shape.noun()))
        .maybe_help(fix(node, shape, path))
}

/// How to write it instead, where that is easy to say.
fn fix(node: &Node, shape: &Shape, path: &str) -> Option<String> {
    let key = path.rsplit('.').next().unwrap_or(path);
    let key = key.split('[').next().unwrap_or(key);
    match (&node.value, shape) {
        (Value::Text(text), Shape::Integer { .. }) if text.trim().parse::<i64>().is_ok() => {
            Some(format!("without quotes: `{key} = {}`", text.trim()))
        }
        (Value::Text(text), Shape::Bool | Shape::Switch(_))
            if matches!(text.as_str(), "true" | "false") =>
        {
            Some(format!("without quotes: `{key} = {text}`"))
        }
        (Value::Text(text), Shape::List(_)) if text.lines().count() <= 1 => {
            Some(format!("in brackets: `{key} = [{text:?}]`"))
        }
        (Value::Text(_), Shape::List(_)) => Some(format!("in brackets: `{key} = [\"…\", \"…\"]`")),
        (Value::Integer(number), Shape::Text(Form::Size)) => {
            let unit = if *number < 64 { "GiB" } else { "MiB" };
            Some(format!("with a unit, such as `{key} = \"{number}{unit}\"`"))
        }
        (Value::Integer(number), Shape::Text(Form::Span)) => {
            Some(format!("with a unit: `{key} = \"{number}s\"` or `\"{number}m\"`"))
        }
        (Value::Integer(number), Shape::Text(_)) => {
            Some(format!("in quotes: `{key} = \"{number}\"`"))
        }
        (Value::Bool(flag), Shape::Text(Form::Free | Form::Pattern(_))) => {
            Some(format!("in quotes: `{key} = \"{flag}\"`"))
        }
        (Value::Table(_), Shape::List(item))
            if matches!(**item, Shape::Map(_) | Shape::Table(_) | Shape::Tagged { .. }) =>
        {
            Some(format!("with two brackets, since there may be many: `[[{path}]]`"))
        }
        (Value::List(_), Shape::Table(_)) => {
            Some(format!("with one bracket, since there is one: `[{path}]`"))
        }
        _ => None,
    }
}

pub(crate) fn not_converted(
    node: &Node,
    shape: &Shape,
    path: &str,
    why: NotConverted,
) -> Diagnostic {
    let Value::Rendered { text, .. } = &node.value else { return wrong_type(node, shape, path) };
    match why {
        NotConverted::Sensitive => sensitive_here(node, path),
        NotConverted::WrongType => Diagnostic::new(
            "wrong-type",
            node.span.clone(),
            format!("`{path}` must be {}, but this gives `{text}`", shape.noun()),
        )
        .label(format!("expected {}", shape.noun())),
    }
}

/// The code of [`sensitive_here`].
pub(crate) const SENSITIVE_HERE: &str = "sensitive-here";

pub(crate) fn sensitive_here(node: &Node, path: &str) -> Diagnostic {
    let message = format!("`{path}` cannot hold a sensitive variable");
    Diagnostic::new(SENSITIVE_HERE, node.span.clone(), message)
}

pub(crate) fn bad_text(node: &Node, path: &str, why: &str, field: Option<&Field>) -> Diagnostic {
    // A size's or a span's message says what would be right.
    let field = field.filter(|field| matches!(field.shape, Shape::Text(Form::Pattern(_))));
    let message = format!("`{path}`: {why}");
    let help = field.map(|field| field.about().to_owned()).filter(|about| !about.is_empty());
    Diagnostic::new("bad-value", node.span.clone(), message).maybe_help(help)
}

/// A `type` that no table has.
pub(crate) fn unknown_type(node: &Node, chosen: &str, path: &str, names: &[&str]) -> Diagnostic {
    if path.starts_with("provision[") && WINDOWS.contains(&chosen) {
        let message = format!(
            "Windows machines are not supported yet, and with them steps of type `{chosen}`"
        );
        return Diagnostic::new("not-supported", node.span.clone(), message)
            .label("for Windows alone")
            .help("only Linux machines can be built so far; take the step out");
    }
    let words: Vec<(String, String)> =
        names.iter().map(|name| ((*name).to_owned(), String::new())).collect();
    not_a_choice(node, path, &words)
}

pub(crate) fn not_a_choice(node: &Node, path: &str, words: &[(String, String)]) -> Diagnostic {
    let given = node.text().unwrap_or_default();
    let names: Vec<&str> = words.iter().map(|(word, _)| word.as_str()).collect();
    Diagnostic::new("bad-value", node.span.clone(), format!("`{path}` cannot be `{given}`"))
        .label(format!("expected one of {}", suggest::list(&names)))
        .maybe_help(
            suggest::nearest(given, names.iter().copied())
                .map(|name| format!("did you mean `{name}`?")),
        )
}

pub(crate) fn out_of_range(node: &Node, path: &str, min: i64, max: i64) -> Diagnostic {
    let message = format!("`{path}` must be from {min} to {max}");
    Diagnostic::new("bad-value", node.span.clone(), message).label("out of range")
}
