//! Commands that read and keep versions, on a home that an earlier imgbake left.

use crate::session::Session;

#[test]
fn images_and_show() {
    let mut session = Session::stored();
    session.run("images").run("images web").run("images none").run("show web:prod");
    session.run("show web").run("show web:none").run("show web:prod --json");
    insta::assert_snapshot!(session.text());
}

#[test]
fn pull() {
    let mut session = Session::stored();
    session.run("pull web:prod -o web.qcow2 --progress plain");
    session.run("pull web:prod -o /proc/none/web.raw").run("pull web:none -o web.raw");
    insta::assert_snapshot!(session.text());
}

#[test]
fn verify() {
    let mut session = Session::stored();
    session.run("verify").run("verify --deep").run("verify web:prod");
    let layout = session.home.layout();
    let digest = layout.label("web:2026.11.22-1").unwrap()["digest"].as_str().unwrap().to_owned();
    std::fs::remove_file(layout.blob(&digest)).unwrap();
    session.run("verify").run("verify --deep").run("images").run("show web:2026.11.22-1");
    insta::assert_snapshot!(session.text());
}

#[test]
fn hold_and_gc() {
    let mut session = Session::stored();
    session.run("hold web:prod --reason \"an audit\"").run("hold web:prod --release");
    session.run("hold web:none --reason \"an audit\"");
    session.home.write("imgbake.toml", "[retention]\nkeep = 1\n");
    session.run("gc --dry-run").run("gc --grace 0s").run("images");
    insta::assert_snapshot!(session.text());
}

#[test]
fn cache() {
    let mut session = Session::stored();
    session.run("cache ls").run("cache prune --to 1KiB").run("cache prune --all").run("cache ls");
    insta::assert_snapshot!(session.text());
}
