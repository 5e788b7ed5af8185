//! What a run holds while it builds a stage, so that no other run writes what it reads or writes: kernel locks, which a
//! crash leaves nothing of.

use std::collections::BTreeMap;
use std::fs::File;

use super::ExecuteError;
use crate::event::{Event, Observer};
use crate::pipeline::{Assessment, ProjectPath, Stage, Workspace, hold, process};

impl Workspace {
    /// Keeps other runs from writing anew what a stage reads while it reads it.
    pub(super) fn share_inputs(
        &self,
        stage: &Stage,
        observer: &mut dyn Observer,
    ) -> Result<Vec<File>, ExecuteError> {
        // Each takes a file handle. Who reads more than this is told by the footprints alone.
        const MOST: usize = 64;
        let mut shared = Vec::new();
        for path in stage.reads.iter().take(MOST) {
            let busy = self.busy(stage, path, observer);
            shared.push(hold::share(&self.locks(), path.as_str(), busy)?);
        }
        Ok(shared)
    }

    /// Assesses a stage; an input that another run is just building is waited for.
    pub(super) fn assess_when_ready(
        &self,
        stage: &Stage,
        observer: &mut dyn Observer,
    ) -> Result<Assessment, ExecuteError> {
        match self.assess(stage, &BTreeMap::new()) {
            Err(ExecuteError::MissingInput { path }) => {
                self.hold_place(stage, &path, observer)?;
                self.assess(stage, &BTreeMap::new())
            }
            other => other,
        }
    }

    /// A kernel lock on every output, held until dropped.
    pub(super) fn hold_outputs(
        &self,
        stage: &Stage,
        observer: &mut dyn Observer,
    ) -> Result<Vec<File>, ExecuteError> {
        stage
            .outputs
            .iter()
            .map(|path| self.hold_place(stage, path, observer))
            .collect()
    }

    /// A kernel lock on one output. Says once whom it waits for, or gives up.
    fn hold_place(
        &self,
        stage: &Stage,
        path: &ProjectPath,
        observer: &mut dyn Observer,
    ) -> Result<File, ExecuteError> {
        hold::hold(
            &self.locks(),
            path.as_str(),
            self.busy(stage, path, observer),
        )
    }

    /// What to do while another run has a place: say so once, or give up. A command of a stage that
    /// itself starts krammerti might wait for its own stage, which waits for it.
    fn busy<'a>(
        &self,
        stage: &'a Stage,
        path: &'a ProjectPath,
        observer: &'a mut dyn Observer,
    ) -> impl FnMut() -> Result<(), ExecuteError> + 'a {
        let wait = self.wait && !process::in_a_stage();
        let mut told = false;
        move || {
            if !wait {
                return Err(ExecuteError::Busy { path: path.clone() });
            }
            if !told {
                told = true;
                observer.event(Event::note(format!(
                    "{}: waiting for another run, which is writing {path}",
                    stage.name
                )));
            }
            Ok(())
        }
    }
}
