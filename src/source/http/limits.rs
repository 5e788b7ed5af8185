//! How long, how often and how much.

use std::time::Duration;

use crate::params::RequestLimits;

/// How long and how often to try.
#[derive(Clone, Debug)]
pub(in crate::source) struct Limits {
    /// For one request, its body included.
    pub(in crate::source) request: Duration,
    /// For everything together, waits included.
    pub(in crate::source) total: Duration,
    /// Tries for one request.
    pub(in crate::source) attempts: u32,
    /// The wait after the first failure; it doubles with each further one.
    pub(in crate::source) first_wait: Duration,
    /// The longest wait of our own choice.
    pub(in crate::source) longest_wait: Duration,
    /// The time between the starts of two requests.
    pub(in crate::source) between: Duration,
    /// Requests side by side.
    pub(in crate::source) at_once: usize,
    /// Bytes of a body, packed or not.
    pub(in crate::source) body: u64,
}

impl From<&RequestLimits> for Limits {
    fn from(params: &RequestLimits) -> Self {
        Self {
            request: params.timeout,
            total: params.give_up_after,
            attempts: params.attempts,
            first_wait: params.first_wait,
            longest_wait: params.first_wait.max(Duration::from_mins(1)),
            between: params
                .per_minute
                .map_or(Duration::ZERO, |number| Duration::from_mins(1) / number),
            at_once: params.at_once,
            body: params.largest_body,
        }
    }
}
