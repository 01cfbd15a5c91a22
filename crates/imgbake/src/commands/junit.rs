//! JUnit's XML as Jenkins and GitLab read it.

use std::fmt::Write as _;

/// A suite: a build.
pub(super) struct Suite {
    /// Its name.
    pub(super) name: String,
    /// Wall time.
    pub(super) seconds: f64,
    /// What was looked at.
    pub(super) cases: Vec<Case>,
}

/// A case.
pub(super) struct Case {
    /// What it belongs to, below the suite's name; nothing where that is empty.
    pub(super) class: String,
    /// Its name.
    pub(super) name: String,
    /// Wall time, where it is known.
    pub(super) seconds: Option<f64>,
    /// Why it failed.
    pub(super) failure: Option<String>,
}

/// The document.
pub(super) fn xml(suites: &[Suite]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for suite in suites {
        let name = escaped(&suite.name);
        let failures = suite.cases.iter().filter(|case| case.failure.is_some()).count();
        let _ = writeln!(
            out,
            "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{failures}\" time=\"{:.3}\">",
            suite.cases.len(),
            suite.seconds
        );
        for case in &suite.cases {
            let dot = if case.class.is_empty() { "" } else { "." };
            let (class, title) = (escaped(&case.class), escaped(&case.name));
            let _ = write!(out, "    <testcase classname=\"{name}{dot}{class}\" name=\"{title}\"");
            if let Some(seconds) = case.seconds {
                let _ = write!(out, " time=\"{seconds:.3}\"");
            }
            match &case.failure {
                None => out.push_str("/>\n"),
                Some(detail) => out.push_str(&failure(detail)),
            }
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
