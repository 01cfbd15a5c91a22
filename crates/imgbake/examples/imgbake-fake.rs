//! The program with the testkit's builder of machines in memory beside the released ones: what tests of
//! whole commands run where no guest is needed.
//!
//! `FAKE_FAILS=TEXT` makes every command in a guest that holds the text fail with exit code 1.
#![expect(clippy::disallowed_methods, reason = "a program of tests")]

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use imgbake::components::Wiring;
use imgbake_testkit::fake::{Answer, FakeBuilder, Features};

#[tokio::main]
async fn main() -> ExitCode {
    let builder = FakeBuilder::new(Features::ALL);
    builder.on("say-hello", Answer::ok("hello from the guest\n"));
    if let Ok(text) = std::env::var("FAKE_FAILS") {
        builder.on(&text, Answer::fails(1, "no such thing\n"));
    }
    let mut wiring = Wiring::standard();
    wiring.builders.push(Arc::new(builder));
    imgbake::commands::run(imgbake::cli::Cli::parse(), wiring).await
}
