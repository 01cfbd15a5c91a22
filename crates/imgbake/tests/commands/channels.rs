//! Channels: promote, rollback, history, on a home that an earlier imgbake left.

use crate::session::Session;

#[test]
fn promote_and_rollback_and_history() {
    let mut session = Session::stored();
    session.run("history web:prod");
    session.run("promote web:dev --to prod --dry-run");
    session.run("promote web:dev --to prod --reason \"tested by hand\"");
    session.run("promote web:dev --to prod");
    // Its tests failed; a gate refuses it.
    session.run("promote web:2026.11.22-1 --to staging");
    session.run("promote web:none --to prod").run("promote web:dev --to 2026.11.22-1");
    session.run("rollback web:prod").run("rollback web:prod --to 2026.11.22-1");
    session.run("rollback web:none").run("history web:prod").run("history web:none");
    insta::assert_snapshot!(session.text());
}
