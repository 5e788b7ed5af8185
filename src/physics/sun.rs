//! Where the sun stands, and what would reach the ground under a sky without clouds.
//!
//! Both follow from place and time alone, so they are known for every future row. Degrees, W/m²
//! and seconds since 1970-01-01T00:00:00Z; leap seconds do not matter here (the sun moves 0.004° in
//! one). The formulae hold for years from about 1900 to 2100.

/// Below this elevation a quotient of two small and uncertain irradiances says nothing.
const LOWEST_SUN_DEG: f64 = 5.0;
/// The longest piece of an interval within which the sun is taken to stand still.
const LONGEST_PIECE_S: f64 = 600.0;
const SECONDS_PER_DAY: f64 = 86_400.0;

/// A place on the ground.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
}

/// Where the sun stands, seen from a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SunPosition {
    /// The angle between its centre and the horizon, in degrees, negative at night. Refraction,
    /// which lifts a sun on the horizon by half a degree, is left out.
    pub elevation_deg: f64,
    /// Clockwise from north, in `0.0..360.0` degrees.
    pub azimuth_deg: f64,
}

/// What does not depend on the place.
struct Orbit {
    /// Degrees north of the equator.
    declination_deg: f64,
    /// How far a sundial is ahead of a mean clock.
    equation_of_time_min: f64,
}

/// The position of the sun, after the solar calculator of NOAA
/// (<https://gml.noaa.gov/grad/solcalc/calcdetails.html>), whose equations are those of Meeus,
/// *Astronomical Algorithms*, with low accuracy: within about 0.02°.
pub fn position(place: Place, time: i64) -> SunPosition {
    position_at(place, time as f64)
}

/// The global irradiance of level ground under a sky without clouds, in W/m²; 0 at night.
fn clear_sky_wm2(place: Place, time: i64) -> f64 {
    haurwitz_wm2(position(place, time).cos_zenith())
}

/// The mean of the global irradiance of level ground under a sky without clouds, in W/m², over the time from `from` to `to`. A measured irradiance is mostly
/// the mean of the time before it; on a morning the sun's position at the end of an hour would take
/// a clear sky for a cloudy one.
pub fn mean_clear_sky_wm2(place: Place, from: i64, to: i64) -> f64 {
    let length = (to - from) as f64;
    if length <= 0.0 {
        return clear_sky_wm2(place, to);
    }
    let pieces = (length / LONGEST_PIECE_S).ceil();
    let middle = |piece: usize| from as f64 + (piece as f64 + 0.5) * length / pieces;
    let total: f64 = (0..pieces as usize)
        .map(|piece| haurwitz_wm2(position_at(place, middle(piece)).cos_zenith()))
        .sum();
    total / pieces
}

/// The clear-sky index of an irradiance in W/m² that is the mean of the time from `from` to `to`:
/// its share of what a clear sky gives, 1 without clouds, more where clouds beside the sun add their
/// light. NaN where the sun stands below 5° in the middle of that time, and of a longer one in the middle of each of its
/// hours.
pub fn clear_sky_index(place: Place, from: i64, to: i64, irradiance_wm2: f64) -> f64 {
    let length = (to - from) as f64;
    let hours = (length / 3600.0).ceil().max(1.0);
    let is_low = |hour: usize| {
        let middle = from as f64 + (hour as f64 + 0.5) * length / hours;
        position_at(place, middle).elevation_deg < LOWEST_SUN_DEG
    };
    if (0..hours as usize).all(is_low) {
        return f64::NAN;
    }
    irradiance_wm2 / mean_clear_sky_wm2(place, from, to)
}

/// Haurwitz (1945), "Insolation in relation to cloudiness and cloud density", J. Meteor. 2:
/// 94.4 cal/cm²/h · cos θ · exp(−0.059/cos θ), θ the angle to the zenith. 94.4 cal/cm²/h are
/// 1098 W/m². (pvlib has 0.059 too; with 0.057, which
/// copies have, it is 0.2 % more at noon.)
fn haurwitz_wm2(cos_zenith: f64) -> f64 {
    if cos_zenith <= 0.0 {
        return 0.0;
    }
    1098.0 * cos_zenith * (-0.059 / cos_zenith).exp()
}

impl SunPosition {
    /// The cosine of the angle to the zenith, at least 0: the share of the sun's beam that falls on level ground.
    fn cos_zenith(self) -> f64 {
        self.elevation_deg.to_radians().sin().max(0.0)
    }
}

