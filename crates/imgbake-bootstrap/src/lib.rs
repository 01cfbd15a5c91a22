//! A base OS disk from a distribution's packages.
