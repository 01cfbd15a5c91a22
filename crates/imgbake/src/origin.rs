//! Where a template came from: the git commit that is checked out, and the CI job that builds it. Git's own
//! files are read (gitrepository-layout(5)); no git is run.

use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_types::record::Origin;

/// What CI systems say of the job in which a command runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CiJob {
    /// Its page.
    pub url: Option<String>,
    /// The commit that it builds.
    pub commit: Option<String>,
    /// The branch.
    pub branch: Option<String>,
}

impl CiJob {
    /// Reads the variables of GitHub Actions, GitLab CI, Jenkins and Buildkite.
    pub fn of(env: &BTreeMap<String, String>) -> Self {
        let one = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
        let first = |names: &[&str]| names.iter().find_map(|name| one(name));
        let github = || {
            let (server, repository) = (one("GITHUB_SERVER_URL")?, one("GITHUB_REPOSITORY")?);
            Some(format!("{server}/{repository}/actions/runs/{}", one("GITHUB_RUN_ID")?))
        };
        let branches = ["GITHUB_REF_NAME", "CI_COMMIT_REF_NAME", "BUILDKITE_BRANCH", "GIT_BRANCH"];
        Self {
            url: first(&["CI_JOB_URL", "BUILDKITE_BUILD_URL", "BUILD_URL"]).or_else(github),
            commit: first(&["GITHUB_SHA", "CI_COMMIT_SHA", "BUILDKITE_COMMIT", "GIT_COMMIT"]),
            branch: first(&branches),
        }
    }
}

/// Where a template came from; none where nothing is known of it.
pub fn of(template: &Utf8Path, ci: &CiJob) -> Option<Origin> {
    let absolute = camino::absolute_utf8(template).ok()?;
    let checked_out = absolute.ancestors().skip(1).find_map(git_folder).and_then(|git| head(&git));
    let (commit, branch) = match checked_out {
        Some((commit, branch)) => (commit, branch.or_else(|| ci.branch.clone())),
        None => (ci.commit.clone(), ci.branch.clone()),
    };
    let origin = Origin { commit, branch, ci_job: ci.url.clone() };
    (origin != Origin::default()).then_some(origin)
}

/// The repository's folder, where a working tree begins in `dir`.
fn git_folder(dir: &Utf8Path) -> Option<Utf8PathBuf> {
    let git = dir.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    // A linked working tree, or a submodule.
    let text = fs::read_to_string(&git).ok()?;
    Some(dir.join(text.strip_prefix("gitdir:")?.trim()))
}

/// The commit that is checked out, and its branch.
fn head(git: &Utf8Path) -> Option<(Option<String>, Option<String>)> {
    let head = fs::read_to_string(git.join("HEAD")).ok()?;
    let head = head.trim();
    let Some(name) = head.strip_prefix("ref:").map(str::trim) else {
        return Some((commit(head), None));
    };
    let branch = name.strip_prefix("refs/heads/").map(str::to_owned);
    // What all working trees share is in the main one's folder.
    let common = fs::read_to_string(git.join("commondir")).ok();
    let common = common.map_or_else(|| git.to_owned(), |path| git.join(path.trim()));
    let loose = [git, &common].iter().find_map(|dir| fs::read_to_string(dir.join(name)).ok());
    let found = loose.and_then(|text| commit(text.trim())).or_else(|| {
        let packed = fs::read_to_string(common.join("packed-refs")).ok()?;
        let line = packed.lines().find(|line| line.split(' ').nth(1) == Some(name))?;
        commit(line.split(' ').next()?)
    });
    Some((found, branch))
}

/// A commit's name: SHA-1 or SHA-256 in hexadecimal.
fn commit(text: &str) -> Option<String> {
    let plain = matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_checkout_in_every_form() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        let git = dir.join(".git");
        fs::create_dir_all(git.join("refs/heads")).unwrap();
        fs::create_dir_all(dir.join("images")).unwrap();
        let template = dir.join("images/web.toml");
        let none = CiJob::default();
        assert_eq!(of(&template, &none), None);
        fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::write(git.join("refs/heads/main"), format!("{one}\n")).unwrap();
        let origin = of(&template, &none).unwrap();
        assert_eq!((origin.commit, origin.branch.as_deref()), (Some(one.clone()), Some("main")));
        fs::remove_file(git.join("refs/heads/main")).unwrap();
        let packed = format!("# pack-refs with: peeled\n{two} refs/heads/main\n");
        fs::write(git.join("packed-refs"), packed).unwrap();
        assert_eq!(of(&template, &none).unwrap().commit.as_deref(), Some(two.as_str()));
        fs::write(git.join("HEAD"), format!("{one}\n")).unwrap();
        let ci = CiJob { branch: Some("release".into()), ..CiJob::default() };
        let origin = of(&template, &ci).unwrap();
        assert_eq!((origin.commit, origin.branch.as_deref()), (Some(one), Some("release")));
        // A linked working tree.
        let tree = dir.join("tree");
        fs::create_dir_all(git.join("worktrees/tree")).unwrap();
        fs::create_dir_all(&tree).unwrap();
        fs::write(tree.join(".git"), format!("gitdir: {git}/worktrees/tree\n")).unwrap();
        fs::write(git.join("worktrees/tree/HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::write(git.join("worktrees/tree/commondir"), "../..\n").unwrap();
        let origin = of(&tree.join("a.toml"), &none).unwrap();
        assert_eq!(origin.commit.as_deref(), Some(two.as_str()));
    }

    #[test]
    fn knows_ci_systems() {
        let env = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let github = CiJob::of(&env(&[
            ("GITHUB_SERVER_URL", "https://git.example"),
            ("GITHUB_REPOSITORY", "team/images"),
            ("GITHUB_RUN_ID", "7"),
            ("GITHUB_SHA", "abc"),
        ]));
        assert_eq!(github.url.as_deref(), Some("https://git.example/team/images/actions/runs/7"));
        let job = ("CI_JOB_URL", "https://git.example/-/jobs/7");
        let gitlab = CiJob::of(&env(&[job, ("GITHUB_SHA", "")]));
        assert_eq!((gitlab.url.is_some(), gitlab.commit), (true, None));
        assert_eq!(CiJob::of(&env(&[])), CiJob::default());
    }
}
