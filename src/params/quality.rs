//! `prepare.quality`, checked: what to do about each kind of bad value, and from where on it is bad.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Invalid, invalid, raw_quality as raw};
use crate::time::Step;

/// What becomes of what a check finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is not looked for.
    Off,
    /// It is told and stays.
    Warn,
    /// Its rows are refused.
    Drop,
    /// Its values become missing.
    Mask,
    /// Nothing is prepared.
    Fail,
}

/// What becomes of rows that have one time and different values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conflicts {
    /// The first stays, the others are refused.
    KeepFirst,
    /// The last stays, the others are refused.
    KeepLast,
    /// All of them are refused.
    Drop,
    /// Nothing is prepared.
    Fail,
}

/// What a column measures; it decides from where on a value is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Of the air.
    Temperature,
    /// At which its water condenses.
    DewPoint,
    /// Relative, in %.
    Humidity,
    /// A share in %, such as cloud cover.
    Percent,
    /// Never negative.
    WindSpeed,
    /// The largest speed of an interval.
    Gust,
    /// A part of a wind vector.
    WindComponent,
    /// In degrees.
    Direction,
    /// Of the air.
    Pressure,
    /// In ppm.
    Co2,
    /// Rain or snow of one row.
    Precipitation,
    /// Downward.
    Radiation,
    /// Of a pollutant.
    Concentration,
    /// Power as a share of what is installed.
    Share,
    /// Of a plant.
    Power,
    /// Nothing is known of it.
    Unknown,
}

/// Every check: its action and its limits.
#[derive(Clone, Debug, PartialEq)]
pub struct QualityParams {
    /// Columns that must be there.
    pub required: Vec<String>,
    /// One of them is not.
    pub missing_columns: Action,
    /// A row is older than one before it.
    pub order: Action,
    /// A row lies between two steps.
    pub off_step: Action,
    /// Two rows are equal.
    pub duplicates: Action,
    /// Two rows have one time and differ.
    pub conflicts: Conflicts,
    /// Rows are missing.
    pub gaps: Action,
    /// Values of a column are missing.
    pub completeness: Action,
    /// A number stands for "no value".
    pub sentinels: Action,
    /// A value cannot be.
    pub range: Action,
    /// A change cannot be.
    pub spikes: Action,
    /// A sensor gives one value for too long.
    pub stuck: Action,
    /// A column never changes.
    pub constant: Action,
    /// Two columns contradict each other.
    pub consistency: Action,
    /// The last row is old.
    pub timeliness: Action,
    /// The rows after the training part come from another distribution.
    pub drift: Action,
    /// The longest time without rows; one day, and at least six steps, where absent.
    pub longest_gap: Option<Step>,
    /// How many gaps there may be.
    pub gap_count: Option<usize>,
    /// The largest share of a column that may be missing.
    pub missing_share: f64,
    /// The longest time without a value of a column; seven days, and at least six steps, where
    /// absent.
    pub longest_missing: Option<Step>,
    /// Numbers that stand for "no value" whatever the column; where absent, those that are known to
    /// be written and that no true value of the column can be.
    pub sentinel_values: Option<Vec<f64>>,
    /// The longest time that a sensor may give one value.
    pub stuck_for: Step,
    /// The greatest age of the last row; one day, and at least three steps, where absent.
    pub oldest: Option<Step>,
    /// The largest population stability index.
    pub drift_psi: f64,
    /// Both parts must be at least so long to be compared: a season is no drift.
    pub drift_span: Step,
    /// Columns of which one is never above the other; found by name where absent.
    pub pairs: Option<Vec<OrderedPair>>,
    /// What is known of single columns.
    pub columns: BTreeMap<String, ColumnQuality>,
}

/// A column that is never above another one.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderedPair {
    /// The lower one.
    pub low: String,
    /// The upper one.
    pub high: String,
    /// How far the lower may be above all the same.
    pub tolerance: f64,
}

