//! The time, and waiting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::fs;

/// How long a wait goes on after another request has failed.
const NAP: Duration = Duration::from_millis(50);

/// The time, which a test brings its own.
pub(in crate::source) trait Clock: Sync {
    /// Seconds since 1970 UTC.
    fn now(&self) -> i64;
    /// Since the fetch began.
    fn elapsed(&self) -> Duration;
    /// Waits.
    fn sleep(&self, wait: Duration);
    /// Waits, or not to the end where that has become of no use.
    fn sleep_unless(&self, wait: Duration, _stopped: &AtomicBool) {
        self.sleep(wait);
    }
    /// What makes the waits of two machines differ.
    fn seed(&self) -> u64;
}

/// The time of this machine.
pub(in crate::source) struct SystemClock {
    begun: Instant,
}

impl SystemClock {
    /// Of a fetch that begins now.
    pub(in crate::source) fn new() -> Self {
        let begun = Instant::now();
        Self { begun }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        fs::since_1970().as_secs() as i64
    }

    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn sleep(&self, wait: Duration) {
        std::thread::sleep(wait);
    }

    fn sleep_unless(&self, wait: Duration, stopped: &AtomicBool) {
        let end = Instant::now() + wait;
        while !stopped.load(Ordering::Relaxed) {
            match end.saturating_duration_since(Instant::now()) {
                Duration::ZERO => return,
                left => self.sleep(left.min(NAP)),
            }
        }
    }

    fn seed(&self) -> u64 {
        u64::from(std::process::id()) ^ self.now() as u64
    }
}
