//! `[builder.*]` and `[ssh]`: the machine and the way into it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::machine::{DEFAULT_BUILDER, MachineSpec};

/// `[builder]`: which builder makes the machine, as one table `[builder.KIND]`. Default: `qemu` with its
/// defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BuilderSpec(pub BTreeMap<String, Value>);

impl BuilderSpec {
    /// The kind of the builder and its table; `None` for the table that is left out.
    pub fn table(&self) -> (&str, Option<&Value>) {
        match self.0.first_key_value() {
            Some((kind, table)) => (kind, Some(table)),
            None => (DEFAULT_BUILDER, None),
        }
    }
}

/// The keys of the table are the builders' kinds: each builder brings its own schema.
impl JsonSchema for BuilderSpec {
    fn schema_name() -> Cow<'static, str> {
        "BuilderSpec".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "`[builder]`: which builder makes the machine. Default: `qemu` with its defaults.",
            "properties": {},
            "additionalProperties": false,
        })
    }
}

/// A kind of builder, as templates name it.
#[derive(Debug, Clone, Copy)]
pub struct BuilderKind {
    /// Its name: the table `[builder.NAME]` is its own.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    schema: fn(&mut SchemaGenerator) -> Schema,
    read: fn(Value) -> Result<Value, serde_json::Error>,
}

impl BuilderKind {
    /// A kind whose table is read as `T`. The keys that every machine has (see [`MachineSpec`]) mean in
    /// it what they mean everywhere.
    pub const fn of<T>(name: &'static str, about: &'static str) -> Self
    where
        T: JsonSchema + Serialize + DeserializeOwned,
    {
        Self { name, about, schema: SchemaGenerator::subschema_for::<T>, read: read::<T> }
    }

    /// The schema of its table; what it refers to goes into the generator's definitions.
    pub fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        (self.schema)(generator)
    }

    /// The machine that a table describes; without one, that of the builder's defaults.
    ///
    /// # Errors
    /// The table is not as its schema wants it.
    pub fn machine(&self, table: Option<&Value>) -> Result<MachineSpec, serde_json::Error> {
        let table = table.cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        let mut machine: MachineSpec = serde_json::from_value((self.read)(table)?)?;
        self.name.clone_into(&mut machine.builder);
        Ok(machine)
    }
}

/// A table with its defaults filled in and its values in their plain form.
fn read<T: Serialize + DeserializeOwned>(table: Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_value::<T>(table)?)
}

/// `[ssh]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SshSpec {
    /// Who logs in. Any name but `root` is made by the seed, with `sudo`, and taken out by seal.
    /// Default: `root`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-z_][a-z0-9_-]{0,31}$"))]
    pub user: Option<String>,
}

impl SshSpec {
    /// Who logs in.
    pub fn user(&self) -> &str {
        self.user.as_deref().unwrap_or("root")
    }
}
