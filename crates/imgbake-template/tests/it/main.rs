//! What a template's author writes and sees.

mod common;
mod diagnostics;
mod matrix;
mod resolve;
mod template;
