//! Rules of channels: which version one may point at.

use imgbake_types::{Action, ChannelName, Span};

use crate::Gate;
use crate::gates::{Converged, From, MaxAge, MaxGrowth, Sealed, Soak, Verified};
use crate::percent::Percent;

/// What a version must meet before a channel points at it.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelRules {
    /// The channel that it must come from.
    pub from: Option<ChannelName>,
    /// How long `from` must have pointed at it.
    pub soak: Option<Span>,
    /// How long ago it may have been captured.
    pub max_age: Option<Span>,
    /// How much more data it may hold than the version before.
    pub max_growth: Option<Percent>,
    /// Gates.
    pub requires: Vec<Required>,
}

/// Of a channel that nobody wrote rules for: the version was verified.
impl Default for ChannelRules {
    fn default() -> Self {
        Self {
            from: None,
            soak: None,
            max_age: None,
            max_growth: None,
            requires: vec![Required::Verified],
        }
    }
}

impl ChannelRules {
    /// The gates of a move by a command. Going back to a version that was there needs no more than the gates in
    /// `requires`: it has met the others before, and may be older, smaller or from a channel that has moved on.
    pub fn gates(&self, action: &Action) -> Vec<Box<dyn Gate>> {
        let mut gates: Vec<Box<dyn Gate>> = self.requires.iter().map(|one| one.gate()).collect();
        if *action == Action::Rollback {
            return gates;
        }
        if let Some(from) = &self.from {
            gates.push(Box::new(From(from.clone())));
            if let Some(least) = self.soak {
                gates.push(Box::new(Soak { from: from.clone(), least }));
            }
        }
        if let Some(most) = self.max_age {
            gates.push(Box::new(MaxAge(most)));
        }
        if let Some(most) = self.max_growth {
            gates.push(Box::new(MaxGrowth(most)));
        }
        gates
    }
}

/// A gate that rules name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Required {
    /// A cold boot and its tests passed.
    Verified,
    /// No step changed anything on its second run.
    Converged,
    /// It was sealed, and nothing that had to be gone was found.
    Sealed,
}

impl Required {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Verified, Self::Converged, Self::Sealed];

    /// Its name in rules and verdicts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Converged => "converged",
            Self::Sealed => "sealed",
        }
    }

    fn gate(self) -> Box<dyn Gate> {
        match self {
            Self::Verified => Box::new(Verified),
            Self::Converged => Box::new(Converged),
            Self::Sealed => Box::new(Sealed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn going_back_needs_the_named_gates_alone() {
        let rules = ChannelRules {
            from: Some("dev".parse().unwrap()),
            soak: Some(Span::secs(1)),
            max_age: Some(Span::secs(1)),
            max_growth: Some("1%".parse().unwrap()),
            requires: Required::ALL.to_vec(),
        };
        let names = |action: &Action| -> Vec<String> {
            rules.gates(action).iter().map(|gate| gate.name().to_owned()).collect()
        };
        assert_eq!(names(&Action::Rollback), ["verified", "converged", "sealed"]);
        assert_eq!(names(&Action::Promote).len(), 7);
        assert_eq!(names(&Action::Build), names(&Action::Promote));
    }
}
