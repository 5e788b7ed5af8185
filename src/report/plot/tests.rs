//! What the plots show, and that no input breaks them.

use super::*;

const N: f64 = f64::NAN;

/// Whole, without numbers that are none, and with every text inside of the picture.
fn assert_valid(svg: &str) {
    assert!(
        svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"),
        "{svg}"
    );
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    assert_eq!(svg.matches('<').count(), svg.matches('>').count(), "{svg}");
    assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    for x in svg.split(" x=\"").skip(1) {
        let x: f64 = x
            .split('"')
            .next()
            .and_then(|x| x.parse().ok())
            .expect("a number");
        assert!((0.0..=3440.0).contains(&x), "{svg}");
    }
}

fn curve(name: &str, rmse: &[f64], baseline: bool) -> Curve {
    Curve {
        name: name.to_owned(),
        rmse: rmse.to_vec(),
        baseline,
    }
}

fn epoch(epoch: usize, train_loss: f64, validation_loss: f64) -> Epoch {
    Epoch {
        epoch,
        train_loss: (epoch > 0).then_some(train_loss),
        validation_loss,
        validation_rmse: 0.0,
        learning_rate: 0.0,
    }
}

fn forecast(observed: &[f64], mean: &[f64]) -> ForecastPlot {
    let at = |row: usize| 1_764_536_400 + 3600 * row as i64;
    let now = observed.len();
    ForecastPlot {
        title: "Calais: temperature".into(),
        quantity: "temperature".into(),
        unit: "°C".into(),
        issued_at: at(now.max(1) - 1),
        observed: observed
            .iter()
            .enumerate()
            .map(|(i, &v)| (at(i), v))
            .collect(),
        mean: mean
            .iter()
            .enumerate()
            .map(|(i, &v)| (at(now + i), v))
            .collect(),
        band_name: "10 % to 90 %".into(),
        band: mean
            .iter()
            .enumerate()
            .map(|(i, &v)| (at(now + i), v - 1.0, v + 2.0))
            .collect(),
        feels_like: mean
            .iter()
            .enumerate()
            .map(|(i, &v)| (at(now + i), v - 3.0))
            .collect(),
    }
}

#[test]
fn a_plot_names_what_it_shows() {
    let curves = [
        curve("calais", &[0.5, 1.0], false),
        curve("persistence", &[0.7, 1.5], true),
    ];
    let svg = skill_plot("Error by lead", "°C", &[1.0, 2.0], &curves);
    assert_valid(&svg);
    for text in [
        "Error by lead",
        "calais",
        "persistence",
        "RMSE (°C)",
        "lead (h)",
    ] {
        assert!(svg.contains(text), "{text} in {svg}");
    }
    let svg = forecast_plot(&forecast(&[1.0, 2.0], &[3.0, 4.0]));
    assert_valid(&svg);
    let named = [
        "observed",
        "forecast (mean)",
        "10 % to 90 %",
        "feels like",
        "temperature (°C)",
        "time (UTC)",
        "issued 2025-11-30 22:00",
    ];
    for text in named {
        assert!(svg.contains(text), "{text} in {svg}");
    }
    let svg = history_plot(&[epoch(1, 0.5, 0.6), epoch(2, 0.4, 0.5), epoch(3, 0.3, 0.7)]);
    assert_valid(&svg);
    assert!(svg.contains("best: epoch 2, 0.5000") && svg.contains("validation"));
    assert!(!svg.contains("logarithmic"));
    let svg = history_plot(&[epoch(1, 30.0, 40.0), epoch(2, 2.0, 1.5)]);
    assert_valid(&svg);
    assert!(svg.contains("loss (scaled units, logarithmic)"));
}

#[test]
fn a_long_title_keeps_its_end() {
    let mut plot = forecast(&[1.0, 2.0], &[3.0]);
    let station = "Niederzwehren an der Fulda, Messstelle am Nordhang / Feld 12 (50 m)";
    plot.title = format!("Forecast of temperature at {station}, issued 2025-11-30 22:00 UTC");
    let svg = forecast_plot(&plot);
    assert_valid(&svg);
    assert!(svg.contains("Forecast of temperature at Nieder"), "{svg}");
    assert!(svg.contains(", issued 2025-11-30 22:00 UTC"), "{svg}");
}

/// The line of the mean is a point, and the band a bar with an end above and below.
#[test]
fn a_forecast_of_one_lead_has_a_band() {
    let of = |leads: &[f64]| forecast_plot(&forecast(&[1.0, 2.0], leads));
    let bars = |svg: &str| svg.matches("stroke=\"#0072B2\"").count();
    assert_eq!(bars(&of(&[3.0])), 1 + 3, "{}", of(&[3.0]));
}

#[test]
fn what_is_absent_is_not_in_the_legend() {
    let mut plot = forecast(&[1.0, 2.0], &[3.0, 4.0]);
    plot.band.clear();
    plot.feels_like.clear();
    let svg = forecast_plot(&plot);
    assert!(!svg.contains("feels like") && !svg.contains("10 %"));
}

#[test]
fn equal_numbers_are_equal_bytes() {
    let plot = forecast(&[1.0, 2.0], &[3.0, 4.0]);
    assert_eq!(forecast_plot(&plot), forecast_plot(&plot.clone()));
}

#[test]
fn degenerate_numbers_still_make_a_plot() {
    let columns: [&[f64]; 8] = [
        &[],
        &[1.0],
        &[N, N, N],
        &[2.0, 2.0, 2.0],
        &[0.0, 0.0],
        &[1.0, N, 1.0],
        &[f64::INFINITY, f64::MAX, f64::MIN, -1.0],
        &[1e-300, 2e-300],
    ];
    for values in columns {
        for leads in columns {
            let curves = [curve("a", values, false), curve("b", values, true)];
            assert_valid(&skill_plot("t", "1", leads, &curves));
        }
        for others in columns {
            assert_valid(&forecast_plot(&forecast(values, others)));
        }
        let epochs: Vec<Epoch> = values
            .iter()
            .enumerate()
            .map(|(i, &v)| epoch(i, v, v))
            .collect();
        assert_valid(&history_plot(&epochs));
    }
    assert_valid(&forecast_plot(&ForecastPlot::default()));
    let far = ForecastPlot {
        issued_at: i64::MIN,
        mean: vec![(i64::MAX, 1.0)],
        ..ForecastPlot::default()
    };
    assert_valid(&forecast_plot(&far));
}

#[test]
fn words_cannot_break_the_picture() {
    let words = "a <b> & \"c\" \u{0} ".repeat(40);
    let curves: Vec<Curve> = (0..9).map(|i| curve(&words, &[1.0, 2.0], i > 3)).collect();
    let svg = skill_plot(&words, &words, &[1.0, 2.0], &curves);
    assert_valid(&svg);
    assert!(!svg.contains('\u{0}') && svg.contains('…'));
}
