//! A template that was read and checked, before its variables have values.

use std::collections::BTreeMap;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};

use crate::check::check;
use crate::combination::Combination;
use crate::rules::{self, Scope};
use crate::shape::Schema;
use crate::tree::{self, Node};
use crate::variable::Variable;
use crate::{Diagnostic, Diagnostics, strings};

/// What the checker must know.
#[derive(Debug, Clone, Copy)]
pub struct CheckOptions<'o> {
    /// What a template may hold.
    pub schema: &'o Schema,
    /// The names of all seal operations; empty if `[seal]` shall not be checked against them.
    pub seal_operations: &'o [&'o str],
}

/// A template without a mistake that can be seen before its variables have values.
#[derive(Debug, Clone)]
pub struct Template {
    pub(crate) path: Utf8PathBuf,
    pub(crate) source: String,
    pub(crate) root: Node,
    pub(crate) declared: BTreeMap<String, Variable>,
    /// The combinations of `[[matrix]]`; none without one.
    pub(crate) matrix: Vec<Combination>,
    pub(crate) seal_operations: Vec<String>,
    pub(crate) schema: Schema,
}

/// Reads and checks a template's text; `path` is for messages. Seal operations are not checked.
pub fn parse(path: &Utf8Path, text: &str, schema: &Schema) -> Result<Template, Diagnostics> {
    parse_with(path, text, &CheckOptions { schema, seal_operations: &[] })
}

/// Reads and checks a template's text; `path` is for messages.
pub fn parse_with(
    path: &Utf8Path,
    text: &str,
    options: &CheckOptions<'_>,
) -> Result<Template, Diagnostics> {
    let (mut root, syntax) = tree::parse(text, &["variables", "matrix"]);
    let mut found = Vec::new();
    check(&mut root, options.schema.root(), &mut found);
    if !syntax.is_empty() {
        let items = beside_syntax_errors(text, syntax, found);
        return Err(Diagnostics::new(path, text, items));
    }
    let declared = rules::declare(&root, &mut found);
    let matrix = rules::combinations(&root, &declared, &mut found);
    strings::check(text, &root, &declared, &mut found);
    let seal_operations = options.seal_operations.iter().map(|name| (*name).to_owned()).collect();
    let template = Template {
        path: path.to_owned(),
        source: text.to_owned(),
        root,
        declared,
        matrix,
        seal_operations,
        schema: options.schema.clone(),
    };
    template.rules(&template.root, &mut found);
    if found.is_empty() { Ok(template) } else { Err(template.diagnostics(found)) }
}

/// A text that is not TOML still reports unknown keys; what else is wrong with it may come from the
/// part that could not be read.
fn beside_syntax_errors(
    text: &str,
    syntax: Vec<Diagnostic>,
    found: Vec<Diagnostic>,
) -> Vec<Diagnostic> {
    let line =
        |one: &Diagnostic| one.span().map(|span| crate::render::position(text, span.start).start);
    let broken: Vec<Option<usize>> = syntax.iter().map(line).collect();
    let sure =
        found.into_iter().filter(|one| one.code == "unknown-key" && !broken.contains(&line(one)));
    syntax.into_iter().chain(sure.collect::<Vec<_>>()).collect()
}

impl Template {
    /// The template's path as given.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The declared variables, by name.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.declared.values()
    }

    /// The bytes of a value, by its path: `provision[1].script`. Where there is no such value, those
    /// of the nearest table around it.
    pub fn span_of(&self, path: &str) -> Range<usize> {
        self.root.at(path).span.clone()
    }

    /// Mistakes found elsewhere, as those of this template.
    pub fn diagnostics(&self, items: Vec<Diagnostic>) -> Diagnostics {
        Diagnostics::new(&self.path, &self.source, items)
    }

    pub(crate) fn rules(&self, root: &Node, out: &mut Vec<Diagnostic>) {
        let scope = Scope { root, schema: &self.schema, seal_operations: &self.seal_operations };
        rules::check(&scope, out);
    }
}
