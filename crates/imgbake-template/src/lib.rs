//! Template text to spanned, checked values: the parser, variables, strings, and every error at once.
//!
//! [`parse`] reads a template; [`Template::resolve`] fills in its [`Variables`] and gives the
//! [`TemplateSpec`](imgbake_types::spec::TemplateSpec) that `imgbake-plan` makes a plan of, and
//! [`Template::resolve_all`] one for each build of its matrix. Nothing here reads a file or the
//! environment: callers pass text in.

mod check;
mod combination;
mod convert;
mod diagnostic;
mod editor;
mod expression;
mod matrix;
mod messages;
mod names;
mod reference;
mod render;
mod resolve;
mod rules;
mod shape;
mod strings;
mod suggest;
mod template;
mod tree;
mod value;
mod variable;
mod variables;

pub use combination::Combination;
pub use diagnostic::{Diagnostic, Diagnostics, Location, Related};
pub use editor::json_schema;
pub use names::{Names, checksum};
pub use reference::reference_markdown;
pub use resolve::{Resolved, SecretValue};
pub use shape::Schema;
pub use template::{CheckOptions, Template, parse, parse_with};
pub use variable::Variable;
pub use variables::Variables;
