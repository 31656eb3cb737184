//! Compares the ring with other bounded single-producer single-consumer queues: two threads, messages of 56, 248 and
//! 1,016 bytes, sent in batches of 32, received in batches of up to 256. Each side copies every message in, adds up
//! its words on the way out, and has space for 512 KiB of messages, the default. Peers carry byte arrays of exactly
//! that size through their batch interfaces, if they have one.

mod cpp;

use crate::race::{Better, Pair, Pause, Report, pin};
use crossbeam_utils::CachePadded;
use ringbuf::traits::{Consumer as _, Observer as _, Producer as _, Split as _};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Instant;

const BATCH: usize = 32;
/// The maximum number of messages received at once: the number that a worker takes from one ring.
const TAKEN: usize = 256;
const BYTES: usize = 512 << 10;
/// The number of different messages.
const SOURCE: usize = 64;

/// One queue: creates its two ends, sends a batch, receives a batch.
trait Queue<const N: usize> {
    const NAME: &'static str;
    type Sender: Send;
    type Receiver: Send;

    /// Why this queue cannot be measured here.
    fn available() -> Result<(), String> {
        Ok(())
    }
    fn make(slots: usize) -> (Self::Sender, Self::Receiver);
    /// Sends as many of `messages` as there is space for. They are visible to the receiver when the call returns.
    /// Returns their number.
    fn send(sender: &mut Self::Sender, messages: &[[u8; N]]) -> usize;
    /// Receives up to [`TAKEN`] messages and adds up their words. Returns the number of messages.
    fn receive(receiver: &mut Self::Receiver, sum: &mut u64) -> usize;
}

#[inline(always)]
fn add_words(bytes: &[u8], sum: &mut u64) {
    for word in bytes.as_chunks::<8>().0 {
        *sum = sum.wrapping_add(u64::from_le_bytes(*word));
    }
}

struct Corelane;

impl<const N: usize> Queue<N> for Corelane {
    const NAME: &'static str = "corelane";
    type Sender = corelane::ring::Producer;
    type Receiver = corelane::ring::Consumer;

    fn make(_: usize) -> (Self::Sender, Self::Receiver) {
        corelane::ring::ring(BYTES).expect("memory for a ring")
    }

    #[inline]
    fn send(sender: &mut Self::Sender, messages: &[[u8; N]]) -> usize {
        let mut sent = 0;
        let mut batch = sender.batch();
        for message in messages {
            let Ok(record) = batch.claim(8 + N, 1, 0) else { break };
            record[8..].copy_from_slice(message);
            batch.commit();
            sent += 1;
        }
        drop(batch);
        sender.publish();
        sent
    }

    #[inline]
    fn receive(receiver: &mut Self::Receiver, sum: &mut u64) -> usize {
        let mut count = 0;
        if receiver.refresh() == Ok(true) {
            let mut records = receiver.records();
            while count < TAKEN
                && let Ok(Some(record)) = records.next()
            {
                // A peer's messages have their length by their type; a record's is read and compared.
                let message: Option<&[u8; N]> = record.bytes[8..].try_into().ok();
                add_words(message.expect("a message of N bytes"), sum);
                count += 1;
            }
            drop(records);
            receiver.release();
        }
        count
    }
}

struct Rtrb;

impl<const N: usize> Queue<N> for Rtrb {
    const NAME: &'static str = "rtrb (chunks)";
    type Sender = rtrb::Producer<[u8; N]>;
    type Receiver = rtrb::Consumer<[u8; N]>;

    fn make(slots: usize) -> (Self::Sender, Self::Receiver) {
        rtrb::RingBuffer::new(slots)
    }

    #[inline]
    fn send(sender: &mut Self::Sender, messages: &[[u8; N]]) -> usize {
        let count = match messages.len() {
            wanted if sender.cached_slots() >= wanted => wanted,
            wanted => sender.slots().min(wanted),
        };
        let Ok(mut chunk) = sender.write_chunk_uninit(count) else { return 0 };
        let (first, second) = chunk.as_mut_slices();
        for (slot, message) in first.iter_mut().chain(second).zip(messages) {
            slot.write(*message);
        }
        // SAFETY: `count` is at most the number of messages, so every slot of the chunk has been written.
        unsafe { chunk.commit_all() };
        count
    }

    #[inline]
    fn receive(receiver: &mut Self::Receiver, sum: &mut u64) -> usize {
        let count = match receiver.cached_slots() {
            0 => receiver.slots(),
            cached => cached,
        };
        let count = count.min(TAKEN);
        let Ok(chunk) = receiver.read_chunk(count) else { return 0 };
        let (first, second) = chunk.as_slices();
        for message in first.iter().chain(second) {
            add_words(message, sum);
        }
        chunk.commit_all();
        count
    }
}

struct Ringbuf;

