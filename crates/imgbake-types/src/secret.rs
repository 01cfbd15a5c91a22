//! How a plan speaks of a sensitive value without holding it.
//!
//! Where a template inserts a sensitive variable, the plan holds a marker, `⟦secret:NAME⟧`. A plan can
//! therefore be printed, stored and hashed; the runtime puts the values in at the last moment.

/// What opens a marker.
pub const OPEN: &str = "⟦secret:";
/// What closes a marker.
pub const CLOSE: &str = "⟧";

/// The marker for a sensitive variable.
pub fn marker(name: &str) -> String {
    format!("{OPEN}{name}{CLOSE}")
}

/// The names of the sensitive variables that a text refers to, in order, repeated as they are.
pub fn names(text: &str) -> Vec<&str> {
    text.split(OPEN)
        .skip(1)
        .filter_map(|rest| rest.split_once(CLOSE))
        .map(|(name, _)| name)
        .collect()
}

/// Puts values in the place of markers; a name for which `value` has none keeps its marker.
pub fn reveal<'v>(text: &str, value: impl Fn(&str) -> Option<&'v str>) -> String {
    let mut parts = text.split(OPEN);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        if let Some((secret, rest)) =
            part.split_once(CLOSE).and_then(|(name, rest)| Some((value(name)?, rest)))
        {
            out.push_str(secret);
            out.push_str(rest);
        } else {
            out.push_str(OPEN);
            out.push_str(part);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reveals_only_what_it_knows() {
        let text = format!("a{}b{}c", marker("x"), marker("y"));
        assert_eq!(names(&text), ["x", "y"]);
        let revealed = reveal(&text, |name| (name == "x").then_some("1"));
        assert_eq!(revealed, format!("a1b{}c", marker("y")));
    }
}
