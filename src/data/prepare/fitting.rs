//! What is fitted to the training part: the capacities that are not given, and the scalers.

use std::borrow::Cow;

use rayon::prelude::*;

use super::{Draft, Made};
use crate::data::capacity::{self, OfSeries};
use crate::data::{Capacities, Capacity, DatasetError, Part, Role, Scaler, SeriesError, Split};
use crate::params::{CapacityParams, PrepareParams, Scaling};

/// See the module.
pub(super) struct Fitted {
    pub(super) capacity: Capacities,
    /// One of each column.
    pub(super) scalers: Vec<Scaler>,
}

/// Fits what `params` ask for, in the order of the columns, so that it is the first one with a fault that is told.
pub(super) fn fit(
    draft: &Draft,
    split: &Split,
    params: &PrepareParams,
) -> Result<Fitted, DatasetError> {
    let training = Training::of(draft, split);
    training.require("prepare.capacity", params.capacity.keys())?;
    training.require("prepare.scaling.columns", params.scaling_of.keys())?;
    let capacity = capacities(&training, params)?;
    let places: Vec<usize> = (0..draft.columns.len()).collect();
    let scaler = |&place: &usize| scaler(&training, place, &capacity, params);
    let scalers: Vec<Result<Scaler, DatasetError>> = places.par_iter().map(scaler).collect();
    let scalers = scalers.into_iter().collect::<Result<_, _>>()?;
    Ok(Fitted { capacity, scalers })
}

fn capacities(training: &Training<'_>, params: &PrepareParams) -> Result<Capacities, DatasetError> {
    let capacity = |(name, wanted): (&String, &CapacityParams)| {
        let place = training.place_of(name)?;
        let values = training.values(place, Time::Training);
        let capacity = match wanted {
            CapacityParams::Same(capacity) => Capacity::given([(String::new(), *capacity)].into()),
            CapacityParams::Each(each) => Capacity::given(each.clone()),
            CapacityParams::Largest => {
                Capacity::largest([&values, &training.values(place, Time::All)])
            }
        };
        let mut series = values.iter().map(|(series, _)| *series);
        let lacking = series.find(|series| training.has(series) && capacity.of(series).is_none());
        match lacking {
            Some(series) => Err(no_capacity(name, series)),
            None => Ok((name.clone(), capacity)),
        }
    };
    params.capacity.iter().map(capacity).collect()
}

fn no_capacity(column: &str, series: &str) -> DatasetError {
    DatasetError::NoCapacity {
        column: column.to_owned(),
        series: series.to_owned(),
    }
}

fn scaler(
    training: &Training<'_>,
    place: usize,
    capacities: &Capacities,
    params: &PrepareParams,
) -> Result<Scaler, DatasetError> {
    let made = &training.draft.columns[place];
    let name = &made.column.name;
    let columns = training.draft.columns.iter();
    let columns: Vec<_> = columns
        .map(|made| (made.column.name.as_str(), &made.source))
        .collect();
    let capacity = capacity::of_column(capacities, &columns, place);
    let mut known = Vec::new();
    for (series, values) in training.values(place, Time::Training) {
        match capacity.map(|capacity| capacity.of(series)) {
            None => known.extend_from_slice(&values),
            Some(Some(capacity)) => known.extend(values.iter().map(|value| value / capacity)),
            Some(None) if training.has(series) => return Err(no_capacity(name, series)),
            Some(None) => {}
        }
    }
    let usual = if made.source.is_scaled_by_construction() {
        Scaling::None
    } else {
        params.scaling
    };
    let wanted = params.scaling_of.get(name).copied().unwrap_or(usual);
    let scaler = Scaler::fit(wanted, &known).map_err(|smallest| DatasetError::NoLogarithm {
        column: name.clone(),
        smallest,
        of_capacity: capacity.is_some(),
    })?;
    let (center, scale, _) = scaler.parts();
    if !center.is_finite() || !scale.is_finite() {
        return Err(DatasetError::TooLarge(name.clone()));
    }
    Ok(scaler)
}

/// Which rows count.
#[derive(Clone, Copy)]
enum Time {
    Training,
    All,
}

/// The training part of a draft.
struct Training<'a> {
    draft: &'a Draft,
    /// Its rows in each series.
    rows: Vec<std::ops::Range<usize>>,
    until: i64,
    /// For each column its place among those of the runs, where they have it.
    of_runs: Vec<Option<usize>>,
}

impl<'a> Training<'a> {
    fn of(draft: &'a Draft, split: &Split) -> Self {
        let mut next = 0..draft.runs.as_ref().map_or(0, |runs| runs.columns().len());
        let of_runs = |made: &Made| match made.role {
            Role::Forecast => next.next(),
            _ => None,
        };
        Self {
            draft,
            rows: split.ranges(Part::Train, &draft.layout),
            until: split.train_until(),
            of_runs: draft.columns.iter().map(of_runs).collect(),
        }
    }

    /// Refuses a name under a key that no column has.
    fn require<'n>(
        &self,
        key: &'static str,
        mut names: impl Iterator<Item = &'n String>,
    ) -> Result<(), DatasetError> {
        let places = names.try_for_each(|name| self.place_of(name).map(|_| ()));
        places.map_err(|error| DatasetError::Named { key, error })
    }

    fn place_of(&self, name: &str) -> Result<usize, SeriesError> {
        let columns = &self.draft.columns;
        let place = columns.iter().position(|made| made.column.name == name);
        place.ok_or_else(|| {
            SeriesError::no_column(name, columns.iter().map(|made| &made.column.name))
        })
    }

    /// Whether the data set has a series of which a run speaks; all of them where it has no name.
    fn has(&self, series: &str) -> bool {
        let mut blocks = self.draft.layout.blocks().iter();
        series.is_empty() || blocks.any(|block| block.name == series)
    }

    /// Of a forecast from outside the values that were issued in that time and speak of it.
    fn values(&self, place: usize, time: Time) -> OfSeries<'a> {
        let draft = self.draft;
        if let Some((runs, place)) = draft.runs.as_ref().zip(self.of_runs[place]) {
            let until = match time {
                Time::Training => self.until,
                Time::All => i64::MAX,
            };
            let values = runs
                .before(&runs.columns()[place].values, until)
                .into_iter();
            let spoken_of = |series: &'a str| draft.layout.spoken_of(series);
            return values
                .map(|(series, values)| (spoken_of(series), Cow::Owned(values)))
                .collect();
        }
        let values = &draft.columns[place].column.values;
        let blocks = draft.layout.blocks().iter().zip(&self.rows);
        let of_series = blocks.map(|(block, training)| {
            let rows = match time {
                Time::Training => training,
                Time::All => &block.rows,
            };
            (block.name.as_str(), Cow::Borrowed(&values[rows.clone()]))
        });
        of_series.collect()
    }
}
