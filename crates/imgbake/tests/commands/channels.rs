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

#[test]
fn channels_with_keys_are_moved_by_them_alone() {
    let mut session = Session::stored();
    session.run("keys generate ci.pem").run("keys generate ci.pem");
    session
        .run("keys generate release.pem --algorithm ecdsa-p256")
        .run("keys show release.pem.pub");
    session.run("keys show").run("keys show ci.pem").run("keys show none.pub");
    session.home.write("imgbake.toml", "[channels.prod]\nkeys = [\"release.pem.pub\"]\n");
    session.run("channels").run("promote web:dev --to prod").run("promote web:dev --to staging");
    session.env("IMGBAKE_SIGNING_KEY", "ci.pem").run("promote web:dev --to prod");
    session.env("IMGBAKE_SIGNING_KEY", "release.pem").run("promote web:dev --to prod --dry-run");
    session.run("promote web:dev --to prod").run("history web:prod").run("keys show --json");
    session.run("resolve web:prod").run("resolve web:prod --json").run("resolve web:staging");
    // Whoever comes without the key does not go back either.
    session.env("IMGBAKE_SIGNING_KEY", "").run("rollback web:prod");
    // Who trusts another key gets nothing.
    session.home.write("imgbake.toml", "[channels.prod]\nkeys = [\"ci.pem.pub\"]\n");
    session.run("resolve web:prod").run("pull web:prod -o web.raw").run("history web:prod");
    session.home.write("imgbake.toml", "[channels.prod]\nkeys = [\"ci.pem\", \"none.pub\"]\n");
    session.run("channels");
    session.home.write("imgbake.toml", "signing_command = [\"sign\"]\n");
    session.run("channels");
    let text = regex::Regex::new("[0-9a-f]{64}").unwrap();
    let text = text.replace_all(&session.text_of_today(), "[KEY]").into_owned();
    let public = regex::Regex::new(r"(?s)(BEGIN PUBLIC KEY-----).+?(-----END)").unwrap();
    insta::assert_snapshot!(public.replace_all(&text, "${1}…$2"));
}