impl<const N: usize> Queue<N> for Ringbuf {
    const NAME: &'static str = "ringbuf (slices)";
    type Sender = ringbuf::CachingProd<Arc<ringbuf::HeapRb<[u8; N]>>>;
    type Receiver = ringbuf::CachingCons<Arc<ringbuf::HeapRb<[u8; N]>>>;

    fn make(slots: usize) -> (Self::Sender, Self::Receiver) {
        ringbuf::HeapRb::new(slots).split()
    }

    #[inline]
    fn send(sender: &mut Self::Sender, messages: &[[u8; N]]) -> usize {
        // Copies whole slices and publishes once.
        sender.push_slice(messages)
    }

    #[inline]
    fn receive(receiver: &mut Self::Receiver, sum: &mut u64) -> usize {
        if receiver.is_empty() {
            return 0;
        }
        let (first, second) = receiver.as_slices();
        let count = (first.len() + second.len()).min(TAKEN);
        for message in first.iter().chain(second).take(count) {
            add_words(message, sum);
        }
        receiver.skip(count)
    }
}

struct ArrayQueue;

impl<const N: usize> Queue<N> for ArrayQueue {
    const NAME: &'static str = "crossbeam ArrayQueue";
    type Sender = Arc<crossbeam_queue::ArrayQueue<[u8; N]>>;
    type Receiver = Arc<crossbeam_queue::ArrayQueue<[u8; N]>>;

    fn make(slots: usize) -> (Self::Sender, Self::Receiver) {
        let queue = Arc::new(crossbeam_queue::ArrayQueue::new(slots));
        (Arc::clone(&queue), queue)
    }

    #[inline]
    fn send(sender: &mut Self::Sender, messages: &[[u8; N]]) -> usize {
        messages.iter().take_while(|message| sender.push(**message).is_ok()).count()
    }

    #[inline]
    fn receive(receiver: &mut Self::Receiver, sum: &mut u64) -> usize {
        let mut count = 0;
        while count < TAKEN
            && let Some(message) = receiver.pop()
        {
            add_words(&message, sum);
            count += 1;
        }
        count
    }
}

#[cfg(corelane_yring)]
struct Yring;

#[cfg(corelane_yring)]
impl<const N: usize> Queue<N> for Yring {
    const NAME: &'static str = "yring";
    type Sender = yring::Producer<[u8; N]>;
    type Receiver = yring::Consumer<[u8; N]>;

    fn make(slots: usize) -> (Self::Sender, Self::Receiver) {
        yring::spsc(slots)
    }

    #[inline]
    fn send(sender: &mut Self::Sender, messages: &[[u8; N]]) -> usize {
        let sent = messages.iter().take_while(|message| sender.push(**message).is_ok()).count();
        sender.flush();
        sent
    }

    #[inline]
    fn receive(receiver: &mut Self::Receiver, sum: &mut u64) -> usize {
        let mut count = 0;
        receiver.prefetch();
        while count < TAKEN
            && let Some(message) = receiver.pop()
        {
            add_words(&message, sum);
            count += 1;
        }
        receiver.release();
        count
    }
}

/// The floor: slots of a fixed size, two positions on separate cache lines, a cached copy of the other end's position
/// at each end, and no checks.
struct Bare<const N: usize> {
    slots: Box<[UnsafeCell<[u8; N]>]>,
    head: CachePadded<AtomicUsize>,
    tail: CachePadded<AtomicUsize>,
}

// SAFETY: the two positions give each slot to one end at a time.
unsafe impl<const N: usize> Sync for Bare<N> {}

struct BareEnd<const N: usize> {
    shared: Arc<Bare<N>>,
    own: usize,
    other: usize,
}

struct Floor;

impl<const N: usize> Queue<N> for Floor {
    const NAME: &'static str = "floor: bare hand-off, memcpy";
    type Sender = BareEnd<N>;
    type Receiver = BareEnd<N>;

    fn make(slots: usize) -> (Self::Sender, Self::Receiver) {
        let shared = Arc::new(Bare {
            slots: (0..slots.next_power_of_two()).map(|_| UnsafeCell::new([0; N])).collect(),
            head: CachePadded::default(),
            tail: CachePadded::default(),
        });
        (BareEnd { shared: Arc::clone(&shared), own: 0, other: 0 }, BareEnd { shared, own: 0, other: 0 })
    }

    #[inline]
    fn send(end: &mut Self::Sender, messages: &[[u8; N]]) -> usize {
        let slots = end.shared.slots.len();
        if end.own + messages.len() - end.other > slots {
            end.other = end.shared.head.load(Ordering::Acquire);
        }
        let count = messages.len().min(slots - (end.own - end.other));
        let first = count.min(slots - (end.own & (slots - 1)));
        for (from, place, count) in [(0, end.own & (slots - 1), first), (first, 0, count - first)] {
            // SAFETY: these slots are contiguous and free: they lie below the receiver's position plus the number of
            // slots. `messages` contains `count` messages from `from` on.
            unsafe {
                let slot = UnsafeCell::raw_get(end.shared.slots.as_ptr().add(place));
                slot.copy_from_nonoverlapping(messages.as_ptr().add(from), count);
            }
        }
        end.own += count;
        end.shared.tail.store(end.own, Ordering::Release);
        count
    }

