//! Strings with expressions: checked before values are known, rendered once they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use imgbake_types::secret;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Object, ObjectRepr, ValueKind};
use minijinja::{Environment, UndefinedBehavior};

use crate::Diagnostic;
use crate::expression::{filters, find_word, locate, mentions, single};
use crate::suggest;
use crate::tree::{Node, Value};
use crate::variable::Variable;

/// What renders strings. Undefined names are errors; a string's last line end stays; there are no
/// comments, since `${#name}` is a shell's.
fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    let syntax = SyntaxConfig::builder()
        .comment_delimiters("\u{1}#", "#\u{1}")
        .keep_trailing_newline(true)
        .build();
    if let Ok(syntax) = syntax {
        env.set_syntax(syntax);
    }
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_debug(true);
    env.set_formatter(|out, state, value| match written(value) {
        Some(text) => out.write_str(&text).map_err(minijinja::Error::from),
        None => minijinja::escape_formatter(out, state, value),
    });
    env
}

/// Booleans and lists print as TOML and JSON write them, not as Python does.
fn written(value: &minijinja::Value) -> Option<String> {
    match value.kind() {
        ValueKind::Bool | ValueKind::Seq => from_jinja(value).map(|json| json.to_string()),
        _ => None,
    }
}

/// Checks the syntax and names of every string, and where sensitive variables stand in it.
pub(crate) fn check(
    source: &str,
    root: &Node,
    declared: &BTreeMap<String, Variable>,
    out: &mut Vec<Diagnostic>,
) {
    let env = environment();
    let globals: BTreeSet<&str> = env.globals().map(|(name, _)| name).collect();
    root.walk(&mut |node| {
        let Value::Template(text) = &node.value else { return };
        let here = |part: Range<usize>| locate(source, &node.span, text, part);
        match env.template_from_str(text) {
            Err(error) => out.push(from_error(&error, source, node, text)),
            Ok(template) => {
                let mut names: Vec<String> =
                    template.undeclared_variables(true).into_iter().collect();
                names.sort();
                for name in names.iter().filter(|name| !globals.contains(name.as_str())) {
                    out.extend(undeclared(name, text, declared, &here));
                }
            }
        }
        for (name, part) in filters(text) {
            let error = env.empty_state().apply_filter(name, &[]).err();
            if error.is_some_and(|error| error.kind() == minijinja::ErrorKind::UnknownFilter) {
                let message = format!("there is no filter `{name}`");
                out.push(Diagnostic::new("expression", here(part), message));
            }
        }
        for mention in mentions(text) {
            let sensitive = declared.get(&mention.name).is_some_and(|one| one.sensitive);
            if sensitive && !mention.alone {
                out.push(mangled(here(mention.span), &mention.name));
            }
        }
    });
}

/// A name that no template has: `name` is dotted, such as `var.sweet`.
fn undeclared(
    name: &str,
    text: &str,
    declared: &BTreeMap<String, Variable>,
    here: &dyn Fn(Range<usize>) -> Range<usize>,
) -> Option<Diagnostic> {
    let mut parts = name.split('.');
    let known: Vec<&str> = declared.keys().map(String::as_str).collect();
    let (word, message, help) = match (parts.next(), parts.next()) {
        (Some("var"), None) | (None, _) => return None,
        (Some("var"), Some(word)) if declared.contains_key(word) => return None,
        (Some("var"), Some(word)) => {
            let help = suggest::hint(word, &known)
                .unwrap_or_else(|| format!("declare it: `[variables.{word}]`"));
            (word, format!("no variable `{word}` is declared"), help)
        }
        (Some("env"), _) => {
            let help = "declare a variable; the caller sets it with IMGBAKE_VAR_NAME".to_owned();
            ("env", "the host's environment is not available here".to_owned(), help)
        }
        (Some(word), _) => {
            let help = suggest::nearest(word, known.iter().copied()).map_or_else(
                || "variables are written `var.NAME`".to_owned(),
                |near| format!("did you mean `var.{near}`?"),
            );
            (word, format!("`{word}` is not defined"), help)
        }
    };
    let span = here(find_word(text, word).unwrap_or(0..text.len()));
    Some(Diagnostic::new("undefined-name", span, message).label("not defined").help(help))
}

fn mangled(span: Range<usize>, name: &str) -> Diagnostic {
    Diagnostic::new(
        "sensitive-expression",
        span,
        "a sensitive variable can only be inserted as it is",
    )
    .help(format!("write `{{{{ var.{name} }}}}`, without filters, tests or operators"))
}

