//! The JSON Schema that editors use.

use serde_json::{Value, json};

use crate::Schema;

/// The template's JSON Schema (draft 2020-12). Where a value is not free text, a string with an
/// expression may stand in its place.
pub fn json_schema(schema: &Schema) -> Value {
    let mut schema = schema.json().clone();
    let names: Vec<String> =
        schema["$defs"].as_object().map(|defs| defs.keys().cloned().collect()).unwrap_or_default();
    for name in names.iter().filter(|name| !name.starts_with("Variable")) {
        let def = &mut schema["$defs"][name];
        // A definition that is a value itself is loosened where it is; a table, key by key.
        if def["properties"].is_object() || is_union_of_tables(def) {
            tables(def);
        } else {
            loosen(def);
        }
    }
    schema["$comment"] = "Generated from imgbake's types; do not edit.".into();
    schema
}

fn is_union_of_tables(schema: &Value) -> bool {
    schema["oneOf"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one["properties"].is_object()))
}

fn tables(schema: &mut Value) {
    if let Some(variants) = schema.get_mut("oneOf").and_then(Value::as_array_mut) {
        variants.iter_mut().for_each(tables);
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(property);
    }
}

fn property(schema: &mut Value) {
    no_null(schema);
    for part in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(part).filter(|inner| inner.is_object()) {
            property(inner);
        }
    }
    loosen(schema);
}

/// TOML has no null: what may be left out is simply not required.
fn no_null(schema: &mut Value) {
    if let Some(kinds) = schema["type"].as_array()
        && let Some(kind) = kinds.iter().find(|kind| *kind != "null")
    {
        schema["type"] = kind.clone();
    }
    if let Some(any) = schema.get("anyOf").and_then(Value::as_array)
        && any.iter().any(|one| one["type"] == "null")
        && let Some(link) = any.iter().find_map(|one| one.get("$ref")).cloned()
        && let Some(map) = schema.as_object_mut()
    {
        map.remove("anyOf");
        map.insert("$ref".into(), link);
    }
}

fn loosen(schema: &mut Value) {
    let fixed = schema.get("const").is_some() || schema.get("$ref").is_some();
    let strict = match schema.get("type").and_then(Value::as_str) {
        Some("string") => schema.get("pattern").is_some(),
        Some("integer" | "number" | "boolean" | "array") => true,
        _ => schema.get("oneOf").is_some(),
    };
    if fixed || !strict {
        return;
    }
    let Some(map) = schema.as_object_mut() else { return };
    let kept = ["title", "description", "default"];
    let inner: serde_json::Map<String, Value> = map
        .iter()
        .filter(|(key, _)| !kept.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    map.retain(|key, _| kept.contains(&key.as_str()));
    let expression = json!({ "type": "string", "pattern": r"\{\{|\{%" });
    map.insert("anyOf".into(), json!([inner, expression]));
}
