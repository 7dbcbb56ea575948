//! The `quorate` command. Everything is in the library.

use std::process::ExitCode;

use quorate_server::EngineCluster;

fn main() -> ExitCode {
    quorate_server::main(&EngineCluster)
}
