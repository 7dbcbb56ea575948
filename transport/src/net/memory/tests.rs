//! The faults of the network in memory.

use std::io::ErrorKind;
use std::net::SocketAddr;

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::MemoryNetwork;
use crate::net::{Connection, Net};

async fn connected(network: &MemoryNetwork) -> (Box<dyn Connection>, Box<dyn Connection>) {
    let mut listener = network.numbered(2).listen(addr()).await.unwrap();
    let net = network.numbered(1);
    let near = net.connect(addr()).await.unwrap();
    let (far, from) = listener.accept().await.unwrap();
    assert_eq!(from.ip(), net.ip());
    (near, far)
}

fn addr() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 2], 7380))
}

/// Whether a byte written here can be read there at once: nothing in between takes time.
async fn carries(from: &mut Box<dyn Connection>, to: &mut Box<dyn Connection>) -> bool {
    from.write_all(b"x").await.unwrap();
    let mut byte = [0];
    to.read_exact(&mut byte).now_or_never().is_some()
}

#[tokio::test]
async fn a_cut_direction_holds_bytes_back_until_it_heals() {
    let network = MemoryNetwork::new();
    let (mut near, mut far) = connected(&network).await;
    let (a, b) = (network.numbered(1).ip(), network.numbered(2).ip());
    network.cut(a, b);
    assert!(!carries(&mut near, &mut far).await);
    assert!(carries(&mut far, &mut near).await, "the other direction still works");
    let mut byte = [0];
    let heal = async {
        tokio::task::yield_now().await;
        network.heal(a, b);
    };
    let (read, ()) = tokio::join!(far.read_exact(&mut byte), heal);
    assert_eq!(read.unwrap(), 1, "what was held back arrives");
}

#[tokio::test]
async fn a_partition_stops_both_directions_and_new_connections() {
    let network = MemoryNetwork::new();
    let (mut near, mut far) = connected(&network).await;
    let (a, b) = (network.numbered(1).ip(), network.numbered(2).ip());
    network.partition(a, b);
    assert!(!carries(&mut near, &mut far).await);
    assert!(!carries(&mut far, &mut near).await);
    let net = network.numbered(1);
    let mut connecting = net.connect(addr());
    assert!((&mut connecting).now_or_never().is_none(), "an attempt waits");
    network.heal(a, b);
    let end = connecting.await;
    // The listener of this test has gone.
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_reset_breaks_both_ends_also_while_they_wait() {
    let network = MemoryNetwork::new();
    let (mut near, mut far) = connected(&network).await;
    let (a, b) = (network.numbered(1).ip(), network.numbered(2).ip());
    let mut byte = [0];
    let reset = async {
        tokio::task::yield_now().await;
        network.reset(b, a);
    };
    let (read, ()) = tokio::join!(far.read_exact(&mut byte), reset);
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(near.write_all(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_address_is_taken_once_and_free_again_after() {
    let network = MemoryNetwork::new();
    let listener = network.numbered(2).listen(addr()).await.unwrap();
    let taken = network.numbered(2).listen(addr()).await;
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::AddrInUse);
    drop(listener);
    assert!(network.numbered(2).listen(addr()).await.is_ok());
}
