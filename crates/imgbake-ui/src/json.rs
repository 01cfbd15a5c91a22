//! Events for machines.

use std::io::{self, Write};

use imgbake_types::Event;

/// Writes each event as one line of JSON, at once.
pub struct JsonLines(Box<dyn Write + Send>);

impl std::fmt::Debug for JsonLines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JsonLines")
    }
}

impl JsonLines {
    /// Lines that go to `out`.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self(out)
    }

    /// Writes one event. A reader sees it when this returns.
    ///
    /// # Errors
    /// What `out` gives: the file system is full, or the pipe's reader has gone.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.0.write_all(&line)?;
        self.0.flush()
    }
}

/// The JSON Schema (2020-12) of a line.
pub fn event_schema() -> serde_json::Value {
    schemars::schema_for!(Event).to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_names_every_field_of_every_line() {
        let schema = event_schema();
        assert_eq!(schema["title"], "Event");
        let text = schema.to_string();
        for word in
            ["time", "job", "stage_finished", "build_finished", "seal_operation", "virtual_size"]
        {
            assert!(text.contains(&format!("\"{word}\"")), "{word}");
        }
    }
}
