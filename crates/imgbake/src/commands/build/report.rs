//! What a pipeline reads after a build: `--metadata-file` and `--junit`.

use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Home, builds};
use imgbake_types::record::TestOutcome;
use imgbake_types::{Digest, Outcome};
use serde::Serialize;

use super::super::junit::{self, Case, Suite};
use crate::failure::Failure;

/// The format number of the metadata file.
const FORMAT: u32 = 1;

/// How each build of a command ended.
#[derive(Debug, Default)]
pub(super) struct Report(Mutex<Vec<Built>>);

/// How one build ended.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Built {
    /// Its record's ID, for `imgbake logs`.
    pub(super) build: String,
    /// The image.
    pub(super) image: String,
    /// The template.
    pub(super) template: Utf8PathBuf,
    /// How it ended.
    pub(super) outcome: Outcome,
    /// The version, if one was published or was there already: `NAME:VERSION`.
    pub(super) reference: Option<String>,
    /// Its digest.
    pub(super) digest: Option<Digest>,
    /// The channel that points at it now.
    pub(super) channel: Option<String>,
    /// Wall time in seconds.
    pub(super) seconds: f64,
    /// Why it failed.
    pub(super) error: Option<String>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    format: u32,
    builds: &'a [Built],
}

impl Report {
    /// One more build ended.
    pub(super) fn add(&self, built: Built) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(built);
    }

    /// Writes the files that the user wants; gives the errors of those that could not be.
    pub(super) fn write(
        &self,
        home: &Home,
        metadata: Option<&Utf8Path>,
        junit: Option<&Utf8Path>,
    ) -> Vec<Failure> {
        let builds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let metadata = metadata.map(|path| write_metadata(path, &builds));
        let junit = junit.map(|path| write_junit(home, path, &builds));
        [metadata, junit].into_iter().flatten().filter_map(Result::err).collect()
    }
}

fn write_metadata(path: &Utf8Path, builds: &[Built]) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&Metadata { format: FORMAT, builds })
        .map_err(|error| Failure::internal(format!("cannot write JSON: {error}")))?;
    Ok(std::fs::write(path, text + "\n").map_err(io_at("write", path))?)
}

fn write_junit(home: &Home, path: &Utf8Path, builds: &[Built]) -> Result<(), Failure> {
    let stored = builds::list(home)?;
    let tests = |built: &Built| {
        let record = stored.iter().find(|record| record.id() == built.build);
        record.and_then(|record| record.tests().ok()).unwrap_or_default()
    };
    let suites: Vec<Suite> = builds.iter().map(|built| suite(built, tests(built))).collect();
    Ok(std::fs::write(path, junit::xml(&suites)).map_err(io_at("write", path))?)
}

/// Whether a report can be written at a path, before anything is built: a file that is there or can be made.
pub(super) fn check(path: &Utf8Path) -> Result<(), Failure> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            Err(Failure::usage(format!("`{path}` is no file: a report is written to one")))
        }
        // The bytes that are there stay until the report is written.
        _ => {
            let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
            Ok(file.map(drop).map_err(io_at("write", path))?)
        }
    }
}

/// A build as a suite: a case for each check and test. A build that failed before it had any is a case of its own.
fn suite(built: &Built, tests: Vec<TestOutcome>) -> Suite {
    let before = matches!(built.outcome, Outcome::Failed | Outcome::Skipped)
        && tests.iter().all(|test| test.passed);
    let mut cases: Vec<Case> = tests
        .into_iter()
        .map(|test| Case {
            class: test.machine,
            name: test.name,
            seconds: Some(test.seconds),
            failure: (!test.passed).then_some(test.detail),
        })
        .collect();
    if before {
        let failure = Some(built.error.clone().unwrap_or_default());
        cases.push(Case { class: String::new(), name: "build".to_owned(), seconds: None, failure });
    }
    let name = built.reference.clone().unwrap_or_else(|| built.image.clone());
    Suite { name, seconds: built.seconds, cases }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(outcome: Outcome, error: Option<&str>) -> Built {
        Built {
            build: "build-1".into(),
            image: "web".into(),
            template: "web.toml".into(),
            outcome,
            reference: error.is_none().then(|| "web:1".to_owned()),
            digest: None,
            channel: None,
            seconds: 1.5,
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn junit_has_each_test_and_each_failure() {
        let test = |name: &str, passed: bool| TestOutcome {
            name: name.into(),
            machine: "verify-1".into(),
            passed,
            seconds: 0.25,
            detail: "a < b\u{1b}[0m\nsecond".into(),
        };
        let (good, bad) =
            (built(Outcome::Failed, None), built(Outcome::Failed, Some("no \"disk\"")));
        let suites = [
            suite(&good, vec![test("boots", true), test("serves & more", false)]),
            suite(&bad, Vec::new()),
        ];
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n\
            \x20 <testsuite name=\"web:1\" tests=\"2\" failures=\"1\" time=\"1.500\">\n\
            \x20   <testcase classname=\"web:1.verify-1\" name=\"boots\" time=\"0.250\"/>\n\
            \x20   <testcase classname=\"web:1.verify-1\" name=\"serves &amp; more\" time=\"0.250\">\n\
            \x20     <failure message=\"a &lt; b[0m\">a &lt; b[0m\nsecond</failure>\n\
            \x20   </testcase>\n  </testsuite>\n\
            \x20 <testsuite name=\"web\" tests=\"1\" failures=\"1\" time=\"1.500\">\n\
            \x20   <testcase classname=\"web\" name=\"build\">\n\
            \x20     <failure message=\"no &quot;disk&quot;\">no &quot;disk&quot;</failure>\n\
            \x20   </testcase>\n  </testsuite>\n</testsuites>\n";
        assert_eq!(junit::xml(&suites), expected);
    }
}
