//! `krammerti predict`: the newest data to a forecast.

mod lookback;
mod newest;
mod paths;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use self::newest::{Newest, newest};
use self::paths::{Issued, PathsFile};
use super::model::LoadedModel;
use super::plot_name::plot_name;
use super::{Context, model, to_json};
use crate::data::{Dataset, Frame, Part, Role};
use crate::event::Event;
use crate::forecast::{self, Forecast};
use crate::fs::{self, StagedFolder};
use crate::model::{Climatology, Paths};
use crate::params::{Contradiction, Device, Fallback, FeelsLike};
use crate::physics;
use crate::report::{self, ForecastPlot};
use crate::time::{Step, format_short, format_utc};

/// The file of the forecasts.
const FORECAST: &str = "forecast.json";

/// What the plot shows before the forecast: so many times its length, but these rows at least and these hours at most,
/// unless the forecast itself is longer.
const PLOTTED_HORIZONS: usize = 4;
const FEWEST_PLOTTED: usize = 12;
const PLOTTED_HOURS: f64 = 96.0;

/// Forecasts from the last row of each series of a data set.
pub fn predict(mut context: Context<'_>) -> Result<()> {
    let folder = context.input()?.clone();
    let loaded = model::read_model(&folder, context.registry, Device::Cpu)?;
    let data = context.data()?.clone();
    let (dataset, odd) = loaded.read_dataset(&folder, &data)?;
    for odd in odd {
        context.warn(odd);
    }
    let asked = context.params.predict.paths;
    let mut paths = asked.then(|| PathsFile::of(&loaded.file)).transpose()?;
    let staged = StagedFolder::new(&context.out)?;

    let frame = dataset.frame(&loaded.file.scalers(), loaded.file.model.horizon)?;
    let observed = dataset.observed_targets();
    let (mut forecasts, mut plots) = (Vec::new(), Vec::new());
    for series in newest(&dataset, &frame, &loaded.file) {
        let (made, drawn) = match of_series(&series, &frame, &loaded, &dataset, &mut context) {
            Ok(made) => made,
            // One station that fails must not take the forecasts of all others.
            Err(error) if frame.layout.blocks().len() > 1 => {
                context.warn(format!("no forecast: {error:#}"));
                continue;
            }
            Err(error) => return Err(error),
        };
        if let (Some(file), Some(drawn)) = (&mut paths, drawn) {
            let issued = Issued {
                series: &series.observed.name,
                time: frame.time(series.issue),
                step: frame.step(),
            };
            file.write(issued, &drawn, dataset.meta(), &staged)?;
        }
        let plotted =
            |forecast| report::forecast_plot(&plot(forecast, &dataset, &observed, &series));
        plots.extend(made.iter().map(plotted));
        forecasts.extend(made);
    }

    if forecasts.is_empty() {
        bail!("{}: no series can be forecast", data.display());
    }
    for (name, plot) in plot_names(&forecasts).iter().zip(&plots) {
        staged.write(name, plot.as_bytes())?;
    }
    staged.write("forecast.csv", &forecast::to_csv(&forecasts)?)?;
    let written = Written::of(forecasts);
    staged.write(FORECAST, &to_json(&written)?)?;
    if let Some(paths) = paths {
        paths.finish(&staged)?;
    }
    staged.commit()?;

    let json = serde_json::to_value(&written)?;
    context.result(told(written.forecasts(), &context.out), json);
    Ok(())
}

/// The rows before the one that a forecast is issued from which it reads.
#[derive(Clone, Copy)]
struct Back {
    lookback: usize,
    /// What there is before the lookback.
    earlier: usize,
    /// How much of that a correction is made of.
    memory: usize,
}

impl Back {
    fn of(series: &Newest, model: &LoadedModel) -> Self {
        let lookback = model.file.model.lookback;
        Self {
            lookback,
            earlier: series.issue + 1 - lookback - series.first,
            memory: model.forecaster.memory(),
        }
    }

    fn rows(self) -> usize {
        self.lookback + self.memory.min(self.earlier)
    }

    fn shortage(self, series: &Newest, data: &Path) -> Option<String> {
        let Self {
            earlier, memory, ..
        } = self;
        (earlier < memory).then(|| {
            format!(
                "the forecast{} is corrected by {earlier} rows before its lookback, it would be better for \
                 {memory}: {} reaches back no further",
                series.of_series(),
                data.display()
            )
        })
    }
}

