//! Commands that need no version: templates, settings, caches.

use crate::session::Session;

#[test]
fn init_and_validate_and_plan() {
    let mut session = Session::new();
    session.run("init site").run("init site").run("validate site/image.toml");
    session.run("plan site/image.toml");
    session.home.write(
        "bad.toml",
        "[image]\nnmae = \"web\"\n[source]\nurl = \"x.qcow2\"\n[builder.qemu]\ncpus = \"two\"\n",
    );
    session.run("validate bad.toml").run("plan bad.toml").run("validate none.toml");
    insta::assert_snapshot!(session.text_of_today());
}

#[test]
fn an_empty_home() {
    let mut session = Session::new();
    for line in [
        "images",
        "builds",
        "logs latest",
        "show web:dev",
        "history web:prod",
        "pull web:dev -o web.qcow2",
        "test web:dev",
        "promote web:dev --to prod",
        "rollback web:prod",
        "verify",
        "hold web:dev --reason \"because\"",
        "gc",
        "cache ls",
        "cache prune",
        "clean",
    ] {
        session.run(line);
    }
    insta::assert_snapshot!(session.text());
}

#[test]
fn wrong_command_lines() {
    let mut session = Session::new();
    for line in [
        "biuld image.toml",
        "build",
        "show No:Such:Ref",
        "history web",
        "promote web:dev",
        "gc --grace soon",
        "cache prune --to lots",
        "pull web:dev -o web.tar",
    ] {
        session.run(line);
    }
    session.home.write("imgbake.toml", "onerror = 1\n");
    session.run("images");
    session.home.write("imgbake.toml", "on_error = \"explode\"\n");
    session.run("images");
    insta::assert_snapshot!(session.text());
}

#[test]
fn completions_and_manuals() {
    let mut session = Session::new();
    session.run("man man").run("man /proc/none").run("completions tcsh");
    insta::assert_snapshot!(session.text());
}

/// What it finds is this machine's: only the settings are of the test's own making.
#[test]
fn doctor_names_the_origin_of_every_setting() {
    let mut session = Session::new();
    session.home.write("imgbake.toml", "on_error = \"keep\"\n[retention]\nkeep = 3\n");
    session.run("doctor");
    let text = session.text();
    let settings = text.find("setting ").unwrap_or_else(|| panic!("{text}"));
    insta::assert_snapshot!(&text[settings..]);
}
