//! Arguments with which a tool only says what it would do: such a run proves nothing.

use imgbake_types::spec::pointer::pointer;
use imgbake_types::spec::rules::{At, Mistake};
use serde_json::{Map, Value};

use crate::error::StepError;

/// The arguments with which a tool changes nothing.
pub(crate) struct DryRun {
    /// Long options.
    pub(crate) long: &'static [&'static str],
    /// Letters of short options.
    pub(crate) short: &'static str,
    /// Letters of short options whose value may follow at once.
    pub(crate) valued: &'static str,
    /// Names of `NAME=VALUE`, where the value is not `False`.
    pub(crate) words: &'static [&'static str],
}

impl DryRun {
    /// The arguments that do so among a template's `args`.
    pub(crate) fn mistakes(&self, settings: &Map<String, Value>) -> Vec<Mistake> {
        let args = settings.get("args").and_then(Value::as_array).into_iter().flatten();
        let found =
            args.enumerate().filter(|(_, arg)| arg.as_str().is_some_and(|arg| self.is(arg)));
        found
            .map(|(index, arg)| {
                let message = refusal(arg.as_str().unwrap_or_default());
                let at = At::Value(pointer(["args", index.to_string().as_str()]));
                Mistake::new("dry-run", at, message)
                    .help("take it out: a step is there to change the machine")
            })
            .collect()
    }

    /// Refuses them at the last moment: variables are known then.
    pub(crate) fn check(&self, args: &[String]) -> Result<(), StepError> {
        match args.iter().find(|arg| self.is(arg)) {
            Some(arg) => Err(StepError::Usage(refusal(arg))),
            None => Ok(()),
        }
    }

    fn is(&self, arg: &str) -> bool {
        if let Some(name) = arg.strip_prefix("--") {
            let name = name.split('=').next().unwrap_or_default();
            // Tools take the beginning of a name for the name.
            return name.len() > 1 && self.long.iter().any(|long| long.starts_with(name));
        }
        if let Some(letters) = arg.strip_prefix('-') {
            let own = letters.chars().take_while(|letter| !self.valued.contains(*letter));
            return own.into_iter().any(|letter| self.short.contains(letter));
        }
        arg.split_once('=').is_some_and(|(name, value)| {
            self.words.contains(&name) && !value.eq_ignore_ascii_case("false")
        })
    }
}

fn refusal(arg: &str) -> String {
    format!("with `{arg}` in `args`, the run would change nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_change_nothing_is_found() {
        let tool =
            DryRun { long: &["check", "list-tasks"], short: "C", valued: "et", words: &["test"] };
        for (arg, refused) in [
            ("--check", true),
            ("--che", true),
            ("--check=1", true),
            ("--list-tasks", true),
            ("--checks", false),
            ("--c", false),
            ("--", false),
            ("-C", true),
            ("-vC", true),
            ("-CD", true),
            ("-e", false),
            ("-ea=C", false),
            ("-vtC", false),
            ("-", false),
            ("test=True", true),
            ("test=1", true),
            ("test=false", false),
            ("tests=True", false),
            ("C", false),
            ("", false),
        ] {
            assert_eq!(tool.is(arg), refused, "{arg}");
        }
    }
}
