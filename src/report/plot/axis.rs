//! What an axis spans, and where its ticks are: at numbers, hours, whole counts or times that a
//! person would choose.

use chrono::DateTime;

use super::chart::drawable;
use crate::time::DAY;

/// One axis of a chart: `low` is always below `high`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) label: String,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) ticks: Vec<Tick>,
}

/// A place on an axis that has a name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) label: String,
    /// Under the label, at the first tick and where it changes: the day of an hour.
    pub(super) group: Option<String>,
    /// Whether a group begins here.
    pub(super) begins: bool,
}

impl Default for Axis {
    fn default() -> Self {
        Self::numbers("", [].into_iter())
    }
}

impl Axis {
    /// From a round number below the values to one above them.
    pub(super) fn numbers(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = span(values, 0.0..1.0);
        let step = round_step((high - low) / 6.0);
        let (first, last) = ((low / step).floor(), (high / step).ceil());
        let ticks = (0..=(last - first) as i64).map(|i| {
            let at = (first + i as f64) * step;
            Tick {
                at,
                label: number_label(at, step),
                ..Tick::default()
            }
        });
        Self {
            label: label.to_owned(),
            low: first * step,
            high: last * step,
            ticks: ticks.collect(),
        }
    }

    /// For positive values that differ by powers of ten: what lies on it is the logarithm to base 10.
    pub(super) fn powers(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = span(values.map(f64::log10), 0.0..1.0);
        let decades = (high.ceil() - low.floor()) as i32;
        let (factors, step): (&[f64], _) = match decades {
            ..=3 => (&[1.0, 2.0, 5.0], 1),
            _ => (&[1.0], 1 + decades / 8),
        };
        let powers = (low.floor() as i32..=high.ceil() as i32 + step).step_by(step as usize);
        let places = powers.flat_map(|power| {
            let places = factors.iter();
            places.map(move |factor| (f64::from(power) + factor.log10(), factor, power))
        });
        let ticks = places.map(|(at, factor, power)| Tick {
            at,
            label: number_label(factor * 10_f64.powi(power), 10_f64.powi(power)),
            ..Tick::default()
        });
        let ticks: Vec<Tick> = ticks.collect();
        // From the last tick below the values to the first one above them.
        let below = ticks.iter().rposition(|tick| tick.at <= low + 1e-9);
        let above = ticks.iter().position(|tick| tick.at >= high - 1e-9);
        let ticks = ticks[below.unwrap_or(0)..=above.unwrap_or(ticks.len() - 1)].to_vec();
        Self {
            label: label.to_owned(),
            low: ticks[0].at,
            high: ticks[ticks.len() - 1].at,
            ticks,
        }
    }

    /// Leads from 0 on, given in hours and told in minutes, hours or days, with ticks that a person would choose; and
    /// the leads in that unit.
    pub(super) fn leads(leads_h: &[f64]) -> (Self, Vec<f64>) {
        let there = || leads_h.iter().copied().filter(|lead| drawable(*lead));
        let largest = there().fold(0.0, f64::max);
        let are_whole = |unit: f64| there().all(|lead| lead % unit == 0.0);
        let (unit, hours, steps): (_, _, &[f64]) = if are_whole(24.0) && largest > 0.0 {
            ("d", 24.0, &[1.0, 2.0, 7.0, 14.0, 28.0])
        } else if largest < 4.0 && !are_whole(1.0) {
            ("min", 1.0 / 60.0, &[1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0])
        } else {
            let steps = &[1.0, 2.0, 3.0, 6.0, 12.0, 24.0, 48.0, 96.0, 168.0];
            ("h", 1.0, steps)
        };
        let high = if largest > 0.0 { largest } else { 24.0 } / hours;
        let mut steps = steps.iter().copied();
        let step = steps.find(|step| high / step <= 12.0);
        let step = step
            .filter(|step| *step <= high)
            .unwrap_or_else(|| round_step(high / 8.0));
        let axis = Self::stepped(&format!("lead ({unit})"), 0.0, high, step);
        (axis, leads_h.iter().map(|lead| lead / hours).collect())
    }

    /// Whole numbers, such as epochs.
    pub(super) fn counts(label: &str, counts: impl Iterator<Item = usize>) -> Self {
        let (low, high) = span(counts.map(|count| count as f64), 1.0..10.0);
        // A single epoch is no reason for ticks at halves of one.
        let (low, high) = (low.floor(), high.ceil());
        let step = round_step((high - low) / 10.0).max(1.0).round();
        Self::stepped(label, low, high, step)
    }

