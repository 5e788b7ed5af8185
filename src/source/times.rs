//! Reads the times of a source's rows, one after another.
//!
//! The order matters in one case: when a clock is put back, the rows of an hour come twice, and
//! only their order tells which are which. So there is a reader for each run of rows in which time
//! goes one way: one for each series of a file, and for forecasts one for each issue.

use crate::params::{Ambiguous, Clock, Nonexistent, Notation, TimeFormat};
use crate::time::{DAY, Instants, Stamp, Step, format_utc, read_iso};

/// The years 1 to 9999.
const CALENDAR: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Why a text is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadTime {
    /// It is written otherwise.
    #[error("expected a time ({expected}), found `{found}`")]
    Unreadable {
        /// How it should be written.
        expected: String,
        /// The text.
        found: String,
    },
    /// The clock was put forward and never showed it.
    #[error("expected a time of {zone}, found `{found}`, which its clock skipped in spring")]
    Nonexistent {
        /// The zone.
        zone: &'static str,
        /// The text.
        found: String,
    },
    /// The clock was put back and showed it twice.
    #[error("expected one instant, found `{found}`, which the clock of {zone} showed twice")]
    Ambiguous {
        /// The zone.
        zone: &'static str,
        /// The text.
        found: String,
    },
}

/// Reads the times of one run of rows.
#[derive(Clone, Debug)]
pub(super) struct TimeReader<'a> {
    format: &'a TimeFormat,
    before: Order,
    /// The instant of the last row.
    last: Option<i64>,
    /// Rows with one time after another are of one instant.
    may_repeat: bool,
}

impl<'a> TimeReader<'a> {
    /// Of times that go on from row to row.
    pub(super) fn new(format: &'a TimeFormat) -> Self {
        Self {
            format,
            before: Order::default(),
            last: None,
            may_repeat: false,
        }
    }

    /// Of issue times, which many rows have in common.
    pub(super) fn of_issues(format: &'a TimeFormat) -> Self {
        Self {
            may_repeat: true,
            ..Self::new(format)
        }
    }

    /// Whether an instant may depend on the rows before.
    pub(super) fn heeds_order(&self) -> bool {
        matches!(
            self.format.clock,
            Clock::Zone {
                ambiguous: Ambiguous::Infer,
                ..
            }
        )
    }

    /// Goes over to another run of rows, of which this is known, and tells what is known of the one before.
    pub(super) fn change_run(&mut self, order: Order) -> Order {
        self.last = None;
        std::mem::replace(&mut self.before, order)
    }

    /// The instant of the next row, in seconds since 1970 UTC; none where the row is to be skipped.
    pub(super) fn read(&mut self, text: &str) -> Result<Option<i64>, BadTime> {
        let stamp = stamp(&self.format.notation, text)
            .filter(|stamp| CALENDAR.contains(&stamp.local))
            .ok_or_else(|| self.unreadable(text))?;
        self.place(stamp, || text.to_owned())
    }

    /// The same for a time that is no text.
    pub(super) fn read_stamp(&mut self, stamp: Stamp) -> Result<Option<i64>, BadTime> {
        if CALENDAR.contains(&stamp.local) {
            self.place(stamp, || format_utc(stamp.local))
        } else {
            Err(self.unreadable(&stamp.local.to_string()))
        }
    }

    fn place(
        &mut self,
        stamp: Stamp,
        found: impl FnOnce() -> String,
    ) -> Result<Option<i64>, BadTime> {
        let Some(offset) = stamp.offset else {
            return self.read_local(stamp.local, found);
        };
        self.last = Some(stamp.local - offset);
        Ok(self.last)
    }

