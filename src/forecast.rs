//! A forecast: when it was made, the times it speaks of, mean and quantiles in the target's unit.

use serde::{Deserialize, Serialize};

use crate::data::Unscaling;
use crate::decimals::{brief, decimals, rounded, shown_unit};
use crate::model::{ModelColumn, Predictions};
use crate::time::{Step, format_short, format_utc};

/// One forecast. Valid times come after the issue time, quantiles are in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// The series that it is of; empty where there is only one, which has no name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub series: String,
    /// The column it speaks of.
    pub target: String,
    /// The unit of every value.
    pub unit: String,
    /// When it was made: the time of the last row that it could see, in seconds since 1970 UTC.
    #[serde(with = "utc")]
    pub issue_time: i64,
    /// Where it was made from values that were filled in an outage, the last time before it at which every target was
    /// observed, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_until: Option<String>,
    /// The quantile levels.
    pub quantile_levels: Vec<f64>,
    /// What was derived from it, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feels_like_method: Option<String>,
    /// One entry a lead.
    pub leads: Vec<Lead>,
}

/// What a forecast says of one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lead {
    /// Hours after the issue time.
    pub lead_h: f64,
    /// The time it speaks of, in seconds since 1970 UTC.
    #[serde(with = "utc")]
    pub valid_time: i64,
    /// The expected value.
    pub mean: f64,
    /// One value a level.
    pub quantiles: Vec<f64>,
    /// The feels-like temperature of the mean, in °C.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feels_like: Option<f64>,
}

/// Times as they stand in JSON.
mod utc {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::time::{format_utc, parse_time};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(seconds: &i64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format_utc(*seconds))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
        let text = String::deserialize(from)?;
        let parsed = parse_time(&text, None, 0);
        parsed.ok_or_else(|| D::Error::custom(format!("expected a time in UTC, found {text}")))
    }
}

/// Some forecasts as one CSV file: one row for each lead of a series, whose forecasts stand together
/// and are of one target each. The columns have their units in their names, behind that of the target
/// where there are several; the name of the series comes first where it has one.
pub fn to_csv(forecasts: &[Forecast]) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let all = forecasts.chunk_by(|one, next| one.series == next.series);
    for (place, of_series) in all.enumerate() {
        let several = of_series.len() > 1;
        let first = &of_series[0];
        let series = Some(&first.series).filter(|name| !name.is_empty());
        if place == 0 {
            let mut header: Vec<String> = series.iter().map(|_| "series".to_owned()).collect();
            header.extend(["valid_time", "lead_h"].map(str::to_owned));
            header.extend(of_series.iter().flat_map(|f| f.csv_header(several)));
            writer.write_record(&header)?;
        }
        let digits: Vec<usize> = of_series.iter().map(Forecast::csv_digits).collect();
        for (h, lead) in first.leads.iter().enumerate() {
            let mut row: Vec<String> = series.into_iter().cloned().collect();
            row.extend([format_utc(lead.valid_time), brief(lead.lead_h)]);
            let values = of_series.iter().zip(&digits);
            row.extend(values.flat_map(|(f, &digits)| f.csv_values(&f.leads[h], digits)));
            writer.write_record(&row)?;
        }
    }
    Ok(writer
        .into_inner()
        .map_err(csv::IntoInnerError::into_error)?)
}

impl Forecast {
    /// Of one target, by its place among those of some predictions, from the first of their issue
    /// rows; back in original units.
    pub fn new(
        target: &ModelColumn,
        unscaling: Unscaling,
        place: usize,
        issue_time: i64,
        step: Step,
        predictions: &Predictions,
    ) -> Self {
        let levels = predictions.levels.len();
        let value = |scaled: &f32| unscaling.original(*scaled);
        let mean = predictions.mean_of(0, place);
        let quantiles = predictions.quantiles_of(0, place);
        let leads = (0..predictions.horizon)
            .map(|h| Lead {
                lead_h: step.hours(h + 1),
                valid_time: issue_time + (h as i64 + 1) * step.seconds(),
                mean: value(&mean[h]),
                quantiles: quantiles[h * levels..(h + 1) * levels]
                    .iter()
                    .map(value)
                    .collect(),
                feels_like: None,
            })
            .collect();
        Self {
            series: String::new(),
            target: target.name.clone(),
            unit: target.unit.clone(),
            issue_time,
            observed_until: None,
            quantile_levels: predictions.levels.clone(),
            feels_like_method: None,
            leads,
        }
    }

    /// ` in UNIT`, where it has one.
    fn in_unit(&self) -> String {
        shown_unit(&self.unit).map_or_else(String::new, |unit| format!(" in {unit}"))
    }