    fn stepped(label: &str, low: f64, high: f64, step: f64) -> Self {
        let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
        let ticks = (0..=(last - first) as i64).map(|i| {
            let at = (first + i as f64) * step;
            Tick {
                at,
                label: number_label(at, step),
                ..Tick::default()
            }
        });
        Self {
            label: label.to_owned(),
            low,
            high,
            ticks: ticks.collect(),
        }
    }

    /// Times with hours over days, or days over years.
    pub(super) fn times(label: &str, times: impl Iterator<Item = i64>) -> Self {
        let (low, high) = span(times.map(|time| time as f64), 0.0..DAY as f64);
        let step = time_step(high - low);
        let (hour_format, group_format) = if step < DAY {
            ("%H:%M", "%a %-d %b")
        } else {
            ("%-d %b", "%Y")
        };
        let first = (low / step as f64).ceil() as i64;
        let last = (high / step as f64).floor() as i64;
        let group = |i: i64| format_time(i.saturating_mul(step), group_format);
        let ticks = (first..=last).map(|i| {
            let begins = group(i) != group(i - 1);
            Tick {
                at: i as f64 * step as f64,
                label: format_time(i.saturating_mul(step), hour_format),
                group: (begins || i == first).then(|| group(i)),
                begins,
            }
        });
        Self {
            label: label.to_owned(),
            low,
            high,
            ticks: ticks.collect(),
        }
    }
}

/// The least and the largest value, apart by something even where there is only one.
fn span(values: impl Iterator<Item = f64>, nothing: std::ops::Range<f64>) -> (f64, f64) {
    let drawable = values.filter(|value| drawable(*value));
    let (low, high) = drawable.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if low > high {
        return (nothing.start, nothing.end);
    }
    // What differs less than this is one value to a reader, and to the steps between ticks.
    let least = low.abs().max(high.abs()) * 1e-9;
    if high - low > least {
        (low, high)
    } else {
        let margin = low.abs() * 0.1;
        if margin > 0.0 {
            (low - margin, high + margin)
        } else {
            (0.0, 1.0)
        }
    }
}

/// 1, 2 or 5 times a power of ten, at least the given length.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|f| f * power >= least * 0.999);
    factor.unwrap_or(10.0) * power
}

fn time_step(seconds: f64) -> i64 {
    const HOUR: i64 = 3600;
    let round = [
        60,
        300,
        900,
        1800,
        HOUR,
        2 * HOUR,
        3 * HOUR,
        6 * HOUR,
        12 * HOUR,
        DAY,
        2 * DAY,
        7 * DAY,
        14 * DAY,
    ];
    let fits = |step: &i64| seconds / *step as f64 <= 12.0;
    let longer = std::iter::successors(Some(28 * DAY), |step| step.checked_mul(2));
    round
        .into_iter()
        .chain(longer)
        .find(fits)
        .unwrap_or(i64::MAX)
}

fn format_time(time: i64, format: &str) -> String {
    DateTime::from_timestamp(time, 0)
        .map_or_else(String::new, |time| time.format(format).to_string())
}

