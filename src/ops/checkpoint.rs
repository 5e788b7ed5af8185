//! Where an interrupted training goes on.
//!
//! One folder for each task under `.krammerti/checkpoints/`, named by all that decides the result:
//! the data, the parameters, the version and the output, or the study and the point of a trial. So a training finds
//! its own checkpoint whatever ended it, and one with other data or parameters never takes it for its own.
//! It is removed once the model is written, or the trial told.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{iter, thread};

use anyhow::{Context as _, Result, ensure};

use super::Context;
use super::inputs::Inputs;
use crate::artifact::Digest;
use crate::event::{Event, Observer};
use crate::fs;
use crate::model::{Checkpoint, Moment, Wish, decode_checkpoint, encode_checkpoint};
use crate::pipeline::{interrupted, let_signals_kill};
use crate::tune::Trial;

/// Letters of the digest at its end, by which one that was damaged since is known.
const DIGEST: usize = 64;
/// Epochs that take less do not each end with a checkpoint: of a large net it is 50 MB.
const EPOCHS_EVERY: Duration = Duration::from_secs(2);

/// The checkpoint of one training.
pub(super) struct Kept {
    path: PathBuf,
}

impl Kept {
    /// The place for the training of the sections `model` and `train` on these inputs, for this output: two
    /// trainings of one task beside each other have a checkpoint each.
    pub(super) fn of(context: &Context<'_>, inputs: &Inputs) -> Result<Self> {
        let out = fs::plain(&context.out);
        let mut params: Vec<(String, String)> = ["model", "train"]
            .iter()
            .flat_map(|section| context.params_file.leaves(section))
            .collect();
        params.sort();
        let version = env!("CARGO_PKG_VERSION");
        Ok(Self::of_task(&serde_json::to_vec(&(
            inputs, out, params, version,
        ))?))
    }

    /// The place for a trial of a study, which is told by the first line of its journal.
    pub(super) fn of_trial(study: &str, trial: &Trial) -> Result<Self> {
        Ok(Self::of_task(&serde_json::to_vec(&(study, &trial.point))?))
    }

    fn of_task(task: &[u8]) -> Self {
        let folder = Path::new(fs::private::CHECKPOINTS).join(Digest::of(task).to_string());
        Self {
            path: folder.join("checkpoint"),
        }
    }

    /// What an earlier try left. A file that cannot be read is none: it is told and written anew.
    pub(super) fn read(&self, context: &mut Context<'_>) -> Option<Checkpoint> {
        if !fs::exists(&self.path) {
            return None;
        }
        let read = || -> Result<Checkpoint> { decode_checkpoint(whole(&fs::read(&self.path)?)?) };
        match read() {
            Ok(checkpoint) => Some(checkpoint),
            Err(error) => {
                context.warn(format!(
                    "{} is not used, the training begins anew: {error:#}",
                    self.path.display()
                ));
                None
            }
        }
    }

    /// Replaces it, whole or not at all.
    pub(super) fn write(&self, checkpoint: &Checkpoint) -> Result<()> {
        let write = || -> Result<()> {
            fs::create_dir_all(fs::parent(&self.path))?;
            let parts = encode_checkpoint(checkpoint)?;
            let hash = || Digest::of_parts(&parts).to_string().into_bytes();
            thread::scope(|scope| {
                let hashed = thread::Builder::new().spawn_scoped(scope, hash);
                let digest = || {
                    // Where no thread can be had, now.
                    let hashed = hashed.ok().and_then(|hashed| hashed.join().ok());
                    Cow::Owned(hashed.unwrap_or_else(hash))
                };
                let parts = parts.iter().map(|part| Cow::Borrowed(&**part));
                let parts = parts.chain(iter::once_with(digest));
                Ok(fs::write_large_atomic(&self.path, parts)?)
            })
        };
        write().context("the checkpoint of the training cannot be kept")
    }

    /// The model is written: there is nothing to go on with. What tries that were killed left half
    /// written goes along.
    pub(super) fn remove(&self) -> Result<()> {
        let folder = fs::parent(&self.path);
        if fs::exists(folder) {
            fs::remove(folder)?;
        }
        Ok(())
    }
}

/// Keeps checkpoints of a training, not too often, and hears who tells it to end.
pub(super) struct Keeper<'a> {
    kept: &'a Kept,
    /// The least time between two of them within an epoch.
    every: Duration,
    last: Instant,
}

impl<'a> Keeper<'a> {
    /// From now on, with so many minutes between two within an epoch.
    pub(super) fn new(kept: &'a Kept, minutes: f64) -> Self {
        Self {
            kept,
            every: Duration::from_secs_f64(minutes * 60.0),
            last: Instant::now(),
        }
    }

    /// What the training shall do. From the first call on a signal does not kill, but where something is
    /// solved: whoever asks next sees it.
    pub(super) fn wish(&self, moment: Moment) -> Wish {
        let_signals_kill(moment == Moment::Solve);
        if interrupted().is_some() {
            return Wish::KeepAndEnd;
        }
        let since = self.last.elapsed();
        let due = match moment {
            Moment::Step => since >= self.every,
            Moment::Epoch => since >= self.every.min(EPOCHS_EVERY),
            Moment::Solve => false,
        };
        if due { Wish::Keep } else { Wish::GoOn }
    }

    /// Keeps one. That it cannot is no reason to lose the training.
    pub(super) fn keep(&mut self, checkpoint: &Checkpoint, observer: &mut dyn Observer) {
        self.last = Instant::now();
        if let Err(error) = self.kept.write(checkpoint) {
            let then = match interrupted() {
                Some(_) => "what was trained since the last one is lost",
                None => "the training goes on",
            };
            observer.event(Event::warning(format!("{error:#}; {then}")));
        }
    }
}

impl Drop for Keeper<'_> {
    fn drop(&mut self) {
        let_signals_kill(false);
    }
}

/// The bytes before the digest, which are those that were written.
fn whole(bytes: &[u8]) -> Result<&[u8]> {
    let (whole, digest) = bytes.split_at(bytes.len().saturating_sub(DIGEST));
    ensure!(
        Digest::of_parts(&[whole]).to_string().as_bytes() == digest,
        "it is damaged"
    );
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_byte_is_seen() {
        let mut bytes = b"what was kept".to_vec();
        let digest = Digest::of(&bytes).to_string();
        assert_eq!(digest.len(), DIGEST);
        bytes.extend(digest.as_bytes());
        assert_eq!(whole(&bytes).unwrap(), b"what was kept");
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert!(whole(&damaged).is_err(), "{place}");
            assert!(whole(&bytes[..place]).is_err(), "{place}");
        }
    }
}
