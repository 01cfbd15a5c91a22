//! How stored documents evolve: each carries the number of its format, and one of a newer format than
//! this imgbake reads says which imgbake reads it (`docs/decisions/0017-stored-formats.md`).

use std::fmt;

use serde::de::DeserializeOwned;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// The format of documents that carry no number.
const FIRST: u32 = 1;

/// A document that is stored: a JSON object of some format. Unknown keys are ignored on reading.
pub trait Document: Serialize + DeserializeOwned {
    /// The format that is written, and the newest that is read.
    const FORMAT: u32 = FIRST;
    /// The oldest imgbake that reads this format.
    const NEEDS: &'static str = "0.1.0";
}

/// Why a stored document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It is of a newer format than this imgbake reads.
    Newer {
        /// Its format number, where it carries one.
        format: Option<u32>,
        /// The oldest imgbake that reads it, where it is known.
        needs: Option<String>,
    },
    /// It is not what was written, or not there.
    Damaged {
        /// What is wrong with it.
        why: String,
    },
}

/// What every document begins with.
#[derive(Debug, Default, Deserialize)]
struct Head {
    #[serde(default)]
    format: Option<u32>,
    #[serde(default)]
    needs: Option<String>,
}

/// Reads a document.
///
/// # Errors
/// It is of a newer format, or no document of this kind.
pub fn read<T: Document>(bytes: &[u8]) -> Result<T, Problem> {
    from_head(serde_json::from_slice(bytes), || serde_json::from_slice(bytes))
}

/// Reads a document that is a part of another.
///
/// # Errors
/// Those of [`read`].
pub fn read_value<T: Document>(value: &Value) -> Result<T, Problem> {
    from_head(Head::deserialize(value), || T::deserialize(value))
}

fn from_head<T: Document>(
    head: Result<Head, serde_json::Error>,
    body: impl FnOnce() -> Result<T, serde_json::Error>,
) -> Result<T, Problem> {
    let head = head?;
    match head.format {
        Some(format) if format > T::FORMAT => {
            Err(Problem::Newer { format: Some(format), needs: head.needs })
        }
        _ => Ok(body()?),
    }
}

/// A document as it is written: the same document has the same bytes.
///
/// # Errors
/// It is no JSON object.
pub fn write<T: Document>(document: &T) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Written(document))
}

/// A document as it is written, as a part of another.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a, T>(pub &'a T);

impl<T: Document> Serialize for Written<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Whole<'a, T> {
            format: u32,
            #[serde(skip_serializing_if = "Option::is_none")]
            needs: Option<&'a str>,
            #[serde(flatten)]
            document: &'a T,
        }
        let needs = (T::FORMAT > FIRST).then_some(T::NEEDS);
        Whole { format: T::FORMAT, needs, document: self.0 }.serialize(serializer)
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        Self::Damaged { why: error.to_string() }
    }
}

impl Problem {
    /// Whether a newer imgbake reads it.
    pub const fn is_newer(&self) -> bool {
        matches!(self, Self::Newer { .. })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { needs: Some(needs), .. } => {
                write!(f, "needs imgbake ≥ {}", needs.escape_debug())
            }
            Self::Newer { format: Some(format), .. } => {
                write!(f, "needs a newer imgbake: it is of format {format}")
            }
            Self::Newer { .. } => f.write_str("needs a newer imgbake"),
            Self::Damaged { why } => write!(f, "damaged: {why}"),
        }
    }
}

impl std::error::Error for Problem {}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, needs) = match self {
            Self::Newer { needs, .. } => ("newer", needs.as_deref()),
            Self::Damaged { .. } => ("damaged", None),
        };
        let mut problem = serializer.serialize_struct("Problem", 3)?;
        problem.serialize_field("kind", kind)?;
        problem.serialize_field("needs", &needs)?;
        problem.serialize_field("message", &self.to_string())?;
        problem.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Note {
        text: String,
    }

    impl Document for Note {
        const FORMAT: u32 = 2;
        const NEEDS: &'static str = "0.2.0";
    }

    #[test]
    fn reads_what_was_written() {
        let note = Note { text: "x".to_owned() };
        let bytes = write(&note).unwrap();
        assert_eq!(bytes, br#"{"format":2,"needs":"0.2.0","text":"x"}"#);
        assert_eq!(read::<Note>(&bytes), Ok(note));
    }

    #[test]
    fn older_is_read_and_newer_is_named() {
        for (document, expected) in [
            (json!({ "text": "x" }), None),
            (json!({ "text": "x", "format": 1, "more": [1] }), None),
            (json!({ "text": "x", "format": 2, "needs": "0.2.0" }), None),
            (json!({ "format": 3, "needs": "0.3.0" }), Some("needs imgbake ≥ 0.3.0")),
            (json!({ "format": 99 }), Some("needs a newer imgbake: it is of format 99")),
            (json!({ "format": 1 }), Some("damaged: missing field `text`")),
            (json!({ "format": "1", "text": "x" }), Some("damaged: invalid type")),
            (json!([]), Some("damaged: ")),
        ] {
            let bytes = document.to_string().into_bytes();
            let read = read::<Note>(&bytes);
            assert_eq!(read_value(&document).ok(), read.clone().ok());
            match (read, expected) {
                (Ok(note), None) => assert_eq!(note.text, "x"),
                (Err(problem), Some(words)) => {
                    assert!(problem.to_string().starts_with(words), "{problem}");
                }
                (read, expected) => panic!("{document}: {read:?}, not {expected:?}"),
            }
        }
    }
}
