//! Files of the host that a run reads in the machine, and what they are called on the host.

use camino::{Utf8Path, Utf8PathBuf};

use crate::error::StepError;
use crate::guest::Folder;

/// Where the files of the host are in the machine.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// Paths in the machine, and on the host.
    paths: Vec<(String, Utf8PathBuf)>,
}

impl Staged {
    /// Copies a file or folder of the host; gives its path in the machine.
    pub(super) async fn copy(
        &mut self,
        folder: &Folder<'_>,
        host: &Utf8Path,
        name: &str,
    ) -> Result<String, StepError> {
        folder.copy(host, name).await?;
        let path = folder.path(name);
        self.paths.push((path.clone(), host.to_owned()));
        Ok(path)
    }

    /// A text in which these files have the names that the template's author knows.
    pub(super) fn named(&self, text: &str) -> String {
        let named = |text: String, (path, host): &(String, Utf8PathBuf)| {
            replace(&text, path, host.as_str())
        };
        self.paths.iter().fold(text.to_owned(), named)
    }
}

/// Replaces a path, and the path where it begins another one, but not where a longer name begins with it.
fn replace(text: &str, path: &str, by: &str) -> String {
    let mut parts = text.split(path);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_longer =
            part.starts_with(|next: char| next.is_alphanumeric() || "-_.".contains(next));
        out.push_str(if is_longer { path } else { by });
        out.push_str(part);
    }
    out
}

/// The names of two paths below the folder that both are in.
pub(super) fn together(one: &Utf8Path, other: &Utf8Path) -> (String, String) {
    let shared = one.components().zip(other.components()).take_while(|(a, b)| a == b).count();
    // A path that the other one is in keeps its own name.
    let most = one.components().count().min(other.components().count()).saturating_sub(1);
    let rest = |path: &Utf8Path| {
        path.components().skip(shared.min(most)).collect::<Utf8PathBuf>().into_string()
    };
    (rest(one), rest(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_host() {
        let staged = Staged {
            paths: vec![
                ("/run/x/manifest/a b.pp".to_owned(), "/home/me/a b.pp".into()),
                ("/run/x/modules/1".to_owned(), "/home/me/modules".into()),
            ],
        };
        for (text, expected) in [
            ("", ""),
            ("(file: /run/x/manifest/a b.pp, line: 2)", "(file: /home/me/a b.pp, line: 2)"),
            ("/run/x/manifest/a b.pp:2", "/home/me/a b.pp:2"),
            ("/run/x/modules/1/a/init.pp", "/home/me/modules/a/init.pp"),
            (
                "/run/x/modules/10/a and /run/x/modules/1",
                "/run/x/modules/10/a and /home/me/modules",
            ),
        ] {
            assert_eq!(staged.named(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_beside_something_stays_so() {
        for (one, other, expected) in [
            ("/t/hiera.yaml", "/t/data", ("hiera.yaml", "data")),
            ("/t/etc/hiera.yaml", "/t/data", ("etc/hiera.yaml", "data")),
            ("/t/hiera.yaml", "/t/puppet/data", ("hiera.yaml", "puppet/data")),
            ("/t/data/hiera.yaml", "/t/data", ("data/hiera.yaml", "data")),
        ] {
            let (one, other) = together(Utf8Path::new(one), Utf8Path::new(other));
            assert_eq!((one.as_str(), other.as_str()), expected);
        }
    }
}
