//! Files of the host that a run reads in the machine.

use camino::{Utf8Path, Utf8PathBuf};

use crate::error::StepError;
use crate::guest::{Copies, Folder};

/// Copies a file or folder of the host; gives its path in the machine.
pub(super) async fn stage(
    copies: &mut Copies,
    folder: &Folder<'_>,
    host: &Utf8Path,
    name: &str,
) -> Result<String, StepError> {
    folder.copy(host, name).await?;
    let path = folder.path(name);
    copies.add(path.clone(), host);
    Ok(path)
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
