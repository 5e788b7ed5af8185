//! All checks on the values of one column, in one pass over it.

use super::super::Column;
use super::report::{Check, Example, Finding, number};
use super::{Setting, quantity, takes_away};
use crate::params::{Action, QualityParams, Quantity};
use crate::time::Step;

/// So many equal values at least make a stuck sensor: on a long step a few are chance.
const STUCK_ROWS: usize = 12;

/// Numbers that loggers, archives and formats are known to write for "no value". The last one is
/// the fill value of netCDF.
pub const SENTINELS: [f64; 14] = [
    -99_999.0,
    -9_999.99,
    -9_999.9,
    -9_999.0,
    -8_888.0,
    -7_777.0,
    -32_768.0,
    -3_276.8,
    -3_270.9,
    -999.99,
    -999.9,
    -999.0,
    1e20,
    9.969_209_968_386_869e36,
];

/// What is believed of one column.
#[derive(Clone, Debug)]
pub(super) struct ColumnRule {
    pub(super) quantity: Quantity,
    unit: String,
    min: f64,
    max: f64,
    sentinels: Sentinels,
    change: Option<Change>,
    stuck_s: i64,
    resting: &'static [f64],
    on_sentinels: Action,
    on_range: Action,
    on_spikes: Action,
    on_stuck: Action,
}

/// The largest change that is believed.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// Grows with the root of the time, as a random walk does, between what it is in a minute and
    /// three times what it is in an hour.
    Physical { minute: f64, hour: f64 },
    /// As configured for one step, growing likewise over gaps.
    Configured { step: f64, step_s: f64 },
}

impl Change {
    fn within(self, seconds: i64) -> f64 {
        match self {
            Self::Physical { minute, hour } => {
                (hour * (seconds as f64 / 3600.0).sqrt()).clamp(minute, 3.0 * hour)
            }
            Self::Configured { step, step_s } => step * (seconds as f64 / step_s).sqrt().max(1.0),
        }
    }
}

/// Numbers that stand for "no value", with a quick way to see that a value is none of them.
#[derive(Clone, Debug)]
struct Sentinels {
    values: Vec<f64>,
    least: f64,
}

impl Sentinels {
    /// Of the numbers, those that no true value of the column can be.
    fn outside(values: &[f64], min: f64, max: f64) -> Self {
        let bounded = min.is_finite() || max.is_finite();
        let inside = |value: f64| bounded && (min..=max).contains(&value);
        let outside = values.iter().copied().filter(|&value| !inside(value));
        Self::new(outside.collect())
    }

    fn new(values: Vec<f64>) -> Self {
        let sizes = values.iter().map(|value| value.abs());
        Self {
            least: sizes.fold(f64::INFINITY, f64::min) * (1.0 - 1e-6),
            values,
        }
    }

    /// Whether a value is one of them, as far as single precision tells: files often passed it.
    fn hold(&self, value: f64) -> bool {
        value.abs() >= self.least
            && self
                .values
                .iter()
                .any(|s| (value - s).abs() <= 1e-7 * s.abs())
    }
}

impl ColumnRule {
    pub(super) fn new(column: &Column, params: &QualityParams, step: Step) -> Self {
        let own = params
            .columns
            .get(&column.name)
            .cloned()
            .unwrap_or_default();
        let quantity = own.quantity.unwrap_or_else(|| quantity::quantity(column));
        let physics = quantity::limits(quantity, &column.unit);
        let on_sentinels = own.sentinels.unwrap_or(params.sentinels);
        let (min, max) = (
            own.min.unwrap_or(physics.min),
            own.max.unwrap_or(physics.max),
        );
        let physical = |(minute, hour)| Change::Physical { minute, hour };
        let configured = |change| Change::Configured {
            step: change,
            step_s: step.seconds() as f64,
        };
        Self {
            quantity,
            unit: column.unit.clone(),
            min,
            max,
            sentinels: match on_sentinels {
                Action::Off => Sentinels::new(Vec::new()),
                _ => match &params.sentinel_values {
                    Some(values) => Sentinels::new(values.clone()),
                    None => Sentinels::outside(&SENTINELS, min, max),
                },
            },
            change: own
                .max_change
                .map(configured)
                .or(physics.change.map(physical)),
            stuck_s: match own.stuck_for {
                Some(longest) => longest.seconds(),
                None if physics.can_stick => params.stuck_for.seconds(),
                None => i64::MAX,
            },
            resting: physics.resting,
            on_sentinels,
            on_range: own.range.unwrap_or(params.range),
            on_spikes: own.spikes.unwrap_or(params.spikes),
            on_stuck: own.stuck.unwrap_or(params.stuck),
        }
    }

    /// Whether there is a value, and neither a sentinel nor out of range.
    pub(super) fn believes(&self, value: f64) -> bool {
        !self.sentinels.hold(value) && (self.min..=self.max).contains(&value)
    }

    fn has_range(&self) -> bool {
        self.min.is_finite() || self.max.is_finite()
    }

