//! How a time is written, read fast: the plain forms of a fixed width are read by hand, everything
//! else by chrono. Both must agree wherever both can read; tests hold that.

use chrono::format::{Item, Numeric, Parsed, StrftimeItems, parse};
use chrono::{DateTime, NaiveDate, NaiveTime};

use super::DAY;

/// Days from the year 1 to 1970.
const EPOCH_DAY: i64 = 719_163;

/// A time as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Seconds since 1970-01-01T00:00:00 of the clock that showed it.
    pub local: i64,
    /// Seconds of that clock east of Greenwich, where the text names them (`Z`, `+02:00`).
    pub offset: Option<i64>,
}

impl Stamp {
    fn on(date: NaiveDate, second_of_day: i64, offset: Option<i64>) -> Self {
        let day = i64::from(chrono::Datelike::num_days_from_ce(&date)) - EPOCH_DAY;
        let local = day * DAY + second_of_day;
        Self { local, offset }
    }
}

/// A time by its fields; `None` where there is no such day or time. Hour 24 is the next midnight.
pub fn local_seconds(
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
) -> Option<i64> {
    let small = |value: i64| u32::try_from(value).ok();
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, small(month)?, small(day)?)?;
    let second_of_day = hour * 3600 + minute * 60 + second;
    let within = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second);
    (within || (hour == 24 && second_of_day == DAY))
        .then(|| Stamp::on(date, second_of_day, None).local)
}

/// A notation in strftime's words, understood once.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    text: String,
    items: Vec<Item<'static>>,
    /// The same, where every field has a fixed width.
    fixed: Option<Vec<Field>>,
    /// A literal Z is a letter to chrono; to a person it means UTC.
    is_utc: bool,
}

/// A field of a fixed width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Byte(u8),
}

