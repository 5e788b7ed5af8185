//! After a run that was killed: what it left running ends, and what it had moved aside comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;

use super::ExecuteError;
use crate::event::Observer;
use crate::fs;
use crate::pipeline::aside::{Aside, Moved};
use crate::pipeline::workspace::REPLACED;
use crate::pipeline::{Stage, State, Workspace, hold, process};

impl Workspace {
    /// Ends what a killed run left running, puts back the outputs that it had moved aside, and
    /// removes what it left half written.
    pub(super) fn recover(
        &self,
        stage: &Stage,
        observer: &mut dyn Observer,
    ) -> Result<(), ExecuteError> {
        if let Some(aside) = Aside::find(&self.aside(stage), &self.root, &self.without_note())? {
            process::kill_stage(aside.run(), aside.stage())?;
            for path in &stage.outputs {
                fs::remove_partials(&path.in_root(&self.root))?;
            }
            // What that run left is kept under its name: this one may have something to keep, too.
            let failed = self.failed_in(aside.run(), stage);
            let assessment = self.assess(stage, &BTreeMap::new());
            if assessment.is_ok_and(|assessment| assessment.state == State::Fresh) {
                // It was killed after the last step that counts. What was there before it, nobody knows any more.
                let Moved(moved) = aside.forget_but_keep_unknown(&failed.join(REPLACED))?;
                for (path, kept) in moved {
                    self.tell_kept(&path, "which the store does not have", &kept, observer);
                }
            } else {
                self.tell_unkept(aside.put_back(&failed)?, observer);
            }
        }
        Ok(())
    }

    /// The same for stages of killed runs that this run may never come to: another one was asked
    /// for, it is no stage any more, or one before it fails. Their old outputs are put back even where
    /// the run was killed after the last step that counts, since without its stage nothing says so:
    /// the new ones are in the store, or with what failed.
    pub fn recover_others(
        &self,
        stages: &[&Stage],
        observer: &mut dyn Observer,
    ) -> Result<(), ExecuteError> {
        let folder = self.private.join("aside");
        if !fs::exists(&folder) {
            return Ok(());
        }
        let names = fs::list(&folder)?;
        if names.is_empty() {
            return Ok(());
        }
        let own: BTreeSet<PathBuf> = stages.iter().map(|stage| self.aside(stage)).collect();
        for folder in names.iter().map(|name| folder.join(name)) {
            if own.contains(&folder) || !Aside::is_in(&folder) {
                continue;
            }
            let Some(aside) = Aside::find(&folder, &self.root, &self.without_note())? else {
                continue;
            };
            let held: Option<Vec<File>> = aside
                .outputs()
                .map(|path| hold::try_hold(&self.locks(), path).transpose())
                .map(Option::transpose)
                .collect::<Result<_, _>>()?;
            // Another run is at work there, or will see to it.
            if held.is_some() && Aside::is_in(&folder) {
                process::kill_stage(aside.run(), aside.stage())?;
                let failed = self.root.join(fs::private::FAILED).join(aside.run());
                let failed = failed.join(aside.stage());
                self.tell_unkept(aside.put_back(&failed)?, observer);
            }
        }
        Ok(())
    }
}
