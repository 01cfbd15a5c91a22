//! Builds on machines in memory: what they print, and what is kept of them.

use crate::session::Session;

#[test]
fn a_build_and_one_on_its_layers() {
    let mut session = Session::fake();
    session.run("plan image.toml").run("build image.toml").run("plan image.toml");
    session.home.write("again.toml", &template(&session).replace("say-hello", "say-hello twice"));
    session.run("build again.toml").run("show web:dev").run("builds").run("logs latest");
    session.run("test web:dev").run("images").run("cache ls");
    insta::assert_snapshot!(session.text_of_today());
}

#[test]
fn a_step_that_fails() {
    let mut session = Session::fake();
    session.env("FAKE_FAILS", "say-hello").run("build image.toml").run("builds");
    session.run("logs latest").run("logs latest --step hello").run("logs latest --step none");
    insta::assert_snapshot!(session.text_of_today());
}

#[test]
fn a_test_that_fails() {
    let mut session = Session::fake();
    session.env("FAKE_FAILS", "serve-it").run("build image.toml").run("images");
    session.run("promote web --to prod").run("test web");
    insta::assert_snapshot!(session.text_of_today());
}

fn template(session: &Session) -> String {
    std::fs::read_to_string(session.home.dir().join("image.toml")).unwrap()
}
