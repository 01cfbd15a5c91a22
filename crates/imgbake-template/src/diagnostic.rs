//! What is wrong with a template, as data: a renderer draws it.

use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};

/// Where a diagnostic points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// Bytes of the template.
    Template(Range<usize>),
    /// Something beside the template, in words: `--var cpus`, `vars.toml:3:1`. Its text is not shown,
    /// since it may hold a sensitive value.
    Elsewhere(String),
}

/// A second place that explains the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// Bytes of the template.
    pub span: Range<usize>,
    /// What stands there.
    pub label: String,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// A stable name in kebab-case, such as `unknown-key`.
    pub code: &'static str,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Where.
    pub place: Location,
    /// A few words beside the caret.
    pub label: String,
    /// What to do next.
    pub help: Option<String>,
    /// Other places that matter.
    pub related: Vec<Related>,
}

impl Diagnostic {
    /// A mistake in the template's text.
    pub fn new(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self::at(code, Location::Template(span), message)
    }

    /// A mistake anywhere.
    pub fn at(code: &'static str, place: Location, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            place,
            label: String::new(),
            help: None,
            related: Vec::new(),
        }
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

    /// Adds what to do next, if something is known.
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// Adds another place.
    pub fn related(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.related.push(Related { span, label: label.into() });
        self
    }

    /// The bytes of the template that it points at.
    pub fn span(&self) -> Option<Range<usize>> {
        match &self.place {
            Location::Template(span) => Some(span.clone()),
            Location::Elsewhere(_) => None,
        }
    }
}

/// Every mistake of one template, in the order of their places. Its `Display` is plain text with
/// each mistake's file, line, caret and hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    /// The template's path as given.
    pub path: Utf8PathBuf,
    /// The template's text.
    pub text: String,
    /// The mistakes.
    pub items: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Puts mistakes in the order of their places; those beside the template come last.
    pub fn new(path: &Utf8Path, text: &str, mut items: Vec<Diagnostic>) -> Self {
        items.sort_by_key(|item| item.span().map_or((1, 0), |span| (0, span.start)));
        items.dedup();
        Self { path: path.to_owned(), text: text.to_owned(), items }
    }
}

impl std::error::Error for Diagnostics {}
