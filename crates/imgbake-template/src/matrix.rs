//! The builds of one template: each combination of its matrix.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use serde_json::Value;

use crate::combination::{Combination, words};
use crate::{Diagnostic, Diagnostics, Resolved, Template, Variables};

impl Template {
    /// The combinations of `[[matrix]]`, in the template's order; at least one, which is empty where
    /// there is no matrix.
    pub fn matrix(&self) -> Vec<Combination> {
        if self.matrix.is_empty() { vec![Combination::new()] } else { self.matrix.clone() }
    }

    /// Whether the template declares a variable of this name.
    pub fn declares(&self, name: &str) -> bool {
        self.declared.contains_key(name)
    }

    /// Fills in the variables of each combination; see [`resolve`](Self::resolve).
    ///
    /// A value that the caller gives replaces the matrix's, and combinations that become equal by that
    /// are one. Each is reported with the values that its variables have in the end.
    ///
    /// # Errors
    /// Every mistake of every combination; two of them with one image name or one file to write.
    pub fn resolve_all(
        &self,
        variables: &Variables,
    ) -> Result<Vec<(Combination, Resolved)>, Diagnostics> {
        let mut seen: Vec<Values> = Vec::new();
        let mut builds = Vec::new();
        let mut mistakes = Mistakes::default();
        for combination in self.matrix() {
            let outcome = variables.for_combination(&combination).settle(&self.declared);
            let outcome = match outcome {
                Ok(values) if seen.contains(&values) => continue,
                Ok(values) => self.fill(&values).map(|resolved| {
                    let names = combination.keys().filter_map(|name| values.get_key_value(name));
                    let settled =
                        names.map(|(name, value)| (name.clone(), value.clone())).collect();
                    seen.push(values);
                    (settled, resolved)
                }),
                Err(found) => Err(found),
            };
            mistakes.combinations += 1;
            match outcome {
                Ok(build) => builds.push(build),
                Err(found) => mistakes.add(&combination, found),
            }
        }
        let mut found = mistakes.into_diagnostics();
        if found.is_empty() {
            self.apart(&builds, &seen, &mut found);
        }
        if found.is_empty() { Ok(builds) } else { Err(self.diagnostics(found)) }
    }

    /// Two builds may neither make one image, whose versions would be in no order that means
    /// anything, nor write one file of the host.
    fn apart(
        &self,
        builds: &[(Combination, Resolved)],
        values: &[Values],
        out: &mut Vec<Diagnostic>,
    ) {
        let mut claimed: BTreeMap<Claim, usize> = BTreeMap::new();
        let mut reported = BTreeSet::new();
        for (number, (combination, resolved)) in builds.iter().enumerate() {
            for (place, claim) in claims(resolved) {
                let first = *claimed.entry(claim.clone()).or_insert(number);
                if first == number || !reported.insert(place.clone()) {
                    continue;
                }
                let differs = values[number]
                    .iter()
                    .find(|(name, value)| values[first].get(*name) != Some(*value));
                let axis = differs.map_or("NAME", |(name, _)| name.as_str());
                let (message, what) = match &claim {
                    Claim::Name(name) => {
                        (format!("two builds of the matrix have the name `{name}`"), "name")
                    }
                    Claim::File(path) => {
                        (format!("two builds of the matrix write `{path}`"), "path")
                    }
                };
                out.push(
                    Diagnostic::new("matrix-same", self.span_of(&place), message)
                        .label(format!("{} and {}", words(&builds[first].0), words(combination)))
                        .help(format!("put `{{{{ var.{axis} }}}}` into the {what}"))
                        .related(self.span_of("matrix[0]"), "the matrix"),
                );
            }
        }
    }
}

/// The value of every variable.
type Values = BTreeMap<String, Value>;

/// What only one build may have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    Name(String),
    File(Utf8PathBuf),
}

/// What a build claims, each with its place in the template.
fn claims(resolved: &Resolved) -> Vec<(String, Claim)> {
    let spec = &resolved.spec;
    let mut all = vec![("image.name".to_owned(), Claim::Name(spec.image.name.clone()))];
    for (index, path) in spec.publish.output.iter().enumerate() {
        all.push((format!("publish.output[{index}]"), Claim::File(path.clone())));
    }
    for (index, step) in resolved.provision.iter().enumerate() {
        for written in step.writes() {
            if let Some(path) = step.spec.path(&written.pointer) {
                let place = format!("provision[{index}].{}", written.setting());
                all.push((place, Claim::File(path.to_owned())));
            }
        }
    }
    all
}

/// Mistakes of all combinations, each once.
#[derive(Default)]
struct Mistakes {
    combinations: usize,
    found: Vec<(Diagnostic, Vec<Combination>)>,
}

impl Mistakes {
    fn add(&mut self, combination: &Combination, found: Vec<Diagnostic>) {
        for item in found {
            match self.found.iter_mut().find(|(known, _)| *known == item) {
                Some((_, with)) => with.push(combination.clone()),
                None => self.found.push((item, vec![combination.clone()])),
            }
        }
    }

    /// A mistake that not every combination makes says which one does.
    fn into_diagnostics(self) -> Vec<Diagnostic> {
        let all = self.combinations;
        let tell = |(mut item, with): (Diagnostic, Vec<Combination>)| {
            if with.len() < all
                && let Some(first) = with.first()
            {
                item.message = format!("{}, where {}", item.message, words(first));
            }
            item
        };
        self.found.into_iter().map(tell).collect()
    }
}
