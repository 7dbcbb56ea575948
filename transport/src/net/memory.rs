//! A network inside one process, with faults on demand.
//!
//! Behaves as TCP does: bytes of a cut direction are held back, not lost; a connection attempt into a cut
//! waits; nobody listening is a refusal; a reset breaks both ends.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::net::memory_stream::{MemoryStream, Wire};
use crate::net::{BoxFuture, Connection, Listener, Net};

/// Bytes a direction holds before the writer waits.
const STREAM_BYTES: usize = 256 * 1024;

/// Connections waiting to be accepted.
const BACKLOG: usize = 128;

/// First port given where 0 is asked for.
const FIRST_FREE_PORT: u16 = 49_152;

/// The hub all nodes of the process are plugged into. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct MemoryNetwork {
    hub: Arc<Hub>,
}

/// One node's plug: connections made through it come from its address.
#[derive(Clone, Debug)]
pub struct MemoryNet {
    hub: Arc<Hub>,
    ip: IpAddr,
}

#[derive(Debug, Default)]
struct Hub {
    state: Mutex<State>,
    /// Told when a cut heals.
    healed: Notify,
}

#[derive(Debug, Default)]
struct State {
    listeners: BTreeMap<SocketAddr, mpsc::Sender<(MemoryStream, SocketAddr)>>,
    /// (from, to) directions that deliver nothing.
    cuts: BTreeSet<(IpAddr, IpAddr)>,
    wires: Vec<Weak<Wire>>,
    ports_given: u16,
}

impl MemoryNetwork {
    /// A network without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The plug of the node at `ip`.
    pub fn node(&self, ip: IpAddr) -> MemoryNet {
        MemoryNet { hub: self.hub.clone(), ip }
    }

    /// The plug of the `number`-th node, at 10.0.0.`number`.
    pub fn numbered(&self, number: u8) -> MemoryNet {
        self.node(IpAddr::V4(Ipv4Addr::new(10, 0, 0, number)))
    }

    /// Delivers nothing from `from` to `to` any more; the other direction still works.
    pub fn cut(&self, from: IpAddr, to: IpAddr) {
        self.change(|cuts| {
            cuts.insert((from, to));
        });
    }

    /// Delivers nothing between two nodes any more.
    pub fn partition(&self, a: IpAddr, b: IpAddr) {
        self.change(|cuts| cuts.extend([(a, b), (b, a)]));
    }

    /// Delivers everything between two nodes again, first what was held back.
    pub fn heal(&self, a: IpAddr, b: IpAddr) {
        self.change(|cuts| cuts.retain(|&cut| cut != (a, b) && cut != (b, a)));
        self.hub.healed.notify_waiters();
    }

    /// Breaks every open connection between two nodes. New ones can be made.
    pub fn reset(&self, a: IpAddr, b: IpAddr) {
        for wire in self.hub.wires() {
            if wire.joins(a, b) {
                wire.reset();
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut BTreeSet<(IpAddr, IpAddr)>)) {
        let cuts = {
            let mut state = self.hub.state.lock();
            change(&mut state.cuts);
            state.cuts.clone()
        };
        for wire in self.hub.wires() {
            wire.set_cuts(&cuts);
        }
    }
}

impl Hub {
    fn wires(&self) -> Vec<Arc<Wire>> {
        let mut state = self.state.lock();
        state.wires.retain(|wire| wire.strong_count() > 0);
        state.wires.iter().filter_map(Weak::upgrade).collect()
    }

    fn is_cut(&self, a: IpAddr, b: IpAddr) -> bool {
        let state = self.state.lock();
        state.cuts.contains(&(a, b)) || state.cuts.contains(&(b, a))
    }

    /// Makes a connection, or says who refused it.
    fn open(&self, from: IpAddr, to: SocketAddr) -> io::Result<MemoryStream> {
        let mut state = self.state.lock();
        let listener = state.listeners.get(&to).ok_or(io::ErrorKind::ConnectionRefused)?;
        let (near, far, wire) = MemoryStream::pair(from, to.ip(), STREAM_BYTES);
        listener.try_send((far, SocketAddr::new(from, 0))).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        wire.set_cuts(&state.cuts);
        state.wires.push(Arc::downgrade(&wire));
        Ok(near)
    }
}

impl MemoryNet {
    /// Where this node's connections come from.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }
}

impl Net for MemoryNet {
    fn listen(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let mut state = self.hub.state.lock();
            let mut addr = addr;
            if addr.port() == 0 {
                addr.set_port(FIRST_FREE_PORT + state.ports_given);
                state.ports_given += 1;
            }
            if state.listeners.get(&addr).is_some_and(|listener| !listener.is_closed()) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            let (sender, accepted) = mpsc::channel(BACKLOG);
            state.listeners.insert(addr, sender);
            let listener: Box<dyn Listener> = Box::new(MemoryListener { accepted, addr });
            Ok(listener)
        })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            loop {
                let healed = self.hub.healed.notified();
                if !self.hub.is_cut(self.ip, addr.ip()) {
                    let stream: Box<dyn Connection> = Box::new(self.hub.open(self.ip, addr)?);
                    return Ok(stream);
                }
                healed.await;
            }
        })
    }
}

#[derive(Debug)]
struct MemoryListener {
    accepted: mpsc::Receiver<(MemoryStream, SocketAddr)>,
    addr: SocketAddr,
}

impl Listener for MemoryListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Connection>, SocketAddr)>> {
        Box::pin(async {
            let (stream, from) = self.accepted.recv().await.ok_or(io::ErrorKind::NotConnected)?;
            let stream: Box<dyn Connection> = Box::new(stream);
            Ok((stream, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}
