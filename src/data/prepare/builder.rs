//! Gathers the columns of a data set, the targets first: what was observed, gaps filled, features,
//! forecasts from outside.

use rayon::prelude::*;

use super::steps::Steps;
use super::{Made, made, vector};
use crate::data::dataset::filled_name;
use crate::data::features::{self, SunView, Wave};
use crate::data::fill::{Fill, fill};
use crate::data::{
    Column, ColumnSource, DatasetError, Layout, Role, Runs, SeriesError, Table, quality,
};
use crate::params::{
    CalendarWaves, FillMethod, FillParams, Mask, PrepareParams, Quantity, SpeedParams, WindPair,
};

/// The name of the column with the share of a row that was filled.
const FILLED: &str = "filled";
/// What the columns of forecasts from outside begin with.
const FORECAST: &str = "forecast_";

/// Gathers the columns of a data set, the targets first.
pub(super) struct Builder<'a> {
    params: &'a PrepareParams,
    layout: Layout,
    columns: Vec<Made>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(params: &'a PrepareParams, layout: Layout) -> Self {
        Self {
            params,
            layout,
            columns: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> Vec<Made> {
        self.columns
    }

    /// The columns asked for, without wind directions: those become vectors.
    pub(super) fn observed(&mut self, steps: &Steps<'_>) -> Result<(), SeriesError> {
        let params = self.params;
        // A name that nothing has would change nothing, without a word.
        for name in params.known.iter().chain(params.aggregate.keys()) {
            steps.table.column(name)?;
        }
        let all = || {
            steps
                .table
                .columns()
                .iter()
                .map(|column| column.name.clone())
        };
        let mut names = params.columns.clone().unwrap_or_else(|| all().collect());
        names.retain(|name| {
            !params.targets.contains(name) && params.wind.iter().all(|pair| pair.direction != *name)
        });
        names.splice(0..0, params.targets.names().iter().cloned());
        let columns: Result<Vec<Made>, SeriesError> = names
            .par_iter()
            .map(|name| steps.observed(name, params))
            .collect();
        self.columns = columns?;
        let winds: Result<Vec<[Made; 2]>, SeriesError> = params
            .wind
            .par_iter()
            .map(|pair| steps.wind(pair, params))
            .collect();
        self.columns.extend(winds?.into_iter().flatten());
        Ok(())
    }

    /// Of each series the time of the last row in which anything was observed that is not known before its time.
    pub(super) fn observed_until(&self) -> Vec<Option<i64>> {
        let columns = self.columns.iter();
        let columns: Vec<&Made> = columns.filter(|made| made.role != Role::Future).collect();
        let has_some = |&row: &usize| columns.iter().any(|made| !made.column.values[row].is_nan());
        let blocks = self.layout.blocks().iter();
        let last = blocks.map(|block| block.rows.clone().rev().find(has_some));
        last.map(|row| row.map(|row| self.layout.time(row)))
            .collect()
    }

    /// Fills gaps, and says where.
    pub(super) fn fill(&mut self) {
        let Some(params) = self.params.fill else {
            return;
        };
        let rows = self.layout.rows();
        let (mut share, mut masks) = (vec![0.0; rows], Vec::new());
        let count = self.columns.len() as f64;
        for made in &mut self.columns {
            let mut mask = vec![0.0; rows];
            let mut params = params;
            if params.method == FillMethod::Linear
                && quality::quantity_of(&made.column, &self.params.quality) == Quantity::Direction
            {
                // Between 350° and 10° lies no 180°.
                params.method = FillMethod::Last;
            }
            made.filled = fill_column(&mut made.column.values, &self.layout, params, &mut mask);
            let pairs = share.iter_mut().zip(&mask);
            pairs.for_each(|(share, mask)| *share += mask / count);
            if params.mask == Mask::Columns || made.role == Role::Target {
                masks.push((made.column.name.clone(), mask));
            }
        }
        let filled = |name: String, column: Option<String>, values| {
            made(
                name,
                "1".to_owned(),
                values,
                Role::Past,
                ColumnSource::Filled { column },
            )
        };
        if params.mask == Mask::Row {
            self.columns.push(filled(FILLED.to_owned(), None, share));
        }
        for (name, mask) in masks {
            let mask = filled(filled_name(&name), Some(name), mask);
            self.columns.push(mask);
        }
    }

    /// The calendar, the sun, and what is made from other columns.
    pub(super) fn features(&mut self) -> Result<(), SeriesError> {
        self.calendar()?;
        self.sun()?;
        self.speeds()?;
        self.dew_points()?;
        self.over_time()
    }

    fn calendar(&mut self) -> Result<(), SeriesError> {
        for &CalendarWaves { cycle, waves } in &self.params.calendar {
            for (harmonic, wave) in (1..=waves).flat_map(|n| [(n, Wave::Sin), (n, Wave::Cos)]) {
                let source = ColumnSource::Calendar {
                    cycle,
                    wave,
                    harmonic,
                    zone: self.params.calendar_zone,
                };
                let name = features::calendar_name(cycle, wave, harmonic);
                self.derive(name, "1", source)?;
            }
        }
        Ok(())
    }

    fn sun(&mut self) -> Result<(), SeriesError> {
        let Some(sun) = &self.params.sun else {
            return Ok(());
        };
        let placed = |name: &String| sun.places.contains_key(name) || sun.places.contains_key("");
        let mut blocks = self.layout.blocks().iter();
        if let Some(block) = blocks.find(|block| !placed(&block.name)) {
            return Err(SeriesError::NoPlace(block.name.clone()));
        }
        let mut views = vec![
            ("sun_elevation_sin", "1", SunView::Elevation),
            ("clear_sky_radiation", "W/m²", SunView::ClearSky),
        ];
        if let Some(radiation) = &sun.radiation {
            self.require_unit("clear_sky_index", radiation, "W/m²")?;
            views.push(("clear_sky_index", "1", SunView::ClearSkyIndex));
        }
        for (name, unit, view) in views {
            let measured = sun.radiation.clone();
            let source = ColumnSource::Sun {
                view,
                places: sun.places.clone(),
                radiation: measured.filter(|_| view == SunView::ClearSkyIndex),
            };
            self.derive(name.to_owned(), unit, source)?;
        }
        Ok(())
    }

    fn speeds(&mut self) -> Result<(), SeriesError> {
        for SpeedParams { u, v } in &self.params.speed {
            self.require_unit("speed", u, "m/s")?;
            self.require_unit("speed", v, "m/s")?;
            let source = ColumnSource::Speed {
                u: u.clone(),
                v: v.clone(),
            };
            self.derive(format!("{u}_{v}_speed"), "m/s", source)?;
        }
        Ok(())
    }

    fn dew_points(&mut self) -> Result<(), SeriesError> {
        for pair in &self.params.dew_point {
            self.require_unit("dew_point", &pair.temperature, "°C")?;
            self.require_unit("dew_point", &pair.humidity, "%")?;
            let source = ColumnSource::DewPoint {
                temperature: pair.temperature.clone(),
                humidity: pair.humidity.clone(),
            };
            let name = match self.params.dew_point.as_slice() {
                [_] => "dew_point".to_owned(),
                _ => format!("{}_dew_point", pair.temperature),
            };
            self.derive(name, "°C", source)?;
        }
        Ok(())
    }

    /// Lags, changes and statistics of other rows.
    fn over_time(&mut self) -> Result<(), SeriesError> {
        let (params, step) = (self.params, self.params.step);
        for (column, lags) in &params.lags {
            for lag in lags {
                let source = ColumnSource::Lag {
                    column: column.clone(),
                    rows: lag.seconds() / step.seconds(),
                };
                self.derive(features::name_over(column, "lag", lag), "", source)?;
            }
        }
        for (column, lengths) in &params.differences {
            for &length in lengths {
                let source = ColumnSource::Difference {
                    column: column.clone(),
                    rows: features::rows_in(length, step),
                };
                self.derive(features::name_over(column, "change", length), "", source)?;
            }
        }
        for rolling in &params.rolling {
            let (column, stat) = (&rolling.column, rolling.stat);
            let ahead = rolling.ahead;
            let source = ColumnSource::Rolling {
                column: column.clone(),
                rows: features::rows_in(rolling.over, step),
                ahead: ahead.map_or(0, |ahead| features::rows_in(ahead, step)),
                stat,
            };
            let name = features::name_over(column, features::word(stat), rolling.over);
            self.derive(name, "", source)?;
        }
        Ok(())
    }

    /// Refuses a column in another unit than a formula takes. One that is not there is told by others.
    fn require_unit(
        &self,
        feature: &'static str,
        column: &str,
        expected: &'static str,
    ) -> Result<(), SeriesError> {
        let plain = |unit: &str| unit.trim().to_lowercase().replace('²', "2");
        let made = self.columns.iter().find(|made| made.column.name == column);
        match made.map(|made| &made.column.unit) {
            Some(found) if plain(found) != plain(expected) => Err(SeriesError::FeatureUnit {
                feature,
                column: column.to_owned(),
                expected,
                found: found.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Adds a column that is made from others; without a unit it has that of the column it is of.
    fn derive(
        &mut self,
        name: String,
        unit: &str,
        source: ColumnSource,
    ) -> Result<(), SeriesError> {
        let find = |name: &str| {
            let made = self.columns.iter().find(|made| made.column.name == name);
            made.ok_or_else(|| {
                let there = self.columns.iter().map(|made| &made.column.name);
                SeriesError::no_column(name, there)
            })
        };
        let values = |name: &str| find(name).map(|made| made.column.values.as_slice());
        let Some(values) = features::evaluate(&source, &self.layout, &values)? else {
            return Ok(());
        };
        let role_of = |name: &str| find(name).map_or(Role::Past, |made| made.role);
        let role = source.role(role_of);
        if let (true, false, [column, ..]) = (
            source.looks_ahead(),
            role == Role::Future,
            &source.columns()[..],
        ) {
            return Err(SeriesError::LooksAhead {
                feature: name,
                column: (*column).to_owned(),
            });
        }
        let unit = match (unit, source.columns().first()) {
            ("", Some(column)) => find(column)?.column.unit.clone(),
            (unit, _) => unit.to_owned(),
        };
        self.columns.push(made(name, unit, values, role, source));
        Ok(())
    }

    /// Forecasts from outside, as they were known at each row.
    pub(super) fn forecasts(&mut self, table: &Table) -> Result<Runs, DatasetError> {
        if table.issues().is_none() {
            return Err(DatasetError::Kind(
                "forecasts need an issue time in every row",
            ));
        }
        let params = &self.params.forecasts;
        let step = self.layout.step();
        let phase = self.layout.phase();
        let other = |block: &&crate::data::Block| block.start.rem_euclid(step.seconds()) != phase;
        if let Some(block) = self.layout.blocks().iter().find(other) {
            let start = self.layout.blocks()[0].start;
            let time = block.start;
            return Err(SeriesError::OffStep { time, start, step }.into());
        }
        let directions = |name: &String| params.wind.iter().any(|pair| pair.direction == *name);
        let all = || table.columns().iter().map(|column| column.name.clone());
        let names = params.columns.clone().unwrap_or_else(|| all().collect());
        let mut asked: Vec<String> = names
            .iter()
            .filter(|name| !directions(name))
            .cloned()
            .collect();
        let plain = asked.len();
        for pair in &params.wind {
            for name in [&pair.speed, &pair.direction] {
                if !asked.contains(name) {
                    asked.push(name.clone());
                }
            }
        }
        let mut table = table.select(&asked)?;
        // Vectors before the grid: between two directions lies no direction.
        let winds: Vec<[Made; 2]> = params
            .wind
            .iter()
            .map(|pair| run_wind(&table, pair))
            .collect::<Result<_, SeriesError>>()?;
        let mut sources: Vec<Option<String>> = asked[..plain].iter().cloned().map(Some).collect();
        let mut columns: Vec<Column> = table.columns()[..plain].to_vec();
        for made in winds.into_iter().flatten() {
            sources.push(Some(made.column.name.clone()));
            columns.push(made.column);
        }
        table = table.with_columns(columns)?;
        if quality::usual_step_of(&table).is_some_and(|own| own < step) {
            let message = "forecasts from outside are on a finer step than `prepare.step`";
            return Err(DatasetError::Kind(message));
        }
        let mut runs = Runs::new(&table, step, phase, &self.params.quality)?;
        let spoken_of = |block: &&crate::data::Block| !runs.speaking_of(block).is_empty();
        if let Some(block) = self.layout.blocks().iter().find(|block| !spoken_of(block)) {
            return Err(SeriesError::NoForecast(block.name.clone()).into());
        }
        if params.lead {
            sources.push(None);
            let lead = Column {
                name: "lead".to_owned(),
                unit: "h".to_owned(),
                values: runs.leads_h(),
            };
            runs.push(lead);
        }
        // With its lead: what is of an older run is told as such.
        let runs = runs.completed();
        let known = runs.known(&self.layout, params.delay_s);
        for (column, source) in runs.columns().iter().zip(sources) {
            let values = known.shown(&column.values);
            let source = ColumnSource::Forecast { column: source };
            let name = format!("{FORECAST}{}", column.name);
            let made = made(name, column.unit.clone(), values, Role::Forecast, source);
            self.columns.push(made);
        }
        Ok(runs)
    }
}

fn run_wind(table: &Table, pair: &WindPair) -> Result<[Made; 2], SeriesError> {
    let speed = table.column(&pair.speed)?;
    let directions = table.column(&pair.direction)?;
    let (u, v) = speed
        .values
        .iter()
        .zip(&directions.values)
        .map(|(&speed, &direction)| crate::physics::wind_vector(speed, direction))
        .unzip();
    Ok(vector(pair, &speed.unit, u, v, Role::Forecast))
}

/// Fills the gaps of each series, marks the rows in `mask`, and says how many there are.
fn fill_column(values: &mut [f64], layout: &Layout, params: FillParams, mask: &mut [f64]) -> usize {
    let step = layout.step();
    let longest = features::rows_in(params.up_to, step);
    let how = match params.method {
        FillMethod::Linear => Fill::Linear,
        FillMethod::Last => Fill::Last,
        FillMethod::Seasonal => Fill::Seasonal {
            season: features::rows_in(params.season, step).max(1),
        },
    };
    let mut count = 0;
    for block in layout.blocks() {
        for run in fill(&mut values[block.rows.clone()], how, longest) {
            count += run.len();
            let first = block.rows.start;
            mask[first + run.start..first + run.end].fill(1.0);
        }
    }
    count
}
