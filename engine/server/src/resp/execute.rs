//! From a request to what has to be done for it: an immediate reply, or keys to read or write.

use bytes::Bytes;

use super::command::{self, Handler};
use super::pipeline::{Plan, Planned};
use super::reply::{self, Reply};
use super::session::Session;
use super::splitter::Request;
use super::{cluster, introspect, keys};

/// What an argument costs in memory beside its bytes: its handle, the engine key made of it, its place among the keys
/// in use.
const ARGUMENT_BYTES: usize = 128;

/// What `request` asks for, in the state of its connection, which it may change. Touches no data.
pub(super) fn plan(request: &Request, session: &mut Session<'_>) -> Planned {
    let plan = plan_known(request, session).unwrap_or_else(Plan::Reply);
    let bytes = request.bytes + request.args.len() * ARGUMENT_BYTES;
    Planned { plan, access: session.access(), protocol: session.protocol(), bytes }
}

/// The error is the reply to send instead.
fn plan_known(request: &Request, session: &mut Session<'_>) -> Result<Plan, Reply> {
    if is_http(&request.args) {
        return Ok(Plan::Close(reply::error("ERR this is not an HTTP server")));
    }
    let resolved = command::resolve(&request.args);
    let may_run =
        session.is_authenticated() || resolved.as_ref().is_ok_and(|(spec, _)| spec.needs_no_password());
    if !may_run {
        return Err(reply::error("NOAUTH Authentication required."));
    }
    let (spec, args) = resolved?;
    let frontend = session.frontend();
    match spec.handler {
        Handler::Keys(command) => keys::plan(command, args, frontend.routing),
        Handler::Connection(command) => session.plan(command, args),
        Handler::Cluster(command) => cluster::plan(command, args, frontend),
        Handler::Server(command) => introspect::reply(command, args, frontend).map(Plan::Reply),
        Handler::Container => unreachable!("a container is called by the name of a subcommand"),
    }
}

/// A web page can make a browser post to a port of this machine; the lines of its body would be taken for commands.
fn is_http(args: &[Bytes]) -> bool {
    let begins_http: [&[u8]; 2] = [b"post", b"host:"];
    args.first().is_some_and(|first| begins_http.iter().any(|word| first.eq_ignore_ascii_case(word)))
}
