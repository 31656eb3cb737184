//! The floor: two of corelane's rings with nothing between them but a copy. The worker neither reads nor records.

use super::side::{Side, Threads};
use crate::race::{Pause, pin};
use corelane::ring::{Consumer, Producer, ring};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

const BYTES: usize = 8 << 20;

pub struct Bare {
    jobs: Producer,
    deliveries: Consumer,
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
    /// The worker's ends if there is only one thread.
    inline: Option<(Consumer, Producer)>,
    /// The number of recipients of each message. The host hands one record out to all of them.
    fan: usize,
}

/// Copies the waiting records. Returns whether there were any.
pub fn copy(to_do: &mut Consumer, done: &mut Producer) -> bool {
    if !to_do.refresh().unwrap() {
        return false;
    }
    while let Some(record) = to_do.next().unwrap() {
        done.claim(record.bytes.len(), 1, 0).unwrap()[8..].copy_from_slice(&record.bytes[8..]);
        done.commit();
    }
    to_do.release();
    done.publish();
    true
}

impl Bare {
    /// One thread, or a host and one worker. More workers cannot share a ring.
    pub fn new(threads: Threads, fan: usize) -> Self {
        let (jobs, mut to_do) = ring(BYTES).unwrap();
        let (mut done, deliveries) = ring(BYTES).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        if matches!(threads, Threads::One) {
            return Self { jobs, deliveries, stop, worker: None, inline: Some((to_do, done)), fan };
        }
        let stopped = Arc::clone(&stop);
        let worker = std::thread::spawn(move || {
            pin(1);
            let mut pause = Pause::default();
            while !stopped.load(Relaxed) {
                if !copy(&mut to_do, &mut done) {
                    pause.wait();
                }
            }
        });
        Self { jobs, deliveries, stop, worker: Some(worker), inline: None, fan }
    }
}

impl Side for Bare {
    fn send(&mut self, _: usize, message: &[u8]) -> bool {
        let Ok(record) = self.jobs.claim(8 + message.len(), 1, 0) else { return false };
        record[8..].copy_from_slice(message);
        self.jobs.commit();
        true
    }

    fn flush(&mut self) {
        self.jobs.publish();
        if let Some((to_do, done)) = &mut self.inline {
            copy(to_do, done);
        }
    }

    fn receive(&mut self, each: &mut dyn FnMut(usize, &[u8])) -> usize {
        let mut count = 0;
        if self.deliveries.refresh().unwrap() {
            while let Some(record) = self.deliveries.next().unwrap() {
                (0..self.fan).for_each(|to| each(to, &record.bytes[8..]));
                count += self.fan;
            }
            self.deliveries.release();
        }
        count
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let _ = self.worker.take().map(JoinHandle::join);
    }
}