    /// How many decimals leave so many digits of the largest value.
    fn digits(&self, significant: usize) -> usize {
        let values = self.leads.iter().flat_map(|lead| {
            let quantiles = lead.quantiles.iter();
            quantiles.chain([&lead.mean]).map(|value| value.abs())
        });
        decimals(values.fold(0.0, f64::max), significant)
    }

    /// ` at NAME`, where the series has a name.
    pub fn of_series(&self) -> String {
        match self.series.as_str() {
            "" => String::new(),
            name => format!(" at {name}"),
        }
    }

    /// Thousandths, and of small values, such as shares of a capacity, more.
    fn csv_digits(&self) -> usize {
        match self.digits(1) {
            0 => 3,
            _ => self.digits(5),
        }
    }

    /// The names of its columns, behind that of its target where there are `several`.
    fn csv_header(&self, several: bool) -> Vec<String> {
        let (unit, target) = (&self.unit, &self.target);
        let of = if several {
            format!("{target} ")
        } else {
            String::new()
        };
        let mut header = vec![format!("{of}mean [{unit}]")];
        let levels = self.quantile_levels.iter();
        header.extend(levels.map(|level| format!("{of}q{level} [{unit}]")));
        if self.feels_like_method.is_some() {
            header.push(format!("feels_like [{unit}]"));
        }
        header
    }

    /// A lead in these columns.
    fn csv_values(&self, lead: &Lead, digits: usize) -> Vec<String> {
        let mut values = vec![rounded(lead.mean, digits)];
        values.extend(lead.quantiles.iter().map(|value| rounded(*value, digits)));
        if self.feels_like_method.is_some() {
            let told = lead.feels_like.map(|value| rounded(value, digits));
            values.push(told.unwrap_or_default());
        }
        values
    }

