//! The house's rule: the files of a crate use each other in one direction. Files that need each other
//! cannot be read, tested or moved alone.
//!
//! A file uses another when one of its paths (in a `use`, a type, an expression, a macro's arguments)
//! leads to an item that is defined there. Paths are followed through imports and re-exports to the
//! definition; so neither a `mod` declaration nor a parent's `pub use` of what is below it is a use.
//! Methods are not followed: they need no path. Code under `#[cfg(test)]` counts as a file of its own.

mod circle;
mod components;
mod paths;
mod resolve;
mod tree;

use std::collections::BTreeSet;
use std::path::Path;

use cargo_metadata::MetadataCommand;

use crate::{Result, repository};
use circle::Circle;
use resolve::Graph;

/// Checks every target of every crate.
pub(crate) fn check() -> Result<()> {
    let root = repository::root().canonicalize()?;
    let metadata = MetadataCommand::new().no_deps().current_dir(&root).exec()?;
    let mut targets = 0;
    let mut circles = Vec::new();
    for package in &metadata.packages {
        for target in &package.targets {
            targets += 1;
            circles.extend(find(target.src_path.as_std_path(), &root)?);
        }
    }
    if circles.is_empty() {
        println!("circles: {targets} targets, no circle of files");
        return Ok(());
    }
    let circles: Vec<String> = circles.iter().map(Circle::to_string).collect();
    Err(circles.join("\n").into())
}

/// The circles of the crate whose root file this is; files are named from `base`.
fn find(root_file: &Path, base: &Path) -> Result<Vec<Circle>> {
    let tree = tree::load(root_file)?;
    let graph = resolve::graph(&tree);
    let circles = components::circles(&graph);
    Ok(circles.iter().map(|nodes| describe(&graph, nodes, base)).collect())
}

fn describe(graph: &Graph, nodes: &BTreeSet<tree::Node>, base: &Path) -> Circle {
    let name = |node: &tree::Node| {
        let path = node.file.strip_prefix(base).unwrap_or(&node.file).display().to_string();
        if node.test { format!("{path} (tests)") } else { path }
    };
    let inside = |(from, to): &(tree::Node, tree::Node)| nodes.contains(from) && nodes.contains(to);
    Circle {
        files: nodes.iter().map(name).collect(),
        uses: graph
            .iter()
            .filter(|(arrow, _)| inside(arrow))
            .map(|((from, to), names)| (name(from), name(to), names.clone()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The circles of a crate of these files.
    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        find(&dir.path().join("lib.rs"), dir.path())
            .unwrap()
            .into_iter()
            .map(|circle| circle.files.into_iter().collect())
            .collect()
    }

    #[test]
    fn files_that_use_each_other_are_a_circle() {
        let both = [vec!["a.rs".to_owned(), "b.rs".to_owned()]];
        for (a, b) in [
            (
                "use crate::b::B; pub struct A(B);",
                "use super::a::A; pub fn f(_: A) {} pub struct B;",
            ),
            ("pub struct A(crate::b::B);", "pub struct B; fn f() -> crate::a::A { todo!() }"),
            // Through a module that was imported, and in the arguments of a macro.
            (
                "use crate::b; pub fn a() { b::b() }",
                "pub fn b() { println!(\"{:?}\", crate::a::a()) }",
            ),
            // Through a glob.
            ("use super::b::*; pub fn a() { b() }", "use crate::a::a; pub fn b() { a() }"),
            // Through the root's re-exports.
            ("pub struct A(crate::B);", "pub struct B; pub fn f(_: &crate::A) {}"),
        ] {
            let root = "pub mod a; pub mod b; pub use a::*; pub use b::B;";
            assert_eq!(circles(&[("lib.rs", root), ("a.rs", a), ("b.rs", b)]), both, "{a} {b}");
        }
    }

    #[test]
    fn a_parent_that_uses_its_child_and_is_used_by_it_is_a_circle() {
        let root = "mod a; pub const MAX: u8 = 1; pub fn f() { a::f() }";
        let found = circles(&[("lib.rs", root), ("a.rs", "pub fn f() { super::MAX; }")]);
        assert_eq!(found, [vec!["a.rs".to_owned(), "lib.rs".to_owned()]]);
    }

    #[test]
    fn declarations_re_exports_tests_and_the_names_of_others_are_no_uses() {
        let none: [Vec<String>; 0] = [];
        let root = "mod a; mod b; pub use a::A; use b::B; pub fn f(_: B) {}";
        let a = "use crate::b::B; pub struct A(B);";
        let b = "pub struct B; #[cfg(test)] mod tests { use crate::A; fn t(_: A) {} }";
        assert_eq!(circles(&[("lib.rs", root), ("a.rs", a), ("b.rs", b)]), none);
        let root = "mod a; pub fn new() { a::a() }";
        let a = "pub fn a() { let new = Vec::<u8>::new(); drop(new) }";
        assert_eq!(circles(&[("lib.rs", root), ("a.rs", a)]), none);
    }

    #[test]
    fn modules_are_found_where_the_compiler_finds_them() {
        let files = [
            ("lib.rs", "mod outer; mod inline { pub mod deep; }"),
            ("outer/mod.rs", "pub mod x; #[path = \"elsewhere.rs\"] pub mod y;"),
            ("outer/x.rs", "pub fn x() { super::y::y() }"),
            ("outer/elsewhere.rs", "pub fn y() { super::x::x() }"),
            ("inline/deep.rs", "pub fn deep() { crate::outer::x::x() }"),
        ];
        let expected = vec!["outer/elsewhere.rs".to_owned(), "outer/x.rs".to_owned()];
        assert_eq!(circles(&files), [expected]);
    }
}
