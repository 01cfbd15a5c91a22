//! The reference page of the template, as markdown.

use std::fmt::Write as _;

use crate::Schema;
use crate::shape::{Field, Form, Shape, TableShape};

/// Every table and key of a template, with type, default and description.
pub fn reference_markdown(schema: &Schema) -> String {
    let mut page = Page { text: String::from("# The template's keys\n") };
    page.line("");
    page.line("Generated from the types that read a template; do not edit.");
    page.line("");
    page.line("Strings may hold minijinja expressions: `{{ var.NAME }}`. One may stand wherever a");
    page.line("number, a boolean or a list is expected.");
    page.table("", schema.root());
    page.text
}

struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, line: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{line}");
    }

    fn heading(&mut self, name: &str, about: &str) {
        self.line("");
        self.line(&format!("## `{name}`"));
        // Types are described by their own table's name; what remains is worth a line.
        let about = about.trim_start_matches(&format!("`{name}`")).trim_start_matches([':', ',']);
        if !about.trim().is_empty() {
            self.line("");
            self.line(about.trim());
        }
    }

    fn table(&mut self, path: &str, table: &TableShape) {
        let is_value = |field: &&Field| {
            below(&field.shape).is_none() || matches!(field.shape, Shape::Switch(_))
        };
        let plain: Vec<&Field> = table.fields.iter().filter(is_value).collect();
        if !plain.is_empty() {
            self.line("");
            self.line("| key | type | default | |");
            self.line("| --- | --- | --- | --- |");
        }
        for field in plain {
            let default = match (field.required, field.default()) {
                (true, _) => "required",
                (false, Some(default)) => default,
                (false, None) => "–",
            };
            let about = format!("{}{}", field.about(), words(&field.shape));
            let row =
                format!("| `{}` | {} | {default} | {about} |", field.name, kind(&field.shape));
            self.line(&row);
        }
        for field in &table.fields {
            if let Some(inner) = below(&field.shape) {
                let dot = if path.is_empty() { "" } else { "." };
                self.below(&format!("{path}{dot}{}", field.name), field, inner);
            }
        }
    }

    fn below(&mut self, path: &str, field: &Field, shape: &Shape) {
        let many = matches!(field.shape, Shape::List(_));
        let path =
            if matches!(field.shape, Shape::Map(_)) { format!("{path}.NAME") } else { path.into() };
        let name = if many { format!("[[{path}]]") } else { format!("[{path}]") };
        match shape {
            Shape::Tagged { tag, variants } => {
                for (variant, table) in variants {
                    self.heading(&format!("{name} {tag} = \"{variant}\""), &table.description);
                    self.table(&path, table);
                }
            }
            Shape::Table(table) | Shape::Switch(table) => {
                self.heading(&name, &field.description);
                self.table(&path, table);
            }
            _ => {}
        }
    }
}

/// The shape of the tables in a field, where it holds tables with known keys.
fn below(shape: &Shape) -> Option<&Shape> {
    match shape {
        Shape::Table(_) | Shape::Switch(_) | Shape::Tagged { .. } => Some(shape),
        Shape::List(inner) | Shape::Map(inner) => below(inner),
        _ => None,
    }
}

fn kind(shape: &Shape) -> String {
    match shape {
        Shape::Any => "any".into(),
        Shape::Text(Form::Size) => "size".into(),
        Shape::Text(Form::Span) => "length of time".into(),
        Shape::Text(_) => "string".into(),
        Shape::Choice(words) => {
            words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ")
        }
        Shape::Integer { min, max } if *max < 1000 => format!("integer, {min} to {max}"),
        Shape::Integer { .. } => "integer".into(),
        Shape::Number => "number".into(),
        Shape::Bool => "bool".into(),
        Shape::Switch(_) => "bool or table".into(),
        Shape::List(item) => format!("list of {}", kind(item)),
        Shape::Map(item) => format!("table of {}", kind(item)),
        Shape::Table(_) | Shape::Tagged { .. } => "table".into(),
    }
}

/// What each word of a choice means.
fn words(shape: &Shape) -> String {
    let Shape::Choice(words) = shape else { return String::new() };
    let reported = words.iter().filter(|(_, about)| !about.is_empty());
    let reported: Vec<String> =
        reported.map(|(word, about)| format!(" `{word}`: {}", about.replace('|', "\\|"))).collect();
    reported.concat()
}
