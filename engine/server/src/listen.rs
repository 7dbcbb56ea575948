//! Binding of the frontends' listeners. What other machines can reach needs a secret, and consent to send it in
//! plaintext as long as there is no TLS (`docs/decisions/0004-plaintext-consent.md`).

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// Why a listener was not opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Other machines could reach the address, and there is no secret they have to know, or nobody has consented that
    /// it travels in plaintext.
    #[error(
        "the {listener} listener refuses {address}: an address that is not loopback needs a password or token, and \
         plaintext = true while there is no TLS"
    )]
    NotLoopback {
        /// "RESP" or "admin".
        listener: &'static str,
        /// The address asked for.
        address: SocketAddr,
    },
    /// The system refused.
    #[error("cannot bind the {listener} listener to {address}: {source}")]
    Bind {
        /// "RESP", "admin" or "peer".
        listener: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
}

/// What stands between a listener and other machines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protection {
    /// Whether clients must know a secret.
    pub(crate) has_secret: bool,
    /// Whether the operator has consented to plaintext.
    pub(crate) allows_plaintext: bool,
}

/// Binds `address` and tells where; port 0 takes any free port.
pub(crate) async fn bind(
    listener: &'static str,
    address: SocketAddr,
    protection: Protection,
) -> Result<(TcpListener, SocketAddr), ListenError> {
    let is_protected = protection.has_secret && protection.allows_plaintext;
    if !is_protected && !address.ip().to_canonical().is_loopback() {
        return Err(ListenError::NotLoopback { listener, address });
    }
    let failed = |source| ListenError::Bind { listener, address, source };
    let bound = TcpListener::bind(address).await.map_err(failed)?;
    let local_addr = bound.local_addr().map_err(failed)?;
    Ok((bound, local_addr))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn try_bind(address: &str, has_secret: bool, allows_plaintext: bool) -> Result<u16, ListenError> {
        let protection = Protection { has_secret, allows_plaintext };
        let bound = bind("admin", address.parse().unwrap(), protection).await;
        bound.map(|(_listener, local_addr)| local_addr.port())
    }

    #[tokio::test]
    async fn an_address_others_can_reach_needs_a_secret_and_consent() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
            for (has_secret, allows_plaintext) in [(false, false), (true, false), (false, true)] {
                let refused = try_bind(address, has_secret, allows_plaintext).await.unwrap_err();
                assert!(matches!(refused, ListenError::NotLoopback { .. }), "{address}: {refused}");
            }
        }
        assert_ne!(try_bind("0.0.0.0:0", true, true).await.unwrap(), 0);
        assert_ne!(try_bind("127.0.0.1:0", false, false).await.unwrap(), 0);
    }
}
