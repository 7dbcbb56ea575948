//! The state of one connection, and the commands that change or tell it.
//!
//! A request is planned when all before it have been planned: so a change takes effect for exactly those that come
//! after it, although requests before it may still be under way.

mod handshake;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bytes::Bytes;

use super::arguments;
use super::clients::Client;
use super::command::Connection;
use super::encode::Protocol;
use super::pipeline::Plan;
use super::reply::{self, Reply};
use super::server::Frontend;
use crate::backend::{Access, Routing};

/// Most bytes of the names a client gives itself: they are kept as long as it is connected.
const NAME_BYTES_MAX: usize = 256;

/// One connection's state.
#[derive(Debug)]
pub(super) struct Session<'a> {
    frontend: &'a Frontend,
    id: u64,
    protocol: Protocol,
    /// Whether the client has given the password, if there is one.
    is_authenticated: bool,
    reads_from_followers: bool,
}

impl<'a> Session<'a> {
    /// A client that has sent nothing yet.
    pub(super) fn new(frontend: &'a Frontend, peer: SocketAddr) -> Self {
        Self {
            frontend,
            id: frontend.clients.enter(Client::new(peer)),
            protocol: Protocol::default(),
            is_authenticated: frontend.password.is_none(),
            reads_from_followers: false,
        }
    }

