//! Versions in another registry.

use imgbake_testkit::{Habits, TestRegistry};

use crate::session::Session;

#[tokio::test(flavor = "multi_thread")]
async fn push_and_copy_and_pull() {
    let registry = TestRegistry::start(Habits::default()).await;
    let host = registry.host();
    let text = tokio::task::spawn_blocking(move || {
        let mut session = Session::stored();
        session.run(&format!("push web:prod {host}/web:2026.11.21-1 --progress plain"));
        session.run(&format!("push web:none {host}/web"));
        session.run(&format!("copy {host}/web:2026.11.21-1 {host}/copied --progress plain"));
        session.run(&format!("copy {host}/web:none {host}/copied"));
        session.run(&format!("images {host}/web")).run(&format!("images {host}/none"));
        session.run(&format!("show {host}/web:2026.11.21-1"));
        session.run(&format!("show {host}/web"));
        session.run(&format!("promote {host}/web:2026.11.21-1 --to prod"));
        session.run(&format!("history {host}/web:prod"));
        session.run(&format!("pull {host}/web:prod -o web.raw --progress plain"));
        session.run("images 127.0.0.1:1/web");
        session.text()
    });
    insta::assert_snapshot!(text.await.unwrap());
}
