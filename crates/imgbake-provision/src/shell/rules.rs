//! What no schema can say of a shell step.

use imgbake_types::spec::pointer::pointer;
use imgbake_types::spec::rules::{At, Mistake, absolute, exactly_one, not_empty};
use serde_json::{Map, Value};

pub(super) fn check(settings: &Map<String, Value>) -> Vec<Mistake> {
    let mut found: Vec<Mistake> = exactly_one(settings, ["script", "inline"]).into_iter().collect();
    let lists = ["inline", "interpreter", "exit_codes"];
    found.extend(lists.iter().filter_map(|key| not_empty(settings, key)));
    exit_codes(settings, &mut found);
    environment(settings, &mut found);
    found.extend(interpreter(settings));
    found.extend(absolute(settings, "workdir"));
    found
}

fn exit_codes(settings: &Map<String, Value>, found: &mut Vec<Mistake>) {
    let codes = settings.get("exit_codes").and_then(Value::as_array);
    for (index, code) in codes.into_iter().flatten().enumerate() {
        if code.as_i64().is_some_and(|code| !(0..=255).contains(&code)) {
            let at = At::Value(pointer(["exit_codes", &index.to_string()]));
            found.push(Mistake::new("bad-value", at, "an exit code is from 0 to 255"));
        }
    }
}

/// A script is a file, and the interpreter has no standard input: one that would read it there does nothing.
fn interpreter(settings: &Map<String, Value>) -> Option<Mistake> {
    let words = settings.get("interpreter")?.as_array()?;
    let last = words.last()?.as_str()?;
    let reads = last == "-" || words.len() > 1 && last == "-s";
    reads.then(|| {
        let at = At::Value(pointer(["interpreter", &(words.len() - 1).to_string()]));
        let message =
            format!("`{last}` lets the interpreter read its standard input, which is empty");
        Mistake::new("bad-value", at, message)
            .help("take it out: the script's path is added as the last argument")
    })
}

fn environment(settings: &Map<String, Value>, found: &mut Vec<Mistake>) {
    let env = settings.get("env").and_then(Value::as_object);
    for name in env.into_iter().flat_map(Map::keys).filter(|name| !is_identifier(name)) {
        let message = format!("`{name}` cannot be an environment variable's name");
        found.push(
            Mistake::new("bad-value", At::Key(pointer(["env", name])), message)
                .help("letters, digits and `_`, and no digit first"),
        );
    }
}

/// Whether a shell takes it as a variable's name (POSIX, 3.216 "Name").
pub(super) fn is_identifier(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    name.bytes().next().is_some_and(letter) && name.bytes().all(|b| letter(b) || b.is_ascii_digit())
}