fn position_at(place: Place, time: f64) -> SunPosition {
    let orbit = Orbit::at(time);
    let minutes = time.rem_euclid(SECONDS_PER_DAY) / 60.0;
    // Four minutes of time are one degree of longitude; at true noon the hour angle is 0.
    let solar_minutes = minutes + orbit.equation_of_time_min + 4.0 * place.longitude;
    let hour_angle = (solar_minutes / 4.0 - 180.0).to_radians();
    let latitude = place.latitude.to_radians();
    let declination = orbit.declination_deg.to_radians();
    let sin_elevation =
        latitude.sin() * declination.sin() + latitude.cos() * declination.cos() * hour_angle.cos();
    // The vector to the sun on level ground.
    let east = -declination.cos() * hour_angle.sin();
    let north =
        latitude.cos() * declination.sin() - latitude.sin() * declination.cos() * hour_angle.cos();
    SunPosition {
        elevation_deg: sin_elevation.atan2(east.hypot(north)).to_degrees(),
        azimuth_deg: east.atan2(north).to_degrees().rem_euclid(360.0) % 360.0,
    }
}

impl Orbit {
    /// Meeus, *Astronomical Algorithms*, 2nd edition, chapters 22, 25 and 28.
    fn at(time: f64) -> Self {
        // Julian centuries since 2000-01-01T12:00Z, which is 946,728,000 s after 1970.
        let t = (time - 946_728_000.0) / (36_525.0 * SECONDS_PER_DAY);
        let mean_longitude = (280.466_46 + t * (36_000.769_83 + t * 0.000_303_2)).to_radians();
        let anomaly = (357.529_11 + t * (35_999.050_29 - t * 0.000_153_7)).to_radians();
        let eccentricity = 0.016_708_634 - t * (0.000_042_037 + t * 0.000_000_126_7);
        let centre = anomaly.sin() * (1.914_602 - t * (0.004_817 + t * 0.000_014))
            + (2.0 * anomaly).sin() * (0.019_993 - t * 0.000_101)
            + (3.0 * anomaly).sin() * 0.000_289;
        let centre = centre.to_radians();
        // Aberration and nutation, from the node of the moon's orbit.
        let node = (125.04 - 1934.136 * t).to_radians();
        let longitude = mean_longitude + centre - (0.005_69 + 0.004_78 * node.sin()).to_radians();
        let arc_seconds = 21.448 - t * (46.815 + t * (0.000_59 - t * 0.001_813));
        let obliquity = 23.0 + (26.0 + arc_seconds / 60.0) / 60.0 + 0.002_56 * node.cos();
        let obliquity = obliquity.to_radians();
        let y = (obliquity / 2.0).tan().powi(2);
        let equation_of_time = y * (2.0 * mean_longitude).sin()
            - 2.0 * eccentricity * anomaly.sin()
            + 4.0 * eccentricity * y * anomaly.sin() * (2.0 * mean_longitude).cos()
            - 0.5 * y * y * (4.0 * mean_longitude).sin()
            - 1.25 * eccentricity * eccentricity * (2.0 * anomaly).sin();
        Self {
            declination_deg: (obliquity.sin() * longitude.sin()).asin().to_degrees(),
            equation_of_time_min: 4.0 * equation_of_time.to_degrees(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CALAIS: Place = Place {
        latitude: 50.931,
        longitude: 1.929,
    };
    const DAY: i64 = 86_400;
    /// 2024-06-20T20:51Z, the northern solstice of that year, at 00:00Z.
    const MIDSUMMER: i64 = 1_718_841_600;
    /// 2024-03-20, the day of the equinox (03:06Z).
    const EQUINOX: i64 = 1_710_892_800;

    /// Made by scripts/golden-sun.py: place, time, elevation, azimuth.
    const GOLDEN: [(f64, f64, i64, f64, f64); 49] = [
        (50.931, 1.929, -616_334_400, 62.489, 183.070),
        (50.931, 1.929, 946_683_000, -61.712, 347.640),
        (50.931, 1.929, 1_363_760_100, 2.336, 93.008),
        (50.931, 1.929, 1_582_999_200, -5.152, 264.301),
        (50.931, 1.929, 1_718_916_660, -5.428, 318.673),
        (50.931, 1.929, 1_730_628_000, 20.551, 155.269),
        (50.931, 1.929, 2_515_894_800, -18.950, 64.680),
        (39.982, 116.397, -616_334_400, -3.020, 304.348),
        (39.982, 116.397, 946_683_000, -1.857, 118.984),
        (39.982, 116.397, 1_363_760_100, 42.369, 219.882),
        (39.982, 116.397, 1_582_999_200, -51.485, 39.020),
        (39.982, 116.397, 1_718_916_660, 0.010, 58.740),
        (39.982, 116.397, 1_730_628_000, -10.131, 258.495),
        (39.982, 116.397, 2_515_894_800, 49.702, 169.486),
        (19.536, -155.576, -616_334_400, -41.039, 29.702),
        (19.536, -155.576, 946_683_000, 44.563, 201.070),
        (19.536, -155.576, 1_363_760_100, -24.715, 279.305),
        (19.536, -155.576, 1_582_999_200, 17.191, 104.858),
        (19.536, -155.576, 1_718_916_660, 68.021, 75.609),
        (19.536, -155.576, 1_730_628_000, -85.516, 341.635),
        (19.536, -155.576, 2_515_894_800, 8.295, 267.208),
        (-33.869, 151.209, -616_334_400, -62.483, 255.456),
        (-33.869, 151.209, 946_683_000, 55.900, 81.403),
        (-33.869, 151.209, 1_363_760_100, 22.120, 285.727),
        (-33.869, 151.209, 1_582_999_200, -21.178, 115.500),
        (-33.869, 151.209, 1_718_916_660, -2.505, 63.245),
        (-33.869, 151.209, 1_730_628_000, -18.441, 236.067),
        (-33.869, 151.209, 2_515_894_800, 46.994, 316.441),
        (-0.22, -78.512, -616_334_400, 10.086, 66.119),
        (-0.22, -78.512, 946_683_000, -2.886, 246.884),
        (-0.22, -78.512, 1_363_760_100, -76.630, 91.266),
        (-0.22, -78.512, 1_582_999_200, 78.854, 228.436),
        (-0.22, -78.512, 1_718_916_660, 32.712, 298.374),
        (-0.22, -78.512, 1_730_628_000, -13.823, 105.798),
        (-0.22, -78.512, 2_515_894_800, -68.315, 269.887),
        (69.649, 18.955, -616_334_400, 42.492, 203.345),
        (69.649, 18.955, 946_683_000, -42.989, 13.498),
        (69.649, 18.955, 1_363_760_100, 7.028, 109.662),
        (69.649, 18.955, 1_582_999_200, -12.592, 282.307),
        (69.649, 18.955, 1_718_916_660, 5.343, 333.698),
        (69.649, 18.955, 1_730_628_000, 4.933, 173.289),
        (69.649, 18.955, 2_515_894_800, -4.750, 76.580),
        (-90.0, 0.0, -616_334_400, -23.450, 0.384),
        (-90.0, 0.0, 946_683_000, 23.070, 188.259),
        (-90.0, 0.0, 1_363_760_100, 0.076, 88.121),
        (-90.0, 0.0, 1_582_999_200, 7.584, 273.098),
        (-90.0, 0.0, 1_718_916_660, -23.440, 227.696),
        (-90.0, 0.0, 1_730_628_000, 15.272, 25.887),
        (-90.0, 0.0, 2_515_894_800, -0.165, 123.174),
    ];

    fn turn(a: f64, b: f64) -> f64 {
        (a - b + 180.0).rem_euclid(360.0) - 180.0
    }

    #[test]
    fn positions_agree_with_another_algorithm() {
        for (latitude, longitude, time, elevation, azimuth) in GOLDEN {
            let sun = position(
                Place {
                    latitude,
                    longitude,
                },
                time,
            );
            let up = sun.elevation_deg - elevation;
            // Near the zenith a small step goes all around the compass.
            let aside = turn(sun.azimuth_deg, azimuth) * elevation.to_radians().cos();
            let at = format!("{latitude} {longitude} {time}: {sun:?}");
            assert!(up.abs() < 0.02 && aside.abs() < 0.02, "{at}, {up}, {aside}");
        }
    }

    /// The highest elevation of a day.
    fn noon(place: Place, day: i64) -> f64 {
        let minutes = (day..day + DAY).step_by(60);
        let elevations = minutes.map(|time| position(place, time).elevation_deg);
        elevations.fold(f64::NEG_INFINITY, f64::max)
    }

    #[test]
    fn at_noon_the_sun_stands_where_the_latitude_says() {
        for latitude in [-60.0, -23.0, 0.0, 35.0, 66.0] {
            let place = Place {
                latitude,
                longitude: 100.0,
            };
            // 90° − |latitude − declination|; the declination is 23.44° at the solstice.
            let summer = 90.0 - (latitude - 23.44_f64).abs();
            assert!((noon(place, MIDSUMMER) - summer).abs() < 0.02);
            let equinox = 90.0 - f64::abs(latitude);
            assert!(
                (noon(place, EQUINOX) - equinox).abs() < 0.2,
                "moves 0.4° a day"
            );
        }
        let pole = Place {
            latitude: 90.0,
            longitude: 0.0,
        };
        let midnight_sun = position(pole, MIDSUMMER).elevation_deg;
        assert!((midnight_sun - 23.44).abs() < 0.02);
    }

    /// The minutes of a day in which the upper rim of a refracted sun is above the horizon: its
    /// centre is higher than −0.833°.
    fn daylight(place: Place, day: i64) -> (i64, i64) {
        let up = |time: &i64| position(place, *time).elevation_deg > -0.833;
        let mut minutes = (day..day + DAY).step_by(60).filter(up);
        let first = minutes.next().unwrap();
        ((first - day) / 60, (minutes.last().unwrap() - day) / 60)
    }

    #[test]
    fn the_sun_rises_and_sets() {
        // SPA: 03:37:55 and 20:10:04 UTC.
        let (rise, set) = daylight(CALAIS, MIDSUMMER);
        assert_eq!((rise, set), (3 * 60 + 38, 20 * 60 + 10));
        // 2024-12-21: 07:52:51 and 15:48:17.
        let (rise, set) = daylight(CALAIS, 1_734_739_200);
        assert_eq!((rise, set), (7 * 60 + 53, 15 * 60 + 48));
        // From first principles: cos h = (sin −0.833° − sin φ sin δ)/(cos φ cos δ), 8 h 16 min.
        let (sin, cos) = CALAIS.latitude.to_radians().sin_cos();
        let (down, level) = 23.44_f64.to_radians().sin_cos();
        let half = (((-0.833_f64).to_radians().sin() - sin * down) / (cos * level)).acos();
        let minutes = 2.0 * half.to_degrees() * 4.0;
        let (rise, set) = daylight(CALAIS, MIDSUMMER);
        assert!((minutes - (set - rise) as f64).abs() < 2.0, "{minutes}");
    }

    #[test]
    fn the_clear_sky() {
        // By hand: 1098 · exp(−0.059) = 1035.1 at the zenith, 1098 · 0.5 · exp(−0.118) at 60°.
        assert!((haurwitz_wm2(1.0) - 1035.1).abs() < 0.1);
        assert!((haurwitz_wm2(0.5) - 487.9).abs() < 0.1);
        let night = MIDSUMMER;
        assert!(clear_sky_wm2(CALAIS, night).abs() < f64::EPSILON);
        assert!(position(CALAIS, night).cos_zenith().abs() < f64::EPSILON);
        // 62.5° at noon: 1098 · 0.887 · exp(−0.0665) = 911.
        let noon = MIDSUMMER + DAY / 2;
        assert!((clear_sky_wm2(CALAIS, noon) - 911.0).abs() < 1.0);
        let hour = mean_clear_sky_wm2(CALAIS, noon - 1800, noon + 1800);
        assert!(hour < clear_sky_wm2(CALAIS, noon) && hour > 900.0);
        let morning = MIDSUMMER + 6 * 3600;
        let (end, mean) = (
            clear_sky_wm2(CALAIS, morning),
            mean_clear_sky_wm2(CALAIS, morning - 3600, morning),
        );
        assert!(
            mean < 0.85 * end,
            "the hour before six is darker than six: {mean} {end}"
        );
    }

    #[test]
    fn the_clear_sky_index() {
        let noon = MIDSUMMER + DAY / 2;
        let clear = mean_clear_sky_wm2(CALAIS, noon - 3600, noon);
        let half = clear_sky_index(CALAIS, noon - 3600, noon, clear / 2.0);
        assert!((half - 0.5).abs() < 1e-12);
        assert!(clear_sky_index(CALAIS, MIDSUMMER - 3600, MIDSUMMER, 0.0).is_nan());
        assert!(clear_sky_index(CALAIS, noon - 3600, noon, f64::NAN).is_nan());
        let instant = clear_sky_index(CALAIS, noon, noon, clear_sky_wm2(CALAIS, noon));
        assert!((instant - 1.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn a_position_is_one(
            latitude in -90.0..=90.0_f64,
            longitude in -180.0..=180.0_f64,
            time in -2_200_000_000..4_100_000_000_i64,
        ) {
            let place = Place { latitude, longitude };
            let sun = position(place, time);
            prop_assert!((-90.0..=90.0).contains(&sun.elevation_deg));
            prop_assert!((0.0..360.0).contains(&sun.azimuth_deg));
            // Tropics and circles: no sun is higher than the latitude lets it.
            prop_assert!(sun.elevation_deg <= 90.0 - (latitude.abs() - 23.46).max(0.0));
            prop_assert!((0.0..=1036.0).contains(&clear_sky_wm2(place, time)));
        }

        #[test]
        fn the_far_side_of_the_earth_sees_the_other_half_of_the_sky(
            latitude in -90.0..=90.0_f64,
            longitude in -180.0..=0.0_f64,
            time in 0..2_000_000_000_i64,
        ) {
            let here = position(Place { latitude, longitude }, time);
            let there = Place { latitude: -latitude, longitude: longitude + 180.0 };
            let there = position(there, time);
            prop_assert!((here.elevation_deg + there.elevation_deg).abs() < 1e-9);
        }
    }
}
