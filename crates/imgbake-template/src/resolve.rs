//! A template with its variables filled in.

use std::collections::BTreeMap;

use imgbake_types::MachineSpec;
use imgbake_types::spec::{ProvisionSpec, ProvisionStep, TemplateSpec};

use crate::check::check;
use crate::{Diagnostic, Diagnostics, Template, Variables, rules, strings};

/// A sensitive variable's value. It is printed by nothing here.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(String);

impl SecretValue {
    /// Wraps a value.
    pub const fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretValue")
    }
}

/// What a template says once its variables have values.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The template; markers stand for sensitive values (see [`imgbake_types::secret`]).
    pub spec: TemplateSpec,
    /// The machine of `[builder]`.
    pub machine: MachineSpec,
    /// The steps of `[[provision]]`, in order.
    pub provision: Vec<ProvisionStep>,
    /// The sensitive values, by variable.
    pub secrets: BTreeMap<String, SecretValue>,
}

impl Template {
    /// Fills in the variables, renders every string and checks the outcome as strictly as the text
    /// was checked. Its matrix plays no part; see [`resolve_all`](Self::resolve_all).
    pub fn resolve(&self, variables: &Variables) -> Result<Resolved, Diagnostics> {
        variables
            .settle(&self.declared)
            .and_then(|values| self.fill(&values))
            .map_err(|found| self.diagnostics(found))
    }

    /// The same with every variable's value.
    pub(crate) fn fill(
        &self,
        values: &BTreeMap<String, serde_json::Value>,
    ) -> Result<Resolved, Vec<Diagnostic>> {
        let mut root = self.root.clone();
        let mut found = Vec::new();
        strings::render(&self.source, &mut root, &self.declared, values, &mut found);
        if found.is_empty() {
            check(&mut root, self.schema.root(), &mut found);
            self.rules(&root, &mut found);
            rules::sensitive_places(&root, &self.schema, &mut found);
        }
        if !found.is_empty() {
            return Err(found);
        }
        let spec: TemplateSpec = serde_json::from_value(root.json()).map_err(internal)?;
        let machine = self.machine(&spec)?;
        let provision = self.provision(&spec)?;
        let secrets = self
            .declared
            .values()
            .filter(|variable| variable.sensitive)
            .filter_map(|variable| {
                let value = values.get(&variable.name)?.as_str()?;
                Some((variable.name.clone(), SecretValue(value.to_owned())))
            })
            .collect();
        Ok(Resolved { spec, machine, provision, secrets })
    }

    fn machine(&self, spec: &TemplateSpec) -> Result<MachineSpec, Vec<Diagnostic>> {
        let (name, table) = spec.builder.table();
        if let Some(kind) = self.schema.builder(name) {
            kind.machine(table).map_err(internal)
        } else {
            let message = format!("this imgbake has no builder `{name}`");
            Err(vec![Diagnostic::new("no-builder", 0..0, message)])
        }
    }

    fn provision(&self, spec: &TemplateSpec) -> Result<Vec<ProvisionStep>, Vec<Diagnostic>> {
        let resolve = |step: &ProvisionSpec| {
            if let Some(kind) = self.schema.provisioner(&step.kind) {
                return kind.resolve(step).map_err(internal);
            }
            let message = format!("this imgbake has no provisioner of type `{}`", step.kind);
            Err(vec![Diagnostic::new("no-provisioner", 0..0, message)])
        };
        spec.provision.iter().map(resolve).collect()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn internal(error: serde_json::Error) -> Vec<Diagnostic> {
    let message = format!("the checked template cannot be read: {error}");
    let item = Diagnostic::new("internal", 0..0, message)
        .help("this is a fault of imgbake: please report it with the template");
    vec![item]
}
