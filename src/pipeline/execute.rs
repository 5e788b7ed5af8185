//! One stage, from hashed inputs to record: the only path by which anything is built.
//!
//! # Protocol
//! 1. Hash the inputs (through the stat cache) and form the key.
//! 2. Take a kernel lock on each output, so that two runs never write one place; a crash leaves
//!    nothing to unlock.
//! 3. Key as in the lock file and outputs as recorded: fresh, touch nothing. Key known to the store:
//!    bring back what the workspace lacks, run nothing.
//! 4. Otherwise move old outputs aside, after writing down what goes where, and run the command.
//! 5. Hash the inputs again. One that changed meanwhile taints the result: it stays, but is recorded
//!    nowhere.
//! 6. Hash the outputs, put them into the store, then the record; drop the old outputs; write the
//!    lock file.
//!
//! A store that has no room for a result of step 6 is no reason to lose it: it stays in its place, and the record says
//! that it is nowhere else.
//!
//! A command that fails leaves what it wrote under `.krammerti/failed/` and finds the old outputs
//! back in their place. kill -9 at any point leaves the note of step 4, from which the next run
//! finds the old outputs; nothing needs repair.
//!
//! Rejected: writing outputs to a scratch place and moving them in at the end. It protects old
//! outputs as well, but a command that names its outputs in its arguments would have to be told
//! other paths.

mod error;
mod holding;
mod keep;
mod recover;
mod replaced;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

pub use self::error::ExecuteError;
use super::aside::Aside;
use super::lock::Entry;
use super::process;
use super::{Assessment, CommandError, ProjectPath, Stage, StaleReason, State, Workspace};
use crate::artifact::{Artifact, Digest, Kind, Record, footprint};
use crate::event::{Event, Observer, Outcome};
use crate::fs;

/// What a stage is built from: its inputs as they were hashed, and how to tell that they stayed so.
struct Basis<'a> {
    assessment: &'a Assessment,
    footprints: Vec<Option<Digest>>,
}

/// What became of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Built {
    /// Whether it ran, came from the store, or was left alone.
    pub outcome: Outcome,
    /// Its key.
    pub key: Digest,
}

/// One try to run the command of a stage.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    /// The stage.
    pub stage: &'a Stage,
    /// Which try; the first one is 1.
    pub number: u32,
    /// Those of its outputs that are folders: declared so, or the last time.
    pub folders: BTreeSet<&'a str>,
}

