//! The template's JSON Schema, read into what the checker and the reference need.
//!
//! The schema comes from the types (`imgbake_types::spec`), so that they alone say what a template
//! may hold.

use std::sync::Arc;

use imgbake_types::spec::{BuilderKind, ProvisionerKind, TemplateSpec};
use regex::Regex;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// What a value may be.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    /// Anything.
    Any,
    /// A string.
    Text(Form),
    /// One of a few words, each with its description.
    Choice(Vec<(String, String)>),
    /// A whole number within bounds.
    Integer { min: i64, max: i64 },
    /// Any number.
    Number,
    /// `true` or `false`.
    Bool,
    /// `true`, `false`, or a table with known keys.
    Switch(TableShape),
    /// A list.
    List(Box<Shape>),
    /// A table with keys of the author's own.
    Map(Box<Shape>),
    /// A table with known keys.
    Table(TableShape),
    /// A table whose known keys depend on the value of one key.
    Tagged { tag: String, variants: Vec<(String, TableShape)> },
}

/// What a string must look like.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    Free,
    Size,
    Span,
    Pattern(Box<Regex>),
}

/// A table's known keys.
#[derive(Debug, Clone)]
pub(crate) struct TableShape {
    pub(crate) description: String,
    pub(crate) fields: Vec<Field>,
}

/// One known key.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) required: bool,
    pub(crate) description: String,
    pub(crate) shape: Shape,
}

impl TableShape {
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.fields.iter().map(|field| field.name.as_str()).collect()
    }
}

impl Field {
    /// What the description says of the default.
    pub(crate) fn default(&self) -> Option<&str> {
        let (_, rest) = self.description.split_once("Default: ")?;
        Some(rest.trim_end_matches('.'))
    }

    /// The description without what it says of the default.
    pub(crate) fn about(&self) -> &str {
        self.description.split("Default: ").next().unwrap_or_default().trim_end()
    }
}

impl Shape {
    /// What it is, with its article.
    pub(crate) fn noun(&self) -> String {
        match self {
            Self::Any => "a value".into(),
            Self::Text(Form::Size) => "a size such as \"4GiB\"".into(),
            Self::Text(Form::Span) => "a length of time such as \"10m\"".into(),
            Self::Text(_) | Self::Choice(_) => "a string".into(),
            Self::Integer { .. } => "a whole number".into(),
            Self::Number => "a number".into(),
            Self::Bool => "`true` or `false`".into(),
            Self::Switch(_) => "`true`, `false` or a table".into(),
            Self::List(item) => format!("a list of {}", item.plural()),
            Self::Map(_) | Self::Table(_) | Self::Tagged { .. } => "a table".into(),
        }
    }

    fn plural(&self) -> &'static str {
        match self {
            Self::Any => "values",
            Self::Text(Form::Size) => "sizes",
            Self::Text(Form::Span) => "lengths of time",
            Self::Text(_) | Self::Choice(_) => "strings",
            Self::Integer { .. } => "whole numbers",
            Self::Number => "numbers",
            Self::Bool => "booleans",
            Self::Switch(_) => "booleans or tables",
            Self::List(_) => "lists",
            Self::Map(_) | Self::Table(_) | Self::Tagged { .. } => "tables",
        }
    }
}

/// What templates may hold: the types' schema, and in it a table for each kind of builder and of
/// provisioner.
#[derive(Debug, Clone)]
pub struct Schema(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    json: Value,
    root: TableShape,
    builders: Vec<BuilderKind>,
    provisioners: Vec<ProvisionerKind>,
}

impl Schema {
    /// The schema of templates for these builders and provisioners.
    pub fn new(builders: &[BuilderKind], provisioners: &[ProvisionerKind]) -> Self {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        let tables: Vec<(&str, Value)> = builders
            .iter()
            .map(|kind| {
                let mut table = kind.schema(&mut generator).to_value();
                table["description"] = kind.about.into();
                (kind.name, table)
            })
            .collect();
        let settings: Vec<Value> =
            provisioners.iter().map(|kind| kind.schema(&mut generator).to_value()).collect();
        // Its definitions are those of the builders and provisioners as well.
        let mut json = generator.into_root_schema_for::<TemplateSpec>().to_value();
        for (name, table) in tables {
            json["$defs"]["BuilderSpec"]["properties"][name] = table;
        }
        let every = json["$defs"]["ProvisionSpec"].take();
        let steps = provisioners.iter().zip(settings).map(|(kind, own)| step(kind, &every, own));
        json["$defs"]["ProvisionSpec"] =
            json!({ "description": every["description"], "oneOf": steps.collect::<Vec<_>>() });
        let root = Reader { json: &json }.table(&json);
        let (builders, provisioners) = (builders.to_vec(), provisioners.to_vec());
        Self(Arc::new(Inner { json, root, builders, provisioners }))
    }

    pub(crate) fn json(&self) -> &Value {
        &self.0.json
    }

    /// The whole template's shape.
    pub(crate) fn root(&self) -> &TableShape {
        &self.0.root
    }

    /// The kind of builder of a name.
    pub(crate) fn builder(&self, name: &str) -> Option<&BuilderKind> {
        self.0.builders.iter().find(|kind| kind.name == name)
    }

    /// The kinds of provisioners.
    pub(crate) fn provisioners(&self) -> &[ProvisionerKind] {
        &self.0.provisioners
    }

    /// The kind of provisioner of a name.
    pub(crate) fn provisioner(&self, name: &str) -> Option<&ProvisionerKind> {
        self.0.provisioners.iter().find(|kind| kind.name == name)
    }
}

