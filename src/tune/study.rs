//! A search: what was tried, what to try next, and what to give up early.

use std::collections::BTreeMap;

use super::journal::{Finished, Header, Record, State, VERSION};
use super::sampler::{self, Settings};
use super::space::{Point, Space};
use crate::params::TuneParams;

/// A search for the point with the smallest value.
#[derive(Clone, Debug)]
pub struct Study {
    header: Header,
    settings: Settings,
    finished: BTreeMap<usize, Finished>,
    running: BTreeMap<usize, Running>,
}

/// What to try.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// From 0.
    pub number: usize,
    /// A value for each dimension of the space.
    pub point: Point,
}

/// How a trial ended, as told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// With this value; one that is not finite counts as failed.
    Complete(f64),
    /// It was stopped as [`Study::should_prune`] said.
    Pruned,
    /// It ended without a value.
    Failed,
}

/// A study that cannot be continued, or was told something about a trial that it did not ask for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StudyError {
    /// The journal has trials of another space.
    #[error("the study was begun with another search space")]
    OtherSpace,
    /// The journal's draws come from another seed.
    #[error("the study was begun with seed {found}, not {expected}")]
    OtherSeed {
        /// The seed asked for.
        expected: u64,
        /// The seed of the journal.
        found: u64,
    },
    /// The journal's values were measured on other data or with other fixed parameters.
    #[error("the study was begun with other data or other fixed parameters")]
    OtherObjective,
    /// The journal has trials and no header.
    #[error("the study has no header")]
    NoHeader,
    /// A trial of the journal lies outside of its space.
    #[error("trial {number} lies outside of the search space")]
    Outside {
        /// The trial.
        number: usize,
    },
    /// A trial was told that is not running.
    #[error("trial {number} is not running")]
    NotRunning {
        /// The trial.
        number: usize,
    },
}

#[derive(Clone, Debug)]
struct Running {
    point: Point,
    intermediate: Vec<(usize, f64)>,
}

impl Study {
    /// A study without trials. `objective` names, by a digest, all that decides a trial's value
    /// besides its point: the data and the parameters that do not vary.
    pub fn new(params: &TuneParams, objective: impl Into<String>) -> Self {
        Self {
            header: Header {
                version: VERSION,
                seed: params.seed,
                objective: objective.into(),
                space: Space::new(params.space.clone()),
            },
            settings: Settings {
                sampler: params.sampler,
                startup_trials: params.startup_trials,
                seed: params.seed,
            },
            finished: BTreeMap::new(),
            running: BTreeMap::new(),
        }
    }

    /// Goes on with the trials of a journal; one without any record is a new study.
    pub fn resume(
        params: &TuneParams,
        objective: impl Into<String>,
        journal: Vec<Record>,
    ) -> Result<Self, StudyError> {
        let mut study = Self::new(params, objective);
        let mut records = journal.into_iter();
        match records.next() {
            None => return Ok(study),
            Some(Record::Study(found)) => refuse_other(&study.header, &found)?,
            Some(Record::Trial(_)) => return Err(StudyError::NoHeader),
        }
        for record in records {
            let Record::Trial(trial) = record else {
                continue;
            };
            if !study.header.space.contains(&trial.point) {
                let number = trial.number;
                return Err(StudyError::Outside { number });
            }
            study.finished.insert(trial.number, trial);
        }
        Ok(study)
    }

    /// What to try next, where the space has a point that was not tried yet. The trial runs until it is
    /// told.
    pub fn ask(&mut self) -> Option<Trial> {
        self.ask_for(|_| true)
    }

    /// The same of points that are possible alone, which must depend on nothing but the point. None is found
    /// also where hardly any is possible.
    pub fn ask_for(&mut self, is_possible: impl FnMut(&Point) -> bool) -> Option<Trial> {
        let number = self.lowest_free_number();
        let point = sampler::draw(
            &self.settings,
            &self.header.space,
            number,
            self.finished.values(),
            is_possible,
        )?;
        let running = Running {
            point: point.clone(),
            intermediate: Vec::new(),
        };
        self.running.insert(number, running);
        Some(Trial { number, point })
    }

