//! Events to bars, plain lines and JSON lines.
//!
//! A [`Display`] is fed every event of a command, in order, and shows it as its [`Mode`] says; a
//! [`JsonLines`] writes the same events for machines. What a command prints at its end is laid out by
//! [`Table`]. Of several builds there is one view of all. Text that a guest or a server wrote is cleaned of control characters before a terminal
//! sees it.

mod bars;
mod board;
mod display;
mod json;
mod lines;
mod many;
mod messages;
mod paint;
mod plain;
mod scrolled;
mod single;
mod summary;
mod table;
mod text;
mod units;
mod view;

pub use display::{Display, Mode, Options};
pub use json::{JsonLines, event_schema};
pub use paint::{Paint, Tone};
pub use table::{Align, Cell, Table};
pub use text::{clean, harmless};
pub use units::{count, human_bytes, human_seconds};
