//! One client connection: a single task that reads, calls the backend, and writes. The thin shell around
//! [`Splitter`] and [`Pipeline`].
//!
//! Everything is bounded by [`Limits`](super::Limits). A client is not read from while its requests in flight or
//! its unsent replies are at their limit, and is disconnected when it takes no reply for too long.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::budget::{Charge, OverBudget};
use super::pipeline::{Answer, Call, Pipeline, Plan, Planned, Ticket};
use super::reply::{self, Reply};
use super::server::Frontend;
use super::session::Session;
use super::splitter::Splitter;
use super::{encode, execute, walk};
use crate::backend::BoxFuture;

/// Room made in the read buffer before each read.
const READ_BYTES: usize = 16 * 1024;

/// A reply buffer that has grown beyond this is given back once it is empty.
const REPLY_BUFFER_KEPT_BYTES: usize = 4 * 1024;

/// After a protocol error: how much more is read, and for how long, so that the error is not lost to a reset.
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;
const LINGER_MAX: Duration = Duration::from_secs(1);

/// Why a connection ended before its client closed it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    OverBudget(#[from] OverBudget),
    #[error("the client took no reply for {} s", .0.as_secs())]
    Stalled(Duration),
}

/// What more may come from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// More requests.
    Open,
    /// Nothing; what has arrived is still carried out.
    Ended,
    /// Nothing is taken any more, only what was begun is finished.
    Refused,
}

/// Serves `stream` until the client leaves, breaks the protocol or `stop` is cancelled.
pub(super) async fn serve(
    mut stream: TcpStream,
    peer: SocketAddr,
    frontend: &Frontend,
    stop: CancellationToken,
) -> Result<(), ConnectionError> {
    stream.set_nodelay(true)?;
    let mut connection = Connection::new(frontend, peer);
    let (mut reader, mut writer) = stream.split();
    connection.run(&mut reader, &mut writer, &stop).await?;
    writer.shutdown().await?;
    if connection.input == Input::Refused && !stop.is_cancelled() {
        let _ = tokio::time::timeout(LINGER_MAX, discard(&mut reader)).await;
    }
    Ok(())
}

struct Connection<'a> {
    frontend: &'a Frontend,
    session: Session<'a>,
    charge: Charge<'a>,
    splitter: Splitter,
    pipeline: Pipeline,
    calls: FuturesUnordered<BoxFuture<'a, (Ticket, Answer)>>,
    /// The next request, while it waits for one before it.
    held: Option<Planned>,
    /// Whether the splitter has given out every complete request it holds.
    is_exhausted: bool,
    input: Input,
    /// Encoded replies that are not sent yet.
    out: BytesMut,
    /// Since when the client has taken none of `out`.
    stalled_since: Option<Instant>,
    /// Since when the rest of a request is waited for.
    begun_since: Option<Instant>,
}

impl<'a> Connection<'a> {
    fn new(frontend: &'a Frontend, peer: SocketAddr) -> Self {
        let session = Session::new(frontend, peer);
        let mut splitter = Splitter::new(frontend.limits);
        splitter.set_stranger(!session.is_authenticated());
        Self {
            frontend,
            session,
            charge: Charge::new(&frontend.budget),
            splitter,
            pipeline: Pipeline::new(),
            calls: FuturesUnordered::new(),
            held: None,
            is_exhausted: true,
            input: Input::Open,
            out: BytesMut::new(),
            stalled_since: None,
            begun_since: None,
        }
    }

