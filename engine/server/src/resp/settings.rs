//! How a listener of the Redis frontend serves.

use secrecy::SecretString;

use super::limits::Limits;
use crate::backend::Routing;

/// What [`RespServer::bind`](super::RespServer::bind) needs beside the address and the backend.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What one connection, and all of them together, may use.
    pub limits: Limits,
    /// What happens to a key whose group is led by another node. [`Routing::Cluster`] makes the listener a node
    /// of a Redis Cluster: it answers `MOVED`, and refuses commands whose keys are in different slots.
    pub routing: Routing,
    /// The password of the user `default`. Without one every client is that user.
    pub password: Option<SecretString>,
    /// Consent that other machines talk to it, and tell the password, in plaintext. Without it, and without a
    /// password, only loopback addresses are taken.
    pub plaintext: bool,
}

impl Settings {
    /// The limits of production, no password, loopback only.
    pub fn new(routing: Routing) -> Self {
        Self { limits: Limits::default(), routing, password: None, plaintext: false }
    }
}