    /// Ends a trial. Returns the record to add to the journal.
    pub fn tell(&mut self, number: usize, outcome: Outcome) -> Result<Record, StudyError> {
        let running = self
            .running
            .remove(&number)
            .ok_or(StudyError::NotRunning { number })?;
        let last = running.intermediate.last().map(|(_, value)| *value);
        let (state, value) = match outcome {
            Outcome::Complete(value) if value.is_finite() => (State::Complete, Some(value)),
            Outcome::Pruned => (State::Pruned, last),
            Outcome::Complete(_) | Outcome::Failed => (State::Failed, None),
        };
        let trial = Finished {
            number,
            point: running.point,
            state,
            value,
            intermediate: running.intermediate,
        };
        self.finished.insert(number, trial.clone());
        Ok(Record::Trial(trial))
    }

    /// Notes the value of an epoch of a running trial, and says whether to stop it.
    ///
    /// The rule is Optuna's `MedianPruner`: once there are enough complete trials, a trial whose
    /// best value so far is worse than the median of theirs at the same epoch is given up. Complete
    /// trials that ended before this epoch have no say. A value that is not finite ends a trial.
    pub fn should_prune(&mut self, number: usize, epoch: usize, value: f64) -> bool {
        if !value.is_finite() {
            return true;
        }
        let Some(running) = self.running.get_mut(&number) else {
            return false;
        };
        // A trial that begins anew has nothing of its epochs of before.
        running.intermediate.retain(|&(past, _)| past < epoch);
        running.intermediate.push((epoch, value));
        let best = running
            .intermediate
            .iter()
            .map(|(_, value)| *value)
            .fold(f64::INFINITY, f64::min);
        self.median_at(epoch).is_some_and(|median| best > median)
    }

    /// The first line of the journal.
    pub fn header(&self) -> Record {
        Record::Study(self.header.clone())
    }

    /// A journal of the header and all finished trials by number.
    pub fn to_text(&self) -> String {
        let trials = self.trials().cloned().map(Record::Trial);
        let lines = std::iter::once(self.header()).chain(trials);
        lines.map(|record| record.to_line()).collect()
    }

    /// The complete trial with the smallest value; of equal ones the first.
    pub fn best(&self) -> Option<&Finished> {
        let value = |trial: &Finished| trial.value.unwrap_or(f64::INFINITY);
        self.complete().min_by(|a, b| value(a).total_cmp(&value(b)))
    }

    /// The finished trials by number.
    pub fn trials(&self) -> impl ExactSizeIterator<Item = &Finished> {
        self.finished.values()
    }

    fn lowest_free_number(&self) -> usize {
        let mut number = 0;
        while self.finished.contains_key(&number) || self.running.contains_key(&number) {
            number += 1;
        }
        number
    }

    fn complete(&self) -> impl Iterator<Item = &Finished> {
        self.trials().filter(|trial| trial.state == State::Complete)
    }

    fn median_at(&self, epoch: usize) -> Option<f64> {
        if self.complete().count() < self.settings.startup_trials {
            return None;
        }
        let at_epoch = |trial: &Finished| {
            trial
                .intermediate
                .iter()
                .find(|(e, _)| *e == epoch)
                .copied()
        };
        let values = self.complete().filter_map(at_epoch).map(|(_, value)| value);
        median(values.collect())
    }
}

