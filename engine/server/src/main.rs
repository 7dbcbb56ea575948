//! The `quorate` command. Everything is in the library.

use std::process::ExitCode;

use quorate_server::EngineCluster;

/// Gives the memory of idle groups back to the system, which the C library's allocator keeps.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    quorate_server::main(&EngineCluster)
}
