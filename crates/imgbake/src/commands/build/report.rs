//! What a pipeline reads after a build: `--metadata-file` and `--junit`.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Home, builds};
use imgbake_types::record::TestOutcome;
use imgbake_types::{Digest, Outcome};
use serde::Serialize;

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
    let suites: Vec<Suite<'_>> =
        builds.iter().map(|built| Suite { built, tests: tests(built) }).collect();
    Ok(std::fs::write(path, xml(&suites)).map_err(io_at("write", path))?)
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

struct Suite<'a> {
    built: &'a Built,
    tests: Vec<TestOutcome>,
}

/// JUnit's XML as Jenkins and GitLab read it: a suite for each build, a case for each check and test. A build
/// that failed before it had any is a case of its own.
fn xml(suites: &[Suite<'_>]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for Suite { built, tests } in suites {
        let name = escaped(built.reference.as_deref().unwrap_or(&built.image));
        let before = matches!(built.outcome, Outcome::Failed | Outcome::Skipped)
            && tests.iter().all(|test| test.passed);
        let failures = tests.iter().filter(|test| !test.passed).count();
        let (count, failures) = (tests.len() + usize::from(before), failures + usize::from(before));
        let _ = writeln!(
            out,
            "  <testsuite name=\"{name}\" tests=\"{count}\" failures=\"{failures}\" time=\"{:.3}\">",
            built.seconds
        );
        for test in tests {
            let (class, case) = (escaped(&test.machine), escaped(&test.name));
            let _ = write!(
                out,
                "    <testcase classname=\"{name}.{class}\" name=\"{case}\" time=\"{:.3}\"",
                test.seconds
            );
            let end = if test.passed { "/>\n".to_owned() } else { failure(&test.detail) };
            out.push_str(&end);
        }
        if before {
            let _ = write!(out, "    <testcase classname=\"{name}\" name=\"build\"");
            out.push_str(&failure(built.error.as_deref().unwrap_or_default()));
        }
        out.push_str("  </testsuite>\n");
    }
    out + "</testsuites>\n"
}

fn failure(detail: &str) -> String {
    let message = escaped(detail.lines().next().unwrap_or_default());
    format!(
        ">\n      <failure message=\"{message}\">{}</failure>\n    </testcase>\n",
        escaped(detail)
    )
}

/// Text for XML 1.0, which has no control characters but blanks (section 2.2).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
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
            Suite { built: &good, tests: vec![test("boots", true), test("serves & more", false)] },
            Suite { built: &bad, tests: Vec::new() },
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
        assert_eq!(xml(&suites), expected);
    }
}
