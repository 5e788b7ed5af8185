//! The three plots of a report: skill by lead, a forecast, a training history.
//!
//! A value that is NaN or infinite is a gap in its line. A plot without any value says so.

mod axis;
mod chart;

use crate::decimals::shown_unit;
use crate::model::Epoch;
use crate::time::format_short;

use axis::Axis;
use chart::{Band, Chart, Colour, Dot, Line, Rule, Size, Stroke};

// Okabe and Ito, "Color Universal Design" (2008): told apart by the colour-blind too.
const BLUE: Colour = Colour(0, 114, 178);
const VERMILLION: Colour = Colour(213, 94, 0);
const BLACK: Colour = Colour(51, 51, 51);
const ORANGE: Colour = Colour(230, 159, 0);
const SKY: Colour = Colour(86, 180, 233);
const GREEN: Colour = Colour(0, 158, 115);
const PURPLE: Colour = Colour(204, 121, 167);
const GREY: Colour = Colour(140, 140, 140);

const MODELS: [Colour; 3] = [BLUE, VERMILLION, BLACK];
const BASELINES: [Colour; 5] = [ORANGE, GREEN, PURPLE, SKY, GREY];
/// Dash and gap in pixels; with the colours they give each baseline a look of its own in print.
const DASHES: [(f64, f64); 4] = [(7.0, 4.0), (2.0, 3.5), (13.0, 4.0), (4.5, 2.5)];

/// The error of one model at each lead.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// What the legend calls it.
    pub name: String,
    /// The RMSE at each lead.
    pub rmse: Vec<f64>,
    /// Something to compare with, drawn muted.
    pub baseline: bool,
}

/// What a plot of one forecast shows. Times are seconds since 1970 in UTC.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForecastPlot {
    /// What is forecast and where.
    pub title: String,
    /// The quantity on the vertical axis, such as `temperature`.
    pub quantity: String,
    /// Its unit.
    pub unit: String,
    /// When the forecast was made.
    pub issued_at: i64,
    /// What was observed before: time and value.
    pub observed: Vec<(i64, f64)>,
    /// The mean forecast: valid time and value.
    pub mean: Vec<(i64, f64)>,
    /// What the legend calls the band, such as `10 % to 90 %`.
    pub band_name: String,
    /// Valid time, lower and upper end; empty where there are no quantiles.
    pub band: Vec<(i64, f64, f64)>,
    /// The feels-like temperature; empty where there is none.
    pub feels_like: Vec<(i64, f64)>,
}

/// RMSE by lead: models as strong lines, baselines as thin dashed ones. Leads are given in hours, and drawn in
/// minutes, hours or days.
pub fn skill_plot(title: &str, unit: &str, leads_h: &[f64], curves: &[Curve]) -> String {
    let (x, leads) = Axis::leads(leads_h);
    let (baselines, models): (Vec<&Curve>, Vec<&Curve>) = curves.iter().partition(|c| c.baseline);
    let models = models.iter().enumerate().map(|(i, curve)| {
        let stroke = Stroke::solid(MODELS[i % MODELS.len()], 3.0);
        curve_line(&leads, curve, stroke)
    });
    let baselines = baselines.iter().enumerate().map(|(i, curve)| {
        let (dash, gap) = DASHES[i % DASHES.len()];
        let stroke = Stroke::dashed(BASELINES[i % BASELINES.len()], 1.75, dash, gap);
        curve_line(&leads, curve, stroke)
    });
    let lines: Vec<Line> = models.chain(baselines).collect();
    let largest = values(&lines).fold(0.0, f64::max);
    Chart {
        title: title.to_owned(),
        x,
        y: Axis::numbers(&with_unit("RMSE", unit), [0.0, largest].into_iter()),
        lines,
        ..Chart::default()
    }
    .to_svg()
}

fn curve_line(leads: &[f64], curve: &Curve, stroke: Stroke) -> Line {
    Line {
        name: curve.name.clone(),
        points: leads
            .iter()
            .copied()
            .zip(curve.rmse.iter().copied())
            .collect(),
        stroke,
    }
}