/// The forecasts of all targets of a series, with what is derived from them, and the paths that they come of
/// where these are asked for.
fn of_series(
    series: &Newest,
    frame: &Frame,
    model: &LoadedModel,
    dataset: &Dataset,
    context: &mut Context<'_>,
) -> Result<(Vec<Forecast>, Option<Paths>)> {
    let data = context.data()?.clone();
    series.require_complete((dataset, frame), &model.file, &data)?;
    if let Some(late) = series.lateness(frame) {
        context.warn(late);
    }
    let back = Back::of(series, model);
    if let Some(short) = back.shortage(series, &data) {
        context.warn(short);
    }
    let asked = context.params.predict.paths;
    let (mut made, paths) = forecasts_of(series, back, (dataset, frame), model, asked)
        .with_context(|| context.inputs[0].display().to_string())?;
    if let Some(params) = &context.params.predict.feels_like {
        add_feels_like(&mut made, dataset, series, params)
            .with_context(|| format!("the feels-like temperature{}", series.of_series()))?;
    }
    Ok((made, paths))
}

/// The forecasts of all targets of a series as the model makes them.
fn forecasts_of(
    series: &Newest,
    back: Back,
    (dataset, frame): (&Dataset, &Frame),
    model: &LoadedModel,
    with_paths: bool,
) -> Result<(Vec<Forecast>, Option<Paths>)> {
    // Of a series in a frame of its own: another one beside it changes not a bit.
    let window = frame.window(series.issue, back.rows(), model.file.model.horizon);
    let (issuer, row) = (model.forecaster.over(&window)?, back.rows() - 1);
    let predictions = issuer.forecast(&[row])?;
    let paths = if with_paths {
        let drawn = issuer.paths(row)?;
        Some(drawn.context("this model draws no paths")?)
    } else {
        None
    };
    let are_finite = |paths: &Paths| paths.values.iter().all(|value| value.is_finite());
    ensure!(
        predictions.are_finite() && paths.as_ref().is_none_or(are_finite),
        "the forecast{} is no number: look at the data of the lookback with `krammerti check`",
        series.of_series()
    );
    let (issued, step) = (frame.time(series.issue), frame.step());
    let targets = model.file.target_columns().enumerate();
    let forecasts = targets.map(|(place, target)| {
        let name = &series.observed.name;
        let capacity = dataset.meta().capacity(&target.name, name);
        let unscaling = model.file.unscaling(target, capacity);
        Forecast {
            series: name.clone(),
            observed_until: series.observed_until(frame).map(format_utc),
            ..Forecast::new(target, unscaling, place, issued, step, &predictions)
        }
    });
    Ok((forecasts.collect(), paths))
}

/// What an earlier forecast said, as it was told then, from what it left in a folder of a project.
pub fn predicted(root: &Path, out: &Path) -> Result<Event> {
    let bytes = fs::read(&root.join(out).join(FORECAST))?;
    let written: Written = serde_json::from_slice(&bytes)?;
    Ok(Event::Result {
        stage: None,
        text: told(written.forecasts(), out),
        data: serde_json::from_slice(&bytes)?,
    })
}

/// What `forecast.json` holds.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    /// Of the only target of a series without a name.
    One(Box<Forecast>),
    Several(Vec<Forecast>),
}

impl Written {
    fn of(forecasts: Vec<Forecast>) -> Self {
        match <[Forecast; 1]>::try_from(forecasts) {
            Ok([only]) if only.series.is_empty() => Self::One(Box::new(only)),
            Ok([named]) => Self::Several(vec![named]),
            Err(several) => Self::Several(several),
        }
    }

    fn forecasts(&self) -> &[Forecast] {
        match self {
            Self::One(only) => std::slice::from_ref(only),
            Self::Several(several) => several,
        }
    }
}

