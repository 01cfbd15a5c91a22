//! `[[provision]]` and `[[test]]`

use std::collections::BTreeMap;
use std::ops::Range;

use imgbake_types::spec::pointer::parts;
use imgbake_types::spec::rules::{At, Mistake};
use imgbake_types::spec::{ProvisionerKind, StepInput};

use crate::names::{Names, RESERVED};
use crate::tree::{Node, Value};
use crate::{Diagnostic, Schema};

/// The keys that every step has.
const EVERY_STEP: [&str; 8] =
    ["type", "name", "cache", "cache_key", "inputs", "converge", "converge_seed", "converge_allow"];

pub(super) fn check(root: &Node, schema: &Schema, out: &mut Vec<Diagnostic>) {
    let steps = root.get("provision").map(Node::items).unwrap_or_default();
    let tests = root.get("test").map(Node::items).unwrap_or_default();
    for step in steps.iter().filter(|step| step.is_table()) {
        let name = step.get("type").and_then(Node::text);
        if let Some(kind) = name.and_then(|name| schema.provisioner(name)) {
            own(step, kind, out);
            converge(step, kind, schema, out);
        }
        cache(step, out);
        inputs(step, out);
    }
    let kind = |step: &Node| step.get("type").and_then(Node::text).unwrap_or("step").to_owned();
    unique(steps, "step", kind, out);
    unique(tests, "test", |_| "test".to_owned(), out);
}

fn unique(all: &[Node], what: &str, kind: impl Fn(&Node) -> String, out: &mut Vec<Diagnostic>) {
    let mut names = Names::new();
    let mut seen: BTreeMap<String, Range<usize>> = BTreeMap::new();
    for one in all.iter().filter(|one| one.is_table()) {
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

/// The rules of a kind, for one step.
fn own(step: &Node, kind: &ProvisionerKind, out: &mut Vec<Diagnostic>) {
    let serde_json::Value::Object(mut settings) = step.known() else { return };
    settings.retain(|key, _| !EVERY_STEP.contains(&key.as_str()));
    let found = kind.check(&settings).into_iter().map(|mistake| diagnostic(step, mistake));
    out.extend(found);
}

fn diagnostic(step: &Node, mistake: Mistake) -> Diagnostic {
    let span = span(step, &mistake.at);
    let found = Diagnostic::new(mistake.code, span, mistake.message)
        .label(mistake.label)
        .maybe_help(mistake.help);
    mistake.related.into_iter().fold(found, |found, (at, label)| {
        let span = self::span(step, &at);
        found.related(span, label)
    })
}

fn span(step: &Node, at: &At) -> Range<usize> {
    match at {
        At::Step => step.span.clone(),
        At::Value(pointer) => step.pointed(parts(pointer)).1.span.clone(),
        At::Key(pointer) => match step.pointed(parts(pointer)) {
            (Some(entry), _) => entry.key_span.clone(),
            (None, node) => node.span.clone(),
        },
    }
}

/// A second run can be judged where the kind reports what it changed, and where the machine is there after it.
fn converge(step: &Node, kind: &ProvisionerKind, schema: &Schema, out: &mut Vec<Diagnostic>) {
    let Some(entry) = step.entry("converge") else { return };
    let restarts = step.get("reboot").filter(|node| node.text() == Some("expected"));
    if let Some(restarts) = restarts
        && entry.node.text() != Some("off")
    {
        let message = "a step that restarts the machine cannot be run a second time";
        out.push(
            Diagnostic::new("converge", entry.node.span.clone(), message)
                .help("restart in a step of its own, and let this one change the machine")
                .related(restarts.span.clone(), "restarts the machine"),
        );
        return;
    }
    if entry.node.text() == Some("shuffle") && !kind.shuffles {
        let with: Vec<&str> = schema
            .provisioners()
            .iter()
            .filter(|kind| kind.shuffles)
            .map(|kind| kind.name)
            .collect();
        let message = format!("a `{}` step has no other order", kind.name);
        out.push(
            Diagnostic::new("converge", entry.node.span.clone(), message)
                .help(format!("`converge = \"shuffle\"` is for steps of type {}", with.join(", "))),
        );
        return;
    }
    if entry.node.text() == Some("once") && !kind.results {
        let with: Vec<&str> = schema
            .provisioners()
            .iter()
            .filter(|kind| kind.results)
            .map(|kind| kind.name)
            .collect();
        let message = format!("a `{}` step does not report what it changes", kind.name);
        out.push(
            Diagnostic::new("converge", entry.node.span.clone(), message)
                .label("a second run could not be judged")
                .help(format!(
                    "`converge = \"check\"` compares the machine before and after it; `\"once\"` is for steps of type {}",
                    with.join(", ")
                )),
        );
    }
}

fn cache(step: &Node, out: &mut Vec<Diagnostic>) {
    let never = step.get("cache").filter(|node| node.value == Value::Bool(false));
    let Some(never) = never else { return };
    for entry in ["cache_key", "inputs"].into_iter().filter_map(|key| step.entry(key)) {
        let message = format!("`{}` has no meaning beside `cache = false`", entry.key);
        out.push(
            Diagnostic::new("cache-key", entry.key_span.clone(), message)
                .help("with `cache = false` the step always runs; take one of them out")
                .related(never.span.clone(), "always runs"),
        );
    }
}

fn inputs(step: &Node, out: &mut Vec<Diagnostic>) {
    for input in step.get("inputs").map(Node::items).unwrap_or_default() {
        if input.text().is_some_and(|text| StepInput::parse(text).is_none()) {
            out.push(
                Diagnostic::new("bad-value", input.span.clone(), "this is no input of a step")
                    .label("neither `file:`, `url:` nor `command:`")
                    .help("such as `file:../VERSION`, `url:https://MIRROR/InRelease` or `command:git rev-parse HEAD`"),
            );
        }
    }
}
