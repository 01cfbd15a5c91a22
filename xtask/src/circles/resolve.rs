//! From the paths that are written to the files that define what they name.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Id, Module, Name, Node, Tree};

/// Which file uses which, and by what names.
pub(crate) type Graph = BTreeMap<(Node, Node), BTreeSet<String>>;

/// Imports that lead to imports end somewhere; re-exports of globs may lead round.
const DEPTH: usize = 16;

/// The uses between a crate's files.
pub(crate) fn graph(tree: &Tree) -> Graph {
    let mut graph = Graph::new();
    for (id, module) in tree.iter().enumerate() {
        for used in &module.used {
            for found in resolve(tree, id, &used.path, DEPTH) {
                let Target::Item(to, at) = found else { continue };
                // A parent that re-exports what is below it does not use it.
                if used.re_export && is_below(tree, at, id) {
                    continue;
                }
                let from = Node { test: used.test, ..module.node.clone() };
                if from != to {
                    graph.entry((from, to)).or_default().insert(used.path.join("::"));
                }
            }
        }
    }
    graph
}

/// What a path leads to.
#[derive(Debug)]
enum Target {
    /// An item, and the module that defines it.
    Item(Node, Id),
    Module(Id),
}

/// Whether a module is in another, or in one of its submodules.
fn is_below(tree: &[Module], mut module: Id, ancestor: Id) -> bool {
    loop {
        if module == ancestor {
            return true;
        }
        match tree[module].parent {
            Some(parent) => module = parent,
            None => return false,
        }
    }
}

/// What a path, written in a module, leads to; nothing when it leads out of the crate.
fn resolve(tree: &[Module], module: Id, path: &[String], depth: usize) -> Vec<Target> {
    let Some((first, rest)) = path.split_first() else { return vec![Target::Module(module)] };
    match first.as_str() {
        "crate" => resolve_in(tree, 0, rest, depth),
        "self" => resolve_in(tree, module, rest, depth),
        "super" => match tree[module].parent {
            Some(parent) => resolve_super(tree, parent, rest, depth),
            None => Vec::new(),
        },
        _ => resolve_in(tree, module, path, depth),
    }
}

fn resolve_super(tree: &[Module], module: Id, path: &[String], depth: usize) -> Vec<Target> {
    match (path.split_first(), tree[module].parent) {
        (Some((first, rest)), Some(parent)) if first == "super" => {
            resolve_super(tree, parent, rest, depth)
        }
        _ => resolve_in(tree, module, path, depth),
    }
}

/// What a path leads to whose first name is one of a module's.
fn resolve_in(tree: &[Module], module: Id, path: &[String], depth: usize) -> Vec<Target> {
    let Some((first, rest)) = path.split_first() else { return vec![Target::Module(module)] };
    if depth == 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    for name in tree[module].names.get(first).into_iter().flatten() {
        match name {
            // What follows is a variant, a constant or a function of it.
            Name::Item(node) => found.push(Target::Item(node.clone(), module)),
            Name::Module(id) => found.extend(resolve_in(tree, *id, rest, depth)),
            // An import of a crate's own name, `use serde;`, would lead back to itself.
            Name::Import(import) if import.first() == Some(first) && import.len() == 1 => {}
            Name::Import(import) => {
                for target in resolve(tree, module, import, depth - 1) {
                    match target {
                        Target::Module(id) => {
                            found.extend(resolve_in(tree, id, rest, depth - 1));
                        }
                        item @ Target::Item(..) => found.push(item),
                    }
                }
            }
        }
    }
    if found.is_empty() {
        for glob in &tree[module].globs {
            for target in resolve(tree, module, glob, depth - 1) {
                if let Target::Module(id) = target
                    && id != module
                {
                    found.extend(resolve_in(tree, id, path, depth - 1));
                }
            }
        }
    }
    found
}
