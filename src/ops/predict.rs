//! `krammerti predict`: the newest data to a forecast.

mod newest;

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};

use self::newest::{Newest, newest};
use super::plot_name::plot_name;
use super::{Context, dataset, model, to_json};
use crate::data::{Dataset, Part};
use crate::forecast::{self, Forecast};
use crate::fs::StagedFolder;
use crate::model::Climatology;
use crate::params::{Device, Fallback, FeelsLike};
use crate::physics;
use crate::report::{self, ForecastPlot};
use crate::time::format_short;

/// Observed hours that the plot shows before the forecast.
const PLOTTED_HOURS: f64 = 96.0;

/// Forecasts from the last row of each series of a data set.
pub fn predict(mut context: Context<'_>) -> Result<()> {
    let folder = context.input()?.clone();
    let loaded = model::read_model(&folder, context.registry, Device::Cpu)?;
    let data = context.data()?.clone();
    let dataset = dataset::read_dataset(&data)?;
    loaded.check(&folder, &data, &dataset)?;

    let frame = dataset.frame(&loaded.file.scalers(), loaded.file.model.horizon)?;
    let (mut forecasts, mut plots, mut used) = (Vec::new(), Vec::new(), BTreeSet::new());
    for series in newest(&dataset, &frame, &loaded.file) {
        if let Err(error) = series.require_complete(&frame, &loaded.file, &data) {
            // One station that fails must not take the forecasts of all others.
            if frame.layout.blocks().len() == 1 {
                return Err(error);
            }
            context.warn(format!("no forecast: {error:#}"));
            continue;
        }
        if let Some(late) = series.lateness(&frame) {
            context.warn(late);
        }
        // Of a series in a frame of its own: another one beside it changes not a bit.
        let (lookback, horizon) = (loaded.file.model.lookback, loaded.file.model.horizon);
        let (earlier, memory) = (
            series.issue + 1 - lookback - series.first,
            loaded.forecaster.memory(),
        );
        if earlier < memory {
            context.warn(format!(
                "the forecast{} is corrected by {earlier} rows before its lookback, it would be better for \
                 {memory}: {} reaches back no further",
                series.of_series(),
                data.display()
            ));
        }
        let back = lookback + memory.min(earlier);
        let window = frame.window(series.issue, back, horizon);
        let predictions = loaded.forecaster.forecast(&window, &[back - 1])?;
        ensure!(
            predictions.are_finite(),
            "{} forecasts what is no number{}: look at the data of the lookback with `krammerti check`",
            folder.display(),
            series.of_series()
        );
        let targets = loaded.file.target_columns().enumerate();
        let mut made: Vec<Forecast> = targets
            .map(|(place, target)| {
                let issued = frame.time(series.issue);
                let step = frame.step();
                let mut forecast = Forecast::new(target, place, issued, step, &predictions);
                forecast.series.clone_from(&series.observed.name);
                forecast
            })
            .collect();
        if let Some(params) = &context.params.predict.feels_like {
            add_feels_like(&mut made, &dataset, &series, params)?;
        }
        let name = &series.observed.name;
        for forecast in &made {
            let target = if made.len() > 1 {
                forecast.target.as_str()
            } else {
                ""
            };
            plots.push(Plot {
                name: plot_name("forecast", &[name, target], &mut used),
                svg: report::forecast_plot(&plot(forecast, &dataset, &series)),
            });
        }
        forecasts.extend(made);
    }

    if forecasts.is_empty() {
        bail!("{}: no series can be forecast", data.display());
    }
    let staged = StagedFolder::new(&context.out)?;
    for plot in &plots {
        staged.write(&plot.name, plot.svg.as_bytes())?;
    }
    let json = match forecasts.as_slice() {
        [only] if only.series.is_empty() => serde_json::to_value(only)?,
        several => serde_json::to_value(several)?,
    };
    staged.write("forecast.csv", &forecast::to_csv(&forecasts)?)?;
    match forecasts.as_slice() {
        [only] if only.series.is_empty() => staged.write("forecast.json", &to_json(only)?)?,
        _ => staged.write("forecast.json", &to_json(&forecasts)?)?,
    }
    staged.commit()?;

    let every = (3.0 / frame.step().hours()).round().max(1.0) as usize;
    let tables = forecasts.iter().zip(plots).map(|(forecast, plot)| {
        let (table, plot) = (forecast.table(every), context.out.join(plot.name));
        format!("{}\nPlot: {}\n", table.trim_end(), plot.display())
    });
    let text = tables.collect::<Vec<_>>().join("\n");
    context.result(text, json);
    Ok(())
}

