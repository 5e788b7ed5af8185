//! All checks on the values of one column, in one pass over it.

use std::ops::Range;

use super::super::{Column, Table};
use super::groups::Group;
use super::report::{Check, Example, Finding, number};
use super::tally::Tally;
use super::{Setting, quantity};
use crate::decimals::shown_unit;
use crate::params::{Action, QualityParams, Quantity};
use crate::time::Step;

/// So many equal values at least make a stuck sensor: on a long step a few are chance.
const STUCK_ROWS: usize = 12;

/// Numbers that loggers, archives and formats are known to write for "no value". The last one is
/// the fill value of netCDF.
const SENTINELS: [f64; 14] = [
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

/// Whether a number is one of those that are known to stand for "no value", as far as single precision tells: files
/// often passed it.
pub fn is_sentinel(number: f64) -> bool {
    SENTINELS.iter().any(|&sentinel| is_like(number, sentinel))
}

fn is_like(number: f64, sentinel: f64) -> bool {
    (number - sentinel).abs() <= 1e-7 * sentinel.abs()
}

/// What is believed of one column.
#[derive(Clone, Debug)]
pub(super) struct ColumnRule {
    pub(super) quantity: Quantity,
    unit: String,
    min: f64,
    max: f64,
    sentinels: Sentinels,
    /// A value in the range is no sentinel if its size is below this.
    ordinary: f64,
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

    /// Below which size a value between these two is none of them.
    fn size_within(&self, min: f64, max: f64) -> f64 {
        let reaches = |s: &f64| {
            let near = 1e-7 * s.abs();
            s + near >= min && s - near <= max
        };
        if self.values.iter().any(reaches) {
            self.least
        } else {
            f64::INFINITY
        }
    }

    /// Whether a value is one of them, as far as single precision tells.
    fn hold(&self, value: f64) -> bool {
        value.abs() >= self.least && self.values.iter().any(|&s| is_like(value, s))
    }
}

impl ColumnRule {
    pub(super) fn new(column: &Column, params: &QualityParams, step: Step) -> Self {
        let own = params
            .columns
            .get(&column.name)
            .cloned()
            .unwrap_or_default();
        let quantity = quantity::quantity_of(column, params);
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
        let sentinels = match on_sentinels {
            Action::Off => Sentinels::new(Vec::new()),
            _ => match &params.sentinel_values {
                Some(values) => Sentinels::new(values.clone()),
                None => Sentinels::outside(&SENTINELS, min, max),
            },
        };
        Self {
            quantity,
            unit: column.unit.clone(),
            min,
            max,
            ordinary: sentinels.size_within(min, max),
            sentinels,
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

    /// Whether a value is believed at the first glance. One that is not may still be.
    #[inline]
    fn is_ordinary(&self, value: f64) -> bool {
        value.abs() < self.ordinary && value >= self.min && value <= self.max
    }

    fn has_range(&self) -> bool {
        self.min.is_finite() || self.max.is_finite()
    }

    /// `-90 to 60 °C`.
    fn range(&self) -> String {
        let unit = shown_unit(&self.unit).map_or_else(String::new, |unit| format!(" {unit}"));
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

impl Outcome {
    /// Takes over what one check found, where it had a limit to check against.
    fn take(&mut self, tally: Tally<'_>, has_limit: bool, all: usize) {
        let (finding, rows) = tally.finish(all);
        let (check, action) = (finding.check, finding.action);
        if has_limit && action != Action::Off {
            self.findings.push(finding);
        }
        match action {
            Action::Mask => self.masks.extend(rows),
            Action::Drop => self.drops.extend(rows.into_iter().map(|row| (row, check))),
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

/// The checks on single values, on changes and on what is missing. The rows must be in order.
pub(super) fn check(
    table: &Table,
    groups: &[Group<'_>],
    column: &Column,
    rule: &ColumnRule,
    setting: &Setting<'_>,
) -> Outcome {
    let tally = |check, action| Tally::new(table, check, Some(&column.name), action);
    let mut pass = Pass {
        table,
        values: &column.values,
        rule,
        sentinels: tally(Check::Sentinels, rule.on_sentinels),
        range: tally(Check::Range, rule.on_range),
        spikes: tally(Check::Spikes, rule.on_spikes),
        stuck: tally(Check::Stuck, rule.on_stuck),
    };
    let mut constant = tally(Check::Constant, setting.params.constant);
    let mut completeness = tally(Check::Completeness, setting.params.completeness);
    let mut steps = Steps::default();
    for group in groups {
        let mut span = Span::default();
        let mut missing = Missing::new(setting.step);
        for strand in group.strands() {
            pass.over(strand, &mut span, &mut missing);
        }
        if span.count > 1 && span.least.to_bits() == span.greatest.to_bits() {
            constant.count(group.rows.start, span.count);
            constant.show(|| Example::of_group(table, group, span.least, "values that change"));
        }
        steps.add(missing.tell(&mut completeness, table, group, setting.params));
    }
    if steps.all > 0 {
        completeness.measure(steps.absent as f64 / steps.all as f64);
    }
    let mut outcome = Outcome {
        findings: Vec::new(),
        masks: Vec::new(),
        drops: Vec::new(),
    };
    let rows = column.values.len();
    outcome.take(pass.sentinels, true, rows);
    outcome.take(pass.range, rule.has_range(), rows);
    outcome.take(pass.spikes, rule.change.is_some(), rows);
    outcome.take(pass.stuck, rule.stuck_s < i64::MAX, rows);
    outcome.take(completeness, true, steps.all);
    outcome.take(constant, true, rows);
    outcome
}

/// The values that are believed of one series.
#[derive(Clone, Copy)]
struct Span {
    count: usize,
    least: f64,
    greatest: f64,
}

impl Default for Span {
    fn default() -> Self {
        Self {
            count: 0,
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
        }
    }
}

/// What goes over the values of a column, and what it finds on the way.
struct Pass<'a> {
    table: &'a Table,
    values: &'a [f64],
    rule: &'a ColumnRule,
    sentinels: Tally<'a>,
    range: Tally<'a>,
    spikes: Tally<'a>,
    stuck: Tally<'a>,
}

impl Pass<'_> {
    /// Over rows that follow each other in time.
    fn over(&mut self, rows: Range<usize>, span: &mut Span, missing: &mut Missing) {
        // What changes with every value lives in registers, and nowhere else.
        let (mut believed, mut gaps) = (*span, *missing);
        let (table, rule) = (self.table, self.rule);
        let times = &table.times()[rows.clone()];
        let values = &self.values[rows.clone()];
        let mut changes = Changes::new(rule);
        let mut run: Option<Run> = None;
        gaps.begin(times);
        for ((row, &time), &value) in rows.zip(times).zip(values) {
            if !rule.is_ordinary(value) {
                if value.is_nan() {
                    continue;
                }
                if rule.sentinels.hold(value) {
                    let found = || Example::at(table, row, Some(value), "a measured value");
                    self.sentinels.hit(row, found);
                    continue;
                }
                if value < rule.min || value > rule.max {
                    gaps.value_at(time);
                    if rule.on_range != Action::Off {
                        let found = || Example::at(table, row, Some(value), rule.range());
                        self.range.hit(row, found);
                    }
                    continue;
                }
            }
            gaps.value_at(time);
            believed.count += 1;
            believed.least = believed.least.min(value);
            believed.greatest = believed.greatest.max(value);
            if let Some((before, allowed)) = changes.too_large(time, value) {
                self.spikes.hit(row, || {
                    let (allowed, before) = (number(allowed), number(before));
                    let expected = format!("within {allowed} of {before} before it");
                    Example::at(table, row, Some(value), expected)
                });
                continue;
            }
            if let Some(ended) = Run::go_on(&mut run, row, value) {
                self.tell_stuck(ended);
            }
        }
        if let Some(ended) = run {
            self.tell_stuck(ended);
        }
        gaps.end(times);
        (*span, *missing) = (believed, gaps);
    }

    /// Counts every row of a run that is too long; one example a run.
    #[inline]
    fn tell_stuck(&mut self, run: Run) {
        // Nearly always, and so before anything else.
        if run.rows < STUCK_ROWS {
            return;
        }
        self.tell_long_run(run);
    }

    #[inline(never)]
    fn tell_long_run(&mut self, run: Run) {
        let (table, rule) = (self.table, self.rule);
        let seconds = table.times()[run.last] - table.times()[run.first];
        let value = f64::from_bits(run.bits);
        let rests = rule.resting.contains(&value);
        if seconds < rule.stuck_s || rests || rule.on_stuck == Action::Off {
            return;
        }
        self.stuck.count(run.first, run.rows);
        self.stuck.show(|| {
            let hours = |seconds: i64| number(seconds as f64 / 3600.0);
            let expected = format!(
                "a change within {} h, it stayed for {} h",
                hours(rule.stuck_s),
                hours(seconds)
            );
            Example::at(table, run.first, Some(value), expected)
        });
        if self.stuck.remembers() {
            // Other values may stand between: missing ones, and such as another check has told.
            (run.first..=run.last)
                .filter(|&row| self.values[row].to_bits() == run.bits)
                .for_each(|row| self.stuck.remember(row));
        }
    }
}

/// Steps of series from their first row to their last.
#[derive(Clone, Copy, Default)]
struct Steps {
    all: usize,
    /// Those without a value.
    absent: usize,
}

impl Steps {
    fn add(&mut self, other: Self) {
        self.all += other.all;
        self.absent += other.absent;
    }
}

/// What is missing of a column in one series, counted in steps from the first row to the last; of
/// forecasts from the first row of an issue to its last.
#[derive(Clone, Copy)]
struct Missing {
    step: i64,
    /// The steps of the strands that have ended.
    steps: Steps,
    /// Values of the strand that is looked at.
    present: usize,
    /// The time of the last value; at first a step before the first row.
    last: i64,
    /// Seconds, and where they start.
    longest: (i64, i64),
}

impl Missing {
    fn new(step: Step) -> Self {
        Self {
            step: step.seconds(),
            steps: Steps::default(),
            present: 0,
            last: 0,
            longest: (0, 0),
        }
    }

    fn begin(&mut self, times: &[i64]) {
        self.present = 0;
        self.last = times.first().map_or(0, |first| first - self.step);
    }

    #[inline]
    fn value_at(&mut self, time: i64) {
        self.gap_before(time);
        self.present += 1;
        self.last = time;
    }

    #[inline]
    fn gap_before(&mut self, time: i64) {
        let length = time - self.last - self.step;
        if length > self.longest.0 {
            self.longest = (length, self.last + self.step);
        }
    }

    fn end(&mut self, times: &[i64]) {
        let (Some(&first), Some(&end)) = (times.first(), times.last()) else {
            return;
        };
        self.gap_before(end + self.step);
        // Rows off the step may lie between; a column never has more values than steps.
        let steps = (((end - first) / self.step) as usize + 1).max(self.present);
        self.steps.add(Steps {
            all: steps,
            absent: steps - self.present,
        });
    }

    /// Tells where too much is missing, or for too long.
    fn tell(
        self,
        tally: &mut Tally<'_>,
        table: &Table,
        group: &Group<'_>,
        params: &QualityParams,
    ) -> Steps {
        let Steps { all, absent } = self.steps;
        if all == 0 {
            return self.steps;
        }
        let share = absent as f64 / all as f64;
        let too_much = share > params.missing_share;
        if too_much {
            tally.show(|| {
                let most = number(params.missing_share);
                let expected = format!("a missing share of at most {most}");
                Example::of_group(table, group, share, expected)
            });
        }
        let (length, start) = self.longest;
        let week = 7 * Step::DAY.seconds();
        let longest = params
            .longest_missing
            .map_or(week.max(6 * self.step), Step::seconds);
        let too_long = length > longest;
        if too_long {
            tally.show(|| {
                let hours = |seconds: i64| number(seconds as f64 / 3600.0);
                let (longest, length) = (hours(longest), hours(length));
                let expected = format!("at most {longest} h without a value, here {length} h");
                Example::of_group_at(table, group, start, expected)
            });
        }
        if too_much || too_long {
            tally.count(group.rows.start, absent);
        }
        self.steps
    }
}
