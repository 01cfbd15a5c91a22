//! What no schema can say of a file step.

use std::sync::LazyLock;

use imgbake_types::spec::rules::{At, Mistake, absolute, exactly_one};
use regex::Regex;
use serde_json::{Map, Value};

pub(super) fn check(settings: &Map<String, Value>) -> Vec<Mistake> {
    let mut found = Vec::new();
    match settings.get("direction") {
        // Not known yet, and all else depends on it.
        Some(Value::Null) => return found,
        Some(Value::String(word)) if word == "download" => download(settings, &mut found),
        _ => {
            found.extend(exactly_one(settings, ["source", "content"]));
            found.extend(absolute(settings, "destination"));
        }
    }
    found.extend(owner(settings));
    found
}

fn owner(settings: &Map<String, Value>) -> Option<Mistake> {
    static OWNER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^([a-z_][a-z0-9_-]*\$?|[0-9]+)(:([a-z_][a-z0-9_-]*\$?|[0-9]+))?$")
            .expect("a fixed pattern")
    });
    let owner = settings.get("owner")?.as_str()?;
    (!OWNER.is_match(owner)).then(|| {
        let message = format!("`{owner}` is not an owner");
        Mistake::new("bad-value", At::value("owner"), message)
            .help("`user` or `user:group`, by name or number")
    })
}

fn download(settings: &Map<String, Value>, found: &mut Vec<Mistake>) {
    if !settings.contains_key("source") {
        let message = "a download needs the key `source`";
        found.push(Mistake::new("missing-key", At::Step, message).help("the path in the machine"));
    }
    found.extend(absolute(settings, "source"));
    for key in ["content", "owner", "mode"].into_iter().filter(|key| settings.contains_key(*key)) {
        let message = format!("`{key}` has no meaning for a download");
        found.push(Mistake::new("only-upload", At::key(key), message));
    }
}
