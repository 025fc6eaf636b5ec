//! A client that does not stop asking, so that a change under traffic shows what it costs.

use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Protocol, Tally, ask};
use crate::net::Namespace;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(4);

/// One question of a continuous client.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it was asked.
    pub asked: Instant,
    /// Who answered, or why nobody did.
    pub result: Result<String, String>,
}

/// Asks by a fresh connection or socket each time, until it is stopped.
#[derive(Debug)]
pub struct Continuous {
    stop: Arc<AtomicBool>,
    records: Arc<Mutex<Vec<Record>>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Continuous {
    /// Begins to ask `to` from inside `client`.
    pub fn start(client: &Namespace, protocol: Protocol, to: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let records = Arc::new(Mutex::new(Vec::new()));
        let (thread_stop, thread_records) = (Arc::clone(&stop), Arc::clone(&records));
        let thread = client.spawn(move || {
            while !thread_stop.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let result =
                    ask(protocol, to, 0).map(|answer| answer.backend).map_err(|error| error.to_string());
                thread_records.lock().unwrap_or_else(PoisonError::into_inner).push(Record { asked, result });
                thread::sleep(PAUSE);
            }
        });
        Self { stop, records, thread: Some(thread) }
    }

    /// What was asked so far.
    pub fn so_far(&self) -> Vec<Record> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it, and gives every question and its answer.
    pub fn stop(mut self) -> Result<Vec<Record>> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        }
        Ok(self.so_far())
    }
}

impl Drop for Continuous {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Whatever it met is of no interest any more: the test that owned it has failed.
            let _ended = thread.join();
        }
    }
}

impl Extend<Record> for Tally {
    fn extend<I: IntoIterator<Item = Record>>(&mut self, records: I) {
        for record in records {
            self.add(record.result);
        }
    }
}
