//! `docs/benchmarks.md`: each bench owns a section and leaves those of the others.

use std::fs;
use std::path::Path;

use super::commands;
use super::options::Options;
use super::report::Report;
use crate::{Result, repository};

const HEAD: &str = "# Benchmarks\n\nEach section is written by the bench that it names; anyone can run it. \
    Times on a shared machine move: the ratio within one run is what counts.\n";

/// A bench's part of the page.
pub(super) struct Section<'a> {
    /// Its heading, which no other bench has.
    pub(super) heading: &'a str,
    /// What was measured, and what to bear in mind.
    pub(super) about: &'a str,
    /// How often: "Medians of 3 alternating runs".
    pub(super) how_often: &'a str,
    /// The peers' versions, where they have any.
    pub(super) with: &'a [String],
    /// The figures, as Markdown.
    pub(super) tables: &'a str,
}

/// Prints a report: as JSON, or as its section, which is put on the page.
pub(super) fn publish(
    options: &Options,
    binary: &Path,
    report: &Report,
    section: &Section<'_>,
) -> Result<()> {
    if options.json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    let mut with = section.with.to_vec();
    with.push(commands::version(Path::new("qemu-system-x86_64"), "--version")?);
    with.push(commands::version(binary, "--version")?);
    let text = format!(
        "## {}\n\n`./dev bench {}`\n\n{}\n\nMachine: {}.\nWith: {}. {}.\n\n{}",
        section.heading,
        report.bench,
        section.about,
        report.machine,
        with.join(", "),
        section.how_often,
        section.tables,
    );
    let path = repository::root().join("docs/benchmarks.md");
    let page = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, put(&page, section.heading, &text))?;
    println!("\n{text}");
    Ok(())
}

/// The page with a section in place of the one of the same heading, or after all others.
fn put(page: &str, heading: &str, section: &str) -> String {
    let mut sections: Vec<&str> = Vec::new();
    let mut rest = page.find("\n## ").map_or("", |at| &page[at + 1..]);
    while !rest.is_empty() {
        let end = rest[1..].find("\n## ").map_or(rest.len(), |at| at + 2);
        sections.push(rest[..end].trim_end());
        rest = &rest[end..];
    }
    let title = format!("## {heading}");
    let section = section.trim_end();
    match sections.iter_mut().find(|old| old.lines().next() == Some(title.as_str())) {
        Some(old) => *old = section,
        None => sections.push(section),
    }
    format!("{HEAD}\n{}\n", sections.join("\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bench_writes_its_own_section_alone() {
        let one = put("", "One", "## One\n\nfirst\n");
        assert_eq!(one, format!("{HEAD}\n## One\n\nfirst\n"));
        let two = put(&one, "Two", "## Two\n\n### part\n\nsecond\n");
        assert_eq!(two, format!("{HEAD}\n## One\n\nfirst\n\n## Two\n\n### part\n\nsecond\n"));
        let again = put(&two, "One", "## One\n\nthird\n");
        assert_eq!(again, format!("{HEAD}\n## One\n\nthird\n\n## Two\n\n### part\n\nsecond\n"));
        assert_eq!(put(&again, "Two", "## Two\n\n### part\n\nsecond"), again);
    }

    #[test]
    fn a_heading_that_begins_alike_is_another() {
        let page = put("", "One and two", "## One and two\n\nfirst\n");
        let page = put(&page, "One", "## One\n\nsecond\n");
        assert!(page.ends_with("## One and two\n\nfirst\n\n## One\n\nsecond\n"), "{page}");
    }
}
