//! What the tests stand on: a home of their own, the tiny guest, hostile servers.
