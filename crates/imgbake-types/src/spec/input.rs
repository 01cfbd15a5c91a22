//! `inputs` of a step: what decides its result beside the template and the files that it reads.

use camino::Utf8Path;

/// One of a step's `inputs`, as templates write it: `file:PATH`, `url:URL` or `command:COMMAND`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepInput<'t> {
    /// The bytes of a file of the host, or of a folder's files; a relative path starts at the template's folder.
    File(&'t Utf8Path),
    /// The bytes that an http(s) URL has now.
    Url(&'t str),
    /// What a command for `/bin/sh` prints on the host, in the template's folder.
    Command(&'t str),
}

impl<'t> StepInput<'t> {
    /// Reads one; `None` where it begins with no kind or has nothing behind it.
    pub fn parse(text: &'t str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let rest = rest.trim();
        match kind {
            _ if rest.is_empty() => None,
            "file" => Some(Self::File(Utf8Path::new(rest))),
            "url" if rest.starts_with("http://") || rest.starts_with("https://") => {
                Some(Self::Url(rest))
            }
            "command" => Some(Self::Command(rest)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_their_words() {
        for (text, expected) in [
            ("file:a/b", Some(StepInput::File("a/b".into()))),
            ("url: https://h:1/InRelease", Some(StepInput::Url("https://h:1/InRelease"))),
            ("command:git rev-parse HEAD:x", Some(StepInput::Command("git rev-parse HEAD:x"))),
            ("https://h/x", None),
            ("a/b", None),
            ("url:", None),
            ("url:ftp://h/x", None),
            ("url:x.txt", None),
            ("command: ", None),
            ("", None),
        ] {
            assert_eq!(StepInput::parse(text), expected, "{text}");
        }
    }
}
