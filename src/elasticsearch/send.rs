//! The thread that sends documents in batches. A request that fails is repeated after a pause. The pause doubles up to a
//! minute and is random, so that many exporters do not return to a restarted server at the same moment.

use super::queue::Document;
use super::server::{Answer, Fate, Server};
use super::{ExportShared, Options};
use crate::outgoing::jittered;
use crate::sync::{Arc, Relaxed, lock};
use std::time::{Duration, Instant};

/// The most documents, and bytes, of one request.
const BATCH: usize = 1000;
const BATCH_BYTES: usize = 2 << 20;
/// How long documents wait for others before a request. A quiet server then gets few requests.
const GATHER: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

pub(super) struct Sender {
    shared: Arc<ExportShared>,
    server: Server,
    /// The templates still have to be installed.
    templates: bool,
    /// The most documents of the next request: less after the server found a request too large.
    batch: usize,
    pause: Duration,
    /// Reasons of refused documents that were logged, so that a mapping that never fits does not fill the log.
    logged: Option<(String, Instant)>,
}

impl Sender {
    pub(super) fn new(shared: &Arc<ExportShared>, server: Server, options: &Options) -> Self {
        Self {
            shared: Arc::clone(shared),
            server,
            templates: options.install_templates,
            batch: BATCH,
            pause: FIRST_PAUSE,
            logged: None,
        }
    }

    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        while !shared.gives_up() {
            shared.queue.wait(GATHER, |empty| {
                shared.gives_up() || shared.is_filled() || (shared.is_stopping() && !empty)
            });
            if shared.queue.is_empty() {
                if shared.is_filled() && shared.queue.is_empty() {
                    return;
                }
                continue;
            }
            if self.templates {
                match self.server.install_templates() {
                    Ok(()) => self.templates = false,
                    Err(problem) => {
                        self.fail(&problem);
                        continue;
                    }
                }
            }
            let documents = shared.queue.take(self.batch, BATCH_BYTES);
            if !documents.is_empty() {
                self.send(documents);
            }
        }
    }

    fn send(&mut self, documents: Vec<Document>) {
        match self.server.bulk(&documents) {
            Answer::Items(fates) => self.sort(documents, fates),
            Answer::TooLarge if documents.len() > 1 => {
                self.batch = documents.len() / 2;
                self.shared.queue.put_back(documents);
            }
            Answer::TooLarge => self.reject("the document is larger than the server takes"),
            Answer::Again(problem) => {
                self.shared.queue.put_back(documents);
                self.fail(&problem);
            }
        }
    }

    /// Counts each document by what the server says about it. What it has no room for now is sent again.
    fn sort(&mut self, documents: Vec<Document>, fates: Vec<Fate>) {
        let (mut sent, mut repeated) = (0, 0);
        let mut again = Vec::new();
        for (document, fate) in documents.into_iter().zip(fates) {
            match fate {
                Fate::Stored => sent += 1,
                Fate::AlreadyThere => repeated += 1,
                Fate::Again => again.push(document),
                Fate::Refused(reason) => self.reject(&reason),
            }
        }
        let counts = &self.shared.counts;
        counts.sent.fetch_add(sent, Relaxed); // Relaxed: see `ExportCounts`.
        counts.repeated.fetch_add(repeated, Relaxed); // Relaxed: as above.
        if again.is_empty() {
            *lock(&self.shared.last_error) = None;
            self.pause = FIRST_PAUSE;
            self.batch = (2 * self.batch).min(BATCH);
            return;
        }
        let problem = format!("the server has no room for {} documents now", again.len());
        self.shared.queue.put_back(again);
        self.fail(&problem);
    }

    fn reject(&mut self, reason: &str) {
        self.shared.counts.rejected.fetch_add(1, Relaxed); // Relaxed: see `ExportCounts`.
        let is_new =
            self.logged.as_ref().is_none_or(|(last, at)| last != reason || at.elapsed() > LONGEST_PAUSE);
        if is_new {
            tracing::warn!(target: "corelane::elasticsearch", reason, "the server has refused a document");
            self.logged = Some((reason.to_owned(), Instant::now()));
        }
    }

    /// Notes a failed request, and waits before the next.
    fn fail(&mut self, problem: &str) {
        self.shared.counts.failed_requests.fetch_add(1, Relaxed); // Relaxed: see `ExportCounts`.
        let before = lock(&self.shared.last_error).replace(problem.to_owned());
        if before.as_deref() != Some(problem) {
            tracing::warn!(target: "corelane::elasticsearch", problem, "cannot send documents; trying again");
        }
        let end = Instant::now() + jittered(self.pause);
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
        while !self.shared.gives_up() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let shared = &self.shared;
            shared.queue.wait(left, |_| shared.gives_up());
        }
    }
}
