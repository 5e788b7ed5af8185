//! The threads that share work such as hashing.
//!
//! Left alone, rayon starts as many as there are processors when it is first used, and ends the process where one of them
//! is not to be had (`ulimit -u`, a container's limit). So they are started here: as many as there are to be had.

use std::io;
use std::sync::mpsc;
use std::thread::{Builder, available_parallelism};

use rayon::{ThreadBuilder, ThreadPoolBuilder};

/// Starts them. Fails only where there is none.
pub(super) fn start() -> io::Result<()> {
    let wanted = wanted();
    let mut waiting = Vec::new();
    let mut failed = None;
    while waiting.len() < wanted && failed.is_none() {
        let (send, receive) = mpsc::channel::<ThreadBuilder>();
        // Without work to come it ends.
        let thread = Builder::new().spawn(move || receive.recv().map(ThreadBuilder::run));
        match thread {
            Ok(_) => waiting.push(send),
            Err(error) => failed = Some(error),
        }
    }
    if let (true, Some(error)) = (waiting.is_empty(), failed) {
        let message = format!("a thread cannot be started: {error}");
        return Err(io::Error::new(error.kind(), message));
    }
    let pool = ThreadPoolBuilder::new().num_threads(waiting.len());
    let pool = pool.spawn_handler(|thread| {
        let next = waiting.pop().ok_or(io::ErrorKind::WouldBlock)?;
        next.send(thread)
            .map_err(|_| io::ErrorKind::WouldBlock.into())
    });
    // It is there already where this process is a test.
    let _ = pool.build_global();
    Ok(())
}

/// As many as rayon would start.
fn wanted() -> usize {
    let said = std::env::var("RAYON_NUM_THREADS").ok();
    let said = said
        .and_then(|text| text.parse().ok())
        .filter(|&count| count > 0);
    said.unwrap_or_else(|| available_parallelism().map_or(1, usize::from))
}
