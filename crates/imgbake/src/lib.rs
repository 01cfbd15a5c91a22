//! imgbake bakes golden machine images: the command line, the settings and the wiring of the components.
//!
//! Everything that does the work is in the other crates; this one reads the command line and the
//! settings, hands them on, and says how it ended.

pub mod access;
pub mod app;
pub mod cli;
pub mod commands;
pub mod components;
pub mod config;
pub mod failure;
pub mod images;
pub mod layers;
pub mod load;
pub mod logins;
pub mod origin;
pub mod rules;
pub mod signing;
pub mod store;
pub mod text;

/// This program's name and version, as versions record it.
pub const TOOL: &str = concat!("imgbake ", env!("CARGO_PKG_VERSION"));
