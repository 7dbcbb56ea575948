//! A client without a connection, for fuzzing. Nothing else calls this.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::BytesMut;
use futures_util::FutureExt;
use quorate_telemetry::rng::SeededRng;

use super::budget::Budget;
use super::clients::Clients;
use super::connection::make_call;
use super::limits::Limits;
use super::pipeline::{Pipeline, Plan, Planned};
use super::server::{Frontend, Stats};
use super::session::Session;
use super::splitter::Splitter;
use super::walk::Positions;
use super::{encode, execute, reply};
use crate::backend::{Backend, Routing};

/// Decides where scans go on.
const SEED: u64 = 1;

/// How often a call may give others their turn.
const POLLS_MAX: usize = 100_000;

/// What a client is told that sends `pieces`, each when everything before it has been answered. The limits are
/// `limits`; without a time, a budget or a socket. `backend` must answer at once.
///
/// # Panics
/// If `backend` does not answer at once.
pub fn converse(backend: Arc<dyn Backend>, limits: Limits, pieces: &[&[u8]]) -> Vec<u8> {
    let local_addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 6379));
    let frontend = Frontend {
        backend,
        limits,
        routing: Routing::Proxy,
        password: None,
        local_addr,
        stats: Stats::default(),
        budget: Budget::new(limits.buffered_bytes_max),
        clients: Clients::new(local_addr),
        positions: Positions::new(&SeededRng::new(SEED)),
    };
    let mut session = Session::new(&frontend, local_addr);
    let (mut splitter, mut out) = (Splitter::new(limits), BytesMut::new());
    for piece in pieces {
        splitter.buffer_mut().extend_from_slice(piece);
        let is_over = answer(&frontend, &mut session, &mut splitter, &mut out);
        if is_over {
            break;
        }
        splitter.shrink();
    }
    out.to_vec()
}

/// Carries out what has arrived; whether the connection ends.
fn answer(
    frontend: &Frontend,
    session: &mut Session<'_>,
    splitter: &mut Splitter,
    out: &mut BytesMut,
) -> bool {
    let mut pipeline = Pipeline::new();
    let (mut held, mut is_over) = (None, false);
    loop {
        while let Some(request) = held.take().or_else(|| next_plan(session, splitter, is_over)) {
            is_over = matches!(request.plan, Plan::Close(_));
            if let Err(request) = pipeline.admit(request) {
                held = Some(request);
                break;
            }
        }
        for (ticket, call) in pipeline.take_calls() {
            let mut called = Box::pin(make_call(frontend, ticket, call));
            let answered = (0..POLLS_MAX).find_map(|_| (&mut called).now_or_never());
            let (ticket, answer) = answered.expect("a backend in memory answers at once");
            pipeline.complete(ticket, answer);
        }
        while let Some((reply, protocol)) = pipeline.next_reply() {
            encode::encode(&reply, protocol, out);
        }
        if held.is_none() {
            assert!(pipeline.is_empty(), "every request is answered");
            return is_over;
        }
    }
}

fn next_plan(session: &mut Session<'_>, splitter: &mut Splitter, is_over: bool) -> Option<Planned> {
    if is_over {
        return None;
    }
    match splitter.next_request() {
        Ok(request) => Some(execute::plan(&request?, session)),
        Err(error) => {
            let plan = Plan::Close(reply::error(&format!("ERR {error}")));
            Some(Planned { plan, access: session.access(), protocol: session.protocol(), bytes: 0 })
        }
    }
}
