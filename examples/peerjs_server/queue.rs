//! The frames that wait for one socket, as the bytes to write. Several frames need one write, and a delivery needs no
//! allocation of its own.

use crate::wire::Wire;
use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, ready};

/// Capacity that an empty queue keeps.
const KEPT_BYTES: usize = 16 << 10;
/// First byte of a text frame that is a whole message.
const TEXT: u8 = 0x81;

/// The credit to acknowledge to the router once a frame is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Credit {
    pub(crate) messages: u32,
    pub(crate) bytes: u32,
}

#[derive(Debug)]
struct Frame {
    /// Size with header.
    size: usize,
    header: usize,
    credit: Credit,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// The frames, with headers, of which the stream has taken no byte; before them `start` bytes that it has taken.
    bytes: Vec<u8>,
    start: usize,
    frames: VecDeque<Frame>,
    /// Credit of the frames that the stream has taken since the last flush.
    taken: Credit,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Adds a text frame.
    pub(crate) fn push(&mut self, text: &[u8], credit: Credit) {
        let before = self.bytes.len();
        match text.len() {
            size @ 0..=125 => self.bytes.extend_from_slice(&[TEXT, size as u8]),
            size @ 126..=0xFFFF => {
                let [high, low] = (size as u16).to_be_bytes();
                self.bytes.extend_from_slice(&[TEXT, 126, high, low]);
            }
            size => {
                self.bytes.extend_from_slice(&[TEXT, 127]);
                self.bytes.extend_from_slice(&(size as u64).to_be_bytes());
            }
        }
        let header = self.bytes.len() - before;
        self.bytes.extend_from_slice(text);
        self.frames.push_back(Frame { size: self.bytes.len() - before, header, credit });
    }

    /// The texts of the frames of which the stream has taken no byte.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = self.start;
        self.frames.iter().map(move |frame| {
            let text = &self.bytes[at + frame.header..at + frame.size];
            at += frame.size;
            text
        })
    }

    /// Writes all frames. Returns the credit of the frames that have been written since the last time.
    pub(crate) fn poll_write(&mut self, context: &mut Context<'_>, wire: &Wire) -> Poll<io::Result<Credit>> {
        while !self.frames.is_empty() {
            let taken = ready!(wire.poll_frames(context, &self.bytes[self.start..]))?;
            self.take(taken, wire);
        }
        ready!(wire.poll_flush(context))?;
        Poll::Ready(Ok(std::mem::take(&mut self.taken)))
    }

    /// Removes the frames of which the stream has taken at least one byte.
    fn take(&mut self, taken: usize, wire: &Wire) {
        let end = self.start + taken;
        while self.start < end
            && let Some(Frame { size, credit, .. }) = self.frames.pop_front()
        {
            self.start += size;
            self.taken.messages += credit.messages;
            self.taken.bytes += credit.bytes;
        }
        wire.keep(&self.bytes[end..self.start]);
        if self.start == self.bytes.len() {
            self.start = 0;
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES);
        } else if self.start >= self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Outlet;
    use std::pin::Pin;
    use std::task::Waker;
    use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

    /// What the far end of a stream reads now.
    fn read(far: &mut DuplexStream, context: &mut Context<'_>) -> Vec<u8> {
        let mut bytes = [0; 1 << 10];
        let mut into = ReadBuf::new(&mut bytes);
        let _ = Pin::new(far).poll_read(context, &mut into);
        into.filled().to_vec()
    }

    fn credit(messages: u32, bytes: u32) -> Credit {
        Credit { messages, bytes }
    }

    #[test]
    fn headers_have_the_size_of_the_text() {
        for (size, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xFF, 0xFF]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut queue = Queue::default();
            queue.push(&vec![b'x'; size], Credit::default());
            assert_eq!(queue.bytes[..header.len()], header);
            assert_eq!(queue.texts().map(<[u8]>::len).collect::<Vec<_>>(), [size]);
        }
    }

    /// A stream that takes five bytes at a time ends inside a frame. The rest of this frame comes before a frame of
    /// tungstenite, and before later frames. Only frames of which no byte is written can be handed over, and credit
    /// comes back once everything is written.
    #[test]
    fn no_frame_starts_inside_another_one() {
        let mut context = Context::from_waker(Waker::noop());
        let (near, mut far) = tokio::io::duplex(5);
        let wire = Wire::new(near);
        let mut queue = Queue::default();
        queue.push(b"first", credit(1, 5));
        queue.push(b"second", credit(1, 6));
        assert!(queue.poll_write(&mut context, &wire).is_pending());
        assert_eq!(queue.texts().collect::<Vec<_>>(), [b"second"]);

        let mut outlet = Outlet(wire.clone());
        let pong = [0x8A, 4, b'p', b'o', b'n', b'g'];
        assert!(Pin::new(&mut outlet).poll_write(&mut context, &pong).is_pending());
        let mut all = read(&mut far, &mut context);
        let Poll::Ready(Ok(3)) = Pin::new(&mut outlet).poll_write(&mut context, &pong) else {
            panic!("3 bytes fit")
        };
        all.extend(read(&mut far, &mut context));
        // There is room, but tungstenite has the rest of its frame.
        assert!(wire.is_inside() && queue.poll_write(&mut context, &wire).is_pending());
        let Poll::Ready(Ok(3)) = Pin::new(&mut outlet).poll_write(&mut context, &pong[3..]) else {
            panic!("the rest fits")
        };
        let written = loop {
            match queue.poll_write(&mut context, &wire) {
                Poll::Ready(written) => break written.unwrap(),
                Poll::Pending => all.extend(read(&mut far, &mut context)),
            }
        };
        all.extend(read(&mut far, &mut context));
        assert_eq!(all, b"\x81\x05first\x8A\x04pong\x81\x06second");
        assert_eq!((written, queue.len()), (credit(2, 11), 0));
    }

    #[test]
    fn the_memory_of_a_queue_follows_its_frames() {
        let mut context = Context::from_waker(Waker::noop());
        let (near, mut far) = tokio::io::duplex(1 << 10);
        let wire = Wire::new(near);
        let mut queue = Queue::default();
        for _ in 0..1_000 {
            queue.push(&[b'x'; 1000], credit(1, 1000));
        }
        let mut read_bytes = 0;
        while queue.poll_write(&mut context, &wire).is_pending() {
            read_bytes += read(&mut far, &mut context).len();
            assert!(queue.bytes.len() <= 2 * (queue.len() + 1) * 1004);
        }
        assert!(read_bytes > 998_000 && queue.bytes.capacity() <= KEPT_BYTES);
    }
}
