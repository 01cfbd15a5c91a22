//! End-to-end tests are in `tests/`; what they stand on is `imgbake-testkit`.
