//! Gates and promotion rules: which version a channel may point at.