    #[inline]
    fn receive(end: &mut Self::Receiver, sum: &mut u64) -> usize {
        let slots = end.shared.slots.len();
        if end.own == end.other {
            end.other = end.shared.tail.load(Ordering::Acquire);
        }
        let count = (end.other - end.own).min(TAKEN);
        for _ in 0..count {
            // SAFETY: the slot is filled, because it lies below the sender's published position.
            add_words(unsafe { &*end.shared.slots[end.own & (slots - 1)].get() }, sum);
            end.own += 1;
        }
        end.shared.head.store(end.own, Ordering::Release);
        count
    }
}

fn source<const N: usize>() -> Vec<[u8; N]> {
    let mut random = crate::race::Random::new();
    (0..SOURCE).map(|_| std::array::from_fn(|_| random.next() as u8)).collect()
}

/// The two ends of a queue. Each has cache lines of its own, as in a program whose threads own them, so that an end that
/// keeps its state in itself is not slowed down by its neighbour here.
struct Ends<S, R> {
    sender: CachePadded<S>,
    receiver: CachePadded<R>,
}

impl<S, R> Ends<S, R> {
    fn new((sender, receiver): (S, R)) -> Self {
        Self { sender: CachePadded::new(sender), receiver: CachePadded::new(receiver) }
    }
}

/// Sends `count` messages from one thread to another. Returns nanoseconds per message.
fn transfer<Q: Queue<N>, const N: usize>(
    Ends { sender, receiver }: &mut Ends<Q::Sender, Q::Receiver>,
    source: &[[u8; N]],
    count: usize,
) -> f64 {
    let mut expected = 0;
    for message in source {
        add_words(message, &mut expected);
    }
    assert_eq!(count % source.len(), 0);
    let expected = expected.wrapping_mul((count / source.len()) as u64);
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin(0);
            start.wait();
            let (mut sent, mut pause) = (0, Pause::default());
            while sent < count {
                let from = sent % source.len();
                let until = (from + BATCH).min(source.len());
                match Q::send(sender, &source[from..until]) {
                    0 => pause.wait(),
                    some => sent += some,
                }
            }
        });
        let received = scope.spawn(|| {
            pin(1);
            start.wait();
            let began = Instant::now();
            let (mut received, mut sum, mut pause) = (0, 0, Pause::default());
            while received < count {
                match Q::receive(receiver, &mut sum) {
                    0 => pause.wait(),
                    some => received += some,
                }
            }
            let took = began.elapsed();
            assert_eq!(sum, expected, "{}: the received messages differ from the sent ones", Q::NAME);
            took.as_nanos() as f64 / count as f64
        });
        received.join().expect("the receiver")
    })
}

fn against<Q: Queue<N>, const N: usize>(report: &mut Report, source: &[[u8; N]], count: usize) {
    if let Err(reason) = Q::available() {
        return report.skip(format_args!("ring, {N} bytes, {}: {reason}", Q::NAME));
    }
    let (slots, count) = (BYTES / (N + 8), report.work(count / SOURCE) * SOURCE);
    let mut ours = Ends::new(<Corelane as Queue<N>>::make(slots));
    let mut theirs = Ends::new(Q::make(slots));
    transfer::<Q, N>(&mut theirs, source, SOURCE * 100); // Check the queue once before it is timed.
    let pair = Pair {
        bench: "ring",
        case: format!("{N} bytes"),
        unit: "ns/message",
        peer: Q::NAME.to_owned(),
        better: Better::Lower,
    };
    report.race(
        &pair,
        || transfer::<Corelane, N>(&mut ours, source, count),
        || transfer::<Q, N>(&mut theirs, source, count),
    );
}

fn size<const N: usize>(report: &mut Report, count: usize) {
    let source = source::<N>();
    against::<Rtrb, N>(report, &source, count);
    against::<Ringbuf, N>(report, &source, count);
    against::<ArrayQueue, N>(report, &source, count);
    #[cfg(corelane_yring)]
    against::<Yring, N>(report, &source, count);
    against::<cpp::Boost, N>(report, &source, count);
    against::<cpp::ReaderWriter, N>(report, &source, count);
    against::<Floor, N>(report, &source, count);
}

pub fn run(report: &mut Report) {
    size::<56>(report, 1_000_000);
    size::<248>(report, 500_000);
    size::<1016>(report, 200_000);
}
