//! The provisioners: shell and file.