/// A plot and the name of its file.
struct Plot {
    name: String,
    svg: String,
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
        bail!(
            "predict.feels_like needs a target in °C, {}",
            targets.join(", ")
        );
    };
    let ahead = |column: &str, unit: &str| {
        let forecast = forecasts.iter().find(|f| f.target == column);
        Ahead::of(column, unit, forecast, dataset, series, params.wind_from)
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
            .map(|humidity| humidity.at(h, lead.time).clamp(0.0, 100.0));
        let wind = wind.at(h, lead.time).max(0.0);
        lead.feels_like = Some(physics::feels_like_c(lead.mean, wind, humidity));
    }
    forecast.feels_like_method = Some(format!("of the mean, with {told}"));
    Ok(())
}

/// What a column is taken to be in the future.
enum Ahead {
    /// The mean of its forecast at each lead.
    Forecast(Vec<f64>),
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
        from: Fallback,
    ) -> Result<Self> {
        let panel = dataset.panel();
        let column = panel.column(name)?;
        let of_series = &column.values[series.observed.rows.clone()];
        if column.unit != unit {
            bail!(
                "predict.feels_like needs {name} in {unit}, it is in {}",
                column.unit
            );
        }
        if let Some(forecast) = forecast {
            let means = forecast.leads.iter().map(|lead| lead.mean);
            return Ok(Self::Forecast(means.collect()));
        }
        match from {
            Fallback::LastKnown => match of_series.iter().rev().find(|value| !value.is_nan()) {
                Some(&last) => Ok(Self::Last(last)),
                None => bail!("{name} has no value"),
            },
            Fallback::Climatology => {
                let layout = panel.layout();
                let split = &dataset.meta().split;
                let train = split.rows(Part::Train, &series.observed, layout.step());
                let values = train.map(|row| (layout.time(row), column.values[row] as f32));
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
            Self::Forecast(means) => means[lead],
            Self::Last(value) => *value,
            Self::Climatology(climatology) => f64::from(climatology.value(time)),
        }
    }

    /// For a person.
    fn told(&self) -> &'static str {
        match self {
            Self::Forecast(_) => "forecast",
            Self::Last(_) => "last observed",
            Self::Climatology(_) => "climatological",
        }
    }
}

fn plot(forecast: &Forecast, dataset: &Dataset, series: &Newest) -> ForecastPlot {
    let panel = dataset.panel();
    let hours = (PLOTTED_HOURS / panel.layout().step().hours()) as usize;
    let shown = hours.max(forecast.leads.len());
    // The rows of the data set up to the one that the forecast is issued from.
    let end = series.observed.rows.start + series.issue - series.first + 1;
    let rows = end
        .saturating_sub(shown.max(1))
        .max(series.observed.rows.start)..end;
    let observed = panel
        .column(&forecast.target)
        .map(|column| column.values.as_slice())
        .unwrap_or_default();
    let leads = &forecast.leads;
    let (levels, last) = (
        &forecast.quantile_levels,
        forecast.quantile_levels.len().saturating_sub(1),
    );
    let percent = |level: &f64| (level * 100.0).round();
    let band_name = match (levels.first(), levels.last()) {
        (Some(low), Some(high)) => format!("{} % to {} %", percent(low), percent(high)),
        _ => String::new(),
    };
    ForecastPlot {
        title: format!(
            "Forecast of {}{}, issued {} UTC",
            forecast.target,
            forecast.of_series(),
            format_short(forecast.issue())
        ),
        quantity: forecast.target.replace('_', " "),
        unit: forecast.unit.clone(),
        issued_at: forecast.issue(),
        observed: rows
            .map(|row| (panel.layout().time(row), observed[row]))
            .collect(),
        mean: leads.iter().map(|lead| (lead.time, lead.mean)).collect(),
        band_name,
        band: leads
            .iter()
            .filter(|_| last > 0)
            .map(|lead| (lead.time, lead.quantiles[0], lead.quantiles[last]))
            .collect(),
        feels_like: leads
            .iter()
            .filter_map(|lead| Some((lead.time, lead.feels_like?)))
            .collect(),
    }
}
