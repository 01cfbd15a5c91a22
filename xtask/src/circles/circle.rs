//! A circle of files, as it is reported.

use std::collections::BTreeSet;
use std::fmt;

/// Files that use each other, with the names by which they do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Circle {
    pub(crate) files: BTreeSet<String>,
    /// From, to, and the names used.
    pub(crate) uses: Vec<(String, String, BTreeSet<String>)>,
}

impl fmt::Display for Circle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "these {} files use each other in a circle:", self.files.len())?;
        for (from, to, names) in &self.uses {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            write!(formatter, "\n  {from} -> {to}: {}", names.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_reported_with_the_names_that_tie_it() {
        let circle = Circle {
            files: ["a.rs", "b.rs"].map(str::to_owned).into(),
            uses: vec![
                ("a.rs".to_owned(), "b.rs".to_owned(), ["f", "g"].map(str::to_owned).into()),
                ("b.rs".to_owned(), "a.rs".to_owned(), ["h".to_owned()].into()),
            ],
        };
        assert_eq!(
            circle.to_string(),
            "these 2 files use each other in a circle:\n  a.rs -> b.rs: f, g\n  b.rs -> a.rs: h"
        );
    }
}
