//! The time of this machine, as it stands beside files.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Since 1970 UTC; nothing where the clock stands before that.
pub fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
