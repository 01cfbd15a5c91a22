//! Stores on the command line that are a folder or a repository of a registry.

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_types::Reference;
use imgbake_types::reference::is_host;

use crate::failure::Failure;

/// `DIR` or `HOST/NAME`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// An OCI image layout's folder.
    Folder(Utf8PathBuf),
    /// A reference with a host, and nothing after its name.
    Repository(Reference),
}

impl Store {
    /// What a text means here, where some folders are.
    ///
    /// # Errors
    /// It could be both, or neither.
    pub fn find(text: &str) -> Result<Self, Failure> {
        let store = Self::parse(text)?;
        if let Self::Repository(Reference { host: Some(host), .. }) = &store
            && Utf8Path::new(text).is_dir()
        {
            let port = if host.contains(':') {
                "from where there is no such folder".to_owned()
            } else {
                format!("as `{}`", text.replacen(host, &format!("{host}:443"), 1))
            };
            return Err(Failure::usage(format!(
                "`{text}` is a folder here, and could be a repository of the registry {host}: write the \
                 folder as `./{text}`, the repository {port}"
            )));
        }
        Ok(store)
    }

    /// The repository, where it is one.
    pub const fn repository(&self) -> Option<&Reference> {
        match self {
            Self::Folder(_) => None,
            Self::Repository(reference) => Some(reference),
        }
    }

    /// What a text means by itself.
    fn parse(text: &str) -> Result<Self, Failure> {
        let first = text.split('/').next().unwrap_or_default();
        if matches!(first, "." | "..") || text.starts_with('/') {
            return Ok(Self::Folder(text.into()));
        }
        let has_host = first != text && is_host(first);
        match text.parse::<Reference>() {
            Ok(reference) if has_host && reference.target.is_none() => {
                Ok(Self::Repository(reference))
            }
            // What has a colon is a registry without a name, or a URL.
            _ if has_host || first.contains(':') || text.is_empty() => {
                Err(Failure::usage(format!(
                    "`{text}` is neither HOST/NAME of a registry, such as registry.example/team/cache, \
                     nor a folder: a folder is written with `./` or `/` before it"
                )))
            }
            _ => Ok(Self::Folder(text.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_folders_from_repositories() {
        for folder in [
            "cache",
            "a/b",
            "./r.example/x",
            "../x",
            "/r.example/x",
            ".",
            "..",
            "my.cache",
            "A/b",
            ".cache/x",
        ] {
            assert_eq!(Store::parse(folder).unwrap(), Store::Folder(folder.into()), "{folder}");
        }
        for name in ["r.example/cache", "localhost/a/b", "127.0.0.1:5000/cache"] {
            let reference = name.parse().unwrap();
            assert_eq!(Store::parse(name).unwrap(), Store::Repository(reference), "{name}");
        }
        for neither in [
            "",
            "r.example/Cache",
            "r.example/",
            "r.example/cache:1",
            "localhost:5000",
            "https://r.example/cache",
            "r.example:5000/a b",
        ] {
            let reported = format!("{:?}", Store::parse(neither).unwrap_err());
            assert!(
                reported.contains("such as") && reported.contains("./"),
                "{neither}: {reported}"
            );
        }
    }
}
