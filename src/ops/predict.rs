//! `krammerti predict`: the newest data to a forecast.

use std::path::Path;

use anyhow::{Result, bail};

use super::{Context, dataset, model, to_json};
use crate::data::{Dataset, Frame, Part, Role};
use crate::forecast::Forecast;
use crate::fs::StagedFolder;
use crate::model::{Climatology, ModelFile};
use crate::params::{Fallback, FeelsLike};
use crate::physics;
use crate::report::{self, ForecastPlot};
use crate::time::format_short;

/// Observed hours that the plot shows before the forecast.
const PLOTTED_HOURS: f64 = 96.0;

/// Forecasts from the last row of a data set.
pub fn predict(mut context: Context<'_>) -> Result<()> {
    let folder = context.input()?.clone();
    let loaded = model::read_model(&folder, context.registry)?;
    let data = context.data()?.clone();
    let dataset = dataset::read_dataset(&data)?;
    loaded.check(&folder, &data, &dataset)?;

    let frame = dataset.frame(&loaded.file.scalers(), loaded.file.model.horizon);
    let issue = dataset.series().rows() - 1;
    require_complete(&frame, issue, &loaded.file, &data)?;
    let predictions = loaded.forecaster.forecast(&frame, &[issue])?;
    let (unit, scaler) = (loaded.file.unit().to_owned(), loaded.file.target_scaler());
    let series = dataset.series();
    let mut forecast = Forecast::new(
        &loaded.file.target,
        &unit,
        series.time(issue),
        series.step(),
        scaler,
        &predictions,
    );
    if let Some(params) = &context.params.predict.feels_like {
        add_feels_like(&mut forecast, &dataset, params)?;
    }

    let staged = StagedFolder::new(&context.out)?;
    staged.write("forecast.csv", &forecast.to_csv()?)?;
    staged.write("forecast.json", &to_json(&forecast)?)?;
    staged.write(
        "forecast.svg",
        report::forecast_plot(&plot(&forecast, &dataset)).as_bytes(),
    )?;
    staged.commit()?;

    let every = (3.0 / series.step().hours()).round().max(1.0) as usize;
    let text = format!(
        "{}\nPlot: {}\n",
        forecast.table(every).trim_end(),
        context.out.join("forecast.svg").display()
    );
    context.result(text, serde_json::to_value(&forecast)?);
    Ok(())
}

fn require_complete(frame: &Frame, issue: usize, file: &ModelFile, data: &Path) -> Result<()> {
    let lookback = file.model.lookback;
    if issue + 1 < lookback {
        bail!(
            "{} has {} rows, the model looks back over {lookback}",
            data.display(),
            issue + 1
        );
    }
    for row in (issue + 1 - lookback..=issue).rev() {
        if let Some(c) = frame.row(row).iter().position(|value| value.is_nan()) {
            bail!(
                "{} has no {} at {}, within the {lookback} rows that the model looks back over",
                data.display(),
                frame.columns[c].name,
                format_short(frame.time(row))
            );
        }
    }
    let future = frame.columns_with(Role::Future);
    for row in issue + 1..=issue + file.model.horizon {
        if let Some(&c) = future.iter().find(|&&c| frame.at(row, c).is_nan()) {
            bail!(
                "{} is not known at {}",
                frame.columns[c].name,
                format_short(frame.time(row))
            );
        }
    }
    Ok(())
}

/// The feels-like temperature of the mean. Wind and humidity are not forecast, so something must
/// stand for them, and the forecast says what.
fn add_feels_like(forecast: &mut Forecast, dataset: &Dataset, params: &FeelsLike) -> Result<()> {
    if forecast.unit != "°C" {
        bail!(
            "predict.feels_like needs a target in °C, {} is in {}",
            forecast.target,
            forecast.unit
        );
    }
    let wind = StandIn::new(dataset, &params.wind_speed, "m/s", params.wind_from)?;
    let humidity = match &params.humidity {
        Some(column) => Some(StandIn::new(dataset, column, "%", params.wind_from)?),
        None => None,
    };
    for lead in &mut forecast.leads {
        let humidity = humidity
            .as_ref()
            .map(|humidity| humidity.at(lead.time).clamp(0.0, 100.0));
        lead.feels_like = Some(physics::feels_like_c(
            lead.mean,
            wind.at(lead.time).max(0.0),
            humidity,
        ));
    }
    let source = match params.wind_from {
        Fallback::LastKnown => "last observed",
        Fallback::Climatology => "climatological",
    };
    forecast.feels_like_method = Some(match humidity {
        Some(_) => format!("of the mean, with {source} wind and humidity"),
        None => format!("of the mean, with {source} wind"),
    });
    Ok(())
}

/// What stands for a column in the future.
enum StandIn {
    Last(f64),
    Climatology(Climatology),
}

impl StandIn {
    fn new(dataset: &Dataset, name: &str, unit: &str, from: Fallback) -> Result<Self> {
        let series = dataset.series();
        let column = series.column(name)?;
        if column.unit != unit {
            bail!(
                "predict.feels_like needs {name} in {unit}, it is in {}",
                column.unit
            );
        }
        match from {
            Fallback::LastKnown => match column.values.iter().rev().find(|value| !value.is_nan()) {
                Some(&last) => Ok(Self::Last(last)),
                None => bail!("{name} has no value"),
            },
            Fallback::Climatology => {
                let train = dataset.meta().split.rows(Part::Train);
                let values: Vec<f32> = column.values[train]
                    .iter()
                    .map(|&value| value as f32)
                    .collect();
                if values.iter().all(|value| value.is_nan()) {
                    bail!("{name} has no value in the training part to make a climatology of");
                }
                Ok(Self::Climatology(Climatology::fit(
                    series.start(),
                    series.step(),
                    &values,
                )))
            }
        }
    }

    fn at(&self, time: i64) -> f64 {
        match self {
            Self::Last(value) => *value,
            Self::Climatology(climatology) => f64::from(climatology.value(time)),
        }
    }
}

fn plot(forecast: &Forecast, dataset: &Dataset) -> ForecastPlot {
    let series = dataset.series();
    let shown = (PLOTTED_HOURS / series.step().hours()) as usize;
    let first = series.rows().saturating_sub(shown.max(1));
    let observed = series
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
            "Forecast of {}, issued {} UTC",
            forecast.target,
            format_short(forecast.issue())
        ),
        quantity: forecast.target.replace('_', " "),
        unit: forecast.unit.clone(),
        issued_at: forecast.issue(),
        observed: (first..series.rows())
            .map(|row| (series.time(row), observed[row]))
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
