//! `docs/reference/`: written from the types, compared in CI.

use std::fmt::Write as _;
use std::fs;

use clap::CommandFactory;

use crate::{Result, repository};

/// Writes every page, or compares it with what is there.
pub(crate) fn run(check: bool) -> Result<()> {
    let folder = repository::root().join("docs/reference");
    fs::create_dir_all(&folder)?;
    let mut stale = Vec::new();
    for (name, text) in pages()? {
        let path = folder.join(name);
        if check {
            if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
                stale.push(name);
            }
        } else {
            fs::write(&path, text)?;
        }
    }
    if stale.is_empty() {
        println!("docs/reference: {}", if check { "up to date" } else { "written" });
        return Ok(());
    }
    Err(format!("docs/reference is stale: {}; run `cargo xtask generate`", stale.join(", ")).into())
}

fn pages() -> Result<Vec<(&'static str, String)>> {
    let schema = imgbake::components::Wiring::standard().schema();
    Ok(vec![
        ("cli.md", cli()),
        ("template.md", imgbake_template::reference_markdown(&schema)),
        ("template.schema.json", json(&imgbake_template::json_schema(&schema))?),
        ("events.schema.json", json(&imgbake_ui::event_schema())?),
    ])
}

fn json(value: &serde_json::Value) -> Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Each command's own help.
fn cli() -> String {
    let mut command = imgbake::cli::Cli::command().term_width(100);
    command.build();
    let mut text = String::from(
        "# Command line\n\nWritten by `cargo xtask generate` from the program's own definitions.\n\n\
         Exit codes: 0 done, 1 the work failed, 2 usage or template wrong, 3 refused by a rule, 4 this \
         machine lacks something, 130 interrupted.\n",
    );
    section(&mut text, &mut command.clone(), "imgbake");
    for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
        let name = format!("imgbake {}", sub.get_name());
        section(&mut text, sub, &name);
    }
    text
}

fn section(text: &mut String, command: &mut clap::Command, name: &str) {
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _ = write!(text, "\n## {name}\n\n```text\n{}\n```\n", help.join("\n").trim_end());
}
