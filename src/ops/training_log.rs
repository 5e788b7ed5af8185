//! What a training has come to so far, for a person who does not want to wait for its end.
//!
//! After each epoch `.krammerti/training/NAME/` has one more row of `history.csv`, another
//! `history.svg`, and one more record of an event file of TensorBoard. It lies outside of the model:
//! an artifact holds no clock reading, and appears when it is whole. Nothing reads it again.
//!
//! NAME is the path of the output with `-` for `/`, flat, so that one output's log cannot hold that of
//! another. Two outputs that differ in nothing else share a folder, which costs them no more than a
//! log.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::model::{HISTORY_COLUMNS, history_row};
use crate::fs;
use crate::model::Epoch;
use crate::pipeline::ProjectPath;
use crate::report::{self, tensorboard};

/// What is known of an epoch that is no part of the model's history.
pub(super) struct Measured {
    /// Of the validation part, in the unit of the target, scaled where there are several.
    pub(super) validation_rmse: f64,
    /// Windows of the training part by the time that the epoch took, validation included.
    pub(super) windows_per_second: f64,
}

/// The log of one training.
pub(super) struct TrainingLog {
    folder: PathBuf,
    history: Vec<Epoch>,
    /// There from the first epoch on: a model that is solved at once has no log.
    files: Option<Files>,
}

struct Files {
    table: csv::Writer<File>,
    events: File,
}

impl TrainingLog {
    /// The log of a training that begins, instead of that of an earlier one, or goes on after some
    /// epochs: then the table starts with those, and earlier event files stay.
    pub(super) fn begin(out: &Path, resumed: &[Epoch]) -> Result<Self> {
        // The current folder is the project's root.
        Self::begin_in(Path::new(fs::private::TRAINING), out, resumed)
    }

    fn begin_in(logs: &Path, out: &Path, resumed: &[Epoch]) -> Result<Self> {
        // Refuses `..` and its like, which would be another folder to remove.
        let out = ProjectPath::output(&out.to_string_lossy())?;
        let folder = logs.join(out.as_str().replace('/', "-"));
        if resumed.is_empty() {
            fs::remove(&folder)?;
        }
        Ok(Self {
            folder,
            history: resumed.to_vec(),
            files: None,
        })
    }

    /// Adds an epoch. What it wrote survives the end of this process, not that of the machine.
    pub(super) fn epoch(&mut self, epoch: &Epoch, measured: &Measured) -> Result<()> {
        if self
            .history
            .last()
            .is_some_and(|last| epoch.epoch <= last.epoch)
        {
            // It began anew, with steps that the memory of a GPU suffices for.
            self.history.retain(|past| past.epoch < epoch.epoch);
            self.files = None;
        }
        let files = match &mut self.files {
            Some(files) => files,
            none @ None => none.insert(Files::open(&self.folder, &self.history)?),
        };
        self.history.push(*epoch);
        files
            .add(epoch, measured)
            .with_context(|| format!("cannot write in {}", self.folder.display()))?;
        let picture = report::history_plot(&self.history);
        Ok(fs::write_atomic_volatile(
            &self.folder.join("history.svg"),
            picture.as_bytes(),
        )?)
    }
}

