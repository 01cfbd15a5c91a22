//! The template as a tree that knows where each part stands.

use std::ops::Range;

use imgbake_types::secret;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Diagnostic;

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Its bytes; for a table, those of its header or key.
    pub(crate) span: Range<usize>,
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// A string that holds no expression.
    Text(String),
    /// A string with `{{` or `{%` in it, before it is rendered.
    Template(String),
    /// A rendered string; `native` where it was one single expression.
    Rendered {
        text: String,
        native: Option<serde_json::Value>,
    },
    Integer(i64),
    Float(f64),
    Bool(bool),
    Datetime(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key of a table with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) node: Node,
}

impl Node {
    pub(crate) const fn kind(&self) -> &'static str {
        match self.value {
            Value::Text(_) | Value::Template(_) | Value::Rendered { .. } => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a decimal number",
            Value::Bool(_) => "a boolean",
            Value::Datetime(_) => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        if let Value::Table(entries) = &self.value { entries } else { &[] }
    }

    pub(crate) fn items(&self) -> &[Node] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    pub(crate) fn is_table(&self) -> bool {
        matches!(self.value, Value::Table(_))
    }

    /// The strings of a list that are known now, each with its node.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&Self, &str)> {
        self.items().iter().filter_map(|item| Some((item, item.text()?)))
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The text of a string that is known now.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Rendered { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The node at a path such as `provision[1].script`, or the nearest one around it.
    pub(crate) fn at(&self, path: &str) -> &Self {
        let mut node = self;
        for part in path.split('.').filter(|part| !part.is_empty()) {
            let (key, indexes) = part.split_once('[').unwrap_or((part, ""));
            let Some(next) = node.get(key) else { return node };
            node = next;
            for index in indexes.split(['[', ']']).filter_map(|text| text.parse::<usize>().ok()) {
                let Some(next) = node.items().get(index) else { return node };
                node = next;
            }
        }
        node
    }

    /// The node at a JSON Pointer such as `/env/HOME`, or the nearest one around it; with its entry where
    /// it is a table's.
    pub(crate) fn pointed(
        &self,
        parts: impl IntoIterator<Item = String>,
    ) -> (Option<&Entry>, &Self) {
        let (mut entry, mut node) = (None, self);
        for part in parts {
            if let Some(found) = node.entry(&part) {
                (entry, node) = (Some(found), &found.node);
            } else if let Some(item) =
                part.parse().ok().and_then(|index: usize| node.items().get(index))
            {
                (entry, node) = (None, item);
            } else {
                break;
            }
        }
        (entry, node)
    }

    /// As JSON for rules; what is not known yet, or is no value of a template, is `null`.
    pub(crate) fn known(&self) -> serde_json::Value {
        match &self.value {
            Value::Template(_) | Value::Datetime(_) => serde_json::Value::Null,
            Value::List(items) => items.iter().map(Self::known).collect(),
            Value::Table(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.node.known())).collect()
            }
            _ => self.json(),
        }
    }

    /// As JSON, for serde; a string that is not rendered stays as it is written.
    pub(crate) fn json(&self) -> serde_json::Value {
        match &self.value {
            Value::Text(text)
            | Value::Template(text)
            | Value::Datetime(text)
            | Value::Rendered { text, .. } => text.as_str().into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Bool(flag) => (*flag).into(),
            Value::List(items) => items.iter().map(Self::json).collect(),
            Value::Table(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.node.json())).collect()
            }
        }
    }

    /// A tree of one place from JSON.
    pub(crate) fn from_json(value: &serde_json::Value, span: &Range<usize>) -> Self {
        let value = match value {
            serde_json::Value::Null => Value::Text(String::new()),
            serde_json::Value::Bool(flag) => Value::Bool(*flag),
            serde_json::Value::Number(number) => number
                .as_i64()
                .map_or_else(|| Value::Float(number.as_f64().unwrap_or_default()), Value::Integer),
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(items) => {
                Value::List(items.iter().map(|item| Self::from_json(item, span)).collect())
            }
            serde_json::Value::Object(map) => Value::Table(
                map.iter()
                    .map(|(key, value)| Entry {
                        key: key.clone(),
                        key_span: span.clone(),
                        node: Self::from_json(value, span),
                    })
                    .collect(),
            ),
        };
        Self { span: span.clone(), value }
    }

    /// Calls `visit` for this node and all below it.
    pub(crate) fn walk(&self, visit: &mut impl FnMut(&Self)) {
        visit(self);
        self.items().iter().for_each(|item| item.walk(visit));
        self.entries().iter().for_each(|entry| entry.node.walk(visit));
    }
}

/// Parses TOML whose strings are never rendered.
pub(crate) fn parse_plain(text: &str) -> (Node, Vec<Diagnostic>) {
    parse_where(text, &|_| false)
}

/// Parses TOML; the tree holds what could be read even if there are mistakes. `plain` names the
/// top-level tables whose strings are never rendered.
pub(crate) fn parse(text: &str, plain: &[&str]) -> (Node, Vec<Diagnostic>) {
    parse_where(text, &|key| !plain.contains(&key))
}

fn parse_where(text: &str, rendered: &dyn Fn(&str) -> bool) -> (Node, Vec<Diagnostic>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut build = Build {
        errors: errors
            .into_iter()
            .map(|error| {
                let span = clamp(error.span().unwrap_or(0..0), text);
                Diagnostic::new("syntax", span, error.message().to_owned())
                    .label("the TOML is not well formed here")
            })
            .collect(),
    };
    let entries = build.entries(table.into_inner(), rendered);
    (Node { span: 0..0, value: Value::Table(entries) }, build.errors)
}

fn clamp(span: Range<usize>, text: &str) -> Range<usize> {
    let end = span.end.min(text.len());
    span.start.min(end)..end
}

struct Build {
    errors: Vec<Diagnostic>,
}

impl Build {
    fn entries(&mut self, table: DeTable<'_>, rendered: &dyn Fn(&str) -> bool) -> Vec<Entry> {
        let mut entries: Vec<Entry> = table
            .into_iter()
            .map(|(key, value)| {
                let live = rendered(key.get_ref());
                Entry {
                    key_span: key.span(),
                    node: self.node(value, live),
                    key: key.into_inner().into_owned(),
                }
            })
            .collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        entries
    }

    fn node(&mut self, value: Spanned<DeValue<'_>>, rendered: bool) -> Node {
        let span = value.span();
        let value = match value.into_inner() {
            DeValue::String(text) => self.string(text.into_owned(), &span, rendered),
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix());
                Value::Integer(parsed.unwrap_or_else(|_| {
                    self.errors.push(Diagnostic::new(
                        "number-range",
                        span.clone(),
                        "this number does not fit into 64 bits",
                    ));
                    0
                }))
            }
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or_default()),
            DeValue::Boolean(flag) => Value::Bool(flag),
            DeValue::Datetime(date) => Value::Datetime(date.to_string()),
            DeValue::Array(items) => {
                Value::List(items.into_iter().map(|item| self.node(item, rendered)).collect())
            }
            DeValue::Table(table) => Value::Table(self.entries(table, &|_| rendered)),
        };
        Node { span, value }
    }

    fn string(&mut self, text: String, span: &Range<usize>, rendered: bool) -> Value {
        if text.contains(secret::OPEN) {
            self.errors.push(
                Diagnostic::new("marker", span.clone(), "a string holds a secret's marker")
                    .help("declare a sensitive variable and write `{{ var.NAME }}`"),
            );
        }
        if rendered && (text.contains("{{") || text.contains("{%")) {
            Value::Template(text)
        } else {
            Value::Text(text)
        }
    }
}
