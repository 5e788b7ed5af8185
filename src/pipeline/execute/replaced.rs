//! What stood in the place of an output before: nothing that is nowhere else is lost, and where it is now is told.

use std::io;
use std::path::Path;

use crate::artifact::Artifact;
use crate::event::{Event, Observer};
use crate::fs;
use crate::pipeline::aside::{Aside, Moved, Unkept};
use crate::pipeline::lock::Entry;
use crate::pipeline::{Assessment, Stage, Workspace};

impl Workspace {
    /// The old outputs go, but for what is nowhere else.
    pub(super) fn forget_aside(
        &self,
        stage: &Stage,
        aside: Aside,
        assessment: &Assessment,
        observer: &mut dyn Observer,
    ) -> io::Result<()> {
        let entry = self.lock.get(&stage.name);
        let Moved(moved) = aside.forget_but_keep_unknown(&self.replaced(stage))?;
        for (path, kept) in moved {
            let old = assessment.present.get(&path);
            self.tell_replaced(entry.as_ref(), &path, old, &kept, observer);
        }
        Ok(())
    }

    /// After a failure: the old outputs go back. Why it failed matters more than what goes wrong here.
    pub(super) fn put_back(&self, stage: &Stage, aside: Aside, observer: &mut dyn Observer) {
        match aside.put_back(&self.failed(stage)) {
            Ok(unkept) => self.tell_unkept(unkept, observer),
            Err(error) => observer.event(Event::warning(format!(
                "the old outputs are not back; the next run puts them back: {error}"
            ))),
        }
    }

    /// Before another try: what the last one wrote goes. Whether it is gone.
    pub(super) fn clear_place(
        &self,
        stage: &Stage,
        aside: &Aside,
        observer: &mut dyn Observer,
    ) -> bool {
        let cleared = aside.clear_place(&self.failed(stage));
        let gone = cleared.is_ok();
        match cleared {
            Ok(unkept) => self.tell_unkept(unkept, observer),
            Err(error) => observer.event(Event::warning(format!(
                "it is not tried again, since what it wrote is in the way: {error}"
            ))),
        }
        gone
    }

    /// Of what a command wrote in vain, what is not where one looks for it.
    pub(super) fn tell_unkept(&self, unkept: Vec<Unkept>, observer: &mut dyn Observer) {
        for Unkept { path, place, error } in unkept {
            let end = match place {
                Some(place) => {
                    let place = place.strip_prefix(&self.root).unwrap_or(&place);
                    format!("is kept as {}", place.display())
                }
                None => "was removed".to_owned(),
            };
            observer.event(Event::warning(format!(
                "what the failed command wrote to {path} {end}: {error}"
            )));
        }
    }

    /// A link out of the project in the place of an output, to a larger disk perhaps, goes with the next result, and what
    /// it leads to stays behind.
    pub(super) fn tell_links(&self, stage: &Stage, observer: &mut dyn Observer) {
        for path in &stage.outputs {
            let place = path.in_root(&self.root);
            if let Some(target) = fs::link_out_of(&place, &self.root) {
                observer.event(Event::warning(format!(
                    "{path} is a link to {}, and is replaced; make the folder around it the link, and what is written \
                     there lies where that leads",
                    target.display()
                )));
            }
        }
    }

    /// That something stood in the place of an output which is nowhere else, and where it is now: somebody's own work, or
    /// what the stage wrote before the store lost it.
    pub(super) fn tell_replaced(
        &self,
        entry: Option<&Entry>,
        path: &str,
        old: Option<&Artifact>,
        kept: &Path,
        observer: &mut dyn Observer,
    ) {
        let wrote = entry.and_then(|entry| entry.wrote.get(path));
        let whose = if old.is_some() && wrote == old {
            "which the store does not have any more"
        } else {
            "which no run had made"
        };
        self.tell_kept(path, whose, kept, observer);
    }

    pub(super) fn tell_kept(
        &self,
        path: &str,
        whose: &str,
        kept: &Path,
        observer: &mut dyn Observer,
    ) {
        let place = kept.strip_prefix(&self.root).unwrap_or(kept).display();
        observer.event(Event::warning(format!(
            "{path} was replaced; what stood there, {whose}, is kept as {place}"
        )));
    }
}