/// What is known of one column, in place of what its name and unit tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnQuality {
    /// What it measures.
    pub quantity: Option<Quantity>,
    /// Its least value.
    pub min: Option<f64>,
    /// Its greatest value.
    pub max: Option<f64>,
    /// The largest change from one row to the next.
    pub max_change: Option<f64>,
    /// The longest time with one value.
    pub stuck_for: Option<Step>,
    /// In place of [`QualityParams::sentinels`].
    pub sentinels: Option<Action>,
    /// In place of [`QualityParams::range`].
    pub range: Option<Action>,
    /// In place of [`QualityParams::spikes`].
    pub spikes: Option<Action>,
    /// In place of [`QualityParams::stuck`].
    pub stuck: Option<Action>,
}

impl Default for QualityParams {
    fn default() -> Self {
        checked(raw::Quality::default())
    }
}

/// A span of so many seconds; the constants below are none of them zero.
const fn span(seconds: u32) -> Step {
    match Step::from_seconds(seconds) {
        Some(step) => step,
        None => Step::DAY,
    }
}

pub(super) fn check_quality(raw: raw::Quality) -> Result<QualityParams, Invalid> {
    let key = |name: &str| format!("prepare.quality.{name}");
    let one_of = |name: String, action: Action, allowed: &[Action]| {
        if allowed.contains(&action) {
            return Ok(());
        }
        Err(refused(name, action, allowed))
    };
    let off_step = [Action::Off, Action::Drop, Action::Fail];
    one_of(key("off_step"), raw.off_step, &off_step)?;
    let duplicates = [Action::Drop, Action::Fail];
    one_of(key("duplicates"), raw.duplicates, &duplicates)?;
    let rows = [Action::Off, Action::Warn, Action::Drop, Action::Fail];
    one_of(key("order"), raw.order, &rows)?;
    for (name, action) in [
        ("missing_columns", raw.missing_columns),
        ("gaps", raw.gaps),
        ("completeness", raw.completeness),
        ("constant", raw.constant),
        ("timeliness", raw.timeliness),
        ("drift", raw.drift),
    ] {
        one_of(
            key(name),
            action,
            &[Action::Off, Action::Warn, Action::Fail],
        )?;
    }
    let limits = &raw.limits;
    let share = limits.missing_share.unwrap_or(0.0);
    if !(0.0..=1.0).contains(&share) {
        return Err(invalid(
            key("limits.missing_share"),
            "between 0 and 1",
            share,
        ));
    }
    let psi = limits.drift_psi.unwrap_or(1.0);
    if !(psi > 0.0 && psi.is_finite()) {
        return Err(invalid(key("limits.drift_psi"), "a number above 0", psi));
    }
    let sentinels = limits.sentinel_values.iter().flatten();
    if let Some(value) = sentinels.copied().find(|value| !value.is_finite()) {
        return Err(invalid(key("limits.sentinel_values"), "numbers", value));
    }
    for pair in raw.pairs.iter().flatten() {
        if !(pair.tolerance >= 0.0 && pair.tolerance.is_finite()) {
            let name = key(&format!("pairs ({}).tolerance", pair.low));
            return Err(invalid(name, "a number of at least 0", pair.tolerance));
        }
    }
    for (name, column) in &raw.columns {
        check_column(&key(&format!("columns.{name}")), column)?;
    }
    Ok(checked(raw))
}

fn check_column(key: &str, column: &raw::Column) -> Result<(), Invalid> {
    for (name, value) in [("min", column.min), ("max", column.max)] {
        if let Some(value) = value.filter(|value| value.is_nan()) {
            return Err(invalid(format!("{key}.{name}"), "a number", value));
        }
    }
    if let (Some(min), Some(max)) = (column.min, column.max)
        && min > max
    {
        return Err(invalid(
            format!("{key}.min"),
            format!("at most max ({max})"),
            min,
        ));
    }
    match column.max_change {
        Some(change) if change.is_nan() || change <= 0.0 => Err(invalid(
            format!("{key}.max_change"),
            "a number above 0",
            change,
        )),
        _ => Ok(()),
    }
}

fn refused(key: String, action: Action, allowed: &[Action]) -> Invalid {
    let name = |action: &Action| format!("{action:?}").to_lowercase();
    let names: Vec<String> = allowed.iter().map(name).collect();
    invalid(key, format!("one of {}", names.join(", ")), name(&action))
}