    /// `-90 to 60 °C`.
    fn range(&self) -> String {
        let unit = if self.unit == "1" {
            String::new()
        } else {
            format!(" {}", self.unit)
        };
        match (self.min.is_finite(), self.max.is_finite()) {
            (true, true) => format!("{} to {}{unit}", number(self.min), number(self.max)),
            (true, false) => format!("at least {}{unit}", number(self.min)),
            _ => format!("at most {}{unit}", number(self.max)),
        }
    }
}

/// What the pass over a column gives.
pub(super) struct Outcome {
    pub(super) findings: Vec<Finding>,
    /// Rows whose value becomes missing.
    pub(super) masks: Vec<usize>,
    /// Rows to refuse.
    pub(super) drops: Vec<(usize, Check)>,
}

/// One check in the making: what it found, and where, if that must be known.
struct Tally {
    finding: Finding,
    rows: Vec<usize>,
    remembers: bool,
}

impl Tally {
    fn new(check: Check, column: &Column, action: Action) -> Self {
        Self {
            finding: Finding::new(check, Some(&column.name), action),
            rows: Vec::new(),
            remembers: takes_away(action),
        }
    }

    fn hit(&mut self, row: usize, example: impl FnOnce() -> Example) {
        self.finding.hit(example);
        if self.remembers {
            self.rows.push(row);
        }
    }
}

impl Outcome {
    /// Takes over what one check found, where it had a limit to check against.
    fn take(&mut self, tally: Tally, has_limit: bool, rows: usize) {
        let (check, action) = (tally.finding.check, tally.finding.action);
        if has_limit && action != Action::Off {
            self.findings.push(tally.finding.of(rows));
        }
        match action {
            Action::Mask => self.masks.extend(tally.rows),
            Action::Drop => self
                .drops
                .extend(tally.rows.into_iter().map(|row| (row, check))),
            _ => {}
        }
    }
}

/// Follows a column to tell a change that is too large.
struct Changes {
    change: Option<Change>,
    /// The last value that is believed, and one after it that is not.
    reference: Option<(i64, f64)>,
    suspect: Option<(i64, f64)>,
    /// The limit for a time between two values, which nearly always is one step.
    limit: (i64, f64),
}

impl Changes {
    fn new(rule: &ColumnRule) -> Self {
        Self {
            change: rule.change.filter(|_| rule.on_spikes != Action::Off),
            reference: None,
            suspect: None,
            limit: (0, 0.0),
        }
    }

    /// The value before and the change allowed, where a value is too far from it. Two values that
    /// agree with each other are a new level, not a spike.
    #[inline]
    fn too_large(&mut self, time: i64, value: f64) -> Option<(f64, f64)> {
        let change = self.change?;
        if let Some((then, before)) = self.reference {
            let allowed = self.within(change, time - then);
            if (value - before).abs() > allowed {
                let agrees = match self.suspect {
                    Some((at, other)) => (value - other).abs() <= self.within(change, time - at),
                    None => false,
                };
                if !agrees {
                    self.suspect = Some((time, value));
                    return Some((before, allowed));
                }
            }
        }
        (self.reference, self.suspect) = (Some((time, value)), None);
        None
    }

    fn within(&mut self, change: Change, seconds: i64) -> f64 {
        if self.limit.0 != seconds {
            self.limit = (seconds, change.within(seconds));
        }
        self.limit.1
    }
}

/// A run of one value.
#[derive(Clone, Copy)]
struct Run {
    bits: u64,
    first: usize,
    last: usize,
    rows: usize,
}

impl Run {
    /// Takes one more value; gives back the run that it ends.
    #[inline]
    fn go_on(run: &mut Option<Self>, row: usize, value: f64) -> Option<Self> {
        match run {
            Some(run) if run.bits == value.to_bits() => {
                run.last = row;
                run.rows += 1;
                None
            }
            _ => run.replace(Self {
                bits: value.to_bits(),
                first: row,
                last: row,
                rows: 1,
            }),
        }
    }
}

