//! The `quorate` command. Everything is in the library.

use std::process::ExitCode;

use quorate_server::memory::MemoryCluster;

fn main() -> ExitCode {
    quorate_server::main(&MemoryCluster)
}