    /// The same for a time that is already taken apart, in seconds since 1970 of the clock.
    pub(super) fn read_local(
        &mut self,
        local: i64,
        found: impl FnOnce() -> String,
    ) -> Result<Option<i64>, BadTime> {
        if self.may_repeat && self.before.last == Some(local) {
            return Ok(self.last);
        }
        let (zone, nonexistent, ambiguous) = match self.format.clock {
            Clock::Offset(offset) => {
                self.last = Some(local - offset);
                return Ok(self.last);
            }
            Clock::Zone {
                zone,
                nonexistent,
                ambiguous,
            } => (zone, nonexistent, ambiguous),
        };
        let instant = match zone.instant(local) {
            Instants::One(instant) => {
                // The hour that came twice is over, for this file or this part of it.
                self.before.twice = None;
                Some(instant)
            }
            Instants::None { shifted } => match nonexistent {
                Nonexistent::Shift => Some(shifted),
                Nonexistent::Skip => None,
                Nonexistent::Fail => {
                    return Err(BadTime::Nonexistent {
                        zone: zone.name(),
                        found: found(),
                    });
                }
            },
            Instants::Two { first, second } => {
                let is_second = match ambiguous {
                    Ambiguous::Infer => self.before.is_second(local),
                    Ambiguous::First => false,
                    Ambiguous::Last => true,
                    Ambiguous::Fail => {
                        return Err(BadTime::Ambiguous {
                            zone: zone.name(),
                            found: found(),
                        });
                    }
                };
                Some(if is_second { second } else { first })
            }
        };
        self.before.last = Some(local);
        self.last = instant;
        Ok(instant)
    }

    fn unreadable(&self, found: &str) -> BadTime {
        let expected = match &self.format.notation {
            Notation::Iso => "an ISO date and time",
            Notation::Pattern(pattern) => pattern.as_str(),
            Notation::UnixSeconds => "seconds since 1970",
            Notation::UnixMilliseconds => "milliseconds since 1970",
        };
        BadTime::Unreadable {
            expected: expected.to_owned(),
            found: found.to_owned(),
        }
    }
}

/// The end of what begins at an instant and lasts so long: days by the clock, whose days may have 23 or 25 hours.
pub(super) fn end_of(begin: i64, lasting: Step, clock: &Clock) -> i64 {
    let seconds = lasting.seconds();
    let Clock::Zone { zone, .. } = clock else {
        return begin + seconds;
    };
    if seconds % DAY != 0 {
        return begin + seconds;
    }
    match zone.instant(begin + zone.offset_at(begin) + seconds) {
        Instants::One(end) | Instants::None { shifted: end } => end,
        Instants::Two { first, .. } => first,
    }
}

fn stamp(notation: &Notation, text: &str) -> Option<Stamp> {
    match notation {
        Notation::Iso => read_iso(text),
        Notation::Pattern(pattern) => pattern.read(text.trim()),
        Notation::UnixSeconds => unix(text, 1),
        Notation::UnixMilliseconds => unix(text, 1000),
    }
}

/// Parts of a second are cut off, towards the past.
fn unix(text: &str, per_second: i64) -> Option<Stamp> {
    let text = text.trim();
    let seconds = if let Ok(number) = text.parse::<i64>() {
        number.div_euclid(per_second)
    } else {
        let number: f64 = text.parse().ok()?;
        let seconds = (number / per_second as f64).floor();
        // What a cast would bend is outside of the calendar anyway.
        (seconds.abs() < 1e15).then_some(seconds as i64)?
    };
    Some(Stamp {
        local: seconds,
        offset: Some(0),
    })
}

/// What the rows before say about an hour that comes twice.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    /// What the clock showed at the last row.
    last: Option<i64>,
    /// The last one within an hour that comes twice, and what is known of it.
    twice: Option<Twice>,
}

#[derive(Clone, Copy, Debug)]
struct Twice {
    last: i64,
    /// The file begins with its newest row.
    backwards: bool,
    repeated: bool,
}

