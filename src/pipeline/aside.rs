//! Old outputs, kept out of the way of a stage that is running.
//!
//! Nothing here may ever lose an output: a note says what goes where before anything moves, so that
//! whoever comes after a kill -9 at any instant can put everything back.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ProjectPath, Stage};
use crate::fs;

const NOTE: &str = "note.json";

/// What was nowhere else and now is: the paths, and where it is kept.
#[must_use = "whoever had something there is to be told"]
pub(super) struct Moved(pub(super) Vec<(String, PathBuf)>);

/// What a command wrote in vain and could not be kept where it belongs.
#[must_use = "whoever looks for it there is to be told"]
pub(super) struct Unkept {
    /// The output.
    pub(super) path: String,
    /// Where it is instead; nowhere any more without.
    pub(super) place: Option<PathBuf>,
    /// Why.
    pub(super) error: io::Error,
}

/// Old outputs of a stage that is running, and the note that says where they belong.
pub(super) struct Aside {
    folder: PathBuf,
    root: PathBuf,
    note: Note,
}

/// `note.json`: written before anything moves.
#[derive(Serialize, Deserialize)]
struct Note {
    run: String,
    /// The stage, by whose name its processes can be told from those of others.
    #[serde(default)]
    stage: String,
    outputs: Vec<Kept>,
}

/// One output of the stage.
#[derive(Serialize, Deserialize)]
struct Kept {
    path: String,
    /// Whether there was an old one. From this, and from where it is now, follows what lies in its
    /// place: see [`Aside::put_back`].
    existed: bool,
    /// Whether the store has the old one. What it has not is never deleted.
    stored: bool,
}

impl Kept {
    /// Whether the command wrote what lies in its place.
    fn is_new(&self, old: &Path, place: &Path) -> bool {
        (!self.existed || fs::exists(old)) && fs::exists(place)
    }
}

impl Aside {
    /// Whether a killed run left something in a folder.
    pub(super) fn is_in(folder: &Path) -> bool {
        fs::exists(&folder.join(NOTE))
    }

    /// Moves the outputs of a stage into a folder. `stored` tells which the store has; `run` is the
    /// run whose processes may be writing new ones from now on.
    pub(super) fn put(
        folder: &Path,
        root: &Path,
        stage: &Stage,
        run: &str,
        stored: impl Fn(&ProjectPath) -> bool,
    ) -> io::Result<Self> {
        let kept = |path: &ProjectPath| Kept {
            path: path.to_string(),
            existed: fs::exists(&path.in_root(root)),
            stored: stored(path),
        };
        let aside = Self {
            folder: folder.to_owned(),
            root: root.to_owned(),
            note: Note {
                run: run.to_owned(),
                stage: stage.name.clone(),
                outputs: stage.outputs.iter().map(kept).collect(),
            },
        };
        let text = serde_json::to_string(&aside.note)?;
        let note = folder.join(NOTE);
        // Only what the store has not is worth waiting for the disk.
        let precious = aside
            .places()
            .any(|(kept, ..)| kept.existed && !kept.stored);
        let mut moved = if precious {
            fs::write_atomic(&note, text.as_bytes())
        } else {
            fs::write_atomic_volatile(&note, text.as_bytes())
        };
        for (kept, old, place) in aside.places() {
            if kept.existed && kept.stored {
                moved = moved.and_then(|()| fs::rename_volatile(&place, &old));
            } else if kept.existed {
                moved = moved.and_then(|()| fs::rename(&place, &old));
            }
        }
        if let Err(error) = moved {
            // Nothing is new yet, so nothing goes anywhere but back.
            let _none = aside.put_back(folder)?;
            return Err(error);
        }
        Ok(aside)
    }

    /// What a killed run left in a folder. A note that a power cut took its text from spoke of
    /// nothing that the store has not; what lies beside it goes to `lost` all the same.
    pub(super) fn find(folder: &Path, root: &Path, lost: &Path) -> io::Result<Option<Self>> {
        let Some(text) = fs::read_if_exists(&folder.join(NOTE))? else {
            return fs::remove(folder).map(|()| None);
        };
        let Ok(note) = serde_json::from_str(&text) else {
            return fs::rename(folder, &fs::free_name(lost)).map(|()| None);
        };
        Ok(Some(Self {
            folder: folder.to_owned(),
            root: root.to_owned(),
            note,
        }))
    }

    /// The outputs that it is about.
    pub(super) fn outputs(&self) -> impl Iterator<Item = &str> {
        self.note.outputs.iter().map(|kept| kept.path.as_str())
    }

