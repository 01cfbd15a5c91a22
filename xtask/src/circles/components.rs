//! Sets of files in which each leads to each other. A crate has a hundred files: no clever algorithm.

use std::collections::{BTreeMap, BTreeSet};

use super::resolve::Graph;
use super::tree::Node;

/// The circles of a graph.
pub(crate) fn circles(graph: &Graph) -> Vec<BTreeSet<Node>> {
    let mut arrows: BTreeMap<&Node, Vec<&Node>> = BTreeMap::new();
    for (from, to) in graph.keys() {
        arrows.entry(from).or_default().push(to);
    }
    let reached: BTreeMap<&Node, BTreeSet<&Node>> =
        arrows.keys().map(|&node| (node, reached(&arrows, node))).collect();
    let mut circles: Vec<BTreeSet<Node>> = Vec::new();
    for (&node, there) in &reached {
        let back = |other: &&Node| reached.get(other).is_some_and(|there| there.contains(node));
        let circle: BTreeSet<Node> = there.iter().copied().filter(back).cloned().collect();
        if !circle.is_empty() && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

/// All that a node leads to; itself only by way of another.
fn reached<'a>(arrows: &BTreeMap<&'a Node, Vec<&'a Node>>, from: &'a Node) -> BTreeSet<&'a Node> {
    let mut found = BTreeSet::new();
    let mut next = vec![from];
    while let Some(node) = next.pop() {
        for &to in arrows.get(node).into_iter().flatten() {
            if found.insert(to) {
                next.push(to);
            }
        }
    }
    found
}
