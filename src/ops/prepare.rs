//! `krammerti prepare`: raw observations to a data set.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::misfit_values::misfit_values;
use super::quality::{columns_of_file, raw_step, require_named, tell, train_until, write};
use super::{Context, QualityFailed, dataset, some_of};
use crate::data::quality::{self, Assessment, QualityReport, Setting};
use crate::data::{
    Column, Dataset, DatasetMeta, Layout, Panel, Part, RowCounts, SeriesError, Split, Table,
};
use crate::fs::StagedFolder;
use crate::params::{Calendar, PrepareParams, QualityParams};
use crate::time::{Span, Step};

/// Prepares one data set from raw tables. Those of observations are put together, those with the same columns
/// one below the other and those with other columns side by side; so are those of forecasts below one another,
/// whose rows have an issue time.
pub fn prepare(mut context: Context<'_>) -> Result<()> {
    let params = context.section("prepare", context.params.prepare.as_ref())?;
    let inputs: Vec<_> = context
        .inputs
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let inputs = inputs.join(", ");
    let (observed, forecasts) = read(&context, params)?;
    let observed = observed.with_context(|| {
        format!(
            "{inputs}: there are forecasts only, and no observations of {}",
            params.targets
        )
    })?;
    let (assessed, forecasts) = assess(params, observed, forecasts);
    let staged = StagedFolder::new(&context.out)?;
    let mut failed = Ok(());
    for (assessed, name) in [(Some(&assessed), OBSERVED), (forecasts.as_ref(), FORECASTS)] {
        let Some(assessed) = assessed else { continue };
        if assessed.report.found().next().is_some() {
            tell(&assessed.report, context.observer)?;
        }
        write(&staged, name, assessed)?;
        failed = failed.and(QualityFailed::unless_it_holds(&assessed.report, &inputs));
    }
    if failed.is_err() {
        // The report of a failed try is what a person wants to read.
        staged.commit()?;
        return failed;
    }
    let rows = counts(&assessed.report);
    let known = forecasts.map(|forecasts| forecasts.kept);
    let prepared =
        Dataset::prepare(&assessed.kept, known.as_ref(), params, rows).with_context(|| inputs)?;
    let short = too_short(&assessed.kept, prepared.panel().layout());
    let emptied = emptied(&assessed.kept, prepared.panel());
    // What is written next needs room of its own.
    drop((assessed, known));
    let one_year = one_year(params, &prepared);
    let odd = misfit_values(&prepared, &prepared.scalers());
    let of_parts = Split::PARTS.map(|part| prepared.count(part));
    let meta = dataset::write_dataset(&staged, prepared)?;
    staged.commit()?;

    tell_prepared(&mut context, &meta, of_parts);
    for odd in (short.into_iter())
        .chain(emptied)
        .chain(one_year)
        .chain(odd)
    {
        context.warn(odd);
    }
    Ok(())
}

/// What to tell of observed series that have no row in a data set.
fn too_short(observed: &Table, layout: &Layout) -> Option<String> {
    let all = observed.series()?.names();
    let there: BTreeSet<&str> = layout.blocks().iter().map(|b| b.name.as_str()).collect();
    let short: Vec<String> = all
        .iter()
        .filter(|name| !there.contains(name.as_str()))
        .cloned()
        .collect();
    (!short.is_empty()).then(|| {
        format!(
            "{} of {} series left out, whose observations do not reach over one whole step of {}: {}",
            short.len(),
            all.len(),
            layout.step(),
            some_of(&short)
        )
    })
}

/// What to tell of columns that were observed, and never often enough for a row of a data set.
fn emptied(observed: &Table, panel: &Panel) -> Option<String> {
    let has_value = |values: &[f64]| values.iter().any(|value| !value.is_nan());
    let is_lost = |column: &&Column| {
        let made = panel.column(&column.name);
        made.is_ok_and(|made| !has_value(&made.values)) && has_value(&column.values)
    };
    let lost = observed.columns().iter().filter(is_lost);
    let lost: Vec<String> = lost.map(|column| column.name.clone()).collect();
    (!lost.is_empty()).then(|| {
        format!(
            "{} without a value in any row of {}: their observations are never the share of one that prepare.minimum_share asks for",
            some_of(&lost),
            panel.layout().step()
        )
    })
}

/// What to tell of a wave of the year where no series has two years to learn it from.
fn one_year(params: &PrepareParams, prepared: &Dataset) -> Option<String> {
    const YEAR_DAYS: f64 = 365.25;
    let layout = prepared.panel().layout();
    let train = prepared.meta().split.ranges(Part::Train, layout);
    let rows = train.iter().map(ExactSizeIterator::len).max()?;
    let days = layout.step().hours(rows) / 24.0;
    // The second year may lack a day.
    let is_short = days < 2.0 * YEAR_DAYS - 1.0;
    let mut cycles = params.calendar.iter().map(|waves| waves.cycle);
    let asked = cycles.any(|cycle| cycle == Calendar::DayOfYear);
    (asked && is_short).then(|| {
        format!(
            "the training part has {:.0} months: what `day_of_year` says of a month no other year confirms, and \
             most models do better without it",
            12.0 * days / YEAR_DAYS
        )
    })
}

