//! The stream of a WebSocket, shared by tungstenite and the queue of frames, so that the port's task can write frames
//! without waking the socket's task. Both write whole frames: no frame starts inside another one.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

pub(crate) struct Wire {
    stream: RefCell<Box<dyn Duplex>>,
    /// The rest of a queued frame of which the stream has taken the first part.
    rest: RefCell<Vec<u8>>,
    /// The stream has taken only a part of tungstenite's frames. Tungstenite has the rest.
    is_inside: Cell<bool>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Wire").finish_non_exhaustive()
    }
}

impl Wire {
    pub(crate) fn new(stream: impl AsyncRead + AsyncWrite + Unpin + 'static) -> Rc<Self> {
        Rc::new(Self {
            stream: RefCell::new(Box::new(stream)),
            rest: RefCell::default(),
            is_inside: Cell::new(false),
        })
    }

    /// Whether tungstenite must flush before a queued frame can be written.
    pub(crate) fn is_inside(&self) -> bool {
        self.is_inside.get()
    }

    /// Writes queued frames. Returns the number of bytes that the stream has taken. If this ends inside a frame, the
    /// caller must give the rest of that frame to [`Self::keep`].
    pub(crate) fn poll_frames(&self, context: &mut Context<'_>, frames: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_inside.get() {
            // Tungstenite has registered the socket's task.
            return Poll::Pending;
        }
        ready!(self.poll_rest(context))?;
        self.poll_stream(context, frames)
    }

    /// Keeps the rest of a frame. It is written before anything else.
    pub(crate) fn keep(&self, rest: &[u8]) {
        self.rest.borrow_mut().extend_from_slice(rest);
    }

    /// Writes the kept rest, and what the stream itself has buffered.
    pub(crate) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(context))?;
        Pin::new(&mut **self.stream.borrow_mut()).poll_flush(context)
    }

    fn poll_rest(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut rest = self.rest.borrow_mut();
        while !rest.is_empty() {
            let taken = ready!(self.poll_stream(context, &rest))?;
            rest.drain(..taken);
            if rest.is_empty() {
                *rest = Vec::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_stream(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut **self.stream.borrow_mut()).poll_write(context, bytes)) {
            Ok(0) if !bytes.is_empty() => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            taken => Poll::Ready(taken),
        }
    }
}

/// Tungstenite's end of a [`Wire`].
pub(crate) struct Outlet(pub(crate) Rc<Wire>);

impl AsyncRead for Outlet {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut **self.0.stream.borrow_mut()).poll_read(context, into)
    }
}

impl AsyncWrite for Outlet {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.0.poll_rest(context))?;
        let taken = ready!(self.0.poll_stream(context, bytes))?;
        // Tungstenite always passes all that it has, so the end of `bytes` is the end of a frame.
        self.0.is_inside.set(taken < bytes.len());
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.poll_rest(context))?;
        Pin::new(&mut **self.0.stream.borrow_mut()).poll_shutdown(context)
    }
}
