//! One end of a connection in memory, and the faults both ends share.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// What the two ends of a connection share.
#[derive(Debug)]
pub(crate) struct Wire {
    /// The addresses of the ends.
    ips: [IpAddr; 2],
    is_reset: AtomicBool,
    /// Whether the end of this number hears nothing.
    is_deaf: [AtomicBool; 2],
    /// Reader and writer of end 0, then of end 1.
    wakers: Mutex<[Option<Waker>; 4]>,
}

impl Wire {
    pub(crate) fn joins(&self, a: IpAddr, b: IpAddr) -> bool {
        self.ips == [a, b] || self.ips == [b, a]
    }

    pub(crate) fn reset(&self) {
        self.is_reset.store(true, Ordering::Release);
        self.wake();
    }

    pub(crate) fn set_cuts(&self, cuts: &BTreeSet<(IpAddr, IpAddr)>) {
        let [near, far] = self.ips;
        self.is_deaf[0].store(cuts.contains(&(far, near)), Ordering::Release);
        self.is_deaf[1].store(cuts.contains(&(near, far)), Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        let wakers = std::mem::take(&mut *self.wakers.lock());
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Remembers whom to wake, then says whether the connection still stands: in this order, so that no
    /// change in between is missed.
    fn watch(&self, slot: usize, cx: &Context<'_>) -> io::Result<()> {
        let mut wakers = self.wakers.lock();
        if !wakers[slot].as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            wakers[slot] = Some(cx.waker().clone());
        }
        if self.is_reset.load(Ordering::Acquire) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

/// One end.
#[derive(Debug)]
pub(crate) struct MemoryStream {
    inner: DuplexStream,
    wire: Arc<Wire>,
    end: usize,
}

impl MemoryStream {
    /// Both ends: of `near`, which connects, and of `far`.
    pub(crate) fn pair(near: IpAddr, far: IpAddr, bytes: usize) -> (Self, Self, Arc<Wire>) {
        let (a, b) = tokio::io::duplex(bytes);
        let wire = Arc::new(Wire {
            ips: [near, far],
            is_reset: AtomicBool::new(false),
            is_deaf: [AtomicBool::new(false), AtomicBool::new(false)],
            wakers: Mutex::default(),
        });
        let near = Self { inner: a, wire: wire.clone(), end: 0 };
        let far = Self { inner: b, wire: wire.clone(), end: 1 };
        (near, far, wire)
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.wire.watch(self.end * 2, cx)?;
        if self.wire.is_deaf[self.end].load(Ordering::Acquire) {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.wire.watch(self.end * 2 + 1, cx)?;
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.watch(self.end * 2 + 1, cx)?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