    pub(super) fn frontend(&self) -> &'a Frontend {
        self.frontend
    }

    /// How the next reply is encoded.
    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// How the backend is to be called for the next request.
    pub(super) fn access(&self) -> Access {
        Access { routing: self.frontend.routing, reads_from_followers: self.reads_from_followers }
    }

    /// Carries out a command on this state.
    ///
    /// # Errors
    /// The reply that says what is wrong with the request.
    pub(super) fn plan(&mut self, command: Connection, args: &[Bytes]) -> Result<Plan, Reply> {
        let reply = match command {
            Connection::Hello => self.hello(args)?,
            Connection::Auth => self.auth(args)?,
            Connection::Readonly => self.read_from_followers(true),
            Connection::Readwrite => self.read_from_followers(false),
            // Slots move between groups without a state in which a client would have to ask.
            Connection::Asking => reply::OK,
            Connection::Select => self.select(&args[0])?,
            Connection::Reset => self.reset(),
            Connection::Quit => return Ok(Plan::Close(reply::OK)),
            Connection::Echo => Reply::Bulk(args[0].clone()),
            Connection::Ping => match args {
                [] => Reply::Simple("PONG"),
                [message] => Reply::Bulk(message.clone()),
                _ => return Err(reply::wrong_arity("ping")),
            },
            Connection::ClientId => Reply::Integer(i64::try_from(self.id).unwrap_or(i64::MAX)),
            Connection::ClientInfo => Reply::Verbatim(self.frontend.clients.list(|id| id == self.id)),
            Connection::ClientList => self.list(args)?,
            Connection::ClientGetname => {
                let name = self.frontend.clients.with(self.id, |client| client.name.clone());
                if name.is_empty() { Reply::Null } else { reply::text(name) }
            }
            Connection::ClientSetname => self.set_name(&args[0])?,
            Connection::ClientSetinfo => self.set_info(&args[0], &args[1])?,
            Connection::ClientNoEvict | Connection::ClientNoTouch => switch(&args[0])?,
        };
        Ok(Plan::Reply(reply))
    }

    /// `READONLY`, `READWRITE`. A proxy reads from leaders whatever the client would put up with.
    fn read_from_followers(&mut self, wanted: bool) -> Reply {
        self.reads_from_followers = wanted && self.frontend.routing == Routing::Cluster;
        self.frontend.clients.with(self.id, |client| client.reads_from_followers = self.reads_from_followers);
        reply::OK
    }

    fn select(&self, database: &[u8]) -> Result<Reply, Reply> {
        match (arguments::integer(database)?, self.frontend.routing) {
            (0, _) => Ok(reply::OK),
            (_, Routing::Cluster) => Err(reply::error("ERR SELECT is not allowed in cluster mode")),
            (_, Routing::Proxy) => Err(reply::error("ERR DB index is out of range")),
        }
    }

    /// `RESET`: as if the client had just connected.
    fn reset(&mut self) -> Reply {
        self.protocol = Protocol::default();
        self.is_authenticated = self.frontend.password.is_none();
        self.reads_from_followers = false;
        self.frontend.clients.with(self.id, |client| {
            *client = Client { since: client.since, ..Client::new(client.peer) };
        });
        Reply::Simple("RESET")
    }

    /// `CLIENT LIST [TYPE type] [ID id ...]`.
    fn list(&self, args: &[Bytes]) -> Result<Reply, Reply> {
        let clients = &self.frontend.clients;
        let list = match args {
            [] => clients.list(|_| true),
            [option, kind] if option.eq_ignore_ascii_case(b"type") => {
                let kinds: [&[u8]; 5] = [b"normal", b"master", b"replica", b"slave", b"pubsub"];
                match kinds.iter().position(|known| known.eq_ignore_ascii_case(kind)) {
                    Some(0) => clients.list(|_| true),
                    Some(_) => String::new(),
                    None => {
                        let kind = String::from_utf8_lossy(kind);
                        return Err(reply::error(&format!("ERR Unknown client type '{kind}'")));
                    }
                }
            }
            [option, ids @ ..] if option.eq_ignore_ascii_case(b"id") && !ids.is_empty() => {
                let ids = ids.iter().map(|id| arguments::integer(id)).collect::<Result<BTreeSet<_>, _>>();
                let ids = ids.map_err(|_| reply::error("ERR Invalid client ID"))?;
                clients.list(|id| i64::try_from(id).is_ok_and(|id| ids.contains(&id)))
            }
            _ => return Err(reply::syntax_error()),
        };
        Ok(Reply::Verbatim(list))
    }

    fn set_name(&self, name: &[u8]) -> Result<Reply, Reply> {
        let name = plain("Client names", name)?;
        self.frontend.clients.with(self.id, |client| client.name = name);
        Ok(reply::OK)
    }

    /// `CLIENT SETINFO LIB-NAME | LIB-VER value`.
    fn set_info(&self, option: &[u8], value: &[u8]) -> Result<Reply, Reply> {
        let is_name = option.eq_ignore_ascii_case(b"lib-name");
        if !is_name && !option.eq_ignore_ascii_case(b"lib-ver") {
            let option = String::from_utf8_lossy(option);
            return Err(reply::error(&format!("ERR Unrecognized option '{option}'")));
        }
        let value = plain(if is_name { "lib-name" } else { "lib-ver" }, value)?;
        self.frontend.clients.with(self.id, |client| {
            *(if is_name { &mut client.lib_name } else { &mut client.lib_version }) = value;
        });
        Ok(reply::OK)
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.frontend.clients.leave(self.id);
    }
}

/// A name that can stand in a line of `CLIENT LIST`.
fn plain(what: &str, name: &[u8]) -> Result<String, Reply> {
    if name.len() > NAME_BYTES_MAX {
        return Err(reply::error(&format!("ERR {what} cannot be longer than {NAME_BYTES_MAX} bytes.")));
    }
    match std::str::from_utf8(name) {
        Ok(name) if name.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(name.to_owned()),
        _ => Err(reply::error(&format!("ERR {what} cannot contain spaces, newlines or special characters."))),
    }
}

/// `ON` or `OFF` for what this server has nothing to switch for.
fn switch(state: &[u8]) -> Result<Reply, Reply> {
    if state.eq_ignore_ascii_case(b"on") || state.eq_ignore_ascii_case(b"off") {
        Ok(reply::OK)
    } else {
        Err(reply::syntax_error())
    }
}