/// The checks on single values, on changes and on what is missing. The times must be in order.
pub(super) fn check(
    times: &[i64],
    column: &Column,
    rule: &ColumnRule,
    setting: &Setting<'_>,
) -> Outcome {
    let values = &column.values[..];
    let mut sentinels = Tally::new(Check::Sentinels, column, rule.on_sentinels);
    let mut range = Tally::new(Check::Range, column, rule.on_range);
    let mut spikes = Tally::new(Check::Spikes, column, rule.on_spikes);
    let mut stuck = Tally::new(Check::Stuck, column, rule.on_stuck);
    let mut missing = Missing::new(times, setting.step);
    let (mut least, mut greatest, mut believed) = (f64::INFINITY, f64::NEG_INFINITY, 0_usize);
    let mut changes = Changes::new(rule);
    let mut run: Option<Run> = None;

    for (row, (&time, &value)) in times.iter().zip(values).enumerate() {
        if value.is_nan() {
            continue;
        }
        if rule.sentinels.hold(value) {
            sentinels.hit(row, || Example::new(time, Some(value), "a measured value"));
            continue;
        }
        missing.value_at(time);
        if value < rule.min || value > rule.max {
            if rule.on_range != Action::Off {
                range.hit(row, || Example::new(time, Some(value), rule.range()));
            }
            continue;
        }
        believed += 1;
        least = least.min(value);
        greatest = greatest.max(value);
        if let Some((before, allowed)) = changes.too_large(time, value) {
            spikes.hit(row, || {
                let expected =
                    format!("within {} of {} before it", number(allowed), number(before));
                Example::new(time, Some(value), expected)
            });
            continue;
        }
        if let Some(ended) = Run::go_on(&mut run, row, value) {
            tell_stuck(&mut stuck, ended, times, values, rule);
        }
    }
    if let Some(ended) = run {
        tell_stuck(&mut stuck, ended, times, values, rule);
    }

    let mut constant = Finding::new(Check::Constant, Some(&column.name), setting.params.constant);
    if believed > 1 && least.to_bits() == greatest.to_bits() {
        constant.hit(|| Example {
            time: None,
            value: Some(least),
            expected: "values that change".to_owned(),
        });
        constant.count = believed;
    }
    let completeness = missing.finding(times, column, setting);
    let mut outcome = Outcome {
        findings: Vec::new(),
        masks: Vec::new(),
        drops: Vec::new(),
    };
    outcome.take(sentinels, true, values.len());
    outcome.take(range, rule.has_range(), values.len());
    outcome.take(spikes, rule.change.is_some(), values.len());
    outcome.take(stuck, rule.stuck_s < i64::MAX, values.len());
    let whole = [completeness, constant.of(values.len())].into_iter();
    outcome
        .findings
        .extend(whole.filter(|finding| finding.action != Action::Off));
    outcome
}

/// Counts every row of a run that is too long; one example a run.
fn tell_stuck(stuck: &mut Tally, run: Run, times: &[i64], values: &[f64], rule: &ColumnRule) {
    let seconds = times[run.last] - times[run.first];
    let value = f64::from_bits(run.bits);
    let rests = rule.resting.contains(&value);
    if run.rows < STUCK_ROWS || seconds < rule.stuck_s || rests || rule.on_stuck == Action::Off {
        return;
    }
    stuck.hit(run.first, || {
        let hours = |seconds: i64| number(seconds as f64 / 3600.0);
        let expected = format!(
            "a change within {} h, it stayed for {} h",
            hours(rule.stuck_s),
            hours(seconds)
        );
        Example::new(times[run.first], Some(value), expected)
    });
    stuck.finding.count += run.rows - 1;
    if stuck.remembers {
        // Other values may stand between: missing ones, and such as another check has told.
        let same = (run.first + 1..=run.last).filter(|&row| values[row].to_bits() == run.bits);
        stuck.rows.extend(same);
    }
}

/// What is missing of a column, counted in steps from the first row to the last.
struct Missing {
    step: i64,
    present: usize,
    /// The time of the last value; at first a step before the first row.
    last: i64,
    /// Seconds, and where they start.
    longest: (i64, i64),
}

impl Missing {
    fn new(times: &[i64], step: Step) -> Self {
        let step = step.seconds();
        Self {
            step,
            present: 0,
            last: times.first().map_or(0, |first| first - step),
            longest: (0, 0),
        }
    }

    fn value_at(&mut self, time: i64) {
        self.gap_before(time);
        self.present += 1;
        self.last = time;
    }

    fn gap_before(&mut self, time: i64) {
        let length = time - self.last - self.step;
        if length > self.longest.0 {
            self.longest = (length, self.last + self.step);
        }
    }

    fn finding(mut self, times: &[i64], column: &Column, setting: &Setting<'_>) -> Finding {
        let params = setting.params;
        let mut finding =
            Finding::new(Check::Completeness, Some(&column.name), params.completeness);
        let (Some(&first), Some(&end)) = (times.first(), times.last()) else {
            return finding;
        };
        // Rows off the step may lie between; a column never has more values than steps.
        let steps = (((end - first) / self.step) as usize + 1).max(self.present);
        self.gap_before(end + self.step);
        let absent = steps - self.present;
        let share = absent as f64 / steps as f64;
        finding.measured = Some(share);
        if share > params.missing_share {
            finding.hit(|| Example {
                time: None,
                value: Some(share),
                expected: format!(
                    "a missing share of at most {}",
                    number(params.missing_share)
                ),
            });
        }
        let (length, start) = self.longest;
        let week = 7 * Step::DAY.seconds();
        let longest = params
            .longest_missing
            .map_or(week.max(6 * self.step), Step::seconds);
        if length > longest {
            finding.hit(|| {
                let hours = |seconds: i64| number(seconds as f64 / 3600.0);
                let (longest, length) = (hours(longest), hours(length));
                let expected = format!("at most {longest} h without a value, here {length} h");
                Example::new(start, None, expected)
            });
        }
        if finding.count > 0 {
            finding.count = absent;
        }
        finding.of(steps)
    }
}
