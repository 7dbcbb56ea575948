//! Over real TCP on the loopback interface.

quorate_transport::transport_conformance!(super::Tcp);
