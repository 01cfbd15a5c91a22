//! What `salt-call --out=json` writes: the results of all states under `local`, or a list of errors where Salt
//! did not begin.

use std::collections::BTreeMap;
use std::fmt;

use imgbake_types::record::step::{Resource, ResourceOutcome};
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The parts of a result's key: module, ID, name, function.
const SEPARATOR: &str = "_|-";
/// How Salt says that a state was not run as another one failed.
const CONSEQUENCE: &str = "One or more requisite failed";
/// Salt's module of the result that says that there is nothing to apply.
const NOTHING: &str = "no";

/// What a run showed.
#[derive(Debug, PartialEq)]
pub(super) enum Output {
    /// Each state's result, in the order in which they ran.
    States(Vec<Resource>),
    /// Salt applied nothing: its reasons.
    Refused(Vec<String>),
}

/// A longer text of a state is cut: a report has no more of it.
const MOST_TEXT: usize = 16 << 10;

#[derive(Deserialize)]
struct Document {
    local: Local,
}

/// What is under `local`, with each state read and cut as it comes.
enum Local {
    States(States),
    Reasons(Vec<String>),
}

/// States: a key and a number in the run with each.
type States = Vec<(u64, Found)>;

struct Found {
    id: String,
    name: String,
    resource: Resource,
}

#[derive(Deserialize)]
struct State {
    /// None: only tested.
    result: Option<bool>,
    #[serde(default)]
    changes: Value,
    #[serde(default)]
    comment: Value,
    #[serde(default)]
    name: String,
    #[serde(default)]
    duration: Option<f64>,
    #[serde(rename = "__id__")]
    id: Option<String>,
    #[serde(rename = "__sls__")]
    sls: Option<String>,
    #[serde(rename = "__run_num__")]
    run_num: u64,
    #[serde(rename = "__state_ran__")]
    ran: Option<bool>,
}

/// Reads what Salt wrote; what cannot be read is the error, as text.
pub(super) fn read(text: &str) -> Result<Output, String> {
    if text.trim().is_empty() {
        return Err("it wrote no results".to_owned());
    }
    let document: Document = serde_json::from_str(text)
        .map_err(|error| format!("its results cannot be read: {error}"))?;
    Ok(match document.local {
        Local::Reasons(reasons) => Output::Refused(reasons),
        Local::States(states) => Output::States(named(states)),
    })
}

/// The resources in the order of the run, each with its name.
fn named(mut states: States) -> Vec<Resource> {
    let mut names = BTreeMap::<_, u32>::new();
    for (_, found) in &states {
        *names.entry((found.resource.kind.clone(), found.id.clone())).or_default() += 1;
    }
    states.sort_by_key(|(number, _)| *number);
    let resources = states.into_iter().map(|(_, found)| {
        let Found { id, name, mut resource } = found;
        // One ID may have many names.
        let is_one = names.get(&(resource.kind.clone(), id.clone())) == Some(&1);
        resource.name = if is_one { id } else { format!("{id}: {name}") };
        resource
    });
    resources.collect()
}

impl<'de> Deserialize<'de> for Local {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LocalVisitor)
    }
}

struct LocalVisitor;

