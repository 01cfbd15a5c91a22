//! Checks a tree against the schema's shape, and converts rendered strings to what the shape asks for.

use std::ops::Range;

use crate::Diagnostic;
use crate::convert;
use crate::messages;
use crate::shape::{Field, Shape, TableShape};
use crate::suggest;
use crate::tree::{Entry, Node, Value};

/// Checks the whole template.
pub(crate) fn check(root: &mut Node, shape: &TableShape, out: &mut Vec<Diagnostic>) {
    Checker { out }.table(root, shape, "", &[]);
}

struct Checker<'o> {
    out: &'o mut Vec<Diagnostic>,
}

impl Checker<'_> {
    fn value(&mut self, node: &mut Node, shape: &Shape, path: &str, field: Option<&Field>) {
        if matches!(node.value, Value::Rendered { .. }) {
            match convert::rendered(node, shape) {
                Ok(()) => {}
                Err(why) => return self.out.push(messages::not_converted(node, shape, path, why)),
            }
        }
        match (&mut node.value, shape) {
            (Value::Template(_), Shape::Map(_) | Shape::Table(_) | Shape::Tagged { .. }) => {
                self.out.push(messages::wrong_type(node, shape, path));
            }
            (Value::Text(text), Shape::Text(form)) => {
                if let Err(why) = convert::fits(text, form) {
                    self.out.push(messages::bad_text(node, path, &why, field));
                }
            }
            (Value::Text(text), Shape::Choice(words)) => {
                if !words.iter().any(|(word, _)| word == text) {
                    self.out.push(messages::not_a_choice(node, path, words));
                }
            }
            (Value::Integer(number), &Shape::Integer { min, max }) => {
                if !(min..=max).contains(number) {
                    self.out.push(messages::out_of_range(node, path, min, max));
                }
            }
            (Value::Template(_) | Value::Rendered { .. }, _)
            | (_, Shape::Any)
            | (Value::Integer(_) | Value::Float(_), Shape::Number)
            | (Value::Bool(_), Shape::Bool | Shape::Switch(_)) => {}
            (Value::List(items), Shape::List(shape)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(item, shape, &format!("{path}[{index}]"), field);
                }
            }
            (Value::Table(entries), Shape::Map(shape)) => {
                for entry in entries {
                    let path = join(path, &entry.key);
                    self.value(&mut entry.node, shape, &path, field);
                }
            }
            (Value::Table(_), Shape::Table(table) | Shape::Switch(table)) => {
                self.table(node, table, path, &[]);
            }
            (Value::Table(_), Shape::Tagged { tag, variants }) => {
                self.tagged(node, tag, variants, path);
            }
            _ => self.out.push(messages::wrong_type(node, shape, path)),
        }
    }

    /// `tag`: the key that chose this table's shape, already checked.
    fn table(&mut self, node: &mut Node, shape: &TableShape, path: &str, tag: &[&str]) {
        let span = node.span.clone();
        let Value::Table(entries) = &mut node.value else { return };
        for entry in entries.iter_mut() {
            if tag.contains(&entry.key.as_str()) {
                continue;
            }
            match shape.field(&entry.key) {
                Some(field) => {
                    let path = join(path, &entry.key);
                    self.value(&mut entry.node, &field.shape, &path, Some(field));
                }
                None => self.out.push(messages::unknown_key(entry, shape, path, tag)),
            }
        }
        self.missing(entries, shape, path, &span);
    }

    fn missing(&mut self, entries: &[Entry], shape: &TableShape, path: &str, span: &Range<usize>) {
        for field in shape.fields.iter().filter(|field| field.required) {
            if !entries.iter().any(|entry| entry.key == field.name) {
                self.out.push(messages::missing(field, path, span));
            }
        }
    }

    fn tagged(
        &mut self,
        node: &mut Node,
        tag: &str,
        variants: &[(String, TableShape)],
        path: &str,
    ) {
        let names: Vec<&str> = variants.iter().map(|(name, _)| name.as_str()).collect();
        let Some(entry) = node.entry(tag) else {
            self.out.push(messages::no_tag(node, tag, variants, path));
            return;
        };
        let chosen = match &entry.node.value {
            Value::Text(word) | Value::Rendered { text: word, .. } => word.clone(),
            Value::Template(_) => {
                let message = format!("`{tag}` must be written out");
                self.out.push(
                    Diagnostic::new("fixed-value", entry.node.span.clone(), message)
                        .label("an expression cannot stand here")
                        .help(format!("one of {}", suggest::list(&names))),
                );
                return;
            }
            _ => {
                let words = names.iter().map(|name| ((*name).to_owned(), String::new()));
                let shape = Shape::Choice(words.collect());
                let path = join(path, tag);
                self.out.push(messages::wrong_type(&entry.node, &shape, &path));
                return;
            }
        };
        if let Some((_, shape)) = variants.iter().find(|(name, _)| *name == chosen) {
            let before = self.out.len();
            self.table(node, shape, path, &[tag, &chosen]);
            messages::point_to_owner(&mut self.out[before..], node, &chosen, variants);
        } else {
            let path = join(path, tag);
            self.out.push(messages::unknown_type(&entry.node, &chosen, &path, &names));
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
