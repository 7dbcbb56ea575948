//! The conformance suite over the networks of this crate.

use std::net::SocketAddr;
use std::sync::Arc;

use quorate_transport::conformance::Fixture;
use quorate_transport::{MemoryNetwork, Net, TcpNet};

mod memory;
mod tcp;

#[derive(Debug)]
struct Tcp;

impl Fixture for Tcp {
    fn net(&self, _number: u8) -> Arc<dyn Net> {
        Arc::new(TcpNet)
    }

    fn listen_addr(&self, _number: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }
}

#[derive(Debug, Default)]
struct Memory(MemoryNetwork);

impl Fixture for Memory {
    fn net(&self, number: u8) -> Arc<dyn Net> {
        Arc::new(self.0.numbered(number))
    }

    fn listen_addr(&self, number: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, number], 7380))
    }
}
