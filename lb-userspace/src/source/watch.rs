//! Wakes the reader of a directory when one of its files has changed.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::SourceError;

/// A burst ends when nothing has happened for this long, such as between an editor's write and its rename ...
const QUIET: Duration = Duration::from_millis(3);

/// ... or when it has gone on for this long.
const BURST_MAX: Duration = Duration::from_millis(10);

/// How often a directory that was removed is looked for.
const RETRY: Duration = Duration::from_millis(500);

/// A watch on a directory of manifests; it ends when dropped.
#[derive(Debug)]
pub struct Watch {
    /// Told to end, and then joined.
    thread: Option<(Sender<Signal>, thread::JoinHandle<()>)>,
}

enum Signal {
    /// Something may have changed.
    Changed,
    /// The directory itself was moved or removed, and the watch with it.
    Lost,
    Stop,
}

impl Watch {
    /// Sends `message` after each burst of changes to files of the directory.
    ///
    /// Start it before the first [`Directory::read`](super::Directory::read), so that no change falls between
    /// the two, and drain the channel before each reading: one reading serves all messages before it.
    /// A change to the target of a symbolic link that leads out of the directory is not seen: read now and
    /// then without a message too.
    pub fn new<T>(path: impl AsRef<Path>, sender: Sender<T>, message: T) -> Result<Self, SourceError>
    where
        T: Clone + Send + 'static,
    {
        let path = path.as_ref().to_owned();
        let (signal_sender, signals) = channel();
        let watcher = watch(&path, &signal_sender)
            .map_err(|reason| SourceError::Unwatchable { path: path.clone(), reason })?;
        let (watched, for_watch) = (path.clone(), signal_sender.clone());
        let wake = move || sender.send(message.clone()).is_ok();
        let thread = thread::Builder::new()
            .name("manifests".to_owned())
            .spawn(move || run(&watched, watcher, &for_watch, &signals, wake))
            .map_err(|reason| SourceError::Unwatchable { path, reason: notify::Error::io(reason) })?;
        Ok(Self { thread: Some((signal_sender, thread)) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.thread.take() {
            // Both fail only if the thread has ended already, because nobody listens to it.
            drop(sender.send(Signal::Stop));
            drop(thread.join());
        }
    }
}

/// Turns signals into messages until it is told to stop or nobody listens.
fn run(
    path: &Path,
    watcher: RecommendedWatcher,
    sender: &Sender<Signal>,
    signals: &Receiver<Signal>,
    wake: impl Fn() -> bool,
) {
    let mut watcher = Some(watcher);
    loop {
        let signal = if watcher.is_some() {
            signals.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            signals.recv_timeout(RETRY)
        };
        match signal {
            Ok(Signal::Changed) => {}
            Ok(Signal::Lost) => watcher = None,
            Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                watcher = watch(path, sender).ok();
                if watcher.is_none() {
                    continue;
                }
            }
        }
        match end_of_burst(signals) {
            Burst::Over => {}
            Burst::Lost => watcher = None,
            Burst::Stop => return,
        }
        if !wake() {
            return;
        }
    }
}

enum Burst {
    Over,
    Lost,
    Stop,
}

fn end_of_burst(signals: &Receiver<Signal>) -> Burst {
    let deadline = Instant::now() + BURST_MAX;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match signals.recv_timeout(QUIET.min(left)) {
            Ok(Signal::Changed) if !left.is_zero() => {}
            Ok(Signal::Changed) | Err(RecvTimeoutError::Timeout) => return Burst::Over,
            Ok(Signal::Lost) => return Burst::Lost,
            Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return Burst::Stop,
        }
    }
}

fn watch(path: &Path, sender: &Sender<Signal>) -> notify::Result<RecommendedWatcher> {
    let (root, sender) = (path.to_owned(), sender.clone());
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let signal = match event {
            Ok(event) => signal_of(&root, &event),
            // What was lost with an error can only be found by reading.
            Err(_) => Some(Signal::Changed),
        };
        if let Some(signal) = signal {
            // It fails only while the watch is being dropped.
            drop(sender.send(signal));
        }
    })?;
    watcher.watch(path, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// What an event means. Data that is still being written means nothing: its writer's `close` will.
fn signal_of(root: &Path, event: &Event) -> Option<Signal> {
    let of_root = event.paths.iter().any(|path| path == root);
    match event.kind {
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) if of_root => Some(Signal::Lost),
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Remove(_)
        | EventKind::Modify(ModifyKind::Name(_) | ModifyKind::Metadata(_))
        | EventKind::Any
        | EventKind::Other => Some(Signal::Changed),
        EventKind::Create(CreateKind::Folder) | EventKind::Access(_) | EventKind::Modify(_) => None,
        EventKind::Create(_) => event.paths.iter().any(|path| is_complete(path)).then_some(Signal::Changed),
    }
}

/// A new name that no `close` will follow: a symbolic link, or one more link to a file that was there before.
fn is_complete(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink() || metadata.nlink() > 1)
}
