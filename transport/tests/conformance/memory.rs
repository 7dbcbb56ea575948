//! Over the network in memory.

quorate_transport::transport_conformance!(super::Memory::default());