fn checked(raw: raw::Quality) -> QualityParams {
    let limits = raw.limits;
    let column = |column: raw::Column| ColumnQuality {
        quantity: column.quantity,
        min: column.min,
        max: column.max,
        max_change: column.max_change,
        stuck_for: column.stuck_for,
        sentinels: column.sentinels,
        range: column.range,
        spikes: column.spikes,
        stuck: column.stuck,
    };
    let pair = |pair: raw::Pair| OrderedPair {
        low: pair.low,
        high: pair.high,
        tolerance: pair.tolerance,
    };
    QualityParams {
        required: raw.required,
        missing_columns: raw.missing_columns,
        order: raw.order,
        off_step: raw.off_step,
        duplicates: raw.duplicates,
        conflicts: raw.conflicts,
        gaps: raw.gaps,
        completeness: raw.completeness,
        sentinels: raw.sentinels,
        range: raw.range,
        spikes: raw.spikes,
        stuck: raw.stuck,
        constant: raw.constant,
        consistency: raw.consistency,
        timeliness: raw.timeliness,
        drift: raw.drift,
        longest_gap: limits.longest_gap,
        gap_count: limits.gap_count,
        missing_share: limits.missing_share.unwrap_or(0.1),
        longest_missing: limits.longest_missing,
        sentinel_values: limits.sentinel_values,
        stuck_for: limits.stuck_for.unwrap_or(Step::DAY),
        oldest: limits.oldest,
        drift_psi: limits.drift_psi.unwrap_or(0.25),
        drift_span: limits.drift_span.unwrap_or(span(365 * 86_400)),
        pairs: raw.pairs.map(|pairs| pairs.into_iter().map(pair).collect()),
        columns: raw
            .columns
            .into_iter()
            .map(|(name, raw)| (name, column(raw)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{ParamsError, ParamsFile};
    use super::*;

    fn parse(quality: &str) -> Result<QualityParams, ParamsError> {
        let text = format!("prepare: {{target: t, step: 1h, quality: {quality}}}\n");
        let (_, params) = ParamsFile::parse(Path::new("params.yaml"), &text, None, &[])?;
        Ok(params
            .prepare
            .map_or_else(QualityParams::default, |prepare| prepare.quality))
    }

    fn message(quality: &str) -> String {
        parse(quality).map_or_else(|error| error.to_string(), |_| "no error".to_owned())
    }

    #[test]
    fn without_a_word_every_check_is_made() -> Result<(), ParamsError> {
        assert_eq!(parse("{}")?, QualityParams::default());
        assert_eq!(QualityParams::default().sentinels, Action::Mask);
        let some = parse(
            "{range: off, conflicts: keep_last, limits: {stuck_for: 6h, longest_gap: 2d}, \
             columns: {t: {quantity: dew_point, max: 30, spikes: drop}}}",
        )?;
        assert_eq!(
            (some.range, some.conflicts),
            (Action::Off, Conflicts::KeepLast)
        );
        assert_eq!(some.stuck_for.to_string(), "6h");
        let column = &some.columns["t"];
        assert_eq!(
            (column.quantity, column.spikes),
            (Some(Quantity::DewPoint), Some(Action::Drop))
        );
        Ok(())
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_its_key() {
        assert_eq!(
            message("{gaps: mask}"),
            "params.yaml: prepare.quality.gaps: expected one of off, warn, fail, found mask"
        );
        assert!(
            message("{off_step: warn}")
                .contains("quality.off_step: expected one of off, drop, fail")
        );
        assert!(message("{order: mask}").contains("one of off, warn, drop, fail"));
        assert!(message("{range: delete}").contains("delete"));
        assert!(message("{ranges: warn}").contains("ranges"));
        assert!(message("{limits: {missing_share: 1.5}}").contains("limits.missing_share"));
        assert!(message("{limits: {drift_psi: 0}}").contains("limits.drift_psi"));
        assert!(message("{limits: {sentinel_values: [.nan]}}").contains("limits.sentinel_values"));
        assert!(
            message("{columns: {t: {min: 2, max: 1}}}")
                .contains("columns.t.min: expected at most max (1)")
        );
        assert!(message("{columns: {t: {max_change: 0}}}").contains("columns.t.max_change"));
        assert!(message("{pairs: [{low: a, high: b, tolerance: -1}]}").contains("tolerance"));
    }
}
