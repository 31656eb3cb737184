//! A stream whose peer must read: a write that makes no progress for too long is an error.

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::net::TcpStream;
use ::tokio::time::Sleep;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// The owner of a stream.
pub trait Patience {
    /// How long the peer may leave written data unread.
    fn patience(&self) -> Duration;
    /// The peer has not read for that long. The stream fails.
    fn gave_up(&self);
}

/// A guarded stream.
pub struct Guarded<P> {
    stream: TcpStream,
    owner: P,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<P: Patience> Guarded<P> {
    /// Guards the stream.
    pub fn new(stream: TcpStream, owner: P) -> Self {
        Self { stream, owner, waiting: None }
    }

    fn watch<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.waiting = None;
            return polled;
        }
        let owner = &self.owner;
        let sleep = self.waiting.get_or_insert_with(|| Box::pin(::tokio::time::sleep(owner.patience())));
        ready!(sleep.as_mut().poll(context));
        self.waiting = None;
        self.owner.gave_up();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<P: Patience + Unpin> AsyncRead for Guarded<P> {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<P: Patience + Unpin> AsyncWrite for Guarded<P> {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, polled)
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // A TCP stream has nothing to flush.
    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