fn from_error(error: &minijinja::Error, source: &str, node: &Node, text: &str) -> Diagnostic {
    let part = error.range().unwrap_or(0..text.len());
    let part = if part.start < part.end && text.is_char_boundary(part.start) {
        part
    } else {
        0..text.len()
    };
    let span = locate(source, &node.span, text, part);
    let message = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let found = |code| Diagnostic::new(code, span, message).label("in this expression");
    if error.kind() == minijinja::ErrorKind::SyntaxError {
        found("expression-syntax").help(RAW)
    } else {
        found("expression")
    }
}

/// What to do where another program's braces were meant: Go templates, `${#list}` of a shell, Jinja files.
const RAW: &str = "`{{` and `{%` begin an expression of the template; for text that holds them, write \
    `{% raw %}…{% endraw %}` around it";

/// Stands in expressions for a sensitive value; counts how often it was turned into text.
#[derive(Clone)]
struct Sensitive {
    name: String,
    prints: Arc<AtomicUsize>,
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&secret::marker(&self.name))
    }
}

impl Object for Sensitive {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.prints.fetch_add(1, Ordering::Relaxed);
        f.write_str(&secret::marker(&self.name))
    }
}

/// Renders every string of a tree in place.
pub(crate) fn render(
    source: &str,
    root: &mut Node,
    declared: &BTreeMap<String, Variable>,
    values: &BTreeMap<String, serde_json::Value>,
    out: &mut Vec<Diagnostic>,
) {
    let prints = Arc::new(AtomicUsize::new(0));
    let vars: BTreeMap<String, minijinja::Value> = values
        .iter()
        .map(|(name, value)| {
            let sensitive = declared.get(name).is_some_and(|one| one.sensitive);
            let value = if sensitive {
                let object = Sensitive { name: name.clone(), prints: Arc::clone(&prints) };
                minijinja::Value::from_object(object)
            } else {
                to_jinja(value)
            };
            (name.clone(), value)
        })
        .collect();
    let context = BTreeMap::from([("var", minijinja::Value::from(vars))]);
    let context = minijinja::Value::from(context);
    let renderer = Renderer { env: environment(), context, prints, source };
    renderer.node(root, out);
}

struct Renderer<'s> {
    env: Environment<'static>,
    context: minijinja::Value,
    prints: Arc<AtomicUsize>,
    source: &'s str,
}

impl Renderer<'_> {
    fn node(&self, node: &mut Node, out: &mut Vec<Diagnostic>) {
        match &mut node.value {
            Value::Template(text) => match self.text(text) {
                Ok(Some(value)) => node.value = value,
                Ok(None) => out.push(mangled(node.span.clone(), "NAME")),
                Err(error) => {
                    let text = text.clone();
                    out.push(from_error(&error, self.source, node, &text));
                }
            },
            Value::List(items) => items.iter_mut().for_each(|item| self.node(item, out)),
            Value::Table(entries) => {
                for entry in entries {
                    self.node(&mut entry.node, out);
                }
            }
            _ => {}
        }
    }

    /// `None` where a sensitive value was changed on its way.
    fn text(&self, text: &str) -> Result<Option<Value>, minijinja::Error> {
        let before = self.prints.load(Ordering::Relaxed);
        let rendered = self.env.render_str(text, self.context.clone())?;
        let printed = self.prints.load(Ordering::Relaxed) - before;
        let native = match single(text) {
            Some(expression) if printed == 0 => {
                let value = self.env.compile_expression(expression)?.eval(self.context.clone())?;
                from_jinja(&value)
            }
            _ => None,
        };
        let whole = secret::names(&rendered).len() == printed;
        Ok(whole.then_some(Value::Rendered { text: rendered, native }))
    }
}

fn to_jinja(value: &serde_json::Value) -> minijinja::Value {
    match value {
        serde_json::Value::Null => minijinja::Value::from(()),
        serde_json::Value::Bool(flag) => (*flag).into(),
        serde_json::Value::Number(number) => number
            .as_i64()
            .map_or_else(|| number.as_f64().unwrap_or_default().into(), minijinja::Value::from),
        serde_json::Value::String(text) => text.as_str().into(),
        serde_json::Value::Array(items) => items.iter().map(to_jinja).collect::<Vec<_>>().into(),
        serde_json::Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), to_jinja(value)))
            .collect::<BTreeMap<_, _>>()
            .into(),
    }
}

fn from_jinja(value: &minijinja::Value) -> Option<serde_json::Value> {
    match value.kind() {
        ValueKind::Bool => Some(value.is_true().into()),
        ValueKind::Number => value
            .as_i64()
            .filter(|_| value.is_integer())
            .map(serde_json::Value::from)
            .or_else(|| f64::try_from(value.clone()).ok().map(serde_json::Value::from)),
        ValueKind::String => value.as_str().map(serde_json::Value::from),
        ValueKind::Seq | ValueKind::Iterable => {
            value.try_iter().ok()?.map(|item| from_jinja(&item)).collect()
        }
        _ => None,
    }
}