impl Files {
    fn open(folder: &Path, resumed: &[Epoch]) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let table = fs::create(&folder.join("history.csv"))?;
        let mut table = csv::Writer::from_writer(table);
        table.write_record(HISTORY_COLUMNS)?;
        for epoch in resumed {
            table.write_record(history_row(epoch))?;
        }
        let now = fs::since_1970().as_secs_f64();
        let name = format!("events.out.tfevents.{}.krammerti", now as u64);
        // Within a second of the one before, a resumed training has the same name for its file.
        let mut events = fs::create(&fs::free_name(&folder.join(name)))?;
        events.write_all(&tensorboard::header(now))?;
        if let Some(last) = resumed.last() {
            // An epoch that was logged after the last one that is known comes again.
            events.write_all(&tensorboard::resumed_at(now, last.epoch as u64 + 1))?;
        }
        Ok(Self { table, events })
    }

    fn add(&mut self, epoch: &Epoch, measured: &Measured) -> Result<()> {
        self.table.write_record(history_row(epoch))?;
        self.table.flush()?;
        // Nothing was trained before the first epoch.
        let of_training = |value: f64| epoch.train_loss.map(|_| value);
        let scalars = [
            ("loss/train", epoch.train_loss),
            ("loss/validation", Some(epoch.validation_loss)),
            ("rmse/validation", Some(measured.validation_rmse)),
            ("learning_rate", of_training(epoch.learning_rate)),
            (
                "windows_per_second",
                of_training(measured.windows_per_second),
            ),
        ];
        let scalars = scalars.map(|(tag, value)| Some((tag, value?)));
        let scalars: Vec<(&str, f64)> = scalars.into_iter().flatten().collect();
        let step = epoch.epoch as u64;
        let record = tensorboard::scalars(fs::since_1970().as_secs_f64(), step, &scalars);
        Ok(self.events.write_all(&record)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURED: Measured = Measured {
        validation_rmse: 2.5,
        windows_per_second: 1000.0,
    };

    fn epoch(epoch: usize) -> Epoch {
        Epoch {
            epoch,
            train_loss: (epoch > 0).then(|| 1.0 / epoch as f64),
            validation_loss: 0.5,
            validation_rmse: 0.25,
            learning_rate: 0.001,
        }
    }

    fn train(logs: &Path, resumed: &[Epoch], epochs: &[usize]) {
        let mut log = TrainingLog::begin_in(logs, Path::new("models/calais"), resumed).unwrap();
        for &number in epochs {
            log.epoch(&epoch(number), &MEASURED).unwrap();
        }
    }

    fn events(folder: &Path) -> Vec<(String, Vec<u8>)> {
        let names = fs::list(folder).unwrap().into_iter();
        names
            .map(|name| name.into_string().unwrap())
            .filter(|name| name.starts_with("events.out.tfevents."))
            .map(|name| (name.clone(), fs::read(&folder.join(name)).unwrap()))
            .collect()
    }

    #[test]
    fn each_epoch_is_there_before_the_next_one() {
        let logs = tempfile::tempdir().unwrap();
        let folder = logs.path().join("models-calais");
        let mut log =
            TrainingLog::begin_in(logs.path(), Path::new("./models//calais"), &[]).unwrap();
        assert!(!fs::exists(&folder), "nothing was trained yet");
        let mut size = 0;
        for number in 1..=3 {
            log.epoch(&epoch(number), &MEASURED).unwrap();
            let table = fs::read_to_string(&folder.join("history.csv")).unwrap();
            assert_eq!(table.lines().count(), 1 + number, "{table}");
            let picture = fs::read_to_string(&folder.join("history.svg")).unwrap();
            assert!(picture.ends_with("</svg>\n"), "{picture}");
            let [(name, bytes)] = &events(&folder)[..] else {
                panic!("one event file");
            };
            assert!(name.ends_with(".krammerti") && bytes.len() > size, "{name}");
            size = bytes.len();
        }
    }

    #[test]
    fn a_new_training_replaces_the_log_and_a_resumed_one_goes_on_with_it() {
        let logs = tempfile::tempdir().unwrap();
        let folder = logs.path().join("models-calais");
        train(logs.path(), &[], &[1, 2, 3]);
        let first = events(&folder);
        train(logs.path(), &[epoch(1), epoch(2)], &[3, 4]);
        let both = events(&folder);
        assert_eq!((both.len(), &both[0]), (2, &first[0]));
        let table = fs::read_to_string(&folder.join("history.csv")).unwrap();
        let epochs: Vec<&str> = table.lines().map(|row| &row[..2]).collect();
        assert_eq!(epochs, ["ep", "1,", "2,", "3,", "4,"]);
        train(logs.path(), &[], &[1]);
        assert_eq!(events(&folder).len(), 1);
        let table = fs::read_to_string(&folder.join("history.csv")).unwrap();
        assert_eq!(table.lines().count(), 2);
    }

    #[test]
    fn a_model_that_is_solved_at_once_has_no_log() {
        let logs = tempfile::tempdir().unwrap();
        train(logs.path(), &[], &[1, 2]);
        train(logs.path(), &[], &[]);
        assert!(fs::list(logs.path()).unwrap().is_empty());
    }

    #[test]
    fn no_other_folder_is_removed() {
        let project = tempfile::tempdir().unwrap();
        let logs = project.path().join("training");
        fs::write_atomic(&project.path().join("precious"), b"x").unwrap();
        for out in ["..", ".", "a/..", "../training", "/", ""] {
            assert!(TrainingLog::begin_in(&logs, Path::new(out), &[]).is_err());
        }
        assert!(fs::exists(&project.path().join("precious")));
    }

    #[test]
    fn an_error_names_the_place() {
        let project = tempfile::tempdir().unwrap();
        let logs = project.path().join("training");
        fs::write_atomic(&logs, b"a file in its way").unwrap();
        let told = TrainingLog::begin_in(&logs, Path::new("model"), &[])
            .and_then(|mut log| log.epoch(&epoch(1), &MEASURED))
            .unwrap_err();
        assert!(format!("{told:#}").contains("training/model"), "{told:#}");
    }
}
