//! The smallest server with the whole command line. The README shows this program.

use boneyard::Method;
use std::process::ExitCode;

/// Shared by server and client, so the compiler checks both.
pub const GREET: Method<String, String> = Method::new("hello.greet");

fn main() -> ExitCode {
    boneyard::cli::main(|server| {
        server.handle(GREET, |tx, name| {
            std::thread::sleep(std::time::Duration::from_millis(5)); // blocking is fine
            Ok(format!("Hello {name}, you call from {}", tx.peer()))
        })
    })
}