impl Order {
    /// Whether a time that was shown twice stands in the second of the two hours.
    fn is_second(&mut self, local: i64) -> bool {
        let twice = match self.twice {
            // A clock is not put back twice within a day.
            Some(before) if (local - before.last).abs() < DAY => Twice {
                last: local,
                repeated: before.repeated
                    || if before.backwards {
                        local >= before.last
                    } else {
                        local <= before.last
                    },
                ..before
            },
            _ => Twice {
                last: local,
                backwards: self.last.is_some_and(|last| last > local),
                repeated: false,
            },
        };
        self.twice = Some(twice);
        twice.repeated != twice.backwards
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::{Pattern, Zone};

    const HOUR: i64 = 3600;

    #[test]
    fn what_lasts_a_day_ends_with_the_day_of_the_clock() {
        let clock = berlin(Nonexistent::Fail, Ambiguous::Infer).clock;
        let end = |begin: &str, lasting: &str, clock: &Clock| {
            let begin = read_iso(begin).unwrap().local;
            format_utc(end_of(begin, lasting.parse().unwrap(), clock))
        };
        // Midnight to midnight there, when the clock is put forward and back.
        let spring = end("2023-03-25T23:00:00", "1d", &clock);
        assert_eq!(spring, "2023-03-26T22:00:00Z");
        let autumn = end("2023-10-28T22:00:00", "1d", &clock);
        assert_eq!(autumn, "2023-10-29T23:00:00Z");
        let hour = end("2023-10-29T00:00:00", "1h", &clock);
        assert_eq!(hour, "2023-10-29T01:00:00Z");
        let fixed = end("2023-03-25T23:00:00", "1d", &Clock::Offset(3600));
        assert_eq!(fixed, "2023-03-26T23:00:00Z");
    }

    fn berlin(nonexistent: Nonexistent, ambiguous: Ambiguous) -> TimeFormat {
        TimeFormat {
            notation: Notation::Iso,
            clock: Clock::Zone {
                zone: Zone::find("Europe/Berlin").unwrap(),
                nonexistent,
                ambiguous,
            },
        }
    }

    fn hours(format: &TimeFormat, texts: &[&str]) -> Vec<String> {
        let mut reader = TimeReader::new(format);
        let mut told = Vec::new();
        for text in texts {
            told.push(match reader.read(text) {
                Ok(Some(time)) => format_utc(time)[11..16].to_owned(),
                Ok(None) => "skipped".to_owned(),
                Err(error) => error.to_string(),
            });
        }
        told
    }

    #[test]
    fn the_hour_that_comes_twice_is_told_by_the_order_of_rows() {
        let autumn = [
            "2020-10-25 01:30",
            "2020-10-25 02:00",
            "2020-10-25 02:30",
            "2020-10-25 02:00",
            "2020-10-25 02:30",
            "2020-10-25 03:00",
        ];
        let read = |ambiguous, texts: &[&str]| hours(&berlin(Nonexistent::Fail, ambiguous), texts);
        let whole = ["23:30", "00:00", "00:30", "01:00", "01:30", "02:00"];
        assert_eq!(read(Ambiguous::Infer, &autumn), whole);
        let backwards: Vec<&str> = autumn.into_iter().rev().collect();
        let mut told = read(Ambiguous::Infer, &backwards);
        told.reverse();
        assert_eq!(told, whole);
        // A gap in the first of the two hours.
        assert_eq!(
            read(
                Ambiguous::Infer,
                &["2020-10-25 02:30", "2020-10-25 02:10", "2020-10-25 02:40"]
            ),
            ["00:30", "01:10", "01:40"]
        );
        // The next year is another hour.
        let years = ["2020-10-25 02:00", "2020-10-25 02:00", "2021-10-31 02:00"];
        assert_eq!(read(Ambiguous::Infer, &years), ["00:00", "01:00", "00:00"]);
        let once = ["2020-10-25 02:00"];
        assert_eq!(read(Ambiguous::First, &once), ["00:00"]);
        assert_eq!(read(Ambiguous::Last, &once), ["01:00"]);
        let told = &read(Ambiguous::Fail, &once)[0];
        assert!(
            told.contains("showed twice") && told.contains("Europe/Berlin"),
            "{told}"
        );
        // Rows of one issue have one time.
        let format = berlin(Nonexistent::Fail, Ambiguous::Infer);
        let mut issues = TimeReader::of_issues(&format);
        let texts = [autumn[1], autumn[1], autumn[2], autumn[1], autumn[1]];
        let found = texts.map(|text| issues.read(text).unwrap().unwrap() % 86_400 / 1800);
        assert_eq!(found, [0, 0, 1, 2, 2]);
        // A text that names its offset is taken at its word.
        let own = ["2020-10-25T02:00:00+01:00", "2020-10-25T02:00:00+02:00"];
        assert_eq!(read(Ambiguous::Fail, &own), ["01:00", "00:00"]);
    }

    #[test]
    fn the_hour_that_is_skipped_is_refused_shifted_or_left_out() {
        let spring = ["2020-03-29 01:30", "2020-03-29 02:30", "2020-03-29 03:00"];
        let read = |nonexistent| hours(&berlin(nonexistent, Ambiguous::Infer), &spring);
        assert_eq!(read(Nonexistent::Shift), ["00:30", "01:30", "01:00"]);
        assert_eq!(read(Nonexistent::Skip), ["00:30", "skipped", "01:00"]);
        let told = &read(Nonexistent::Fail)[1];
        assert!(
            told.contains("`2020-03-29 02:30`") && told.contains("skipped"),
            "{told}"
        );
    }

    #[test]
    fn numbers_and_patterns() {
        let read = |notation, text: &str| {
            let clock = Clock::Offset(3600);
            let format = TimeFormat { notation, clock };
            TimeReader::new(&format)
                .read(text)
                .map_err(|error| error.to_string())
        };
        assert_eq!(read(Notation::UnixSeconds, " 7200"), Ok(Some(7200)));
        assert_eq!(
            read(Notation::UnixSeconds, "1.6e9"),
            Ok(Some(1_600_000_000))
        );
        assert_eq!(read(Notation::UnixMilliseconds, "-1"), Ok(Some(-1)));
        let pattern = Notation::Pattern(Box::new(Pattern::new("%Y%m%d%H").unwrap()));
        assert_eq!(read(pattern.clone(), "1970010102"), Ok(Some(HOUR)));
        let told = read(pattern, "later").unwrap_err();
        assert_eq!(told, "expected a time (%Y%m%d%H), found `later`");
        for text in ["1e300", "nan", "99999999999999", "", "-1e18"] {
            assert!(read(Notation::UnixSeconds, text).is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Whatever the zone and the step: rows in order are read as what they were.
        #[test]
        fn a_whole_file_in_local_time_is_read_back(
            zone in prop::sample::select(vec![
                "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana",
                "Asia/Shanghai", "Africa/Casablanca", "Asia/Tehran",
            ]),
            start in 0..1_700_000_000_i64,
            step in prop::sample::select(vec![600, 1200, 1800]),
            backwards: bool,
        ) {
            let zone = Zone::find(zone).unwrap();
            let format = TimeFormat {
                notation: Notation::Iso,
                clock: Clock::Zone { zone, nonexistent: Nonexistent::Fail, ambiguous: Ambiguous::Infer },
            };
            // Not from within an hour that comes twice: nothing would tell which one it is.
            let first = (0..).map(|i| (start / step + i) * step);
            let once = |utc: &i64| matches!(zone.instant(utc + zone.offset_at(*utc)), Instants::One(_));
            let first = first.into_iter().find(once).unwrap_or(0);
            let mut times: Vec<i64> = (0..20_000).map(|i| first + i * step).collect();
            while !once(times.last().unwrap_or(&0)) {
                times.pop();
            }
            if backwards {
                times.reverse();
            }
            let mut reader = TimeReader::new(&format);
            for utc in times {
                let local = utc + zone.offset_at(utc);
                prop_assert_eq!(reader.read_local(local, || format_utc(utc)), Ok(Some(utc)));
            }
        }
    }
}
