//! A small model of the protocol of a link: epochs, sequences, cumulative acknowledgements with rejects. The shipped one is
//! `src/cluster/link`.

use corelane::router::{FromWorker, LinkId, Reject};
use std::collections::{HashSet, VecDeque};
use std::time::Duration;

pub const LOST_AFTER: Duration = Duration::from_secs(3);
const ASK_EVERY: Duration = Duration::from_millis(250);

/// A message on its way.
#[derive(Clone, Debug)]
pub struct Record {
    pub name: String,
    pub is_room: bool,
    pub revision: u64,
    pub message_type: String,
    pub correlation: u64,
    pub age: Duration,
    pub payload: Vec<u8>,
}

impl Record {
    pub fn of(record: &FromWorker<'_>) -> Option<(LinkId, usize, Self)> {
        let FromWorker::Message {
            link,
            worker,
            name,
            is_room,
            revision,
            message_type,
            correlation,
            age,
            payload,
        } = *record
        else {
            return None;
        };
        let record = Self {
            name: name.to_owned(),
            is_room,
            revision,
            message_type: message_type.to_owned(),
            correlation,
            age,
            payload: payload.to_vec(),
        };
        Some((link, worker, record))
    }
}

#[derive(Clone, Debug)]
pub enum Frame {
    Hello {
        epoch: u32,
    },
    /// Without records: a probe.
    Data {
        epoch: u32,
        base: u64,
        first: u64,
        records: Vec<Record>,
    },
    Answer {
        epoch: u32,
        upto: u64,
        rejects: Vec<(u64, Reject)>,
    },
}

/// What is due for a sender.
pub enum Due {
    Nothing,
    Send(Frame),
    Lost,
}

/// How many messages of a worker are done, and which of them badly.
type Settled = (usize, u32, Vec<(u32, Reject)>);

/// The sending end.
pub struct Sender {
    pub epoch: u32,
    pub is_up: bool,
    base: u64,
    /// The worker and the number of each message that is not settled, and whether it is for a room.
    pub waiting: VecDeque<(usize, u64, bool)>,
    unsent: Vec<Record>,
    progress: Duration,
    asked: Option<Duration>,
}

impl Sender {
    pub fn new(epoch: u32, now: Duration) -> Self {
        Self {
            epoch,
            is_up: false,
            base: 0,
            waiting: VecDeque::new(),
            unsent: Vec::new(),
            progress: now,
            asked: None,
        }
    }

    pub fn push(&mut self, worker: usize, record: Record, now: Duration) {
        if self.waiting.is_empty() {
            self.progress = now;
        }
        self.waiting.push_back((worker, record.correlation, record.is_room));
        self.unsent.push(record);
    }

    fn sent(&self) -> u64 {
        self.base + (self.waiting.len() - self.unsent.len()) as u64
    }

    pub fn take_frame(&mut self, most: usize) -> Option<Frame> {
        if self.unsent.is_empty() || !self.is_up {
            return None;
        }
        let first = self.sent();
        let records = self.unsent.drain(..most.min(self.unsent.len())).collect();
        Some(Frame::Data { epoch: self.epoch, base: self.base, first, records })
    }

    pub fn due(&mut self, now: Duration) -> Due {
        if self.is_up && !self.waiting.is_empty() && now >= self.progress + LOST_AFTER {
            return Due::Lost;
        }
        if self.asked.is_some_and(|asked| now < asked + ASK_EVERY) || (self.is_up && self.waiting.is_empty())
        {
            return Due::Nothing;
        }
        self.asked = Some(now);
        let epoch = self.epoch;
        Due::Send(match self.is_up {
            true => Frame::Data { epoch, base: self.base, first: self.sent(), records: Vec::new() },
            false => Frame::Hello { epoch },
        })
    }

    /// The link has come up; what an answer settles, by worker.
    pub fn answered(
        &mut self,
        (epoch, upto, rejects): (u32, u64, &[(u64, Reject)]),
        now: Duration,
    ) -> (bool, Vec<Settled>, Vec<u64>) {
        if epoch != self.epoch {
            return (false, Vec::new(), Vec::new());
        }
        if !self.is_up {
            self.is_up = true;
            self.progress = now;
            return (true, Vec::new(), Vec::new());
        }
        assert!(upto <= self.sent(), "an answer to what was not sent");
        let (mut settled, mut gone): (Vec<Settled>, _) = (Vec::new(), Vec::new());
        for sequence in self.base..upto {
            self.progress = now;
            let (worker, number, is_room) = self.waiting.pop_front().unwrap();
            let place = settled.iter().position(|one| one.0 == worker).unwrap_or_else(|| {
                settled.push((worker, 0, Vec::new()));
                settled.len() - 1
            });
            let (_, count, bad) = &mut settled[place];
            let reject = rejects.iter().find(|one| one.0 == sequence).map(|(_, reject)| *reject);
            bad.extend(reject.map(|reject| (*count, reject)));
            if reject == Some(Reject::Gone) && !is_room {
                gone.push(number);
            }
            *count += 1;
        }
        self.base = self.base.max(upto);
        (false, settled, gone)
    }
}

/// The receiving end.
#[derive(Default)]
pub struct Receiver {
    pub epoch: Option<u32>,
    expected: u64,
    upto: u64,
    results: VecDeque<Option<Result<(), Reject>>>,
    rejects: Vec<(u64, Reject)>,
    /// Places that were answered as gone.
    gone: HashSet<(String, u64)>,
    pub owes: bool,
}

impl Receiver {
    pub fn hello(&mut self, epoch: u32) {
        if self.epoch.is_none_or(|present| present < epoch) {
            *self = Self { epoch: Some(epoch), ..Self::default() };
        }
        self.owes |= self.epoch == Some(epoch);
    }

    /// Whether a frame is of this epoch and in order. Returns how many records before it are lost.
    pub fn take(&mut self, epoch: u32, base: u64, first: u64) -> Option<u64> {
        if self.epoch != Some(epoch) || first < self.expected {
            return None;
        }
        self.owes = true;
        self.rejects.retain(|(sequence, _)| *sequence >= base);
        let lost = first - self.expected;
        for _ in 0..lost {
            self.results.push_back(Some(Err(Reject::Lost)));
            self.expected += 1;
        }
        self.advance();
        Some(lost)
    }

    /// The number of the next record.
    pub fn next(&mut self) -> u64 {
        self.results.push_back(None);
        self.expected += 1;
        self.expected - 1
    }

    pub fn is_gone(&self, name: &str, revision: u64) -> bool {
        self.gone.contains(&(name.to_owned(), revision))
    }

    pub fn set_gone(&mut self, name: &str, revision: u64) {
        self.gone.insert((name.to_owned(), revision));
    }

    pub fn result(&mut self, sequence: u64, outcome: Result<(), Reject>) {
        let result = &mut self.results[(sequence - self.upto) as usize];
        assert_eq!(*result, None, "a second result");
        *result = Some(outcome);
        self.advance();
    }

    fn advance(&mut self) {
        while let Some(Some(outcome)) = self.results.front() {
            if let Err(reject) = outcome {
                self.rejects.push((self.upto, *reject));
            }
            self.results.pop_front();
            self.upto += 1;
            self.owes = true;
        }
    }

    pub fn answer(&mut self) -> Option<Frame> {
        let epoch = self.epoch?;
        std::mem::take(&mut self.owes).then(|| Frame::Answer {
            epoch,
            upto: self.upto,
            rejects: self.rejects.clone(),
        })
    }
}
