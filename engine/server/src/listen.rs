//! Binding of the frontends' listeners: on loopback only, as long as they have neither token nor TLS.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// Why a listener was not opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Other machines could reach the address, and nothing would ask them who they are.
    #[error(
        "the {listener} listener refuses {address}: without a token and TLS it serves loopback addresses only"
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
        /// "RESP" or "admin".
        listener: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
}

/// Binds `address` and tells where; port 0 takes any free port.
pub(crate) async fn bind_loopback(
    listener: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), ListenError> {
    if !address.ip().to_canonical().is_loopback() {
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

    #[tokio::test]
    async fn an_address_others_can_reach_is_refused() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
            let refused = bind_loopback("admin", address.parse().unwrap()).await.unwrap_err();
            assert!(matches!(refused, ListenError::NotLoopback { .. }), "{address}: {refused}");
        }
        let (_listener, local_addr) = bind_loopback("admin", "127.0.0.1:0".parse().unwrap()).await.unwrap();
        assert_ne!(local_addr.port(), 0);
    }
}