    /// A table for a terminal: of leads that are closer, one for each three hours, and the last one.
    pub fn table(&self) -> String {
        // Small values, such as shares of a capacity, have more decimals than temperatures.
        let digits = match self.digits(3) {
            0..=2 if self.unit == "1" => 3,
            0..=2 => 1,
            small => small,
        };
        let step = self.leads.first().map_or(1.0, |lead| lead.lead_h);
        let every = (3.0 / step).round().max(1.0) as usize;
        let told_lead = |lead: f64| {
            if step % 24.0 == 0.0 {
                format!("{} d", lead / 24.0)
            } else if lead < 1.0 {
                format!("{} min", brief(lead * 60.0))
            } else {
                format!("{} h", brief(lead))
            }
        };
        let mut text = format!(
            "Forecast of {}{}{}, issued {}\n\n",
            self.target,
            self.of_series(),
            self.in_unit(),
            format_short(self.issue_time)
        );
        let mut header = format!("{:<16} {:>6} {:>7}", "valid time (UTC)", "lead", "mean");
        for level in &self.quantile_levels {
            header.push_str(&format!(" {:>7}", format!("q{level}")));
        }
        if self.feels_like_method.is_some() {
            header.push_str(&format!(" {:>11}", "feels like"));
        }
        text.push_str(&header);
        text.push('\n');
        let last = self.leads.len();
        let shown = |i: usize| (i + 1).is_multiple_of(every) || i + 1 == last;
        for (_, lead) in self.leads.iter().enumerate().filter(|(i, _)| shown(*i)) {
            text.push_str(&format!(
                "{:<16} {:>6} {:>7}",
                format_short(lead.valid_time),
                told_lead(lead.lead_h),
                rounded(lead.mean, digits)
            ));
            for &value in &lead.quantiles {
                text.push_str(&format!(" {:>7}", rounded(value, digits)));
            }
            if let Some(value) = lead.feels_like {
                text.push_str(&format!(" {:>11}", rounded(value, digits)));
            }
            text.push('\n');
        }
        if let Some(method) = &self.feels_like_method {
            text.push_str(&format!("\nFeels like: {method}.\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Scaler;
    use crate::params::{Bounds, Scaling};

    /// Of two targets, which differ in what they are scaled by.
    fn forecasts() -> [Forecast; 2] {
        let predictions = Predictions {
            targets: 2,
            horizon: 2,
            levels: vec![0.1, 0.5, 0.9],
            mean: vec![0.0, 1.0, 0.0, 1.0],
            quantiles: [[-1.0, 0.0, 1.0, 0.0, 1.0, 2.0]; 2].concat(),
        };
        let of = |place: usize, name: &str, unit: &str, values: &[f64]| {
            let target = ModelColumn {
                source: None,
                name: name.into(),
                role: crate::data::Role::Target,
                unit: unit.into(),
                scaler: Scaler::fit(Scaling::Standard, values).unwrap(),
            };
            let unscaling = Unscaling::new(target.scaler, Bounds::default());
            Forecast::new(&target, unscaling, place, 0, Step::HOUR, &predictions)
        };
        [
            of(0, "t", "°C", &[8.0, 12.0]),
            of(1, "w", "m/s", &[2.0, 4.0]),
        ]
    }

    fn forecast() -> Forecast {
        let [forecast, _] = forecasts();
        forecast
    }

    #[test]
    fn values_come_in_original_units_at_times_after_the_issue() {
        let forecast = forecast();
        assert_eq!(
            (forecast.leads[0].mean, forecast.leads[1].mean),
            (10.0, 12.0)
        );
        assert_eq!(forecast.leads[1].quantiles, [10.0, 12.0, 14.0]);
        assert_eq!(forecast.leads[1].valid_time, 7200);
        let csv = String::from_utf8(to_csv(&[forecast]).unwrap()).unwrap();
        assert_eq!(
            csv.lines().next(),
            Some("valid_time,lead_h,mean [°C],q0.1 [°C],q0.5 [°C],q0.9 [°C]")
        );
        assert_eq!(
            csv.lines().nth(1),
            Some("1970-01-01T01:00:00Z,1,10.000,8.000,10.000,12.000")
        );
    }

    #[test]
    fn targets_stand_side_by_side() {
        let mut forecasts = forecasts();
        forecasts[0].feels_like_method = Some("wind chill".into());
        forecasts[0].leads[0].feels_like = Some(7.0);
        let csv = String::from_utf8(to_csv(&forecasts).unwrap()).unwrap();
        let expected = "valid_time,lead_h,t mean [°C],t q0.1 [°C],t q0.5 [°C],t q0.9 [°C],\
            feels_like [°C],w mean [m/s],w q0.1 [m/s],w q0.5 [m/s],w q0.9 [m/s]\n\
            1970-01-01T01:00:00Z,1,10.000,8.000,10.000,12.000,7.000,3.000,2.000,3.000,4.000\n\
            1970-01-01T02:00:00Z,2,12.000,10.000,12.000,14.000,,4.000,3.000,4.000,5.000\n";
        assert_eq!(csv, expected);
    }

    #[test]
    fn series_stand_below_each_other() {
        let named = |mut forecast: Forecast, name: &str| {
            forecast.series = name.to_owned();
            forecast
        };
        let both = [named(forecast(), "a"), named(forecast(), "b")];
        let csv = String::from_utf8(to_csv(&both).unwrap()).unwrap();
        let begin = |line: &str| line.split(',').take(3).collect::<Vec<_>>().join(",");
        let lines: Vec<String> = csv.lines().map(begin).collect();
        let expected = [
            "series,valid_time,lead_h",
            "a,1970-01-01T01:00:00Z,1",
            "a,1970-01-01T02:00:00Z,2",
            "b,1970-01-01T01:00:00Z,1",
            "b,1970-01-01T02:00:00Z,2",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn the_table_fits_a_terminal() {
        let mut forecast = forecast();
        forecast.feels_like_method = Some("wind chill".into());
        forecast
            .leads
            .iter_mut()
            .for_each(|lead| lead.feels_like = Some(lead.mean - 3.0));
        let table = forecast.table();
        assert!(
            table.lines().all(|line| line.chars().count() <= 80),
            "{table}"
        );
        assert!(
            table.contains("1970-01-01 02:00    2 h    12.0    10.0    12.0    14.0         9.0"),
            "{table}"
        );
        for (place, lead) in forecast.leads.iter_mut().enumerate() {
            lead.lead_h = (place + 1) as f64 * 168.0;
        }
        let weekly = forecast.table();
        assert!(weekly.contains("   7 d    10.0"), "{weekly}");
        for (place, lead) in forecast.leads.iter_mut().enumerate() {
            lead.lead_h = (place + 1) as f64 / 6.0;
        }
        let of_minutes = forecast.table();
        assert!(of_minutes.contains(" 20 min    12.0"), "{of_minutes}");
    }

    #[test]
    fn small_values_keep_their_digits() {
        let mut forecast = forecast();
        for lead in &mut forecast.leads {
            lead.mean *= 1e-6;
            lead.quantiles.iter_mut().for_each(|value| *value *= 1e-6);
        }
        let csv = String::from_utf8(to_csv(std::slice::from_ref(&forecast)).unwrap()).unwrap();
        assert!(
            csv.ends_with("0.000012000,0.000010000,0.000012000,0.000014000\n"),
            "{csv}"
        );
        assert!(
            forecast.table().contains(" 0.0000120 "),
            "{}",
            forecast.table()
        );
    }

    #[test]
    fn what_rounds_to_nothing_has_no_sign() {
        let mut forecast = forecast();
        forecast.feels_like_method = Some("wind chill".into());
        forecast.leads[1].feels_like = Some(-0.03);
        assert!(forecast.table().contains(" 0.0\n"));
    }
}