/// Looks at observations and forecasts as `prepare.quality` says.
fn assess(
    params: &PrepareParams,
    observed: Table,
    forecasts: Option<Table>,
) -> (Assessment, Option<Assessment>) {
    let setting = |params, step, train_until| Setting {
        params,
        step,
        train_until,
        required: &[],
        ahead: &[],
        now: None,
    };
    let (step, until) = rayon::join(
        || raw_step(params, &observed),
        || train_until(Some(&params.split), observed.times()),
    );
    let observed = quality::assess(observed, &setting(&params.quality, step, until));
    // Of forecasts nobody asks for the columns that observations must have.
    let of_forecasts = QualityParams {
        required: Vec::new(),
        ..params.quality.clone()
    };
    let forecasts = forecasts.map(|table| {
        let step = quality::usual_step_of(&table).unwrap_or(params.step);
        quality::assess(table, &setting(&of_forecasts, step, until))
    });
    (observed, forecasts)
}

/// What became of the rows that came in.
fn counts(report: &QualityReport) -> RowCounts {
    let duplicates = report.duplicates();
    RowCounts {
        rows_in: report.rows().rows_in(),
        duplicates,
        dropped: report.rows().dropped() - duplicates,
        kept: report.rows().kept(),
        masked: report.masked(),
        ..RowCounts::default()
    }
}

/// With the rows of train, validation and test.
fn tell_prepared(context: &mut Context<'_>, meta: &DatasetMeta, rows: [usize; 3]) {
    let [train, validation, test] = rows;
    let series = match meta.series.len() {
        1 => String::new(),
        several => format!(" of {several} series"),
    };
    context.note(format!(
        "{} rows{series} each {} from {} to {}, {} columns",
        meta.rows.rows_out,
        meta.step,
        meta.first_time,
        meta.last_time,
        meta.columns.len()
    ));
    context.note(format!(
        "{} duplicates and {} other rows dropped, {} rows missing, {} values filled; train {train}, validation {validation}, test {test}",
        meta.rows.duplicates,
        meta.rows.dropped,
        meta.rows.missing_rows,
        meta.columns.iter().map(|column| column.filled).sum::<usize>(),
    ));
    if let Some(forecasts) = &meta.forecasts {
        context.note(format!(
            "{} forecasts, issued from {} to {}, known {} after their issue",
            forecasts.runs,
            forecasts.first_issue,
            forecasts.last_issue,
            Span::from(Duration::from_secs(forecasts.delay_s.unsigned_abs()))
        ));
    }
}

/// What the report of observations is named after, and that of forecasts.
const OBSERVED: &str = "";
const FORECASTS: &str = "-forecasts";

/// The observations and the forecasts among the inputs.
fn read(context: &Context<'_>, params: &PrepareParams) -> Result<(Option<Table>, Option<Table>)> {
    let inputs = context.inputs.iter();
    let columns = inputs.clone().map(|path| dataset::columns_of(path));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let is_forecast = inputs.clone().map(|path| dataset::is_forecast(path));
    let is_forecast = is_forecast.collect::<Result<Vec<bool>>>()?;
    require_named(&params.quality, &names(&columns))?;
    let of_observed = columns.iter().zip(&is_forecast);
    let of_observed = of_observed.filter(|(_, is_forecast)| !**is_forecast);
    let there = names(of_observed.map(|(columns, _)| columns));
    let mut observed: Vec<(&Path, Table)> = Vec::new();
    let mut forecasts: Option<Table> = None;
    for ((path, columns), is_forecast) in inputs.zip(&columns).zip(is_forecast) {
        let told = || path.display().to_string();
        if is_forecast {
            let more = dataset::read_table(path)?;
            forecasts = Some(match forecasts.take() {
                Some(table) => table.append(&more).with_context(told)?,
                None => more,
            });
            continue;
        }
        let wanted = columns_of_file(params, columns, &there);
        // Nothing of it is asked for: its rows would have no value.
        if wanted.as_ref().is_some_and(Vec::is_empty) {
            continue;
        }
        let more = dataset::read_columns(path, wanted.as_deref())?;
        match observed
            .iter()
            .position(|(_, table)| table.shares_columns(&more))
        {
            Some(place) => {
                let (first, table) = observed.remove(place);
                let longer = table.append(&more).with_context(told)?;
                observed.insert(place, (first, longer));
            }
            None => observed.push((path, more)),
        }
    }
    Ok((side_by_side(observed, params)?, forecasts))
}

/// In order, each once.
fn names<'a>(columns: impl IntoIterator<Item = &'a Vec<String>>) -> Vec<String> {
    let names: BTreeSet<&String> = columns.into_iter().flatten().collect();
    names.into_iter().cloned().collect()
}

