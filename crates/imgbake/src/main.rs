//! imgbake bakes golden machine images.
fn main() {}
