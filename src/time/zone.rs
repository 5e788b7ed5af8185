//! Time zones with the rules of their clocks, from the IANA data base that comes with chrono-tz.

use chrono::{DateTime, MappedLocalTime, Offset as _, TimeZone as _};
use chrono_tz::{GapInfo, Tz};
use serde::{Deserialize, Serialize};

/// A zone such as `Europe/Berlin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(Tz);

/// What a time on a zone's clock is in UTC, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instants {
    /// One instant.
    One(i64),
    /// The clock was put back and showed it twice.
    Two {
        /// The first time that it was shown.
        first: i64,
        /// The second time.
        second: i64,
    },
    /// The clock was put forward and never showed it.
    None {
        /// The instant as if the clock had not been put forward.
        shifted: i64,
    },
}

impl Serialize for Zone {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::find(&name).ok_or_else(|| {
            let expected = "a time zone that this version knows, such as Europe/Berlin";
            serde::de::Error::custom(format!("expected {expected}, found `{name}`"))
        })
    }
}

impl Zone {
    /// By its name in the IANA data base.
    pub fn find(name: &str) -> Option<Self> {
        name.parse().ok().map(Self)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Seconds of its clock east of Greenwich at an instant.
    pub fn offset_at(self, utc: i64) -> i64 {
        let time = DateTime::from_timestamp(utc, 0).unwrap_or_default();
        let offset = self.0.offset_from_utc_datetime(&time.naive_utc());
        i64::from(offset.fix().local_minus_utc())
    }

    /// The instant at which its clock shows a time.
    pub fn instant(self, local: i64) -> Instants {
        let Some(time) = DateTime::from_timestamp(local, 0).map(|time| time.naive_utc()) else {
            // Outside of any calendar no clock is put forward.
            return Instants::One(local);
        };
        let seconds =
            |offset: &<Tz as chrono::TimeZone>::Offset| i64::from(offset.fix().local_minus_utc());
        match self.0.offset_from_local_datetime(&time) {
            MappedLocalTime::Single(offset) => Instants::One(local - seconds(&offset)),
            MappedLocalTime::Ambiguous(one, other) => {
                let (one, other) = (local - seconds(&one), local - seconds(&other));
                Instants::Two {
                    first: one.min(other),
                    second: one.max(other),
                }
            }
            MappedLocalTime::None => {
                let before = GapInfo::new(&time, &self.0).and_then(|gap| gap.begin);
                let offset = before.map_or(0, |(_, offset)| seconds(&offset));
                Instants::None {
                    shifted: local - offset,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3600;

    #[test]
    fn clocks_of_berlin_and_shanghai() {
        let berlin = Zone::find("Europe/Berlin").unwrap();
        // 2020-03-29T01:00Z and 2020-10-25T01:00Z.
        let (spring, autumn) = (1_585_443_600, 1_603_587_600);
        assert_eq!(berlin.instant(spring + HOUR - 1), Instants::One(spring - 1));
        assert_eq!(
            berlin.instant(spring + HOUR),
            Instants::None { shifted: spring }
        );
        assert_eq!(berlin.instant(spring + 2 * HOUR), Instants::One(spring));
        let (first, second) = (autumn - HOUR, autumn);
        assert_eq!(
            berlin.instant(autumn + HOUR),
            Instants::Two { first, second }
        );
        assert_eq!(
            (berlin.offset_at(autumn - 1), berlin.offset_at(autumn)),
            (7200, 3600)
        );
        let shanghai = Zone::find("Asia/Shanghai").unwrap();
        assert_eq!(shanghai.instant(spring), Instants::One(spring - 8 * HOUR));
        assert_eq!(Zone::find("Europe/Calais"), None);
    }

    proptest! {
        #[test]
        fn every_instant_is_found_again(
            zone in prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec()),
            utc in -4_000_000_000..4_102_444_800_i64,
        ) {
            let zone = Zone(zone);
            let local = utc + zone.offset_at(utc);
            match zone.instant(local) {
                Instants::One(found) => prop_assert_eq!(found, utc),
                Instants::Two { first, second } => prop_assert!(first == utc || second == utc),
                Instants::None { .. } => prop_assert!(false, "its clock showed {local}"),
            }
        }
    }
}
