//! "Did you mean": the nearest known name.

/// The known name nearest to one given, if it is near enough to be a slip.
pub(crate) fn nearest<'n>(
    given: &str,
    known: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    let lower = given.to_lowercase().replace('-', "_");
    let limit = (given.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|name| {
            (strsim::damerau_levenshtein(&lower, &name.to_lowercase().replace('-', "_")), name)
        })
        .filter(|&(distance, name)| {
            distance <= limit || (lower.len() >= 3 && name.starts_with(lower.as_str()))
        })
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// A hint: the nearest name, else all of them if they are few.
pub(crate) fn hint(given: &str, known: &[&str]) -> Option<String> {
    if let Some(name) = nearest(given, known.iter().copied()) {
        return Some(format!("did you mean `{name}`?"));
    }
    match known {
        [] => None,
        known if known.len() <= 12 => Some(format!("known here: {}", list(known))),
        _ => None,
    }
}

/// Names in backticks, joined with commas.
pub(crate) fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