/// The tables of all forecasts, each with the file of its plot.
fn told(forecasts: &[Forecast], out: &Path) -> String {
    let of_plots = forecasts.iter().zip(plot_names(forecasts));
    let texts = of_plots.map(|(forecast, plot)| {
        let (table, plot) = (forecast.table(), out.join(plot));
        format!("{}\nPlot: {}\n", table.trim_end(), plot.display())
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// A plot is named by its series and, where there are several, by its target.
fn plot_names(forecasts: &[Forecast]) -> Vec<String> {
    let several = forecasts.iter().any(|f| f.target != forecasts[0].target);
    let mut used = BTreeSet::new();
    let names = forecasts.iter().map(|forecast| {
        let target = if several {
            forecast.target.as_str()
        } else {
            ""
        };
        plot_name("forecast", &[&forecast.series, target], &mut used)
    });
    names.collect()
}

/// The feels-like temperature of the mean, of the first target in °C. Where wind and humidity are not
/// forecast themselves something must stand for them, and the forecast says what.
fn add_feels_like(
    forecasts: &mut [Forecast],
    dataset: &Dataset,
    series: &Newest,
    params: &FeelsLike,
) -> Result<()> {
    let Some(place) = forecasts.iter().position(|f| f.unit == "°C") else {
        let targets: Vec<String> = forecasts
            .iter()
            .map(|f| format!("{} is in {}", f.target, f.unit))
            .collect();
        bail!(Contradiction(format!(
            "predict.feels_like needs a target in °C, {}",
            targets.join(", ")
        )));
    };
    let leads = forecasts[place].leads.len();
    let ahead = |column: &str, unit: &str| {
        let forecast = forecasts.iter().find(|f| f.target == column);
        let from = (params.wind_from, leads);
        Ahead::of(column, unit, forecast, dataset, series, from)
    };
    let wind = ahead(&params.wind_speed, "m/s")?;
    let humidity = params.humidity.as_deref();
    let humidity = humidity.map(|column| ahead(column, "%")).transpose()?;
    let told = match &humidity {
        Some(humidity) if humidity.told() != wind.told() => {
            format!("{} wind and {} humidity", wind.told(), humidity.told())
        }
        Some(_) => format!("{} wind and humidity", wind.told()),
        None => format!("{} wind", wind.told()),
    };
    let forecast = &mut forecasts[place];
    for (h, lead) in forecast.leads.iter_mut().enumerate() {
        let humidity = humidity
            .as_ref()
            .map(|humidity| humidity.at(h, lead.valid_time).clamp(0.0, 100.0));
        let wind = wind.at(h, lead.valid_time).max(0.0);
        lead.feels_like = Some(physics::feels_like_c(lead.mean, wind, humidity));
    }
    forecast.feels_like_method = Some(format!("of the mean, with {told}"));
    Ok(())
}

/// What a column is taken to be in the future.
enum Ahead {
    /// The mean of its forecast at each lead.
    Forecast(Vec<f64>),
    /// What is known of each lead.
    Known(Vec<f64>),
    Last(f64),
    Climatology(Climatology),
}

impl Ahead {
    fn of(
        name: &str,
        unit: &str,
        forecast: Option<&Forecast>,
        dataset: &Dataset,
        series: &Newest,
        (from, leads): (Fallback, usize),
    ) -> Result<Self> {
        let panel = dataset.panel();
        let column = panel.column(name)?;
        let rows = series.observed.rows.clone();
        let of_series = &column.values[rows.clone()];
        if column.unit != unit {
            bail!(Contradiction(format!(
                "predict.feels_like needs {name} in {unit}, it is in {}",
                column.unit
            )));
        }
        if let Some(forecast) = forecast {
            let means = forecast.leads.iter().map(|lead| lead.mean);
            return Ok(Self::Forecast(means.collect()));
        }
        let mut columns = dataset.meta().columns.iter();
        if columns.any(|column| column.name == name && column.role == Role::Future) {
            let ahead = of_series.iter().skip(series.issue + 1 - series.first);
            let known: Vec<f64> = ahead.take(leads).copied().collect();
            ensure!(
                known.len() == leads && !known.iter().any(|value| value.is_nan()),
                "predict.feels_like: {name} is not known over all {leads} leads"
            );
            return Ok(Self::Known(known));
        }
        // What was filled is neither what was observed nor what is usual, unless there is nothing else.
        let mut observed = dataset.observed(name)?;
        if observed[rows.clone()].iter().all(|value| value.is_nan()) {
            observed = Cow::Borrowed(&column.values);
        }
        match from {
            Fallback::LastKnown => match observed[rows].iter().rfind(|value| !value.is_nan()) {
                Some(&last) => Ok(Self::Last(last)),
                None => bail!("{name} has no value"),
            },
            Fallback::Climatology => {
                let layout = panel.layout();
                let split = &dataset.meta().split;
                let train = split.rows(Part::Train, &series.observed, layout.step());
                let values = train.map(|row| (layout.time(row), observed[row] as f32));
                if values.clone().all(|(_, value)| value.is_nan()) {
                    bail!("{name} has no value in the training part to make a climatology of");
                }
                Ok(Self::Climatology(Climatology::fit(layout.step(), values)))
            }
        }
    }

    /// At a lead, by its place, and its time.
    fn at(&self, lead: usize, time: i64) -> f64 {
        match self {
            Self::Forecast(values) | Self::Known(values) => values[lead],
            Self::Last(value) => *value,
            Self::Climatology(climatology) => f64::from(climatology.value(time)),
        }
    }

    /// For a person.
    fn told(&self) -> &'static str {
        match self {
            Self::Forecast(_) => "forecast",
            Self::Known(_) => "known",
            Self::Last(_) => "last observed",
            Self::Climatology(_) => "climatological",
        }
    }
}

/// `targets` as they were observed.
fn plot(
    forecast: &Forecast,
    dataset: &Dataset,
    targets: &[Cow<'_, [f64]>],
    series: &Newest,
) -> ForecastPlot {
    let panel = dataset.panel();
    let shown = shown_before(forecast.leads.len(), panel.layout().step());
    // The rows of the data set up to the one that the forecast is issued from.
    let end = series.observed.rows.start + series.issue - series.first + 1;
    let rows = end.saturating_sub(shown).max(series.observed.rows.start)..end;
    let names = dataset.meta().targets.names();
    let place = names.iter().position(|name| *name == forecast.target);
    let observed = |row: usize| place.map_or(f64::NAN, |place| targets[place][row]);
    let leads = &forecast.leads;
    let last = forecast.quantile_levels.len().saturating_sub(1);
    ForecastPlot {
        title: format!(
            "Forecast of {}{}, issued {} UTC",
            forecast.target,
            forecast.of_series(),
            format_short(forecast.issue_time)
        ),
        quantity: forecast.target.replace('_', " "),
        unit: forecast.unit.clone(),
        issued_at: forecast.issue_time,
        observed: rows
            .map(|row| (panel.layout().time(row), observed(row)))
            .collect(),
        mean: leads
            .iter()
            .map(|lead| (lead.valid_time, lead.mean))
            .collect(),
        band_name: band_name(&forecast.quantile_levels),
        band: leads
            .iter()
            .filter(|_| last > 0)
            .map(|lead| (lead.valid_time, lead.quantiles[0], lead.quantiles[last]))
            .collect(),
        feels_like: leads
            .iter()
            .filter_map(|lead| Some((lead.valid_time, lead.feels_like?)))
            .collect(),
    }
}

/// How many rows before a forecast of so many leads its plot shows.
fn shown_before(leads: usize, step: Step) -> usize {
    let hours = (PLOTTED_HOURS / step.hours(1)) as usize;
    let wanted = (PLOTTED_HORIZONS * leads).max(FEWEST_PLOTTED);
    wanted.min(hours).max(leads).max(1)
}

/// From the lowest quantile to the highest one, in percent with up to two decimals.
fn band_name(levels: &[f64]) -> String {
    let percent = |level: &f64| (level * 1e4).round() / 100.0;
    match (levels.first(), levels.last()) {
        (Some(low), Some(high)) => format!("{} % to {} %", percent(low), percent(high)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_shows_some_horizons_before_the_forecast() {
        let minutes = Step::from_seconds(600).unwrap();
        assert_eq!(
            [1, 18, 288].map(|leads| shown_before(leads, minutes)),
            [12, 72, 576]
        );
        assert_eq!(
            [6, 48, 200].map(|leads| shown_before(leads, Step::HOUR)),
            [24, 96, 200]
        );
        assert_eq!([1, 10].map(|leads| shown_before(leads, Step::DAY)), [4, 10]);
    }

    #[test]
    fn a_band_is_named_by_its_quantiles() {
        assert_eq!(band_name(&[0.025, 0.5, 0.975]), "2.5 % to 97.5 %");
        assert_eq!(band_name(&[0.07, 0.93]), "7 % to 93 %");
        assert_eq!(band_name(&[0.001, 0.9999]), "0.1 % to 99.99 %");
        assert_eq!(band_name(&[]), "");
    }
}
