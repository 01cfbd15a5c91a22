//! Patterns of names in which `*` stands for anything.

/// Whether a name is what a pattern says.
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(name) = name.strip_prefix(start) else { return false };
    let mut ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
    ends.any(|at| name.get(at..).is_some_and(|tail| matches(rest, tail)))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, expected) in [
            ("web", "web", true),
            ("web", "web-1", false),
            ("web*", "web-1", true),
            ("*", "", true),
            ("*", "ü", true),
            ("*-1", "web-1", true),
            ("w*b-*", "web-12", true),
            ("w*x", "web", false),
            ("team/*", "team/web", true),
            ("Exec[apt-*]", "Exec[apt-update]", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