/// One table of those that have no column in common, each with the first file that it is from. Of several the
/// rows before the first one with a target are left out, in each series: weather may be known for many years
/// before there was a power to forecast.
fn side_by_side(tables: Vec<(&Path, Table)>, params: &PrepareParams) -> Result<Option<Table>> {
    let several = tables.len() > 1;
    let mut tables = tables.into_iter();
    let Some((_, mut joined)) = tables.next() else {
        return Ok(None);
    };
    for (path, table) in tables {
        let steps = [&joined, &table].map(quality::usual_step_of);
        // Each column comes to the step of the data set by itself, if that is none of the finer ones.
        let holds = |long: Step, short: Step| long.seconds() % short.seconds() == 0;
        if let [Some(expected), Some(found)] = steps
            && expected != found
            && !(holds(expected.max(found), expected.min(found))
                && holds(params.step, expected.max(found)))
        {
            let error = SeriesError::JoinSteps { expected, found };
            return Err(error).with_context(|| path.display().to_string());
        }
        if let Some(step) = steps.into_iter().flatten().min() {
            let [before, its] =
                [&joined, &table].map(|table| quality::usual_phases_of(table, step));
            let apart = its.iter().find_map(|(name, found)| {
                let expected = before.get(name).filter(|expected| *expected != found)?;
                Some((*expected, *found))
            });
            if let Some((expected, found)) = apart {
                let error = SeriesError::JoinPhase {
                    step,
                    expected,
                    found,
                };
                return Err(error).with_context(|| path.display().to_string());
            }
        }
        joined = joined
            .join(&table)
            .with_context(|| path.display().to_string())?;
    }
    Ok(Some(if several {
        joined.from_first_of(params.targets.names())
    } else {
        joined
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::RowSeries;
    use crate::params::ParamsFile;

    #[test]
    fn a_series_that_fills_no_step_is_told() {
        let text = "prepare: {target: t, step: 1h, raw_step: 10min}";
        let (_, params) = ParamsFile::parse(Path::new("params.yaml"), text, None, &[]).unwrap();
        // Each 10 minutes of a day, and of less than an hour.
        let rows = |name, count: i64| (1..=count).map(move |row| (name, row * 600));
        let rows = rows("long", 144).chain(rows("short", 4));
        let (names, times): (Vec<&str>, Vec<i64>) = rows.unzip();
        let column = Column {
            name: "t".into(),
            unit: "°C".into(),
            values: times.iter().map(|&time| (time % 7919) as f64).collect(),
        };
        let table = Table::new(times, vec![column])
            .and_then(|table| table.with_series(RowSeries::from_names(names.into_iter())))
            .unwrap();
        let params = params.prepare.unwrap();
        let dataset = Dataset::prepare(&table, None, &params, RowCounts::default()).unwrap();
        let layout = dataset.panel().layout();
        let told = too_short(&table, layout).unwrap();
        let says = ["1 of 2 series", "step of 1h", ": short"];
        assert!(says.iter().all(|text| told.contains(text)), "{told}");
        let long = table.take_rows(&(0..144).collect::<Vec<_>>());
        assert_eq!(too_short(&long, layout), None);
    }

    #[test]
    fn a_wave_of_the_year_that_no_second_year_confirms_is_told() {
        let told = |days: i64, calendar: &str| {
            let text = format!(
                "prepare: {{target: t, step: 1d, calendar: [{calendar}], split: {{train: 0.5, validation: 0.25, test: 0.25}}}}"
            );
            let (_, params) =
                ParamsFile::parse(Path::new("params.yaml"), &text, None, &[]).unwrap();
            let params = params.prepare.unwrap();
            let column = Column {
                name: "t".into(),
                unit: "°C".into(),
                values: (0..days).map(|day| (day % 7919) as f64).collect(),
            };
            let times = (0..days).map(|day| day * 86_400).collect();
            let table = Table::new(times, vec![column]).unwrap();
            let prepared = Dataset::prepare(&table, None, &params, RowCounts::default()).unwrap();
            one_year(&params, &prepared)
        };
        let short = told(1100, "day_of_year").unwrap();
        assert!(
            short.starts_with("the training part has 18 months"),
            "{short}"
        );
        assert_eq!(told(1100, "day_of_week"), None);
        assert_eq!(told(1462, "day_of_year"), None);
    }

    #[test]
    fn a_column_too_rare_for_any_row_is_told() {
        let text = "prepare: {target: t, step: 1h, raw_step: 10min}";
        let (_, params) = ParamsFile::parse(Path::new("params.yaml"), text, None, &[]).unwrap();
        let column = |name: &str, each: i64| Column {
            name: name.into(),
            unit: "1".into(),
            values: (1..=144)
                .map(|row| {
                    if row % each == 0 {
                        row as f64
                    } else {
                        f64::NAN
                    }
                })
                .collect(),
        };
        let times = (1..=144).map(|row| row * 600).collect();
        let columns = vec![column("t", 1), column("often", 2), column("rare", 6)];
        let table = Table::new(times, columns).unwrap();
        let params = params.prepare.unwrap();
        let dataset = Dataset::prepare(&table, None, &params, RowCounts::default()).unwrap();
        let told = emptied(&table, dataset.panel()).unwrap();
        assert!(
            told.starts_with("rare without a value in any row of 1h"),
            "{told}"
        );
    }
}
