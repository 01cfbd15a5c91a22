//! Colours: a few tones, by the terminal's own palette (ECMA-48, 8.3.117, SGR).

/// What a piece of text is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tone {
    /// Like all the rest.
    #[default]
    Normal,
    /// Less important.
    Dim,
    /// More important.
    Strong,
    /// Something that goes on.
    Active,
    /// It went well.
    Good,
    /// It is to be looked at.
    Warn,
    /// It failed.
    Bad,
}

/// Colours text, or leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint(bool);

impl Paint {
    /// Whether there is colour at all.
    pub const fn new(color: bool) -> Self {
        Self(color)
    }

    /// The text in a tone.
    pub fn tone(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.0 || text.is_empty() => return text.to_owned(),
            Tone::Normal => return text.to_owned(),
            Tone::Dim => "2",
            Tone::Strong => "1",
            Tone::Active => "36",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// The text, less important.
    pub fn dim(self, text: &str) -> String {
        self.tone(Tone::Dim, text)
    }

    /// The text, more important.
    pub fn strong(self, text: &str) -> String {
        self.tone(Tone::Strong, text)
    }
}