impl Pattern {
    /// From strftime's notation; `None` where chrono does not know it or it names no day.
    pub fn new(text: &str) -> Option<Self> {
        let items = StrftimeItems::new(text).parse_to_owned().ok()?;
        let pattern = Self {
            text: text.to_owned(),
            fixed: fixed(&items),
            items,
            is_utc: text.ends_with('Z') && !text.ends_with("%Z"),
        };
        // What it writes it must be able to read; `%H:%M` alone, say, names no day.
        let example = DateTime::from_timestamp(86_399, 0)?;
        let written = example.format_with_items(pattern.items.iter()).to_string();
        pattern.read(&written).map(|_| pattern)
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Reads a time. A part that the notation does not name is its first one: January's is the
    /// first day, that of a day midnight.
    pub fn read(&self, text: &str) -> Option<Stamp> {
        let stamp = match &self.fixed {
            Some(fields) => read_fixed(fields, text.as_bytes()).or_else(|| self.read_slowly(text)),
            None => self.read_slowly(text),
        }?;
        let offset = stamp.offset.or(self.is_utc.then_some(0));
        Some(Stamp { offset, ..stamp })
    }

    fn read_slowly(&self, text: &str) -> Option<Stamp> {
        let mut parsed = Parsed::new();
        parse(&mut parsed, text, self.items.iter()).ok()?;
        complete(&mut parsed)?;
        let offset = parsed.offset();
        let time = parsed
            .to_naive_datetime_with_offset(offset.unwrap_or(0))
            .ok()?;
        // `%s` is an instant, whatever clock is near.
        let offset = offset.or(parsed.timestamp().map(|_| 0));
        Some(Stamp {
            local: time.and_utc().timestamp(),
            offset: offset.map(i64::from),
        })
    }
}

/// Adds the first day, hour 0, minute 0, where the text named what is above them only.
fn complete(parsed: &mut Parsed) -> Option<()> {
    if parsed.timestamp().is_some() {
        return Some(());
    }
    if parsed.month().is_some() && parsed.day().is_none() {
        parsed.set_day(1).ok()?;
    }
    if parsed.hour_mod_12().is_none() {
        parsed.set_hour(0).ok()?;
    }
    if parsed.minute().is_none() {
        parsed.set_minute(0).ok()?;
    }
    Some(())
}

fn fixed(items: &[Item<'static>]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    for item in items {
        match item {
            Item::Numeric(Numeric::Year, _) => fields.push(Field::Year),
            Item::Numeric(Numeric::Month, _) => fields.push(Field::Month),
            Item::Numeric(Numeric::Day, _) => fields.push(Field::Day),
            Item::Numeric(Numeric::Hour, _) => fields.push(Field::Hour),
            Item::Numeric(Numeric::Minute, _) => fields.push(Field::Minute),
            Item::Numeric(Numeric::Second, _) => fields.push(Field::Second),
            Item::Literal(text) | Item::Space(text) => fields.extend(text.bytes().map(Field::Byte)),
            Item::OwnedLiteral(text) | Item::OwnedSpace(text) => {
                fields.extend(text.bytes().map(Field::Byte));
            }
            _ => return None,
        }
    }
    let once = |field| fields.iter().filter(|other| **other == field).count() == 1;
    let at_most_once = |field| fields.iter().filter(|other| **other == field).count() <= 1;
    let times = [Field::Day, Field::Hour, Field::Minute, Field::Second];
    (once(Field::Year) && once(Field::Month) && times.into_iter().all(at_most_once))
        .then_some(fields)
}

fn read_fixed(fields: &[Field], text: &[u8]) -> Option<Stamp> {
    let (mut year, mut month, mut day) = (0, 0, 1);
    let mut second_of_day = 0;
    let mut at = 0;
    for field in fields {
        match field {
            Field::Byte(byte) => {
                if text.get(at) != Some(byte) {
                    return None;
                }
                at += 1;
                continue;
            }
            Field::Year => {
                year = i32::from(two(text, at)?) * 100 + i32::from(two(text, at + 2)?);
                at += 2;
            }
            Field::Month => month = two(text, at)?,
            Field::Day => day = two(text, at)?,
            Field::Hour => second_of_day += 3600 * i64::from(below(two(text, at)?, 24)?),
            Field::Minute => second_of_day += 60 * i64::from(below(two(text, at)?, 60)?),
            Field::Second => second_of_day += i64::from(below(two(text, at)?, 60)?),
        }
        at += 2;
    }
    if at != text.len() {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(year, u32::from(month), u32::from(day))?;
    Some(Stamp::on(date, second_of_day, None))
}

fn two(text: &[u8], at: usize) -> Option<u8> {
    match text.get(at..at + 2)? {
        &[a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some((a - b'0') * 10 + (b - b'0')),
        _ => None,
    }
}

fn below(value: u8, end: u8) -> Option<u8> {
    (value < end).then_some(value)
}

/// Reads `YYYY-MM-DD`, with `[T ]HH:MM[:SS[.fff]]` and an offset (`Z`, `±HH:MM`, `±HHMM`) or
/// without, and the other forms that are tried where a source names none. Parts of a second are
/// cut off.
pub fn read_iso(text: &str) -> Option<Stamp> {
    let text = text.trim();
    read_iso_by_hand(text.as_bytes()).or_else(|| read_iso_by_chrono(text))
}

fn read_iso_by_hand(text: &[u8]) -> Option<Stamp> {
    let year = i32::from(two(text, 0)?) * 100 + i32::from(two(text, 2)?);
    let (month, day) = (two(text, 5)?, two(text, 8)?);
    if text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(year, u32::from(month), u32::from(day))?;
    let Some(separator) = text.get(10) else {
        return Some(Stamp::on(date, 0, None));
    };
    let (hour, minute) = (below(two(text, 11)?, 24)?, below(two(text, 14)?, 60)?);
    if !matches!(separator, b'T' | b' ') || text[13] != b':' {
        return None;
    }
    let mut at = 16;
    let mut second = 0;
    if text.get(at) == Some(&b':') {
        second = below(two(text, at + 1)?, 60)?;
        at += 3;
        if text.get(at) == Some(&b'.') {
            let digits = text[at + 1..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit());
            match digits.count() {
                0 => return None,
                digits => at += 1 + digits,
            }
        }
    }
    let second_of_day = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    Some(Stamp::on(date, second_of_day, offset(&text[at..])?))
}

/// An offset at the end of a text, or none: the outer `None` is an end that is no offset.
#[expect(
    clippy::option_option,
    reason = "it may be absent, and it may be wrong"
)]
fn offset(text: &[u8]) -> Option<Option<i64>> {
    let (sign, rest) = match text {
        [] => return Some(None),
        [b'Z'] => return Some(Some(0)),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let minutes_at = match rest {
        [_, _, b':', _, _] => 3,
        [_, _, _, _] => 2,
        _ => return None,
    };
    let hours = i64::from(below(two(rest, 0)?, 24)?);
    let minutes = i64::from(below(two(rest, minutes_at)?, 60)?);
    Some(Some(sign * (hours * 3600 + minutes * 60)))
}

/// The forms tried, in this order.
const FORMATS: [&str; 6] = [
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%Y-%m-%d",
];

fn read_iso_by_chrono(text: &str) -> Option<Stamp> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        let offset = i64::from(time.offset().local_minus_utc());
        return Some(Stamp {
            local: time.timestamp() + offset,
            offset: Some(offset),
        });
    }
    let (local, offset) = match text.strip_suffix('Z') {
        Some(rest) => (rest, Some(0)),
        None => (text, None),
    };
    FORMATS.iter().find_map(|format| {
        if let Ok(time) = chrono::NaiveDateTime::parse_from_str(local, format) {
            let local = time.and_utc().timestamp();
            return Some(Stamp { local, offset });
        }
        if let Ok(time) = DateTime::parse_from_str(text, &format!("{format}%z")) {
            let offset = i64::from(time.offset().local_minus_utc());
            return Some(Stamp {
                local: time.timestamp() + offset,
                offset: Some(offset),
            });
        }
        let date = NaiveDate::parse_from_str(local, format).ok()?;
        let local = date.and_time(NaiveTime::MIN).and_utc().timestamp();
        Some(Stamp { local, offset })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(local: i64) -> Stamp {
        let offset = None;
        Stamp { local, offset }
    }

    #[test]
    fn parts_that_are_not_named_are_the_first() {
        let read = |format: &str, text: &str| Pattern::new(format).unwrap().read(text);
        // 2009-07-01 was day 14426.
        assert_eq!(
            read("%Y%m%d%H", "2009070107"),
            Some(at(14_426 * DAY + 7 * 3600))
        );
        assert_eq!(read("%Y-%m", "2009-07"), Some(at(14_426 * DAY)));
        assert_eq!(
            read("%Y%m%d %H:%M", "20090701 1:05"),
            Some(at(14_426 * DAY + 3900))
        );
        assert_eq!(read("%d.%m.%y", "1.7.09"), Some(at(14_426 * DAY)));
        assert_eq!(
            read("%d %b %Y %I:%M %p", "1 Jul 2009 1:05 PM"),
            Some(at(14_426 * DAY + 47_100))
        );
        let utc = Stamp {
            local: 5,
            offset: Some(0),
        };
        assert_eq!(read("%s", "5"), Some(utc));
        assert_eq!(
            read("%Y-%m-%dT%H:%M:%SZ", "1970-01-01T00:00:05Z"),
            Some(utc)
        );
        assert_eq!(read("%Y-%m-%d", "2009-02-29"), None);
        assert_eq!(read("%Y%m%d%H", "200907010"), Some(at(14_426 * DAY)));
        for wrong in ["%Q", "%H:%M", "", "time", "%"] {
            assert_eq!(Pattern::new(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn fields_make_a_time() {
        assert_eq!(local_seconds(1970, 1, 2, 0, 0, 0), Some(DAY));
        assert_eq!(local_seconds(1970, 1, 1, 24, 0, 0), Some(DAY));
        for (month, day, hour, minute) in [
            (2, 29, 0, 0),
            (13, 1, 0, 0),
            (1, 1, 24, 1),
            (1, 1, 0, -1),
            (1, 1, 25, 0),
        ] {
            assert_eq!(local_seconds(1970, month, day, hour, minute, 0), None);
        }
        assert_eq!(local_seconds(1 << 40, 1, 1, 0, 0, 0), None);
    }

    /// Texts that are nearly times.
    fn nearly() -> impl Strategy<Value = String> {
        let time = (
            1_900..2_100_u32,
            0..14_u32,
            0..33_u32,
            0..26_u32,
            0..62_u32,
            0..62_u32,
            "[T t]",
        );
        let end = "(|Z|[+-][0-2][0-9]:[0-6][0-9]|[+-][0-9]{4}|\\.[0-9]{0,3}Z?| |[0-9:])";
        let whole =
            (time, end, 0..5_usize).prop_map(|((y, mo, d, h, mi, s, t), end, form)| match form {
                0 => format!("{y}-{mo:02}-{d:02}{end}"),
                1 => format!("{y}-{mo:02}-{d:02}{t}{h:02}:{mi:02}{end}"),
                2 => format!("{y}-{mo}-{d}{t}{h}:{mi:02}:{s}{end}"),
                _ => format!("{y}-{mo:02}-{d:02}{t}{h:02}:{mi:02}:{s:02}{end}"),
            });
        prop_oneof![4 => whole, 1 => "[0-9T :.Z+-]{0,26}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn by_hand_is_as_by_chrono(text in nearly()) {
            if let Some(stamp) = read_iso_by_hand(text.as_bytes()) {
                prop_assert_eq!(read_iso_by_chrono(&text), Some(stamp), "{}", text);
            }
        }

        #[test]
        fn fixed_widths_are_as_by_chrono(
            time in 0..4_102_444_800_i64,
            format in prop::sample::select(vec![
                "%Y%m%d%H", "%Y-%m-%d %H:%M:%S", "%d/%m/%Y %H:%M", "%Y%m%d", "%F %T", "%Y-%m",
                "%Y%m%d %H:%M", "%d.%m.%Y %H:%M:%S",
            ]),
            cut in 0..40_usize,
            put in prop::option::of("[0-9 :./-]"),
        ) {
            let pattern = Pattern::new(format).unwrap();
            prop_assert!(pattern.fixed.is_some());
            let mut text = DateTime::from_timestamp(time, 0).unwrap().format(format).to_string();
            if let (Some(put), true) = (put, cut < text.len()) {
                text.replace_range(cut..=cut, &put);
            }
            let fields = pattern.fixed.as_ref().unwrap();
            if let Some(stamp) = read_fixed(fields, text.as_bytes()) {
                prop_assert_eq!(pattern.read_slowly(&text), Some(stamp), "{}", text);
            } else {
                prop_assert!(cut < text.len());
            }
        }

        #[test]
        fn no_text_is_a_panic(text in "\\PC{0,30}") {
            let _ = (read_iso(&text), Pattern::new(&text));
        }
    }
}
