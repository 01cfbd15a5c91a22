//! `[source]`

use imgbake_types::Reference;

use crate::Diagnostic;
use crate::names::checksum;
use crate::tree::{Entry, Node, Value};

const KINDS: [&str; 3] = ["bootstrap", "url", "image"];

pub(super) fn check(source: &Node, out: &mut Vec<Diagnostic>) {
    let given: Vec<&Entry> =
        source.entries().iter().filter(|entry| KINDS.contains(&entry.key.as_str())).collect();
    match given.as_slice() {
        [] if source.entry("iso").is_some() => {}
        [] => out.push(
            Diagnostic::new("source", source.span.clone(), "`[source]` says no source")
                .help("exactly one of `bootstrap`, `url` and `image`"),
        ),
        [_] => {}
        [first, rest @ ..] => {
            for entry in rest {
                let message = format!("`{}` excludes `{}`", first.key, entry.key);
                out.push(
                    Diagnostic::new("source", entry.key_span.clone(), message)
                        .label("a second source")
                        .help("exactly one of `bootstrap`, `url` and `image`")
                        .related(first.key_span.clone(), "the first"),
                );
            }
        }
    }
    if source.entry("url").is_some() {
        url(source, out);
    } else {
        only_with_url(source, out);
    }
    if let Some(node) = source.get("image") {
        image(node, out);
    }
}

fn only_with_url(source: &Node, out: &mut Vec<Diagnostic>) {
    for key in ["checksum", "allow_unverified", "headers"] {
        if let Some(entry) = source.entry(key) {
            let message = format!("`{key}` has a meaning only beside `url`");
            out.push(
                Diagnostic::new("only-with-url", entry.key_span.clone(), message)
                    .help("take it out, or name a `url`"),
            );
        }
    }
}

fn url(source: &Node, out: &mut Vec<Diagnostic>) {
    if let Some((node, text)) = source.get("url").and_then(|node| Some((node, node.text()?))) {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        if !matches!(scheme, None | Some("http" | "https" | "file")) {
            let message = format!("`source.url` cannot be `{text}`");
            out.push(
                Diagnostic::new("bad-value", node.span.clone(), message)
                    .help("an `https://…` or `http://…` address, or a path beside the template"),
            );
        }
    }
    let allowed = source.get("allow_unverified");
    let Some(node) = source.get("checksum") else {
        let span =
            source.entry("url").map_or_else(|| source.span.clone(), |url| url.key_span.clone());
        out.push(Diagnostic::new("checksum", span, "`url` needs `checksum`").help(
            "`checksum = \"sha256:…\"`, or `\"file:https://…/SHA256SUMS\"` for a published list",
        ));
        return;
    };
    let Some(text) = node.text() else { return };
    if checksum(text).is_none() {
        out.push(
            Diagnostic::new("checksum", node.span.clone(), format!("`{text}` is not a checksum"))
                .help(
                    "`sha256:` and 64 hexadecimal digits, `sha512:` and 128, `file:` and the \
                     address of a SHA256SUMS file, or `none`",
                ),
        );
    }
    let unverified = allowed.is_some_and(|node| !matches!(node.value, Value::Bool(false)));
    if text == "none" && !unverified {
        out.push(
            Diagnostic::new("checksum", node.span.clone(), "nothing would prove these bytes")
                .help("give their checksum; if there is none, add `allow_unverified = true`"),
        );
    } else if text != "none" && matches!(allowed.map(|node| &node.value), Some(Value::Bool(true))) {
        let span = allowed.map_or(0..0, |node| node.span.clone());
        out.push(
            Diagnostic::new("checksum", span, "`allow_unverified` beside a checksum")
                .help("take it out: the bytes are verified")
                .related(node.span.clone(), "the checksum"),
        );
    }
}

fn image(node: &Node, out: &mut Vec<Diagnostic>) {
    let Some(text) = node.text() else { return };
    let message = match text.parse::<Reference>() {
        Ok(reference) if reference.target.is_some() => return,
        Ok(_) => format!("`{text}` does not say which version"),
        Err(error) => error.to_string(),
    };
    out.push(
        Diagnostic::new("reference", node.span.clone(), message)
            .help("`NAME:CHANNEL`, `NAME:VERSION` or `NAME@sha256:…`"),
    );
}
