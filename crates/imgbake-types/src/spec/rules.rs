//! Rules of a kind of step that no schema can say, and what is wrong where one is broken.

use serde_json::{Map, Value};

use super::pointer::pointer;

/// A mistake in a step's settings. It knows its place by a pointer: the template's reader knows the file
/// and the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// A stable name in kebab-case, such as `bad-value`.
    pub code: &'static str,
    /// Where.
    pub at: At,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// A few words beside the caret.
    pub label: String,
    /// What to do next.
    pub help: Option<String>,
    /// Other places that matter, each with what stands there.
    pub related: Vec<(At, String)>,
}

/// A place in a step's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// The step itself.
    Step,
    /// A key, by the JSON Pointer of its value.
    Key(String),
    /// A value, by its JSON Pointer.
    Value(String),
}

impl At {
    /// A key of the step's table.
    pub fn key(key: &str) -> Self {
        Self::Key(pointer([key]))
    }

    /// The value of such a key.
    pub fn value(key: &str) -> Self {
        Self::Value(pointer([key]))
    }
}

impl Mistake {
    /// A mistake at a place.
    pub fn new(code: &'static str, at: At, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, at, message, label: String::new(), help: None, related: Vec::new() }
    }

    /// Adds the words beside the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds what to do next.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds another place.
    pub fn related(mut self, at: At, label: impl Into<String>) -> Self {
        self.related.push((at, label.into()));
        self
    }
}

/// Exactly one of two keys.
pub fn exactly_one(settings: &Map<String, Value>, [one, other]: [&str; 2]) -> Option<Mistake> {
    let mistake = match (settings.contains_key(one), settings.contains_key(other)) {
        (true, true) => {
            let message = format!("`{one}` and `{other}` exclude each other");
            Mistake::new("exactly-one", At::key(other), message).related(At::key(one), "given here")
        }
        (false, false) => {
            let message = format!("this step needs `{one}` or `{other}`");
            Mistake::new("exactly-one", At::Step, message)
        }
        _ => return None,
    };
    Some(mistake.help(format!("exactly one of `{one}` and `{other}`")))
}

/// A list that is given is not empty.
pub fn not_empty(settings: &Map<String, Value>, key: &str) -> Option<Mistake> {
    let empty = settings.get(key)?.as_array()?.is_empty();
    empty.then(|| {
        Mistake::new("bad-value", At::value(key), format!("`{key}` is empty"))
            .help(format!("take `{key}` out, or fill it"))
    })
}

/// A path in the machine is absolute.
pub fn absolute(settings: &Map<String, Value>, key: &str) -> Option<Mistake> {
    let relative = !settings.get(key)?.as_str()?.starts_with('/');
    relative.then(|| {
        let message = format!("`{key}` is a path in the machine and must be absolute");
        Mistake::new("bad-value", At::value(key), message).label("starts without `/`")
    })
}
