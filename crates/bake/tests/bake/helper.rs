//! Stands in for the binary `kiln` in the tests: the program that a sandbox is made of, and a bake in a process
//! of its own (`bake SPEC STORE STEPS`, which prints the digest).

use std::process::ExitCode;

#[path = "words.rs"]
#[allow(clippy::unwrap_used, reason = "a test that cannot be set up shall fail")]
mod words;

fn main() -> ExitCode {
    if kiln_bake::sandbox::is_child() {
        return kiln_bake::sandbox::child_main();
    }
    let words: Vec<String> = std::env::args().collect();
    let [_, verb, source, store, steps] = words.as_slice() else { return ExitCode::from(2) };
    if verb != "bake" {
        return ExitCode::from(2);
    }
    match words::bake_at(source.as_ref(), store.as_ref(), steps) {
        Ok(digest) => {
            println!("{digest}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", words::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