    async fn run(
        &mut self,
        reader: &mut ReadHalf<'_>,
        writer: &mut WriteHalf<'_>,
        stop: &CancellationToken,
    ) -> Result<(), ConnectionError> {
        let limits = &self.frontend.limits;
        let mut stopped = std::pin::pin!(stop.cancelled());
        loop {
            self.dispatch();
            self.collect();
            self.account()?;
            self.flush(writer)?;
            if self.is_finished() {
                return Ok(());
            }
            if self.has_work() {
                tokio::task::consume_budget().await;
                continue;
            }
            let may_read = self.input == Input::Open && self.is_exhausted && self.may_dispatch();
            self.prepare_to_wait(may_read);
            tokio::select! {
                biased;
                () = &mut stopped, if self.input != Input::Refused => self.refuse_input(),
                Some((ticket, answer)) = self.calls.next(), if !self.calls.is_empty() => {
                    self.pipeline.complete(ticket, answer);
                }
                writable = writer.writable(), if !self.out.is_empty() => writable?,
                received = read(reader, self.splitter.buffer_mut()), if may_read => {
                    self.is_exhausted = false;
                    if received? == 0 {
                        self.input = Input::Ended;
                    }
                }
                () = passed(self.stalled_since, limits.write_stall_max) => {
                    return Err(ConnectionError::Stalled(limits.write_stall_max));
                }
                () = passed(self.begun_since, limits.request_arrival_max) => {
                    self.refuse(&unfinished(limits.request_arrival_max));
                }
            }
        }
    }

    /// Gives back memory, and notes since when the rest of a request is waited for: only while it could arrive.
    fn prepare_to_wait(&mut self, may_read: bool) {
        self.splitter.shrink();
        self.pipeline.shrink();
        if !may_read || self.splitter.buffered_bytes() == 0 {
            self.begun_since = None;
        } else if self.begun_since.is_none() {
            self.begun_since = Some(Instant::now());
        }
    }

    /// Admits requests as far as the limits and their order allow, and makes the calls they need.
    fn dispatch(&mut self) {
        let mut commands = 0;
        while self.may_dispatch() {
            let Some(request) = self.held.take().or_else(|| self.next_plan()) else { break };
            let is_last = matches!(request.plan, Plan::Close(_));
            if let Err(request) = self.pipeline.admit(request) {
                self.held = Some(request);
                break;
            }
            commands += 1;
            if is_last {
                self.refuse_input();
            }
        }
        if commands == 0 {
            return;
        }
        self.frontend.stats.commands_total.fetch_add(commands, Ordering::Relaxed);
        for (ticket, call) in self.pipeline.take_calls() {
            self.calls.push(Box::pin(make_call(self.frontend, ticket, call)));
        }
    }

    fn next_plan(&mut self) -> Option<Planned> {
        match self.splitter.next_request() {
            Ok(Some(request)) => {
                let planned = execute::plan(&request, &mut self.session);
                self.splitter.set_stranger(!self.session.is_authenticated());
                self.begun_since = None;
                Some(planned)
            }
            Ok(None) => {
                self.is_exhausted = true;
                None
            }
            Err(error) => Some(self.last_words(reply::error(&format!("ERR {error}")))),
        }
    }

    /// A reply after which the connection ends.
    fn last_words(&self, reply: Reply) -> Planned {
        let (access, protocol) = (self.session.access(), self.session.protocol());
        Planned { plan: Plan::Close(reply), access, protocol, bytes: 0 }
    }

    fn may_dispatch(&self) -> bool {
        let limits = &self.frontend.limits;
        self.input != Input::Refused
            && self.pipeline.len() < limits.commands_in_flight_max
            && self.pipeline.bytes() < limits.command_bytes_in_flight_max
            && self.calls.len() < limits.batches_in_flight_max
            && self.out.len() < limits.reply_buffer_bytes
    }

    /// Takes every answer that is already there, so that their replies leave in one write.
    fn collect(&mut self) {
        while let Some(Some((ticket, answer))) = self.calls.next().now_or_never() {
            self.pipeline.complete(ticket, answer);
        }
    }

    /// Encodes and sends until no reply is ready or the client takes no more.
    fn flush(&mut self, writer: &mut WriteHalf<'_>) -> Result<(), ConnectionError> {
        loop {
            self.encode();
            if self.out.is_empty() {
                return Ok(());
            }
            self.send(writer)?;
            if !self.out.is_empty() {
                return Ok(());
            }
        }
    }

    fn encode(&mut self) {
        while self.out.len() < self.frontend.limits.reply_buffer_bytes {
            let Some((reply, protocol)) = self.pipeline.next_reply() else { break };
            if matches!(reply, Reply::Error(_)) {
                self.frontend.stats.error_replies_total.fetch_add(1, Ordering::Relaxed);
            }
            encode::encode(&reply, protocol, &mut self.out);
        }
    }

