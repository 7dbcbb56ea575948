//! The `Net` seam: byte streams between addresses. Production: TCP. Also: an in-memory network and, in the
//! tests crate, the simulator's.

mod memory;
mod memory_stream;
mod tcp;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

pub use memory::{MemoryNet, MemoryNetwork};
pub use tcp::TcpNet;

/// A boxed future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An open byte stream.
pub trait Connection: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin + 'static> Connection for T {}

/// Accepts connections.
pub trait Listener: fmt::Debug + Send + 'static {
    /// The next connection and who it says it comes from.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Connection>, SocketAddr)>>;

    /// The address that was bound (with the real port where 0 was asked for).
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A network.
pub trait Net: fmt::Debug + Send + Sync + 'static {
    /// Binds a listener.
    fn listen(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>>;

    /// Opens a connection. The caller sets the deadline.
    fn connect(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Connection>>>;
}