/// What was observed, and the forecast after it with its band.
pub fn forecast_plot(plot: &ForecastPlot) -> String {
    let band = Band {
        name: plot.band_name.clone(),
        points: plot
            .band
            .iter()
            .map(|&(t, low, high)| (t as f64, low, high))
            .collect(),
        colour: BLUE,
    };
    let lines = vec![
        time_line("observed", &plot.observed, Stroke::solid(BLACK, 1.75)),
        time_line("forecast (mean)", &plot.mean, Stroke::solid(BLUE, 2.75)),
        time_line(
            "feels like",
            &plot.feels_like,
            Stroke::dashed(VERMILLION, 2.0, 6.0, 3.5),
        ),
    ];
    let of_band = band.points.iter().flat_map(|&(_, low, high)| [low, high]);
    let y_values: Vec<f64> = values(&lines).chain(of_band).collect();
    let times = plot
        .observed
        .iter()
        .chain(&plot.mean)
        .chain(&plot.feels_like);
    let times = times
        .map(|(t, _)| *t)
        .chain(plot.band.iter().map(|(t, ..)| *t));
    Chart {
        title: plot.title.clone(),
        x: Axis::times("time (UTC)", times.chain([plot.issued_at])),
        y: Axis::numbers(&with_unit(&plot.quantity, &plot.unit), y_values.into_iter()),
        rule: Some(Rule {
            at: plot.issued_at as f64,
            label: format!("issued {}", format_short(plot.issued_at)),
        }),
        bands: vec![band],
        lines,
        ..Chart::default()
    }
    .to_svg()
}

fn time_line(name: &str, points: &[(i64, f64)], stroke: Stroke) -> Line {
    Line {
        name: name.to_owned(),
        points: points.iter().map(|&(t, value)| (t as f64, value)).collect(),
        stroke,
    }
}

/// Training and validation loss by epoch; the epoch with the smallest validation loss is marked.
pub fn history_plot(history: &[Epoch]) -> String {
    let losses = history
        .iter()
        .flat_map(|e| [e.train_loss, Some(e.validation_loss)]);
    let losses = losses.flatten().filter(|loss| chart::drawable(*loss));
    let losses: Vec<f64> = losses.collect();
    let scale = Scale::of(&losses);
    let line = |name: &str, loss: fn(&Epoch) -> Option<f64>, stroke| Line {
        name: name.to_owned(),
        points: history
            .iter()
            .filter_map(|e| Some((e.epoch as f64, scale.place(loss(e)?))))
            .collect(),
        stroke,
    };
    let validation = Stroke::solid(VERMILLION, 2.5);
    let lines = vec![
        line("training", |e| e.train_loss, Stroke::solid(BLUE, 2.0)),
        line("validation", |e| Some(e.validation_loss), validation),
    ];
    Chart {
        size: Size::SMALL,
        title: "Training history".to_owned(),
        x: Axis::counts("epoch", history.iter().map(|e| e.epoch)),
        y: scale.axis(&losses),
        lines,
        dot: best(history, scale),
        ..Chart::default()
    }
    .to_svg()
}

/// How losses lie on their axis.
#[derive(Clone, Copy)]
enum Scale {
    Linear,
    /// Where the first epochs would press all later ones into one line.
    Logarithmic,
}

impl Scale {
    fn of(losses: &[f64]) -> Self {
        const FAR: f64 = 20.0;
        let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
        let largest = losses.iter().copied().fold(0.0, f64::max);
        if least > 0.0 && largest > FAR * least {
            Self::Logarithmic
        } else {
            Self::Linear
        }
    }

    fn place(self, loss: f64) -> f64 {
        match self {
            Self::Linear => loss,
            Self::Logarithmic => loss.log10(),
        }
    }

    fn axis(self, losses: &[f64]) -> Axis {
        let losses = losses.iter().copied();
        match self {
            Self::Linear => Axis::numbers("loss (scaled units)", losses),
            Self::Logarithmic => Axis::powers("loss (scaled units, logarithmic)", losses),
        }
    }
}

fn best(history: &[Epoch], scale: Scale) -> Option<Dot> {
    let shown = history
        .iter()
        .filter(|e| chart::drawable(e.validation_loss));
    let best = shown.min_by(|a, b| a.validation_loss.total_cmp(&b.validation_loss))?;
    let loss = match best.validation_loss {
        loss if loss == 0.0 || (1e-3..1e6).contains(&loss.abs()) => format!("{loss:.4}"),
        loss => format!("{loss:.3e}"),
    };
    Some(Dot {
        at: (best.epoch as f64, scale.place(best.validation_loss)),
        label: format!("best: epoch {}, {loss}", best.epoch),
        colour: VERMILLION,
    })
}

fn values(lines: &[Line]) -> impl Iterator<Item = f64> {
    let points = lines.iter().flat_map(|line| &line.points);
    points
        .map(|(_, value)| *value)
        .filter(|value| chart::drawable(*value))
}

fn with_unit(quantity: &str, unit: &str) -> String {
    match shown_unit(unit) {
        None => quantity.to_owned(),
        Some(unit) => format!("{quantity} ({unit})"),
    }
}

#[cfg(test)]
mod tests;
