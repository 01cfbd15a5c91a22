//! `[[provision]]` and `[[test]]`

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::is_table;
use crate::Diagnostic;
use crate::names::{Names, RESERVED};
use crate::tree::{Node, Value};
use crate::variable::is_identifier;

pub(super) fn check(root: &Node, out: &mut Vec<Diagnostic>) {
    let steps = root.get("provision").map(Node::items).unwrap_or_default();
    let tests = root.get("test").map(Node::items).unwrap_or_default();
    for step in steps.iter().filter(|step| is_table(step)) {
        match step.get("type").and_then(Node::text) {
            Some("shell") => shell(step, out),
            Some("file") => file(step, out),
            _ => {}
        }
        cache(step, out);
    }
    let kind = |step: &Node| step.get("type").and_then(Node::text).unwrap_or("step").to_owned();
    unique(steps, "step", kind, out);
    unique(tests, "test", |_| "test".to_owned(), out);
}

fn unique(all: &[Node], what: &str, kind: impl Fn(&Node) -> String, out: &mut Vec<Diagnostic>) {
    let mut names = Names::new();
    let mut seen: BTreeMap<String, Range<usize>> = BTreeMap::new();
    for one in all.iter().filter(|one| is_table(one)) {
        let node = one.get("name");
        let given = node.and_then(Node::text);
        let name = names.next(&kind(one), given);
        if node.is_some() && given.is_none() {
            continue;
        }
        let span = node.unwrap_or(one).span.clone();
        if what == "step" && RESERVED.contains(&name.as_str()) {
            let message = format!("a step cannot be called `{name}`");
            let help = "a plan's own steps are `source`, `boot`, `seal`, `capture`, `publish` and \
                        `verify`";
            out.push(Diagnostic::new("reserved-name", span.clone(), message).help(help));
        } else if name.trim().is_empty() || name.chars().any(char::is_control) {
            let message = format!("a {what}'s name is one line of text");
            out.push(Diagnostic::new("bad-value", span.clone(), message));
        }
        if let Some(first) = seen.get(&name) {
            let message = format!("two {what}s are called `{name}`");
            out.push(
                Diagnostic::new("duplicate-name", span, message)
                    .label("the second")
                    .help(format!("give each {what} a `name` of its own"))
                    .related(first.clone(), "the first"),
            );
        } else {
            seen.insert(name, span);
        }
    }
}

/// Exactly one of two keys.
fn one_of(step: &Node, [one, other]: [&str; 2], out: &mut Vec<Diagnostic>) {
    match (step.entry(one), step.entry(other)) {
        (Some(first), Some(second)) => out.push(
            Diagnostic::new(
                "exactly-one",
                second.key_span.clone(),
                format!("`{one}` and `{other}` exclude each other"),
            )
            .help(format!("exactly one of `{one}` and `{other}`"))
            .related(first.key_span.clone(), "given here"),
        ),
        (None, None) => out.push(
            Diagnostic::new(
                "exactly-one",
                step.span.clone(),
                format!("this step needs `{one}` or `{other}`"),
            )
            .help(format!("exactly one of `{one}` and `{other}`")),
        ),
        _ => {}
    }
}

fn cache(step: &Node, out: &mut Vec<Diagnostic>) {
    let never = step.get("cache").filter(|node| node.value == Value::Bool(false));
    if let Some(never) = never
        && let Some(entry) = step.entry("cache_key")
    {
        let message = "`cache_key` has no meaning beside `cache = false`";
        out.push(
            Diagnostic::new("cache-key", entry.key_span.clone(), message)
                .help("with `cache = false` the step always runs; take one of them out")
                .related(never.span.clone(), "always runs"),
        );
    }
}

fn shell(step: &Node, out: &mut Vec<Diagnostic>) {
    one_of(step, ["script", "inline"], out);
    for key in ["inline", "interpreter", "exit_codes"] {
        if let Some(node) = step.get(key).filter(|node| is_empty_list(node)) {
            out.push(
                Diagnostic::new("bad-value", node.span.clone(), format!("`{key}` is empty"))
                    .help(format!("take `{key}` out, or fill it")),
            );
        }
    }
    for node in step.get("exit_codes").map(Node::items).unwrap_or_default() {
        if matches!(node.value, Value::Integer(code) if !(0..=255).contains(&code)) {
            let message = "an exit code is from 0 to 255";
            out.push(Diagnostic::new("bad-value", node.span.clone(), message));
        }
    }
    for entry in step.get("env").map(Node::entries).unwrap_or_default() {
        if !is_identifier(&entry.key) {
            let message = format!("`{}` cannot be an environment variable's name", entry.key);
            out.push(
                Diagnostic::new("bad-value", entry.key_span.clone(), message)
                    .help("letters, digits and `_`, and no digit first"),
            );
        }
    }
    absolute(step, "workdir", out);
}

fn is_empty_list(node: &Node) -> bool {
    matches!(&node.value, Value::List(items) if items.is_empty())
}

fn absolute(step: &Node, key: &str, out: &mut Vec<Diagnostic>) {
    let Some(node) = step.get(key) else { return };
    if node.text().is_some_and(|path| !path.starts_with('/')) {
        let message = format!("`{key}` is a path in the machine and must be absolute");
        out.push(
            Diagnostic::new("bad-value", node.span.clone(), message).label("starts without `/`"),
        );
    }
}

fn file(step: &Node, out: &mut Vec<Diagnostic>) {
    static OWNER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^([a-z_][a-z0-9_-]*\$?|[0-9]+)(:([a-z_][a-z0-9_-]*\$?|[0-9]+))?$")
            .expect("a fixed pattern")
    });
    let direction = step.get("direction");
    if direction.is_some_and(|node| matches!(node.value, Value::Template(_))) {
        return;
    }
    if direction.and_then(Node::text) == Some("download") {
        download(step, out);
    } else {
        one_of(step, ["source", "content"], out);
        absolute(step, "destination", out);
    }
    if let Some(node) = step.get("owner")
        && let Some(owner) = node.text()
        && !OWNER.is_match(owner)
    {
        let message = format!("`{owner}` is not an owner");
        out.push(
            Diagnostic::new("bad-value", node.span.clone(), message)
                .help("`user` or `user:group`, by name or number"),
        );
    }
}

fn download(step: &Node, out: &mut Vec<Diagnostic>) {
    if step.entry("source").is_none() {
        out.push(
            Diagnostic::new("missing-key", step.span.clone(), "a download needs the key `source`")
                .help("the path in the machine"),
        );
    }
    absolute(step, "source", out);
    for key in ["content", "owner", "mode"] {
        if let Some(entry) = step.entry(key) {
            let message = format!("`{key}` has no meaning for a download");
            out.push(Diagnostic::new("only-upload", entry.key_span.clone(), message));
        }
    }
}
