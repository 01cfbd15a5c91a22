//! A crate's modules, as its files declare them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syn::visit::Visit;
use syn::{Attribute, Item, ItemMod, ItemUse, Meta, UseTree};

use super::paths::{self, Used};
use crate::Result;

/// A file, or the part of it that is compiled for tests alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Node {
    pub(crate) file: PathBuf,
    pub(crate) test: bool,
}

/// A module's scope in its [`Tree`].
pub(crate) type Id = usize;

/// A crate's modules; the first is the root.
pub(crate) type Tree = Vec<Module>;

/// A module.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) node: Node,
    pub(crate) parent: Option<Id>,
    /// What its names are: one name may be a module, a type and a value.
    pub(crate) names: BTreeMap<String, Vec<Name>>,
    /// The modules and enums that `use …::*` takes names from.
    pub(crate) globs: Vec<Vec<String>>,
    /// The paths in it.
    pub(crate) used: Vec<Used>,
}

/// What a name is.
#[derive(Debug, Clone)]
pub(crate) enum Name {
    Item(Node),
    Module(Id),
    Import(Vec<String>),
}

/// Reads the crate whose root this is.
pub(crate) fn load(root: &Path) -> Result<Tree> {
    let mut tree = Tree::new();
    let dir = root.parent().unwrap_or(root).to_owned();
    let scope = Scope { file: root.to_owned(), dir, test: false, parent: None };
    load_file(&mut tree, &scope)?;
    Ok(tree)
}

/// Where a module is.
struct Scope {
    file: PathBuf,
    /// The folder of its submodules.
    dir: PathBuf,
    test: bool,
    parent: Option<Id>,
}

fn load_file(tree: &mut Tree, scope: &Scope) -> Result<Id> {
    let text = std::fs::read_to_string(&scope.file)
        .map_err(|error| format!("cannot read {}: {error}", scope.file.display()))?;
    let file = syn::parse_file(&text)
        .map_err(|error| format!("cannot parse {}: {error}", scope.file.display()))?;
    load_items(tree, scope, &file.items)
}

fn load_items(tree: &mut Tree, scope: &Scope, items: &[Item]) -> Result<Id> {
    let id = tree.len();
    tree.push(Module {
        node: Node { file: scope.file.clone(), test: scope.test },
        parent: scope.parent,
        names: BTreeMap::new(),
        globs: Vec::new(),
        used: Vec::new(),
    });
    for item in items {
        match item {
            Item::Mod(item) => load_submodule(tree, scope, id, item)?,
            item => load_item(&mut tree[id], item),
        }
    }
    Ok(id)
}

fn load_submodule(tree: &mut Tree, scope: &Scope, id: Id, item: &ItemMod) -> Result<()> {
    let name = item.ident.to_string();
    let test = scope.test || is_test(&item.attrs);
    let dir = scope.dir.join(&name);
    let module = if let Some((_, items)) = &item.content {
        let inline = Scope { file: scope.file.clone(), dir, test, parent: Some(id) };
        load_items(tree, &inline, items)?
    } else {
        let (file, dir) = if let Some(path) = attribute_path(&item.attrs) {
            // Beside this file, as the compiler takes it; its submodules beside it.
            let beside = scope.file.parent().unwrap_or(&scope.file).to_owned();
            (beside.join(path), beside)
        } else {
            let file = scope.dir.join(format!("{name}.rs"));
            (if file.exists() { file } else { dir.join("mod.rs") }, dir)
        };
        load_file(tree, &Scope { file, dir, test, parent: Some(id) })?
    };
    tree[id].names.entry(name).or_default().push(Name::Module(module));
    Ok(())
}

fn load_item(module: &mut Module, item: &Item) {
    let test = module.node.test || paths::attributes(item).is_some_and(is_test);
    if let Some(name) = paths::defined(item) {
        let node = Node { test, ..module.node.clone() };
        module.names.entry(name.to_string()).or_default().push(Name::Item(node));
    }
    let mut reader = Reader { module, test };
    reader.visit_item(item);
}

/// Reads an item's paths and imports, its functions' own included.
struct Reader<'a> {
    module: &'a mut Module,
    test: bool,
}

impl Reader<'_> {
    fn import(&mut self, tree: &UseTree, before: &[String], re_export: bool) {
        let mut path = before.to_vec();
        match tree {
            UseTree::Path(tree) => {
                path.push(tree.ident.to_string());
                self.import(&tree.tree, &path, re_export);
            }
            UseTree::Name(name) if name.ident == "self" => {
                let last = path.last().cloned().unwrap_or_default();
                self.import_as(last, path, re_export);
            }
            UseTree::Name(name) => {
                path.push(name.ident.to_string());
                self.import_as(name.ident.to_string(), path, re_export);
            }
            UseTree::Rename(rename) => {
                if rename.ident != "self" {
                    path.push(rename.ident.to_string());
                }
                self.import_as(rename.rename.to_string(), path, re_export);
            }
            UseTree::Glob(_) => self.module.globs.push(path),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, before, re_export);
                }
            }
        }
    }

    fn import_as(&mut self, name: String, path: Vec<String>, re_export: bool) {
        self.module.used.push(Used { path: path.clone(), test: self.test, re_export });
        self.module.names.entry(name).or_default().push(Name::Import(path));
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let re_export = !matches!(item.vis, syn::Visibility::Inherited);
        self.import(&item.tree, &[], re_export);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.module.used.push(Used { path: names, test: self.test, re_export: false });
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        for path in paths::in_tokens(item.tokens.clone()) {
            self.module.used.push(Used { path, test: self.test, re_export: false });
        }
        syn::visit::visit_macro(self, item);
    }
}

/// `#[path = "…"]`
fn attribute_path(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find(|attribute| attribute.path().is_ident("path")).and_then(|attribute| {
        let Meta::NameValue(value) = &attribute.meta else { return None };
        let syn::Expr::Lit(literal) = &value.value else { return None };
        let syn::Lit::Str(text) = &literal.lit else { return None };
        Some(text.value())
    })
}

/// `#[cfg(test)]`
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}
