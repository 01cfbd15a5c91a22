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

/// Rules for three channels.
const RULES: &str = "\
[channels.prod]
from = \"staging\"
soak = \"1h\"
max_age = \"36500d\"
max_growth = \"10%\"
requires = [\"verified\", \"converged\", \"sealed\"]

[channels.staging]
from = \"dev\"

[channels.dev]
";

#[test]
fn channels_have_rules() {
    let mut session = Session::stored();
    session.run("channels").run("channels web").run("channels none").run("channels web:dev");
    session.home.write("imgbake.toml", RULES);
    session.run("channels").run("channels --json").run("channels web");
    // It is in dev, and neither in staging nor proved to converge.
    session.run("promote web:dev --to prod --dry-run");
    session.run("promote web:dev --to prod");
    session.run("promote web:dev --to staging");
    // It is in staging now, but not for long enough.
    session.run("promote web:staging --to prod --dry-run");
    session.run("promote web:2026.11.22-1 --to staging");
    session.run("channels web");
    let wrong = "[channels.prod]\nfrom = \"staging\"\nsoak = \"soon\"\nrequires = [\"tested\"]\n\
        [channels.staging]\nfrom = \"prod\"\n";
    session.home.write("imgbake.toml", wrong);
    session.run("channels").run("promote web:dev --to staging");
    insta::assert_snapshot!(session.text());
}
