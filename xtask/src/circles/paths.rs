//! What items define, and the paths that are written in them.

use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, Ident, Item};

/// A path that is written somewhere.
#[derive(Debug)]
pub(crate) struct Used {
    pub(crate) path: Vec<String>,
    /// Written in code for tests alone.
    pub(crate) test: bool,
    /// `pub use`, in any degree.
    pub(crate) re_export: bool,
}

/// The name that an item gives its module.
pub(crate) fn defined(item: &Item) -> Option<&Ident> {
    match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Macro(item) => item.ident.as_ref(),
        Item::Static(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::TraitAlias(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        Item::Union(item) => Some(&item.ident),
        _ => None,
    }
}

/// The attributes of an item that can have `#[cfg(test)]`.
pub(crate) fn attributes(item: &Item) -> Option<&[Attribute]> {
    match item {
        Item::Const(item) => Some(&item.attrs),
        Item::Enum(item) => Some(&item.attrs),
        Item::Fn(item) => Some(&item.attrs),
        Item::Impl(item) => Some(&item.attrs),
        Item::Macro(item) => Some(&item.attrs),
        Item::Static(item) => Some(&item.attrs),
        Item::Struct(item) => Some(&item.attrs),
        Item::Trait(item) => Some(&item.attrs),
        Item::Type(item) => Some(&item.attrs),
        Item::Use(item) => Some(&item.attrs),
        _ => None,
    }
}

/// The paths among a macro's arguments: names with `::` between them.
pub(crate) fn in_tokens(tokens: TokenStream) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut colons = 0;
    let mut field = false;
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == ':' => {
                colons += 1;
                field = false;
                continue;
            }
            TokenTree::Ident(name) => {
                if colons != 2 || path.is_empty() {
                    paths.extend((!path.is_empty()).then(|| std::mem::take(&mut path)));
                }
                // `value.name` is a field or a method.
                if !field {
                    path.push(name.to_string());
                }
                field = false;
            }
            TokenTree::Group(group) => {
                paths.extend((!path.is_empty()).then(|| std::mem::take(&mut path)));
                paths.extend(in_tokens(group.stream()));
                field = false;
            }
            TokenTree::Punct(punct) => {
                paths.extend((!path.is_empty()).then(|| std::mem::take(&mut path)));
                field = punct.as_char() == '.';
            }
            TokenTree::Literal(_) => {
                paths.extend((!path.is_empty()).then(|| std::mem::take(&mut path)));
                field = false;
            }
        }
        colons = 0;
    }
    paths.extend((!path.is_empty()).then_some(path));
    paths
}
