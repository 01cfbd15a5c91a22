//! The values that the caller gives to variables, in layers: var files, the environment, flags.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use imgbake_types::spec::VariableType;
use serde_json::Value;

use crate::combination::Combination;
use crate::render::position;
use crate::suggest;
use crate::tree;
use crate::value::{SetValue, fit};
use crate::variable::Variable;
use crate::{Diagnostic, Diagnostics, Location};

/// What an environment variable's name starts with.
const PREFIX: &str = "IMGBAKE_VAR_";

/// Values for a template's variables. A flag beats the environment, which beats a var file, which
/// beats the template's matrix, which beats its default; of two in one layer, the later one holds.
#[derive(Default, Clone)]
pub struct Variables {
    files: Vec<FromFile>,
    environment: BTreeMap<String, String>,
    flags: Vec<(String, String)>,
    matrix: Combination,
    elsewhere: BTreeSet<String>,
}

#[derive(Clone)]
struct FromFile {
    name: String,
    value: Value,
    origin: String,
}

/// Prints names alone: a value may be sensitive.
impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variables")
            .field("files", &self.files.iter().map(|one| &one.name).collect::<Vec<_>>())
            .field("environment", &self.environment.keys())
            .field("flags", &self.flags.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("matrix", &self.matrix.keys())
            .finish_non_exhaustive()
    }
}

impl Variables {
    /// No values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a var file's text: JSON where its name ends in `.json`, else TOML, as `name = value`.
    ///
    /// Its mistakes name the line but do not show it, since it may hold a sensitive value.
    pub fn add_file(&mut self, path: &Utf8Path, text: &str) -> Result<(), Diagnostics> {
        let read =
            if path.extension() == Some("json") { json(path, text) } else { toml(path, text) };
        self.files.extend(read.map_err(|items| Diagnostics::new(path, "", items))?);
        Ok(())
    }

    /// Adds those of the environment's pairs whose name starts with `IMGBAKE_VAR_`.
    pub fn add_environment(&mut self, pairs: impl IntoIterator<Item = (String, String)>) {
        for (name, value) in pairs {
            if let Some(name) = name.strip_prefix(PREFIX) {
                self.environment.insert(name.to_owned(), value);
            }
        }
    }