fn refuse_other(expected: &Header, found: &Header) -> Result<(), StudyError> {
    if found.space != expected.space {
        return Err(StudyError::OtherSpace);
    }
    if found.seed != expected.seed {
        return Err(StudyError::OtherSeed {
            expected: expected.seed,
            found: found.seed,
        });
    }
    if found.objective != expected.objective {
        return Err(StudyError::OtherObjective);
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        Some(upper)
    } else {
        Some(f64::midpoint(values[middle - 1], upper))
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal;
    use super::*;
    use crate::params::{Dimension, Sampler};

    fn interval(low: f64, high: f64, log: bool, integer: bool) -> Dimension {
        Dimension::Interval {
            low,
            high,
            log,
            integer,
        }
    }

    fn params(sampler: Sampler, seed: u64, space: &[(&str, Dimension)]) -> TuneParams {
        TuneParams {
            trials: 60,
            sampler,
            startup_trials: 5,
            seed,
            space: space
                .iter()
                .map(|(key, dimension)| ((*key).to_owned(), dimension.clone()))
                .collect(),
        }
    }

    fn bowl_params(sampler: Sampler, seed: u64) -> TuneParams {
        let rate = interval(1e-5, 1.0, true, false);
        let dropout = interval(0.0, 1.0, false, false);
        let space = [("train.learning_rate", rate), ("model.dropout", dropout)];
        params(sampler, seed, &space)
    }

    fn mixed_params(seed: u64) -> TuneParams {
        let space = [
            ("model.hidden", interval(8.0, 256.0, true, true)),
            ("model.layers", interval(1.0, 3.0, false, true)),
            ("train.learning_rate", interval(1e-4, 1e-1, true, false)),
            (
                "model.segment",
                Dimension::Choice(vec![1.into(), 6.into(), 24.into()]),
            ),
        ];
        params(Sampler::Tpe, seed, &space)
    }

    fn number(point: &Point, key: &str) -> f64 {
        point[key].as_f64().expect("a number")
    }

    /// Smallest, 0, at a learning rate of 10^-2.5 and a dropout of 0.3.
    fn bowl(point: &Point) -> f64 {
        let rate = (number(point, "train.learning_rate").log10() + 2.5) / 5.0;
        let dropout = number(point, "model.dropout") - 0.3;
        rate.powi(2) + dropout.powi(2)
    }

    fn mixed(point: &Point) -> f64 {
        (number(point, "model.hidden").log2() - 5.0).abs()
            + number(point, "model.layers")
            + (number(point, "train.learning_rate").log10() + 3.0).powi(2)
            + if point["model.segment"] == 6 {
                0.0
            } else {
                1.0
            }
    }

    fn run(study: &mut Study, trials: usize, f: fn(&Point) -> f64) -> String {
        (0..trials)
            .map(|_| {
                let trial = study.ask().unwrap();
                let outcome = match trial.number % 7 {
                    5 => Outcome::Failed,
                    _ => Outcome::Complete(f(&trial.point)),
                };
                let record = study.tell(trial.number, outcome).expect("it runs");
                record.to_line()
            })
            .collect()
    }

    #[test]
    fn tpe_beats_random_draws() {
        let best = |sampler| {
            let bests = (0..15).map(|seed| {
                let mut study = Study::new(&bowl_params(sampler, seed), "");
                run(&mut study, 60, bowl);
                study.best().and_then(|trial| trial.value).expect("a best")
            });
            median(bests.collect()).expect("a median")
        };
        let (tpe, random) = (best(Sampler::Tpe), best(Sampler::Random));
        assert!(tpe < 0.5 * random, "tpe {tpe}, random {random}");
    }

    #[test]
    fn tpe_learns_choices_and_whole_numbers() {
        let bests = (0..9).map(|seed| {
            let mut study = Study::new(&mixed_params(seed), "");
            run(&mut study, 60, mixed);
            study.best().and_then(|trial| trial.value).expect("a best")
        });
        // The smallest possible value is 1.
        assert!(median(bests.collect()).expect("a median") < 1.5);
    }

    /// Every fourth of even draws is.
    fn is_odd_segment(point: &Point) -> bool {
        point["model.segment"] == 5
    }

    fn params_with_an_odd_segment(seed: u64) -> TuneParams {
        let segments = [1, 2, 5, 6].map(Into::into).to_vec();
        let space = [
            ("model.hidden", interval(4.0, 32.0, false, true)),
            ("train.learning_rate", interval(5e-4, 2e-2, true, false)),
            ("model.segment", Dimension::Choice(segments)),
        ];
        params(Sampler::Tpe, seed, &space)
    }

    fn of_odd_segment(point: &Point) -> f64 {
        (number(point, "train.learning_rate").log10() + 2.5).powi(2)
            + number(point, "model.hidden") / 32.0
    }

    #[test]
    fn tpe_turns_away_from_what_fails() {
        for seed in 0..20 {
            let mut study = Study::new(&params_with_an_odd_segment(seed), "");
            for _ in 0..40 {
                let trial = study.ask().unwrap();
                let outcome = if is_odd_segment(&trial.point) {
                    Outcome::Failed
                } else {
                    Outcome::Complete(of_odd_segment(&trial.point))
                };
                study.tell(trial.number, outcome).expect("it runs");
            }
            let failed = study.trials().filter(|trial| is_odd_segment(&trial.point));
            let late = failed.filter(|trial| trial.number >= 10).count();
            assert!(late <= 3, "seed {seed}: {late} of 30");
        }
    }

    /// Half of an interval has values, the other half none.
    #[test]
    fn tpe_leaves_where_nothing_has_a_value() {
        let late_failures = |seed| {
            let mut study = Study::new(&bowl_params(Sampler::Tpe, seed), "");
            for _ in 0..40 {
                let trial = study.ask().unwrap();
                let outcome = if number(&trial.point, "model.dropout") > 0.5 {
                    Outcome::Failed
                } else {
                    Outcome::Complete(bowl(&trial.point))
                };
                study.tell(trial.number, outcome).expect("it runs");
            }
            let failed = study.trials().filter(|trial| trial.state == State::Failed);
            failed.filter(|trial| trial.number >= 10).count()
        };
        // Of 30 each, of which even draws would fail in 15.
        let failed: Vec<usize> = (0..20).map(late_failures).collect();
        assert!(failed.iter().sum::<usize>() < 20 * 8, "{failed:?}");
    }

    #[test]
    fn what_is_not_possible_is_no_trial() {
        let params = params_with_an_odd_segment(3);
        let run = |study: &mut Study, trials: usize| -> String {
            let one = |_| {
                let trial = study.ask_for(|point| !is_odd_segment(point)).unwrap();
                let value = Outcome::Complete(of_odd_segment(&trial.point));
                study.tell(trial.number, value).unwrap().to_line()
            };
            (0..trials).map(one).collect()
        };
        let mut whole = Study::new(&params, "");
        let expected = whole.header().to_line() + &run(&mut whole, 40);
        assert!(!whole.trials().any(|trial| is_odd_segment(&trial.point)));
        // TPE goes on: it is not left to even draws.
        let values = |from: usize| {
            let late = whole.trials().skip(from).take(20);
            median(late.filter_map(|trial| trial.value).collect()).unwrap()
        };
        assert!(values(20) < values(0), "{} {}", values(20), values(0));

        let mut first = Study::new(&params, "");
        let begun = first.header().to_line() + &run(&mut first, 17);
        let records = journal::parse(&begun).expect("a journal");
        let mut next = Study::resume(&params, "", records).expect("the same study");
        assert_eq!(begun + &run(&mut next, 23), expected);
    }

    #[test]
    fn a_space_of_which_nothing_is_possible_ends() {
        let mut asked = 0;
        let mut none = |_: &Point| {
            asked += 1;
            false
        };
        let mut endless = Study::new(&mixed_params(1), "");
        assert_eq!(endless.ask_for(&mut none), None);
        let whole = interval(1.0, 90_000.0, false, true);
        let mut finite = Study::new(
            &params(Sampler::Random, 1, &[("model.lookback", whole)]),
            "",
        );
        assert_eq!(finite.ask_for(&mut none), None);
        assert!(asked < 3000, "{asked}");
    }

    #[test]
    fn continuing_equals_not_interrupting() {
        let params = mixed_params(11);
        let mut whole = Study::new(&params, "digest");
        let expected = whole.header().to_line() + &run(&mut whole, 40, mixed);

        let mut first = Study::new(&params, "digest");
        let mut text = first.header().to_line() + &run(&mut first, 17, mixed);
        let lost = first.ask().unwrap(); // killed while it trains
        for _ in 0..3 {
            let records = journal::parse(&text).expect("a journal");
            let mut next = Study::resume(&params, "digest", records).expect("the same study");
            assert!(next.trials().len() != 17 || next.clone().ask().unwrap() == lost);
            let trials = if next.trials().len() == 33 { 7 } else { 8 };
            text += &run(&mut next, trials, mixed);
        }
        assert_eq!(text, expected);
    }

    #[test]
    fn another_study_is_refused() {
        let params = bowl_params(Sampler::Tpe, 3);
        let mut study = Study::new(&params, "a");
        let text = study.header().to_line() + &run(&mut study, 3, bowl);
        let resume = |params: &TuneParams, objective: &str| {
            let records = journal::parse(&text).expect("a journal");
            Study::resume(params, objective, records).map(|study| study.trials().len())
        };
        assert_eq!(resume(&params, "a"), Ok(3));
        assert_eq!(resume(&params, "b"), Err(StudyError::OtherObjective));
        assert_eq!(resume(&mixed_params(3), "a"), Err(StudyError::OtherSpace));
        let (expected, found) = (4, 3);
        assert_eq!(
            resume(&bowl_params(Sampler::Tpe, 4), "a"),
            Err(StudyError::OtherSeed { expected, found })
        );
    }

    #[test]
    fn a_finished_trial_is_never_told_again() {
        let mut study = Study::new(&bowl_params(Sampler::Random, 0), "");
        let number = study.ask().unwrap().number;
        assert!(study.tell(number, Outcome::Complete(1.0)).is_ok());
        let refused = Err(StudyError::NotRunning { number });
        assert_eq!(study.tell(number, Outcome::Complete(0.5)), refused);
        assert!(study.tell(99, Outcome::Failed).is_err());
        assert_eq!(study.best().and_then(|trial| trial.value), Some(1.0));
    }

    #[test]
    fn trials_at_once_have_numbers_of_their_own() {
        let mut study = Study::new(&bowl_params(Sampler::Tpe, 0), "");
        let (a, b) = (study.ask().unwrap(), study.ask().unwrap());
        assert_eq!((a.number, b.number), (0, 1));
        assert_ne!(a.point, b.point);
        study
            .tell(b.number, Outcome::Complete(1.0))
            .expect("it runs");
        let records = vec![
            study.header(),
            Record::Trial(study.trials().next().cloned().expect("one")),
        ];
        let mut next = Study::resume(&bowl_params(Sampler::Tpe, 0), "", records).expect("the same");
        assert_eq!(next.ask().unwrap(), a);
        assert_eq!(next.ask().unwrap().number, 2);
    }

    #[test]
    fn a_small_space_is_tried_in_full() {
        let choice = Dimension::Choice((0..6).map(Into::into).collect());
        let mut study = Study::new(&params(Sampler::Tpe, 1, &[("model.segment", choice)]), "");
        for _ in 0..6 {
            let trial = study.ask().unwrap();
            let value = number(&trial.point, "model.segment");
            study
                .tell(trial.number, Outcome::Complete(value))
                .expect("it runs");
        }
        let tried: std::collections::BTreeSet<String> = study
            .trials()
            .map(|trial| format!("{:?}", trial.point))
            .collect();
        assert_eq!(tried.len(), 6);
        assert_eq!(study.ask(), None);
    }

    /// The largest of these is drawn once in hundreds of times.
    #[test]
    fn a_value_that_is_seldom_drawn_is_tried_too() {
        let hidden = Dimension::Interval {
            low: 1.0,
            high: 300.0,
            log: true,
            integer: true,
        };
        let mut study = Study::new(&params(Sampler::Random, 0, &[("model.hidden", hidden)]), "");
        for _ in 0..300 {
            let trial = study.ask().expect("one that is left");
            let value = number(&trial.point, "model.hidden");
            study
                .tell(trial.number, Outcome::Complete(value))
                .expect("it runs");
        }
        assert_eq!(study.ask(), None);
    }

    /// Five complete trials with values 1 to 5 at epoch 1, and half of that at epoch 2.
    fn study_with_five() -> Study {
        let mut study = Study::new(&bowl_params(Sampler::Random, 0), "");
        for value in [1.0, 2.0, 3.0, 4.0, 5.0] {
            let number = study.ask().unwrap().number;
            assert!(!study.should_prune(number, 1, value), "too early to judge");
            assert!(!study.should_prune(number, 2, value / 2.0));
            study
                .tell(number, Outcome::Complete(value / 2.0))
                .expect("it runs");
        }
        study
    }

    #[test]
    fn what_is_worse_than_the_median_is_pruned() {
        let mut study = study_with_five();
        let number = study.ask().unwrap().number;
        assert!(
            !study.should_prune(number, 1, 3.0),
            "the median itself stays"
        );
        assert!(study.should_prune(number, 2, 1.6));
        assert!(!study.should_prune(number, 3, 9.0), "nobody came that far");
        let Record::Trial(trial) = study.tell(number, Outcome::Pruned).expect("it runs") else {
            panic!("a trial");
        };
        assert_eq!((trial.state, trial.value), (State::Pruned, Some(9.0)));
        assert_eq!(trial.intermediate, [(1, 3.0), (2, 1.6), (3, 9.0)]);
        assert_eq!(study.best().map(|trial| trial.number), Some(0));
    }

    #[test]
    fn a_trial_that_begins_anew_is_judged_by_its_new_epochs() {
        let mut study = study_with_five();
        let number = study.ask().unwrap().number;
        assert!(!study.should_prune(number, 1, 0.5));
        assert!(study.should_prune(number, 1, 3.1));
    }

    #[test]
    fn what_diverged_is_pruned_and_has_no_value() {
        let mut study = Study::new(&bowl_params(Sampler::Tpe, 0), "");
        let number = study.ask().unwrap().number;
        assert!(study.should_prune(number, 1, f64::NAN));
        study
            .tell(number, Outcome::Complete(f64::INFINITY))
            .expect("it runs");
        assert_eq!(study.best(), None);
        let state = study
            .trials()
            .next()
            .map(|trial| (trial.state, trial.value));
        assert_eq!(state, Some((State::Failed, None)));
        for _ in 0..20 {
            let number = study.ask().unwrap().number;
            study.should_prune(number, 1, 1.0);
            study.tell(number, Outcome::Pruned).expect("it runs");
        }
    }
}
