//! End-to-end tests are in `tests/`; what they use is `imgbake-testkit`.