/// The table of a kind's steps: the keys that every step has, and the kind's own.
fn step(kind: &ProvisionerKind, every: &Value, mut own: Value) -> Value {
    let mut keys = own["properties"].take();
    if let (Some(keys), Some(every)) = (keys.as_object_mut(), every["properties"].as_object()) {
        keys.extend(every.clone());
    }
    keys["type"] = json!({ "type": "string", "const": kind.name });
    keys["name"]["description"] = format!("The step's name. Default: `{}-N`.", kind.name).into();
    let own_required = own["required"].as_array().cloned().unwrap_or_default();
    let required: Vec<Value> = std::iter::once("type".into()).chain(own_required).collect();
    json!({
        "type": "object",
        "description": kind.about,
        "properties": keys,
        "required": required,
        "additionalProperties": false,
    })
}

/// Reads a schema's parts.
#[derive(Clone, Copy)]
struct Reader<'s> {
    json: &'s Value,
}

impl<'s> Reader<'s> {
    fn follow(self, mut schema: &'s Value) -> (&'s Value, Option<&'s str>) {
        let mut name = None;
        loop {
            if let Some(link) =
                schema["$ref"].as_str().and_then(|link| link.strip_prefix("#/$defs/"))
            {
                name = Some(link);
                schema = &self.json["$defs"][link];
            } else if let Some(some) = optional(schema) {
                schema = some;
            } else {
                return (schema, name);
            }
        }
    }

    fn shape(self, schema: &'s Value) -> Shape {
        let (schema, name) = self.follow(schema);
        if let Some(variants) = schema["oneOf"].as_array() {
            return self.one_of(variants);
        }
        if let Some(table) = self.switch(schema) {
            return Shape::Switch(self.table(table));
        }
        match kind(schema) {
            Some("string") => Shape::Text(form(schema, name)),
            Some("integer") => integer(schema),
            Some("number") => Shape::Number,
            Some("boolean") => Shape::Bool,
            Some("array") => Shape::List(Box::new(self.shape(&schema["items"]))),
            // `true` is the schema of any value.
            Some("object")
                if schema["additionalProperties"].is_object()
                    || schema["additionalProperties"] == true =>
            {
                Shape::Map(Box::new(self.shape(&schema["additionalProperties"])))
            }
            Some("object") => Shape::Table(self.table(schema)),
            _ => Shape::Any,
        }
    }

    /// The table of a value that is `true`, `false` or that table.
    fn switch(self, schema: &'s Value) -> Option<&'s Value> {
        let [flag, table] = schema["anyOf"].as_array()?.as_slice() else { return None };
        let (table, _) = self.follow(table);
        (kind(flag) == Some("boolean") && table["properties"].is_object()).then_some(table)
    }

    fn one_of(self, variants: &'s [Value]) -> Shape {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if variants.iter().all(|variant| variant["const"].is_string()) {
            let words =
                variants.iter().map(|one| (text(&one["const"]), prose(&one["description"])));
            return Shape::Choice(words.collect());
        }
        let tag = variants
            .first()
            .and_then(|one| one["properties"].as_object())
            .and_then(|keys| keys.iter().find(|(_, value)| value["const"].is_string()))
            .map(|(key, _)| key.clone());
        let Some(tag) = tag else { return Shape::Any };
        let variants = variants.iter().map(|one| {
            let mut table = self.table(one);
            table.fields.retain(|field| field.name != tag);
            (text(&one["properties"][&tag]["const"]), table)
        });
        Shape::Tagged { variants: variants.collect(), tag }
    }

    fn table(self, schema: &'s Value) -> TableShape {
        let required = |name: &str| {
            schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name))
        };
        let fields = schema["properties"].as_object().into_iter().flatten();
        TableShape {
            description: prose(&schema["description"]),
            fields: fields
                .map(|(name, value)| Field {
                    name: name.clone(),
                    required: required(name),
                    description: prose(&value["description"]),
                    shape: self.shape(value),
                })
                .collect(),
        }
    }
}

/// The schema of a value that may also be null.
fn optional(schema: &Value) -> Option<&Value> {
    match schema["anyOf"].as_array()?.as_slice() {
        [some, null] | [null, some] if null["type"] == "null" => Some(some),
        _ => None,
    }
}

fn kind(schema: &Value) -> Option<&str> {
    match &schema["type"] {
        Value::String(kind) => Some(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        _ => None,
    }
}

fn form(schema: &Value, name: Option<&str>) -> Form {
    match (name, schema["pattern"].as_str()) {
        (Some("Size"), _) => Form::Size,
        (Some("Span"), _) => Form::Span,
        (_, Some(pattern)) => {
            Regex::new(pattern).map_or(Form::Free, |regex| Form::Pattern(Box::new(regex)))
        }
        (_, None) => Form::Free,
    }
}

fn integer(schema: &Value) -> Shape {
    let (low, high) = match schema["format"].as_str() {
        Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
        Some("uint32") => (0, i64::from(u32::MAX)),
        Some("uint16") => (0, i64::from(u16::MAX)),
        Some("uint8") => (0, i64::from(u8::MAX)),
        Some("uint64" | "uint") => (0, i64::MAX),
        _ => (i64::MIN, i64::MAX),
    };
    Shape::Integer {
        min: schema["minimum"].as_i64().unwrap_or(low),
        max: schema["maximum"].as_i64().unwrap_or(high),
    }
}

/// A doc comment's text with its line breaks taken out.
fn prose(description: &Value) -> String {
    description.as_str().unwrap_or_default().replace('\n', " ")
}
