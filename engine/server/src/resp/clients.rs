//! Who is connected: what `CLIENT LIST` shows of each connection of a listener.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::encode::Protocol;

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) peer: SocketAddr,
    pub(super) since: Instant,
    /// As the client named itself; empty if it did not. So are the two after it.
    pub(super) name: String,
    pub(super) lib_name: String,
    pub(super) lib_version: String,
    pub(super) protocol: Protocol,
    pub(super) reads_from_followers: bool,
}

impl Client {
    pub(super) fn new(peer: SocketAddr) -> Self {
        Self {
            peer,
            since: Instant::now(),
            name: String::new(),
            lib_name: String::new(),
            lib_version: String::new(),
            protocol: Protocol::default(),
            reads_from_followers: false,
        }
    }

    /// Its line of `CLIENT LIST`, in the words of Redis, as far as there is something to tell.
    fn line(&self, id: u64, local_addr: SocketAddr, out: &mut String) {
        let Self { peer, name, lib_name, lib_version, .. } = self;
        let age_seconds = self.since.elapsed().as_secs();
        let flags = if self.reads_from_followers { "r" } else { "N" };
        let resp = self.protocol.number();
        let _ = writeln!(
            out,
            "id={id} addr={peer} laddr={local_addr} name={name} age={age_seconds} flags={flags} db=0 sub=0 psub=0 \
             ssub=0 multi=-1 user=default lib-name={lib_name} lib-ver={lib_version} resp={resp}"
        );
    }
}

/// The open connections of a listener, by id.
#[derive(Debug)]
pub(super) struct Clients {
    local_addr: SocketAddr,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    last_id: u64,
    clients: BTreeMap<u64, Client>,
}

impl Clients {
    pub(super) fn new(local_addr: SocketAddr) -> Self {
        Self { local_addr, open: Mutex::default() }
    }

    /// Enters a connection and gives it an id, never used before.
    pub(super) fn enter(&self, client: Client) -> u64 {
        let mut open = self.open.lock();
        open.last_id += 1;
        let id = open.last_id;
        open.clients.insert(id, client);
        id
    }

    /// Forgets a connection.
    pub(super) fn leave(&self, id: u64) {
        self.open.lock().clients.remove(&id);
    }

    /// Looks at or changes the connection `id`.
    ///
    /// # Panics
    /// If it is not open.
    pub(super) fn with<T>(&self, id: u64, work: impl FnOnce(&mut Client) -> T) -> T {
        match self.open.lock().clients.get_mut(&id) {
            Some(client) => work(client),
            None => panic!("connection {id} is not open"),
        }
    }

    /// A line for each connection that `wants`, by ascending id.
    pub(super) fn list(&self, wants: impl Fn(u64) -> bool) -> String {
        let mut lines = String::new();
        for (&id, client) in self.open.lock().clients.iter().filter(|(id, _)| wants(**id)) {
            client.line(id, self.local_addr, &mut lines);
        }
        lines
    }
}