impl<'de> Visitor<'de> for LocalVisitor {
    type Value = Local;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("states or errors")
    }

    fn visit_str<E>(self, reason: &str) -> Result<Local, E> {
        Ok(Local::Reasons(vec![reason.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Local, A::Error> {
        let mut reasons = Vec::new();
        while let Some(reason) = all.next_element::<Value>()? {
            reasons.push(plain(&reason));
        }
        Ok(Local::Reasons(reasons))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Local, A::Error> {
        let mut states = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let unreadable = |why: &str| {
                A::Error::custom(format!("the result of `{key}` cannot be read: {why}"))
            };
            let state: State = map.next_value().map_err(|error| unreadable(&error.to_string()))?;
            let mut parts = key.split(SEPARATOR);
            let (Some(module), Some(id), Some(function)) =
                (parts.next(), parts.next(), parts.last())
            else {
                return Err(unreadable("its name is not MODULE, ID, NAME and FUNCTION"));
            };
            if module == NOTHING {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(Local::Reasons(vec![plain(&state.comment)]));
            }
            let (number, name) = (state.run_num, state.name.clone());
            let id = state.id.clone().unwrap_or_else(|| id.to_owned());
            let resource = state.resource(format!("{module}.{function}"));
            states.push((number, Found { id, name, resource }));
        }
        Ok(Local::States(states))
    }
}

impl State {
    /// The resource, without its name; its file is the name of its SLS still.
    fn resource(self, kind: String) -> Resource {
        let has_changes = match &self.changes {
            Value::Null => false,
            Value::Object(changes) => !changes.is_empty(),
            Value::Array(changes) => !changes.is_empty(),
            Value::String(changes) => !changes.is_empty(),
            Value::Bool(_) | Value::Number(_) => true,
        };
        let comment = plain(&self.comment);
        let was_left = self.ran == Some(false);
        // A failed command has changes: the result says more.
        let outcome = match self.result {
            Some(false) if was_left && comment.starts_with(CONSEQUENCE) => ResourceOutcome::Skipped,
            Some(false) => ResourceOutcome::Failed,
            Some(true) if has_changes => ResourceOutcome::Changed,
            Some(true) if was_left => ResourceOutcome::Skipped,
            Some(true) => ResourceOutcome::Unchanged,
            None => ResourceOutcome::Skipped,
        };
        let explains = matches!(outcome, ResourceOutcome::Failed | ResourceOutcome::Skipped);
        let message = (explains && !comment.is_empty()).then(|| match output(&self.changes) {
            Some(output) if outcome == ResourceOutcome::Failed => format!("{comment}\n{output}"),
            _ => comment,
        });
        let diff = has_changes.then(|| match self.changes.get("diff") {
            Some(Value::String(diff)) => diff.clone(),
            _ => plain(&self.changes),
        });
        Resource {
            seconds: self.duration.map(|milliseconds| milliseconds / 1000.0),
            file: self.sls,
            diff: diff.map(cut),
            message: message.map(cut),
            ..Resource::new(kind, "", outcome)
        }
    }
}

fn cut(mut text: String) -> String {
    let mut end = text.len().min(MOST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.shrink_to_fit();
    text
}

/// What a command printed, errors first.
fn output(changes: &Value) -> Option<String> {
    let part = |key: &str| changes.get(key)?.as_str().filter(|text| !text.is_empty());
    let parts: Vec<&str> = ["stderr", "stdout"].into_iter().filter_map(part).collect();
    (!parts.is_empty()).then(|| parts.join("\n"))
}

/// A text as it is, anything else as compact JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().map(plain).collect::<Vec<_>>().join("\n")
        }
        other => other.to_string(),
    }
}

/// The line that declares a state in an SLS file: the only one that begins with its ID.
pub(super) fn line_of(sls: &str, id: &str) -> Option<u32> {
    let declares = |line: &str| {
        let line = line.trim_end();
        ["", "'", "\""].into_iter().any(|quote| line == format!("{quote}{id}{quote}:"))
    };
    let mut lines = (1..).zip(sls.lines()).filter(|(_, line)| declares(line)).map(|(at, _)| at);
    lines.next().filter(|_| lines.next().is_none())
}

#[cfg(test)]
mod tests {
    use ResourceOutcome as Is;
    use serde_json::json;

    use super::*;

    fn one(key: &str, state: &Value) -> Resource {
        let text = json!({"local": {key: state}}).to_string();
        let Ok(Output::States(mut states)) = read(&text) else { panic!("{:?}", read(&text)) };
        states.remove(0)
    }

    #[test]
    fn a_state_is_judged_by_its_result_first() {
        for (state, outcome, message, diff) in [
            (
                json!({"result": true, "changes": {}, "comment": "as it was"}),
                Is::Unchanged,
                None,
                None,
            ),
            (
                json!({"result": true, "changes": {"diff": "-a\n+b"}}),
                Is::Changed,
                None,
                Some("-a\n+b"),
            ),
            (
                json!({"result": true, "changes": {"gid": 7}}),
                Is::Changed,
                None,
                Some("{\"gid\":7}"),
            ),
            (
                json!({"result": false, "changes": {"stderr": "why", "stdout": "out"}, "comment": "run"}),
                Is::Failed,
                Some("run\nwhy\nout"),
                Some("{\"stderr\":\"why\",\"stdout\":\"out\"}"),
            ),
            (
                json!({"result": false, "changes": {}, "__state_ran__": false,
                    "comment": "One or more requisite failed: a.b"}),
                Is::Skipped,
                Some("One or more requisite failed: a.b"),
                None,
            ),
            // Nothing else failed.
            (
                json!({"result": false, "changes": {}, "__state_ran__": false, "comment": "not found"}),
                Is::Failed,
                Some("not found"),
                None,
            ),
            (
                json!({"result": true, "changes": {}, "__state_ran__": false, "comment": "not run"}),
                Is::Skipped,
                Some("not run"),
                None,
            ),
            (
                json!({"result": null, "changes": {"diff": "x"}, "comment": ["would", "change"]}),
                Is::Skipped,
                Some("would\nchange"),
                Some("x"),
            ),
        ] {
            let mut state = state;
            state["__run_num__"] = json!(0);
            let found = one("file_|-a_|-/a_|-managed", &state);
            assert_eq!(
                (found.kind.as_str(), found.name.as_str(), found.outcome),
                ("file.managed", "a", outcome),
                "{state}"
            );
            assert_eq!(
                (found.message.as_deref(), found.diff.as_deref()),
                (message, diff),
                "{state}"
            );
        }
    }

    #[test]
    fn states_come_in_order_with_their_names() {
        let state = |name: &str, number: u64| {
            json!({"result": true, "__id__": "many", "name": name, "duration": 1500,
                "__sls__": "web", "__run_num__": number})
        };
        let text = json!({"local": {
            "cmd_|-many_|-b_|-run": state("b", 1), "cmd_|-many_|-a_|-run": state("a", 0),
            "file_|-many_|-c_|-managed": state("c", 2),
        }});
        let Ok(Output::States(states)) = read(&text.to_string()) else { panic!("{text}") };
        let names: Vec<&str> = states.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["many: a", "many: b", "many"]);
        assert_eq!((states[0].seconds, states[0].file.as_deref()), (Some(1.5), Some("web")));
    }

    #[test]
    fn what_is_no_result_is_an_error() {
        for (text, error) in [
            ("", "wrote no results"),
            ("{\"local\": {", "cannot be read"),
            ("{\"local\": 3}", "states or errors"),
            ("{\"local\": {\"a\": {\"result\": true, \"__run_num__\": 0}}}", "MODULE"),
            ("{\"local\": {\"a_|-b_|-c_|-d\": {\"__run_num__\": \"x\"}}}", "`a_|-b_|-c_|-d`"),
            ("{\"local\": {\"a_|-b_|-c_|-d\": {\"result\": true}}}", "__run_num__"),
        ] {
            let found = read(text).unwrap_err();
            assert!(found.contains(error), "{text}: {found}");
        }
        for (text, reason) in [
            (r#"{"local": ["Rendering SLS failed", "b"]}"#, "Rendering SLS failed"),
            (
                r#"{"local": {"no_|-states_|-states_|-None": {"result": false, "comment": "No Top file",
                    "__run_num__": 0}}}"#,
                "No Top file",
            ),
        ] {
            let Ok(Output::Refused(reasons)) = read(text) else { panic!("{text}") };
            assert_eq!(reasons[0], reason);
        }
    }

    #[test]
    fn long_texts_are_cut() {
        let state = json!({"result": false, "changes": {"diff": "é".repeat(MOST_TEXT)},
            "comment": "x".repeat(2 * MOST_TEXT), "__run_num__": 0});
        let found = one("file_|-a_|-/a_|-managed", &state);
        assert_eq!(found.diff.map(|text| text.len()), Some(MOST_TEXT));
        assert_eq!(found.message.map(|text| text.len()), Some(MOST_TEXT));
    }

    #[test]
    fn the_line_of_a_state() {
        let sls = "# a:\na:\n  file.managed: []\n\n'b c':\n  test.nop\ntwice:\ntwice:\n";
        for (id, line) in [("a", Some(2)), ("b c", Some(5)), ("twice", None), ("none", None)] {
            assert_eq!(line_of(sls, id), line, "{id}");
        }
    }
}
