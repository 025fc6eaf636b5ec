//! The agent's log, as it is written.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

/// Lines of a program's standard error, also those to come.
#[derive(Clone, Debug, Default)]
pub struct Log {
    shared: Arc<(Mutex<Lines>, Condvar)>,
}

impl Log {
    /// Collects what `source` gives until its end.
    pub fn of(source: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let writer = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                writer.lock().lines.push(line);
                writer.shared.1.notify_all();
            }
            writer.lock().ended = true;
            writer.shared.1.notify_all();
        });
        log
    }

    /// Waits for a line and gives it; `what` names it should it not come.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool, patience: Duration) -> Result<String> {
        let deadline = Instant::now() + patience;
        let mut lines = self.lock();
        loop {
            if let Some(line) = lines.lines.iter().find(|line| wanted(line)) {
                return Ok(line.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.ended || left.is_zero() {
                let why = if lines.ended { "the program ended" } else { "too long a wait" };
                drop(lines);
                bail!("no log line with {what}: {why}; the log:\n{self}");
            }
            lines = self.shared.1.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the program has closed its standard error.
    pub fn wait_for_end(&self) {
        let lines = self.lock();
        drop(self.shared.1.wait_while(lines, |lines| !lines.ended));
    }

    /// Lines so far in which `text` occurs.
    pub fn lines_with(&self, text: &str) -> Vec<String> {
        self.lock().lines.iter().filter(|line| line.contains(text)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lock().lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_a_missing_one_is_not_waited_for_after_the_end() {
        let log = Log::of("first\nready now\n".as_bytes());
        assert_eq!(
            log.wait_for("ready", |line| line.contains("ready"), Duration::from_secs(5)).unwrap(),
            "ready now"
        );
        let error = log.wait_for("gone", |line| line.contains("gone"), Duration::from_secs(60)).unwrap_err();
        assert!(error.to_string().contains("the program ended"), "{error}");
        assert_eq!(log.lines_with("first"), ["first"]);
    }
}