    fn send(&mut self, writer: &mut WriteHalf<'_>) -> Result<(), ConnectionError> {
        while !self.out.is_empty() {
            match writer.try_write(&self.out) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(sent) => {
                    let _ = self.out.split_to(sent);
                    self.stalled_since = None;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stalled_since.get_or_insert_with(Instant::now);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        if self.out.capacity() > REPLY_BUFFER_KEPT_BYTES {
            self.out = BytesMut::new();
        }
        Ok(())
    }

    /// Counts what this connection holds. Over the budget, everything not begun is dropped: where that makes room, the
    /// client learns of it after the replies that are still due; otherwise they are what is too much, and go as well.
    fn account(&mut self) -> Result<(), OverBudget> {
        let waiting_bytes = self.held.as_ref().map_or(0, |request| request.bytes);
        let held_bytes =
            self.splitter.buffered_bytes() + waiting_bytes + self.pipeline.bytes() + self.out.len();
        let Err(error) = self.charge.set(held_bytes) else { return Ok(()) };
        if self.input != Input::Refused {
            self.refuse(&error.to_string());
        }
        if self.charge.is_over() { Err(error) } else { Ok(()) }
    }

    /// Drops everything not begun, and tells the client why after the replies that are still due.
    fn refuse(&mut self, why: &str) {
        self.refuse_input();
        self.splitter = Splitter::new(self.frontend.limits);
        // Given back now: the connection may linger for a while.
        let _ = self.charge.set(self.pipeline.bytes() + self.out.len());
        let told = self.pipeline.admit(self.last_words(reply::error(why)));
        assert!(told.is_ok(), "a reply without keys waits for nothing");
    }

    /// Whether another round would get further without waiting for anything.
    fn has_work(&self) -> bool {
        let can_admit = self.may_dispatch() && (!self.is_exhausted || self.held.is_some());
        // A held request waits for a call: without one in flight it can go now.
        can_admit && (self.held.is_none() || self.calls.is_empty())
    }

    fn is_finished(&self) -> bool {
        let takes_nothing = match self.input {
            Input::Open => false,
            Input::Ended => self.is_exhausted && self.held.is_none(),
            Input::Refused => true,
        };
        takes_nothing && self.pipeline.is_empty() && self.out.is_empty()
    }

    fn refuse_input(&mut self) {
        self.input = Input::Refused;
        self.held = None;
    }
}

pub(super) async fn make_call(frontend: &Frontend, ticket: Ticket, call: Call) -> (Ticket, Answer) {
    let (backend, access) = (frontend.backend.as_ref(), ticket.access());
    let answer = match call {
        Call::Read(keys) => {
            Answer::Values(backend.read(keys, frontend.limits.read_batch_bytes_max, access).await)
        }
        Call::Measure(keys) => Answer::Lengths(backend.lengths(keys, access).await),
        Call::Write(writes) => Answer::Written(backend.write(writes, access).await),
        Call::Walk(walk) => Answer::Reply(walk::run(walk, frontend, access).await),
    };
    (ticket, answer)
}

/// Takes memory when there is something to read, so that an idle connection holds none.
async fn read(reader: &mut ReadHalf<'_>, buffer: &mut BytesMut) -> io::Result<usize> {
    reader.readable().await?;
    buffer.reserve(READ_BYTES);
    reader.read_buf(buffer).await
}

/// Ends `max` after `since`; never if that has not begun.
async fn passed(since: Option<Instant>, max: Duration) {
    match since {
        Some(since) => tokio::time::sleep_until(since + max).await,
        None => std::future::pending().await,
    }
}

/// What a client is told whose request does not get on.
fn unfinished(max: Duration) -> String {
    format!("ERR a request has not arrived as a whole within {max:?}")
}

/// Reads and forgets what the client still sends.
async fn discard(reader: &mut ReadHalf<'_>) -> io::Result<()> {
    let mut scratch = vec![0; READ_BYTES];
    let mut discarded = 0;
    while discarded < LINGER_BYTES_MAX {
        match reader.read(&mut scratch).await? {
            0 => return Ok(()),
            bytes => discarded += bytes,
        }
    }
    Ok(())
}