/// Runs the command of a stage: a process, or a mock in a test.
pub type Runner<'a> =
    dyn Fn(&Attempt<'_>, &mut dyn Observer) -> Result<(), CommandError> + Sync + 'a;

impl Workspace {
    /// Brings a stage up to date: leaves it, restores it, or runs it.
    pub fn execute(
        &self,
        stage: &Stage,
        runner: &Runner<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Built, ExecuteError> {
        let done = self.bring_up_to_date(stage, runner, observer);
        match (done, process::interrupted()) {
            // Files are read no further then.
            (Err(ExecuteError::Io(_)), Some(signal)) => Err(CommandError::from(signal).into()),
            (done, _) => done,
        }
    }

    fn bring_up_to_date(
        &self,
        stage: &Stage,
        runner: &Runner<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Built, ExecuteError> {
        if Aside::is_in(&self.aside(stage)) {
            let _held = self.hold_outputs(stage, observer)?;
            self.recover(stage, observer)?;
        }
        let assessment = self.assess_when_ready(stage, observer)?;
        if matches!(assessment.state, State::Fresh | State::Frozen) {
            return self.leave(stage, &assessment);
        }
        // First what it reads, then what it writes: who waits, waits for a stage further on. A frozen stage reads nothing.
        let _read = if stage.policy.frozen {
            Vec::new()
        } else {
            self.share_inputs(stage, observer)?
        };
        let _held = self.hold_outputs(stage, observer)?;
        // Whoever held the outputs may have built just this.
        self.lock.refresh()?;
        self.recover(stage, observer)?;
        // Before the inputs are hashed: whatever is written to them from here on is seen.
        let footprints = self.footprints(stage)?;
        let mut assessment = self.assess(stage, &BTreeMap::new())?;
        let key = assessment.key;
        let built = |outcome| Built { outcome, key };
        let reasons = match &assessment.state {
            State::Fresh | State::Frozen => return self.leave(stage, &assessment),
            State::Stale { reasons } => reasons.clone(),
            State::Restorable { reasons, record } => {
                match self.restore(stage, &assessment, record, observer) {
                    Ok(()) => return Ok(built(Outcome::Restored)),
                    Err(error) if stage.policy.frozen => return Err(error),
                    // What cannot be brought back can still be built.
                    Err(error) => {
                        let message = format!("cannot restore {}: {error}", stage.name);
                        observer.event(Event::note(message));
                    }
                }
                let reasons = reasons.clone();
                // Some outputs may have come back, and what stood there was moved away.
                assessment.present = self.present_outputs(stage)?;
                reasons
            }
        };
        let basis = Basis {
            assessment: &assessment,
            footprints,
        };
        self.build(stage, &basis, &reasons, runner, observer)?;
        Ok(built(Outcome::Ran))
    }

    /// Tells later whether somebody wrote to an input.
    fn footprints(&self, stage: &Stage) -> Result<Vec<Option<Digest>>, ExecuteError> {
        let print = |path: &ProjectPath| footprint(&path.in_root(&self.root));
        Ok(stage.inputs.iter().map(print).collect::<Result<_, _>>()?)
    }

    /// Nothing is to be done; the lock may not know yet, such as after a kill or in another branch.
    fn leave(&self, stage: &Stage, assessment: &Assessment) -> Result<Built, ExecuteError> {
        if stage.recorded && assessment.state == State::Fresh {
            let entry = Entry::new(&assessment.parts, assessment.present.clone());
            self.note(stage, Some(entry))?;
        }
        Ok(Built {
            outcome: Outcome::Fresh,
            key: assessment.key,
        })
    }

    fn restore(
        &self,
        stage: &Stage,
        assessment: &Assessment,
        record: &Record,
        observer: &mut dyn Observer,
    ) -> Result<(), ExecuteError> {
        let entry = self.lock.get(&stage.name);
        let tainted = self.tainted(stage);
        self.tell_links(stage, observer);
        for (path, &artifact) in &record.outputs {
            let (old, place) = (assessment.present.get(path), self.root.join(path));
            if old == Some(&artifact) {
                continue;
            }
            if old.is_some_and(|&old| !self.store.has(old)) && tainted.get(path) != old {
                // Somebody's own work, and nowhere else.
                let kept = fs::free_name(&self.replaced(stage).join(path));
                fs::rename(&place, &kept)?;
                self.tell_replaced(entry.as_ref(), path, old, &kept, observer);
            }
            self.store.restore(artifact, &place)?;
        }
        self.forget_tainted(stage)?;
        if stage.recorded {
            let entry = Entry::new(&assessment.parts, record.outputs.clone());
            self.note(stage, Some(entry))?;
        }
        Ok(())
    }

    fn build(
        &self,
        stage: &Stage,
        basis: &Basis<'_>,
        reasons: &[StaleReason],
        runner: &Runner<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(), ExecuteError> {
        let assessment = basis.assessment;
        let (entry, tainted) = (self.lock.get(&stage.name), self.tainted(stage));
        // What the store has, or what this stage itself wrote where the store is not to keep it, or could not.
        let unstored = self.unstored(entry.as_ref());
        let dispensable = |path: &ProjectPath| {
            let Some(&old) = assessment.present.get(path.as_str()) else {
                return false;
            };
            let wrote = entry.as_ref().and_then(|e| e.wrote.get(path.as_str()));
            let not_kept = stage.uncached.contains(path) || unstored.contains(path.as_str());
            self.store.has(old)
                || (not_kept && wrote == Some(&old))
                || tainted.get(path.as_str()) == Some(&old)
        };
        self.tell_links(stage, observer);
        let folder = self.aside(stage);
        let aside = Aside::put(&folder, &self.root, stage, &self.run, dispensable)?;
        observer.event(Event::StageStarted {
            stage: stage.name.clone(),
            reasons: self
                .explain(reasons.to_vec())
                .iter()
                .map(ToString::to_string)
                .collect(),
        });
        match self.make(stage, basis, &aside, runner, observer) {
            Ok(outputs) => {
                // The record stands, so from here on even a kill loses nothing.
                self.forget_aside(stage, aside, assessment, observer)?;
                self.forget_tainted(stage)?;
                if stage.recorded {
                    let entry = Entry::new(&assessment.parts, outputs);
                    self.note(stage, Some(entry))?;
                }
                Ok(())
            }
            Err(tainted @ ExecuteError::Tainted { .. }) => {
                self.note_tainted(stage, &self.present_outputs(stage)?)?;
                self.forget_aside(stage, aside, assessment, observer)?;
                if stage.recorded {
                    self.note(stage, None)?;
                }
                Err(tainted)
            }
            Err(error) => {
                self.put_back(stage, aside, observer);
                // A command that a signal has ended could not remove what it had half written. Why it failed matters more
                // than a place where nothing can be looked for.
                for path in &stage.outputs {
                    let _ = fs::remove_partials(&path.in_root(&self.root));
                }
                Err(error)
            }
        }
    }

    /// Runs the command; stores and records what it made.
    fn make(
        &self,
        stage: &Stage,
        basis: &Basis<'_>,
        aside: &Aside,
        runner: &Runner<'_>,
        observer: &mut dyn Observer,
    ) -> Result<BTreeMap<String, Artifact>, ExecuteError> {
        let assessment = basis.assessment;
        let mut built_on = BTreeMap::new();
        let mut watched = |event: Event| {
            // Of the last try, and of the last thing that it built.
            if let Event::BuiltOn { facts, .. } = &event {
                built_on.clone_from(facts);
            }
            observer.event(event);
        };
        let outputs = self.attempt(stage, assessment, aside, runner, &mut watched)?;
        let tainted = self.changed_inputs(stage, basis)?;
        if !tainted.is_empty() {
            return Err(ExecuteError::Tainted { paths: tainted });
        }
        self.keep(stage, assessment, &outputs, built_on, observer)?;
        Ok(outputs)
    }

    /// Runs the command, again where it fails and may pass.
    fn attempt(
        &self,
        stage: &Stage,
        assessment: &Assessment,
        aside: &Aside,
        runner: &Runner<'_>,
        observer: &mut dyn Observer,
    ) -> Result<BTreeMap<String, Artifact>, ExecuteError> {
        let declared = stage.folders.iter().map(ProjectPath::as_str);
        let old = assessment.present.iter();
        let old = old.filter(|(_, artifact)| artifact.kind == Kind::Folder);
        let mut attempt = Attempt {
            stage,
            number: 1,
            folders: declared.chain(old.map(|(path, _)| path.as_str())).collect(),
        };
        loop {
            self.prepare_folders(stage)?;
            let error = match runner(&attempt, observer) {
                Ok(()) => match self.outputs(stage) {
                    Err(error) => error,
                    outputs => return outputs,
                },
                Err(error) => error.into(),
            };
            let failed = attempt.number;
            if failed > stage.policy.retries || !error.may_pass() {
                return Err(error);
            }
            let delay = stage.policy.delay(failed - 1);
            attempt.number += 1;
            observer.event(Event::StageRetry {
                stage: stage.name.clone(),
                attempt: attempt.number,
                attempts: stage.policy.retries.saturating_add(1),
                seconds: delay.as_secs_f64(),
                error: error.to_string(),
            });
            if !self.clear_place(stage, aside, observer) {
                return Err(error);
            }
            wait(delay)?;
        }
    }

    /// The folder of each output exists before its command runs.
    fn prepare_folders(&self, stage: &Stage) -> io::Result<()> {
        stage
            .outputs
            .iter()
            .try_for_each(|path| fs::create_dir_all(fs::parent(&path.in_root(&self.root))))
    }

    fn outputs(&self, stage: &Stage) -> Result<BTreeMap<String, Artifact>, ExecuteError> {
        let outputs = self.present_outputs(stage)?;
        match stage
            .outputs
            .iter()
            .find(|path| !outputs.contains_key(path.as_str()))
        {
            Some(path) => Err(ExecuteError::MissingOutput { path: path.clone() }),
            None => Ok(outputs),
        }
    }

    /// Inputs that are others now, or were in between.
    fn changed_inputs(
        &self,
        stage: &Stage,
        basis: &Basis<'_>,
    ) -> Result<Vec<String>, ExecuteError> {
        let mut changed = Vec::new();
        for (path, before) in stage.inputs.iter().zip(&basis.footprints) {
            let same = footprint(&path.in_root(&self.root))? == *before
                && self.at(path)?.as_ref() == basis.assessment.parts.inputs.get(path.as_str());
            if !same {
                changed.push(path.to_string());
            }
        }
        Ok(changed)
    }
}

/// Sleeps, unless a signal tells us to stop.
fn wait(delay: Duration) -> Result<(), CommandError> {
    const STEP: Duration = Duration::from_millis(50);
    let begun = Instant::now();
    while let Some(rest) = delay.checked_sub(begun.elapsed()) {
        if let Some(signal) = process::interrupted() {
            return Err(signal.into());
        }
        std::thread::sleep(rest.min(STEP));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
