//! The `quorate` command. Everything is in the library.

use std::process::ExitCode;

use quorate_server::EngineCluster;

/// Gives the memory of idle groups back to the system, which the C library's allocator keeps.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // With huge pages 64 idle groups on three nodes take 120 MiB instead of 30. Refused by old kernels: then they do.
    let _refused = rustix::thread::disable_transparent_huge_pages(true);
    quorate_server::main(&EngineCluster)
}
