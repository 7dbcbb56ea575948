//! The real binary as a child process.

mod dev;
mod ports;

pub use dev::{Dev, DevSpec, quorate_binary};
pub use ports::free_ports;