/// As many digits as tell it from the next one, a step away; a true minus sign.
fn number_label(number: f64, step: f64) -> String {
    // A whole power of ten may come out a little below.
    let magnitude = |number: f64| (number.abs().log10() + 1e-9).floor();
    let text = if (1e-4..1e6).contains(&step) {
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        // Adding 0 turns -0 into 0.
        format!("{:.decimals$}", number + 0.0)
    } else if number == 0.0 {
        "0".to_owned()
    } else {
        // More than 17 tell nothing of a number.
        let decimals = (magnitude(number) - magnitude(step)).clamp(0.0, 17.0) as usize;
        format!("{number:.decimals$e}")
    };
    text.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn numbers_have_round_ticks() {
        let axis = Axis::numbers("t", [-3.2, 7.9].into_iter());
        assert_eq!(labels(&axis), ["−4", "−2", "0", "2", "4", "6", "8"][..]);
        let axis = Axis::numbers("t", [0.0, 0.23].into_iter());
        assert_eq!(
            labels(&axis),
            ["0.00", "0.05", "0.10", "0.15", "0.20", "0.25"]
        );
    }

    #[test]
    fn numbers_of_a_small_or_large_step_are_told_apart() {
        let axis = Axis::numbers("CO2", [4.112e-4, 4.188e-4].into_iter());
        assert_eq!(
            labels(&axis),
            [
                "4.10e−4",
                "4.12e−4",
                "4.14e−4",
                "4.16e−4",
                "4.18e−4",
                "4.20e−4"
            ]
        );
        let axis = Axis::numbers("load (W)", [1.021e8, 1.079e8].into_iter());
        assert_eq!(
            labels(&axis),
            [
                "1.02e8", "1.03e8", "1.04e8", "1.05e8", "1.06e8", "1.07e8", "1.08e8"
            ]
        );
        let axis = Axis::numbers("p", [-4e6, 11e6].into_iter());
        assert_eq!(labels(&axis), ["−5e6", "0", "5e6", "1.0e7", "1.5e7"]);
        let axis = Axis::powers("loss", [1.5e-6, 8e-5].into_iter());
        assert_eq!(
            labels(&axis),
            ["1e−6", "2e−6", "5e−6", "1e−5", "2e−5", "5e−5", "0.0001"]
        );
    }

    #[test]
    fn powers_have_ticks_at_few_figures() {
        let axis = Axis::powers("loss", [0.3, 30.0].into_iter());
        assert_eq!(
            labels(&axis),
            ["0.2", "0.5", "1", "2", "5", "10", "20", "50"]
        );
        let axis = Axis::powers("loss", [0.002, 300.0].into_iter());
        assert_eq!(
            labels(&axis),
            ["0.001", "0.01", "0.1", "1", "10", "100", "1000"]
        );
        let axis = Axis::powers("loss", [1.0, 1.0].into_iter());
        assert!(axis.low < axis.high, "{axis:?}");
        for values in [[1e-300, 1e99], [1e-7, 1e7], [5e-324, 1.0]] {
            let axis = Axis::powers("loss", values.into_iter());
            assert!(
                axis.low <= values[0].log10() && values[1].log10() <= axis.high,
                "{axis:?}"
            );
            assert!((2..=12).contains(&axis.ticks.len()), "{axis:?}");
        }
    }

    #[test]
    fn leads_have_ticks_that_a_person_would_choose() {
        for (step_h, count, label, ticks) in [
            (1.0, 48, "lead (h)", "0 6 12 18 24 30 36 42 48"),
            (
                1.0 / 6.0,
                18,
                "lead (min)",
                "0 15 30 45 60 75 90 105 120 135 150 165 180",
            ),
            (1.0 / 6.0, 1, "lead (min)", "0 1 2 3 4 5 6 7 8 9 10"),
            (1.0, 2, "lead (h)", "0 1 2"),
            (24.0, 14, "lead (d)", "0 2 4 6 8 10 12 14"),
            (168.0, 13, "lead (d)", "0 14 28 42 56 70 84"),
            (24.0, 1, "lead (d)", "0 1"),
        ] {
            let leads: Vec<f64> = (1..=count).map(|lead| f64::from(lead) * step_h).collect();
            let (axis, leads) = Axis::leads(&leads);
            assert_eq!(
                (axis.label.as_str(), labels(&axis).join(" ")),
                (label, ticks.to_owned())
            );
            assert!((leads[leads.len() - 1] - axis.high).abs() < 1e-9);
        }
    }

    #[test]
    fn times_name_a_day_once() {
        let start = 1_764_536_400; // 2025-11-30T21:00:00Z
        let axis = Axis::times("time (UTC)", [start, start + 48 * 3600].into_iter());
        assert_eq!(labels(&axis)[..3], ["00:00", "06:00", "12:00"]);
        let groups = axis.ticks.iter().filter_map(|tick| tick.group.as_deref());
        let groups: Vec<&str> = groups.collect();
        assert_eq!(groups, ["Mon 1 Dec", "Tue 2 Dec"]);
    }

    #[test]
    fn degenerate_values_still_have_an_axis() {
        let n = f64::NAN;
        for values in [
            &[][..],
            &[n, n],
            &[0.0],
            &[5.0, 5.0],
            &[1e300, -1e300],
            &[1e16, 1e16 + 2.0],
        ] {
            let axis = Axis::numbers("t", values.iter().copied());
            assert!(
                axis.low < axis.high && (2..=12).contains(&axis.ticks.len()),
                "{axis:?}"
            );
            let (axis, _) = Axis::leads(values);
            assert!(axis.low < axis.high && axis.ticks.len() <= 14, "{axis:?}");
        }
        for times in [&[][..], &[0], &[7, 7], &[i64::MIN, i64::MAX]] {
            let axis = Axis::times("t", times.iter().copied());
            assert!(axis.low < axis.high && axis.ticks.len() <= 14, "{axis:?}");
        }
        assert!(!Axis::counts("t", [1].into_iter()).ticks.is_empty());
    }
}