    /// Adds a flag's `NAME=VALUE`.
    pub fn add_flag(&mut self, text: &str) -> Result<(), Diagnostics> {
        let Some((name, value)) = text.split_once('=') else {
            // The text may be a sensitive value whose name was forgotten, so it is not quoted.
            let item = Diagnostic::at(
                "variable-flag",
                Location::Elsewhere("--var".into()),
                "`--var` takes NAME=VALUE",
            );
            return Err(Diagnostics::new(Utf8Path::new("--var"), "", vec![item]));
        };
        self.flags.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Allows names that a template does not declare, since another template of the same call does:
    /// there, a value of such a name is left out.
    pub fn allow(&mut self, names: impl IntoIterator<Item = String>) {
        self.elsewhere.extend(names);
    }

    /// The same values above those of one of the matrix's combinations.
    #[must_use]
    pub fn for_combination(&self, combination: &Combination) -> Self {
        Self { matrix: combination.clone(), ..self.clone() }
    }

    /// The value of every declared variable, or every mistake.
    pub(crate) fn settle(
        &self,
        declared: &BTreeMap<String, Variable>,
    ) -> Result<BTreeMap<String, Value>, Vec<Diagnostic>> {
        let mut out = self.unknown(declared);
        let mut values = BTreeMap::new();
        for variable in declared.values() {
            match self.one(variable) {
                Ok(value) => drop(values.insert(variable.name.clone(), value)),
                Err(diagnostic) => out.push(*diagnostic),
            }
        }
        if out.is_empty() { Ok(values) } else { Err(out) }
    }

    fn unknown(&self, declared: &BTreeMap<String, Variable>) -> Vec<Diagnostic> {
        let known: Vec<&str> = declared.keys().map(String::as_str).collect();
        let files = self.files.iter().map(|one| (&one.name, one.origin.clone()));
        let flags = self.flags.iter().map(|(name, _)| (name, format!("--var {name}")));
        files
            .chain(flags)
            .filter(|(name, _)| !declared.contains_key(*name) && !self.elsewhere.contains(*name))
            .map(|(name, origin)| {
                let message = format!("the template declares no variable `{name}`");
                Diagnostic::at("unknown-variable", Location::Elsewhere(origin), message)
                    .maybe_help(suggest::hint(name, &known))
            })
            .collect()
    }

    fn one(&self, variable: &Variable) -> Result<Value, Box<Diagnostic>> {
        let name = &variable.name;
        let flag = self.flags.iter().rev().find(|(given, _)| given == name);
        let file = self.files.iter().rev().find(|one| one.name == *name);
        let (given, origin) = if let Some((_, text)) = flag {
            (SetValue::Text(text), format!("--var {name}"))
        } else if let Some(text) = self.environment.get(name) {
            (SetValue::Text(text), format!("{PREFIX}{name}"))
        } else if let Some(FromFile { value, origin, .. }) = file {
            (SetValue::Typed(value), origin.clone())
        } else if let Some(value) = self.matrix.get(name) {
            (SetValue::Typed(value), "[[matrix]]".to_owned())
        } else {
            return variable.default.clone().ok_or_else(|| Box::new(missing(variable)));
        };
        fit(variable, given).map_err(|misfit| {
            let mut out = Diagnostic::at(misfit.code, Location::Elsewhere(origin), misfit.message)
                .maybe_help(misfit.help);
            if !variable.span.is_empty() {
                out = out.related(variable.span.clone(), "declared here");
            }
            Box::new(out)
        })
    }
}

fn missing(variable: &Variable) -> Diagnostic {
    let name = &variable.name;
    let help = if variable.sensitive {
        format!("set {PREFIX}{name}, or name it in a file for `--var-file`")
    } else {
        let example = match variable.kind {
            VariableType::String => "…",
            VariableType::Number => "1",
            VariableType::Bool => "true",
            VariableType::List => "a,b",
        };
        format!("pass `--var {name}={example}`, set {PREFIX}{name}, or give it a `default`")
    };
    let message = format!("the variable `{name}` has no value");
    Diagnostic::new("variable-missing", variable.span.clone(), message)
        .label("declared without a default")
        .help(help)
}

fn place(path: &Utf8Path, text: &str, byte: usize) -> String {
    let at = position(text, byte);
    format!("{path}:{}:{}", at.line, at.column)
}

fn toml(path: &Utf8Path, text: &str) -> Result<Vec<FromFile>, Vec<Diagnostic>> {
    let (root, errors) = tree::parse_plain(text);
    if errors.is_empty() {
        return Ok(root
            .entries()
            .iter()
            .map(|entry| FromFile {
                name: entry.key.clone(),
                value: entry.node.json(),
                origin: place(path, text, entry.key_span.start),
            })
            .collect());
    }
    let moved = errors.into_iter().map(|mut error| {
        let at = error.span().map_or(0, |span| span.start);
        error.place = Location::Elsewhere(place(path, text, at));
        error
    });
    Err(moved.collect())
}

fn json(path: &Utf8Path, text: &str) -> Result<Vec<FromFile>, Vec<Diagnostic>> {
    let map: serde_json::Map<String, Value> = serde_json::from_str(text).map_err(|error| {
        let origin = format!("{path}:{}:{}", error.line(), error.column());
        let message = match error.classify() {
            serde_json::error::Category::Data => "a var file holds one JSON object",
            _ => "the JSON is not well formed here",
        };
        vec![Diagnostic::at("syntax", Location::Elsewhere(origin), message)]
    })?;
    Ok(map
        .into_iter()
        .map(|(name, value)| FromFile { name, value, origin: path.to_string() })
        .collect())
}
