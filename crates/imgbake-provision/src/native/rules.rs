//! Rules that several kinds have.

use imgbake_types::spec::pointer::pointer;
use imgbake_types::spec::rules::{At, Mistake, not_empty};
use serde_json::{Map, Value};

/// At least one of these lists is given, and none is empty.
pub(super) fn some_of(
    settings: &Map<String, Value>,
    lists: &[&str],
    others: &[&str],
) -> Vec<Mistake> {
    let mut found: Vec<Mistake> = lists.iter().filter_map(|key| not_empty(settings, key)).collect();
    if !lists.iter().chain(others).any(|key| settings.contains_key(*key)) {
        let all: Vec<String> = lists.iter().chain(others).map(|key| format!("`{key}`")).collect();
        let mistake = Mistake::new("missing-key", At::Step, "this step would do nothing");
        found.push(mistake.help(format!("give it one of {}", all.join(", "))));
    }
    found
}

/// No text stands in two of these lists, or twice in one; `plain` gives what of a text counts.
pub(super) fn once(
    settings: &Map<String, Value>,
    lists: &[&str],
    plain: fn(&str) -> &str,
) -> Vec<Mistake> {
    let mut seen: Vec<(&str, String)> = Vec::new();
    let mut found = Vec::new();
    for list in lists {
        let items = settings.get(*list).and_then(Value::as_array);
        for (index, item) in items.into_iter().flatten().enumerate() {
            let Some(text) = item.as_str().map(plain) else { continue };
            let at = pointer([list, index.to_string().as_str()]);
            if let Some((_, first)) = seen.iter().find(|(other, _)| *other == text) {
                let mistake =
                    Mistake::new("twice", At::Value(at), format!("`{text}` is named twice"));
                found.push(mistake.related(At::Value(first.clone()), "the first"));
            } else {
                seen.push((text, at));
            }
        }
    }
    found
}

/// At most one of these keys.
pub(super) fn at_most_one(settings: &Map<String, Value>, keys: &[&str]) -> Option<Mistake> {
    let mut given = keys.iter().filter(|key| settings.contains_key(**key));
    let (first, second) = (given.next()?, given.next()?);
    let message = format!("`{first}` and `{second}` exclude each other");
    Some(
        Mistake::new("at-most-one", At::key(second), message).related(At::key(first), "given here"),
    )
}
