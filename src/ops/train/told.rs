//! What a training tells of its epochs: to whoever watches, and to its log.

use std::time::Instant;

use anyhow::Result;

use crate::event::{Event, Observer};
use crate::model::{Checkpoint, Epoch, Moment, Monitor, Wish};
use crate::ops::checkpoint::Keeper;
use crate::ops::training_log::{Measured, TrainingLog};

/// Tells each epoch in the unit of the target, where there is one, and logs it.
pub(super) struct Told<'a> {
    observer: &'a mut dyn Observer,
    /// Gone once it cannot be written.
    log: Option<TrainingLog>,
    /// In an epoch.
    windows: usize,
    spread: f64,
    unit: &'a str,
    /// When the last epoch ended; before the first one, when all began.
    since: Instant,
    pub(super) keeper: Option<Keeper<'a>>,
}

impl<'a> Told<'a> {
    pub(super) fn new(
        observer: &'a mut dyn Observer,
        log: Result<TrainingLog>,
        windows: usize,
        spread: f64,
        unit: &'a str,
    ) -> Self {
        let mut told = Self {
            observer,
            log: None,
            windows,
            spread,
            unit,
            since: Instant::now(),
            keeper: None,
        };
        told.go_on_with(log);
        told
    }

    /// A log that cannot be written is no reason to lose the training.
    fn go_on_with(&mut self, log: Result<TrainingLog>) {
        self.log = log
            .inspect_err(|error| {
                let message = format!("the training goes on without its log: {error:#}");
                self.observer.event(Event::warning(message));
            })
            .ok();
    }
}

impl Observer for Told<'_> {
    fn event(&mut self, event: Event) {
        self.observer.event(event);
    }
}

impl Monitor for Told<'_> {
    fn epoch(&mut self, epoch: &Epoch, of: usize) -> bool {
        let seconds = self.since.elapsed().as_secs_f64();
        let measured = Measured {
            validation_rmse: epoch.validation_rmse * self.spread,
            windows_per_second: self.windows as f64 / seconds.max(1e-9),
        };
        let validated = format!(
            "val {:.4}  RMSE {:.3}{}",
            epoch.validation_loss, measured.validation_rmse, self.unit
        );
        let message = match epoch.train_loss {
            Some(loss) => format!(
                "epoch {}/{of}  loss {loss:.4}  {validated}  {:.0} windows/s",
                epoch.epoch, measured.windows_per_second
            ),
            None => format!("begins with  {validated}"),
        };
        self.observer.event(Event::note(message));
        if let Some(mut log) = self.log.take() {
            self.go_on_with(log.epoch(epoch, &measured).map(|()| log));
        }
        self.since = Instant::now();
        true
    }

    fn between(&mut self, moment: Moment) -> Wish {
        let keeper = self.keeper.as_ref();
        keeper.map_or(Wish::GoOn, |keeper| keeper.wish(moment))
    }

    fn keep(&mut self, checkpoint: Checkpoint) -> Result<()> {
        if let Some(keeper) = &mut self.keeper {
            keeper.keep(&checkpoint, self.observer);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_fails_is_told_once_and_ends_nothing() {
        let epoch = Epoch {
            epoch: 1,
            train_loss: Some(0.5),
            validation_loss: 0.5,
            validation_rmse: 0.5,
            learning_rate: 0.1,
        };
        let mut events = Vec::new();
        let mut observer = |event| events.push(event);
        let log = Err(anyhow::anyhow!("the disk is full"));
        let mut told = Told::new(&mut observer, log, 100, 4.0, " °C");
        assert!(told.epoch(&epoch, 2) && told.epoch(&epoch, 2));
        drop(told);
        let warned = |event: &&Event| matches!(event, Event::Warning { .. });
        assert_eq!(events.iter().filter(warned).count(), 1);
        let Event::Note { message, .. } = &events[2] else {
            panic!("{events:?}");
        };
        assert!(
            message.contains("RMSE 2.000 °C") && message.ends_with(" windows/s"),
            "{message}"
        );
    }
}