    /// The stage that wrote them.
    pub(super) fn stage(&self) -> &str {
        &self.note.stage
    }

    /// For each output, where the old one is kept meanwhile and where it belongs.
    fn places(&self) -> impl Iterator<Item = (&Kept, PathBuf, PathBuf)> {
        self.note.outputs.iter().enumerate().map(|(i, kept)| {
            (
                kept,
                self.folder.join(i.to_string()),
                self.root.join(&kept.path),
            )
        })
    }

    /// The old outputs go back, and what the command wrote goes to `failed`. In this order, by renames alone: on a full
    /// disk there may be no room for a folder. May be killed and done again: an old output that is not kept here lies in
    /// its place, never moved or already back.
    pub(super) fn put_back(self, failed: &Path) -> io::Result<Vec<Unkept>> {
        let (mut unkept, mut done) = (Vec::new(), Ok(()));
        for (kept, old, place) in self.places() {
            let back = self.one_back((kept, &old, &place), failed, &mut unkept);
            done = done.and(back);
        }
        done?;
        for (kept, old, _) in self.places() {
            let new = new_beside(&old);
            if fs::exists(&new) {
                unkept.extend(self.discard(&new, kept, failed)?);
            }
        }
        self.forget()?;
        Ok(unkept)
    }

    fn one_back(
        &self,
        (kept, old, place): (&Kept, &Path, &Path),
        failed: &Path,
        unkept: &mut Vec<Unkept>,
    ) -> io::Result<()> {
        if kept.is_new(old, place) && fs::rename_volatile(place, &new_beside(old)).is_err() {
            unkept.extend(self.discard(place, kept, failed)?);
        }
        if fs::exists(old) {
            fs::rename(old, place)?;
        }
        Ok(())
    }

    /// What the command wrote goes to `failed`, so that it can run once more.
    pub(super) fn clear_place(&self, failed: &Path) -> io::Result<Vec<Unkept>> {
        let mut unkept = Vec::new();
        for (kept, old, place) in self.places() {
            if kept.is_new(&old, &place) {
                unkept.extend(self.discard(&place, kept, failed)?);
            }
        }
        Ok(unkept)
    }

    /// Moves what the command wrote to `failed`; else to the folder of its run, which is there already. What would only
    /// keep a full disk full is removed.
    fn discard(&self, new: &Path, kept: &Kept, failed: &Path) -> io::Result<Option<Unkept>> {
        let Err(error) = fs::rename(new, &fs::free_name(&failed.join(&kept.path))) else {
            return Ok(None);
        };
        let mut unkept = Unkept {
            path: kept.path.clone(),
            place: None,
            error,
        };
        let spare = fs::free_name(&self.spare().join(&kept.path));
        if !fs::is_full(&unkept.error) && fs::rename(new, &spare).is_ok() {
            unkept.place = Some(spare);
        } else {
            fs::remove(new)?;
        }
        Ok(Some(unkept))
    }

    /// Where what the command wrote goes if it cannot go where it belongs.
    fn spare(&self) -> PathBuf {
        let run = self.root.join(fs::private::RUNS).join(&self.note.run);
        run.join(format!("{}.failed", self.note.stage))
    }

    /// The new outputs are recorded: the old ones go, but for those that are nowhere else.
    pub(super) fn forget_but_keep_unknown(self, replaced: &Path) -> io::Result<Moved> {
        let mut moved = Vec::new();
        for (kept, old, _) in self.places() {
            // What lay in the place of an output when a run was killed that was putting the old one back.
            let new = new_beside(&old);
            let unknown = [(!kept.stored).then_some(old), Some(new)];
            for unknown in unknown
                .into_iter()
                .flatten()
                .filter(|path| fs::exists(path))
            {
                let place = fs::free_name(&replaced.join(&kept.path));
                fs::rename(&unknown, &place)?;
                moved.push((kept.path.clone(), place));
            }
        }
        self.forget()?;
        Ok(Moved(moved))
    }

    /// The run that put them here.
    pub(super) fn run(&self) -> &str {
        &self.note.run
    }

    /// The note goes first: without it the rest is only rubbish.
    fn forget(self) -> io::Result<()> {
        fs::remove(&self.folder.join(NOTE))?;
        fs::remove(&self.folder)
    }
}

/// Where what the command wrote waits until the old output is back.
fn new_beside(old: &Path) -> PathBuf {
    old.with_extension("new")
}
