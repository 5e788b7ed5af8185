//! Small made-up files with the faults of real ones.

use std::io::Write;

use polars::prelude::{DataFrame, IntoColumn, NamedFrom, ParquetWriter, Series};

use super::*;
use crate::data::Table;
use crate::params::{ParamsFile, SourceParams};
use crate::time::format_utc;

/// A project with files, and one source of them.
struct Project(tempfile::TempDir);

impl Project {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write_atomic(&folder.path().join(name), bytes).unwrap();
        }
        Self(folder)
    }

    fn fetch(&self, params: &str) -> Result<Table, String> {
        let text = format!("sources:\n  x:\n    kind: file\n{}", indented(params));
        let path = Path::new("params.yaml");
        let (_, params) =
            ParamsFile::parse(path, &text, None, &[]).map_err(|error| error.to_string())?;
        let Some(SourceParams::File(params)) = params.sources.get("x") else {
            panic!("no source in {text}");
        };
        let mut asked = Asked {
            root: self.0.path(),
            offline: false,
            progress: &mut |_, _, _| {},
        };
        let fetched = File { params }.fetch(&mut asked);
        Ok(fetched.map_err(|error| error.to_string())?.table)
    }
}

fn indented(text: &str) -> String {
    format!("    {}\n", text.trim_end().replace('\n', "\n    "))
}

/// One file called `station.csv` with one column.
fn read(bytes: &[u8], more: &str) -> Result<Table, String> {
    let params = "path: station.csv\ntime: {column: time}\ncolumns: {t: {from: TEMP, unit: °C}}\n";
    let own = |line: &&str| {
        let key = line.split(':').next().unwrap_or_default();
        !more
            .lines()
            .any(|line| line.starts_with(&format!("{key}:")))
    };
    let rest: Vec<&str> = params.lines().filter(own).collect();
    let rest = rest.join(
        "
",
    );
    Project::new(&[("station.csv", bytes)]).fetch(&format!("{rest}\n{more}"))
}

/// A row as `time: values`.
fn rows(table: &Table) -> Vec<String> {
    let row = |row: usize| {
        let values = table
            .columns()
            .iter()
            .map(|column| column.values[row].to_string());
        let values: Vec<String> = values.collect();
        format!("{} {}", format_utc(table.times()[row]), values.join(" "))
    };
    (0..table.rows()).map(row).collect()
}

#[test]
fn values_missing_values_and_other_columns() {
    let text = b"x,time,TEMP\n1,1970-01-01T00:00Z,1.5\n2,1970-01-01T01:00Z,NA\n3,1970-01-01 02:00,\n4,1970-01-01 03:00,-9999\n";
    let table = read(text, "missing: [NA, '-9999']").unwrap();
    assert_eq!(table.times(), [0, 3600, 7200, 10_800]);
    let values = &table.column("t").unwrap().values;
    assert!((values[0] - 1.5).abs() < 1e-12 && values[1..].iter().all(|value| value.is_nan()));
    // A text of one column only.
    let more = "columns: {t: {from: TEMP, unit: K, missing: [NA]}, u: {from: TEMP, unit: K}}";
    let told = read(text, more).unwrap_err();
    assert_eq!(
        told,
        "station.csv, line 3: expected a number in `u`, found `NA`"
    );
    assert_eq!(read(b"time,TEMP\n", "").unwrap().rows(), 0);
}

#[test]
fn a_broken_row_is_told_with_its_line() {
    let error = |text: &str| read(text.as_bytes(), "").unwrap_err();
    assert_eq!(
        error("time,TEMP\n1970-01-01T00:00Z,1.5\n1970-01-01T01:00Z,warm\n"),
        "station.csv, line 3: expected a number in `t`, found `warm`"
    );
    assert_eq!(
        error("time,TEMP\nsoon,1.5\n"),
        "station.csv, line 2: expected a time (an ISO date and time), found `soon`, in `time`"
    );
    assert_eq!(
        error("time,TEMP\n1970-01-01\n"),
        "station.csv, line 2: expected 2 fields, found 1"
    );
    assert_eq!(
        error("zeit,TEMP\n"),
        "station.csv: no column `time`; there are zeit, TEMP"
    );
    assert!(error("time,TEMP\n1970-01-01,inf\n").contains("inf"));
    assert_eq!(error(""), "station.csv: no column `time`; there are none");
    assert!(error("time,TEMP,TEMP\n").contains("the columns 2 and 3 are both called `TEMP`"));
    let long = format!("time,TEMP\n1970-01-01,{}\n", "9x".repeat(5000));
    assert!(error(&long).len() < 200);
}

#[test]
fn lines_count_with_comments_blank_lines_and_lines_above() {
    let text = b"a logger\nversion 3\n# time of Paris\ntime,TEMP\n\n# noise\n1970-01-01,1\n\"1970-01-02\",x\n";
    let told = read(text, "skip_rows: 2\ncomment: '#'").unwrap_err();
    assert_eq!(
        told,
        "station.csv, line 8: expected a number in `t`, found `x`"
    );
}

#[test]
fn gzip_is_seen_by_its_content() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"time,TEMP\n1970-01-01,1\n").unwrap();
    let packed = encoder.finish().unwrap();
    assert_eq!(read(&packed, "").unwrap().times(), [0]);
    assert!(
        read(&packed[..12], "")
            .unwrap_err()
            .contains("damaged gzip")
    );
}

#[test]
fn other_delimiters_decimals_and_ends_of_lines() {
    let german = b"time;TEMP;\r\n01.02.1970 00:00:00;-1,5;\r\n02.02.1970 00:00:00;;\r\n";
    let table = read(german, "delimiter: ;\ndecimal: ','").unwrap();
    assert_eq!(
        rows(&table),
        ["1970-02-01T00:00:00Z -1.5", "1970-02-02T00:00:00Z NaN"]
    );
    let tabs = b" time \tTEMP\n1970-01-01\t 2.5 \n";
    assert_eq!(
        rows(&read(tabs, "delimiter: \"\\t\"").unwrap()),
        ["1970-01-01T00:00:00Z 2.5"]
    );
    let told = read(b"time,TEMP\n1970-01-01,1,2\n", "").unwrap_err();
    assert_eq!(told, "station.csv, line 2: expected 2 fields, found 3");
    // A delimiter at the end of rows, but not of the header.
    assert_eq!(read(b"time,TEMP\n1970-01-01,1,\n", "").unwrap().rows(), 1);
}

#[test]
fn columns_without_names() {
    let numbered = "header: false\ntime: {column: 2}\ncolumns: {t: {from: 1, unit: K}}";
    let text = b"5,1970-01-01\n6,1970-01-02\n";
    assert_eq!(read(text, numbered).unwrap().times(), [0, 86_400]);
    let named = "header: false\nnames: [TEMP, time]";
    assert_eq!(read(text, named).unwrap().rows(), 2);
    // In place of a header's names, which may be there twice or unreadable.
    let text = b"TEMP,TEMP\n1970-01-01,6\n";
    assert_eq!(read(text, "names: [time, TEMP]").unwrap().rows(), 1);
    let told = read(text, "names: [time]").unwrap_err();
    assert!(
        told.contains("line 1: expected 1 fields as in `names`, found 2"),
        "{told}"
    );
}

#[test]
fn other_encodings() {
    let more = "columns: {t: {from: T (°C), unit: °C}}";
    let latin = b"time,T (\xb0C)\n1970-01-01,1\n";
    let told = read(latin, more).unwrap_err();
    assert!(told.contains("name its `encoding`"), "{told}");
    for (encoding, bytes) in [
        ("latin-1", latin.to_vec()),
        ("utf-8", "\u{feff}time,T (°C)\n1970-01-01,1\n".into()),
        (
            "utf-16",
            "\u{feff}time,T (°C)\n1970-01-01,1\n"
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect(),
        ),
    ] {
        let table = read(&bytes, &format!("encoding: {encoding}\n{more}")).unwrap();
        assert_eq!(table.rows(), 1, "{encoding}");
        // A mark says it too.
        assert_eq!(
            read(&bytes, more).is_ok(),
            encoding != "latin-1",
            "{encoding}"
        );
    }
    // Longer than any buffer, so that letters are cut in two.
    let lines = "1970-01-01,5,°°°°
"
    .repeat(60_000);
    let text = format!("\u{feff}time,TEMP,x\n{lines}");
    let wide = text.encode_utf16().flat_map(u16::to_le_bytes);
    assert_eq!(read(&wide.collect::<Vec<u8>>(), "").unwrap().rows(), 60_000);
}

/// As the station of Jena: latin-1, units in its header, −9999.
#[test]
fn units_become_others_and_sentinels_stay() {
    let text = b"Date Time,T (degC),Tpot (K),p (mbar),rho (g/m**3),wv (m/s),max. PAR (\xb5mol/m\xb2/s),wd\r\n\
        01.01.2020 00:10:00,0.71,273.15,1008.89,1280.62,-9999.0,0,SSW\r\n\
        01.01.2020 00:20:00,32,-9999,1008.76,1280.33,3.6,-9999.00,N\r\n";
    let more = "\
encoding: latin-1
time: {column: Date Time, format: '%d.%m.%Y %H:%M:%S', utc_offset_h: 1}
columns:
  a_temperature: {from: T (degC), unit: °F, to: °C}
  b_potential: {from: Tpot (K), unit: K, to: °C}
  c_wind: {from: wv (m/s), unit: km/h, to: m/s}
  d_par: {from: max. PAR (µmol/m²/s), unit: µmol/m²/s}
  e_direction: {from: wd, unit: compass}
";
    let table = read(text, more).unwrap();
    assert_eq!(rows(&table)[1], "2019-12-31T23:20:00Z 0 -9999 1 -9999 0");
    let first: Vec<f64> = table
        .columns()
        .iter()
        .map(|column| column.values[0])
        .collect();
    assert!((first[0] - (0.71 - 32.0) / 1.8).abs() < 1e-12 && first[1].abs() < 1e-12);
    assert_eq!(
        first[2..].iter().map(f64::to_string).collect::<Vec<_>>(),
        ["-9999", "0", "202.5"]
    );
    let units: Vec<&str> = table
        .columns()
        .iter()
        .map(|column| column.unit.as_str())
        .collect();
    assert_eq!(units, ["°C", "°C", "m/s", "µmol/m²/s", "°"]);
    let told = read(
        b"time,TEMP\n1970-01-01,NXW\n",
        "columns: {t: {from: TEMP, unit: compass}}",
    );
    assert!(
        told.unwrap_err()
            .contains("expected a word of the compass in `t`, found `NXW`")
    );
}

#[test]
fn a_time_that_is_the_beginning_of_its_row() {
    let days = b"day,TEMP\n2023-03-25,1\n2023-03-26,2\n";
    let more = "time: {column: day, zone: Europe/Berlin, covers: 1d}";
    assert_eq!(
        rows(&read(days, more).unwrap()),
        ["2023-03-25T23:00:00Z 1", "2023-03-26T22:00:00Z 2"]
    );
    let hours = b"time,TEMP\n2023-03-25T01:00,1\n";
    let more = "time: {column: time, covers: 15min}";
    assert_eq!(
        rows(&read(hours, more).unwrap()),
        ["2023-03-25T01:15:00Z 1"]
    );
    // An issue is one moment, and what is forecast may be an hour.
    let forecast = b"run,time,TEMP\n2023-03-25T00:00,2023-03-25T05:00,1\n";
    let more = "issue_time: {column: run}\ntime: {column: time, covers: 1h}";
    let table = read(forecast, more).unwrap();
    assert_eq!(rows(&table), ["2023-03-25T06:00:00Z 1"]);
    let told = read(
        forecast,
        "issue_time: {column: run, covers: 1h}\ntime: {column: time}",
    );
    assert!(
        told.unwrap_err()
            .contains("issue_time.covers: expected absent")
    );
}

#[test]
fn a_time_in_several_columns() {
    let more = "time: {columns: {year: y, month: m, day: d, hour: h}, zone: Asia/Shanghai}";
    let table = read(b"y,m,d,h,TEMP\n2013,3,1,0,1\n2013,3,1.0,23,2\n", more).unwrap();
    assert_eq!(
        rows(&table),
        ["2013-02-28T16:00:00Z 1", "2013-03-01T15:00:00Z 2"]
    );
    let told = read(b"y,m,d,h,TEMP\n2013,2,29,0,1\n", more).unwrap_err();
    assert_eq!(
        told,
        "station.csv, line 2: expected a date and time, found 2013-02-29 00:00:00"
    );
    let told = read(b"y,m,d,h,TEMP\n2013,x,1,0,1\n", more).unwrap_err();
    assert_eq!(
        told,
        "station.csv, line 2: expected a number in `m`, found `x`"
    );
    let monthly = "time: {columns: {year: y, month: m}}";
    assert_eq!(
        rows(&read(b"y,m,TEMP\n1970,2,1\n", monthly).unwrap()),
        ["1970-02-01T00:00:00Z 1"]
    );
}

#[test]
fn each_series_has_a_clock_of_its_own() {
    let zone = |more: &str| {
        format!("time: {{column: time, zone: Europe/Berlin{more}}}\nseries: {{column: s}}")
    };
    let text = b"s,time,TEMP\n\
        b,2020-10-25 02:00,1\na,2020-10-25 02:00,2\nb,2020-10-25 02:00,3\na,2020-10-25 02:00,4\n";
    let table = read(text, &zone("")).unwrap();
    assert_eq!(
        rows(&table),
        [
            "2020-10-25T00:00:00Z 1",
            "2020-10-25T00:00:00Z 2",
            "2020-10-25T01:00:00Z 3",
            "2020-10-25T01:00:00Z 4"
        ]
    );
    let series = table.series().unwrap();
    assert_eq!(
        (series.names(), series.name(0)),
        (&["a".to_owned(), "b".to_owned()][..], "b")
    );
    let spring = b"s,time,TEMP\na,2020-03-29 01:00,1\na,2020-03-29 02:30,2\na,2020-03-29 03:00,3\n";
    let told = read(spring, &zone("")).unwrap_err();
    assert!(
        told.starts_with("station.csv, line 3: expected a time of Europe/Berlin"),
        "{told}"
    );
    assert_eq!(
        read(spring, &zone(", nonexistent: skip")).unwrap().rows(),
        2
    );
    let told = read(b"s,time,TEMP\n ,1970-01-01,1\n", &zone("")).unwrap_err();
    assert!(
        told.contains("expected the name of a series in `s`"),
        "{told}"
    );
    let named = read(b"time,TEMP\n1970-01-01,1\n", "series: {name: x}").unwrap();
    assert_eq!(named.series().unwrap().names(), ["x"]);
}

#[test]
fn a_quotation_that_nothing_closes_is_refused_by_its_line() {
    let told = "expected a second quotation mark (\") that ends what one in this line begins";
    for (line, text) in [
        (2, "time,TEMP\n1970-01-01,\"5\n1970-01-02,6\n1970-01-03,7\n"),
        (
            4,
            "time,TEMP\r\n\"1970-01-01\",\"\n\"\r\n1970-01-02,\"6\r\n",
        ),
        (3, "time,TEMP\n1970-01-01,5\n1970-01-02,\""),
        (1, "time,\"TEMP\n1970-01-01,5\n"),
    ] {
        let error = read(text.as_bytes(), "").unwrap_err();
        assert!(
            error.starts_with(&format!("station.csv, line {line}: {told}")),
            "{error}"
        );
    }
    let above = b"a \"logger\ntime,TEMP\n1970-01-01,\"5\n";
    let error = read(above, "skip_rows: 1").unwrap_err();
    assert!(error.starts_with("station.csv, line 3: "), "{error}");
    assert_eq!(read(b"time,TEMP\n1970-01-01,\"5\"", "").unwrap().rows(), 1);
}

#[test]
fn numbers_that_name_series_keep_every_digit() {
    let large = [8_121_069_065_784_328_000_i64, 8_121_069_065_784_328_001];
    let line = |id: &str| format!("{{\"time\": \"1970-01-01\", \"s\": {id}, \"TEMP\": 1}}\n");
    let names = |text: String| {
        let table = read(text.as_bytes(), "format: jsonl\nseries: {column: s}")?;
        Ok::<_, String>(table.series().unwrap().names().to_vec())
    };
    let text = [
        line(&large[0].to_string()),
        line(&large[1].to_string()),
        line("18446744073709551615"),
        line("-7.0"),
    ];
    let expected = [
        "-7",
        "18446744073709551615",
        "8121069065784328000",
        "8121069065784328001",
    ];
    assert_eq!(names(text.concat()).unwrap(), expected);
    for id in ["9007199254740993.0", "18446744073709551616"] {
        let error = names(line(id)).unwrap_err();
        assert!(
            error.contains("a number so large that others may have been rounded to it"),
            "{error}"
        );
    }

    let numbers = |name: &str, values: &[i64]| Series::new(name.into(), values).into_column();
    let unsigned = Series::new("u".into(), large.map(|id| id as u64 * 2)).into_column();
    let columns = vec![
        numbers("time", &[0, 60]),
        numbers("s", &large),
        unsigned,
        numbers("TEMP", &[1, -9999]),
    ];
    let mut frame = DataFrame::new(2, columns).unwrap();
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut frame).unwrap();
    let doubled = ["16242138131568656000", "16242138131568656002"];
    for (column, expected) in [("s", &expected[2..]), ("u", &doubled[..])] {
        let more = format!("time: {{column: time, format: unix_s}}\nseries: {{column: {column}}}");
        let table = read(&bytes, &more).unwrap();
        assert_eq!(table.series().unwrap().names(), expected);
        assert_eq!(
            rows(&table),
            ["1970-01-01T00:00:00Z 1", "1970-01-01T00:01:00Z -9999"]
        );
    }
}

#[test]
fn numbers_that_mean_nothing_are_found_however_they_are_written() {
    let more = "missing: ['-9999', '-999.9']\ncolumns: {t: {from: TEMP, unit: °F, to: °C}}";
    // Also in single precision.
    let csv = "time,TEMP\n1970-01-01,-9999.0\n1970-01-02,-9.999e3\n1970-01-03,-999.9000244140625\n1970-01-04,-99\n";
    let line = |value: &str| format!("{{\"time\": \"1970-01-01\", \"TEMP\": {value}}}\n");
    let jsonl = ["-9999", "-9999.0", "-999.9", "-99"].map(line).concat();
    for text in [csv, &jsonl] {
        let table = read(text.as_bytes(), more).unwrap();
        let values = &table.column("t").unwrap().values;
        let (none, some) = values.split_at(3);
        assert!(none.iter().all(|value| value.is_nan()), "{values:?}");
        assert!((some[0] + 72.8).abs() < 0.1, "{values:?}");
    }
}

#[test]
fn a_sentinel_in_single_precision_is_passed_on_as_it_is() {
    let text = b"time,TEMP\n1970-01-01,-999.9000244140625\n1970-01-02,-999.8\n";
    let table = read(text, "columns: {t: {from: TEMP, unit: °F, to: °C}}").unwrap();
    let values = &table.column("t").unwrap().values;
    assert_eq!(values[0].to_string(), "-999.9000244140625");
    assert!((values[1] + 573.2).abs() < 0.1, "{values:?}");
}

/// As the forecasts of `GEFCom` 2012.
#[test]
fn forecasts_by_issue_and_lead() {
    let text = b"date,hors,TEMP\n2009070100,1,2.5\n2009070100,2,3.5\n2009070112,1,4.5\n";
    let issue = "issue_time: {column: date, format: '%Y%m%d%H'}\nlead: {column: hors, unit: h}";
    // The time is that of issue and lead, so it has no column.
    let params = format!("path: f.csv\n{issue}\ncolumns: {{t: {{from: TEMP, unit: K}}}}");
    let table = Project::new(&[("f.csv", text)]).fetch(&params).unwrap();
    let start = 1_246_406_400;
    assert_eq!(table.issues().unwrap(), [start, start, start + 43_200]);
    assert_eq!(table.times(), [start + 3600, start + 7200, start + 46_800]);
    let told = Project::new(&[("f.csv", b"date,hors,TEMP\n2009070100,,1\n")]).fetch(&params);
    assert_eq!(
        told.unwrap_err(),
        "f.csv, line 2: expected a number in `hors`, found ``"
    );

    // With a time of its own, each issue goes through the hour that comes twice.
    let text = b"i,v,TEMP\n\
        2020-10-24T00,2020-10-25 02:00,1\n2020-10-24T00,2020-10-25 02:00,2\n\
        2020-10-24T12,2020-10-25 02:00,3\n2020-10-24T12,2020-10-25 02:00,4\n";
    let params = "path: f.csv\nissue_time: {column: i, format: '%Y-%m-%dT%H'}\n\
        time: {column: v, zone: Europe/Berlin}\ncolumns: {t: {from: TEMP, unit: K}}";
    let table = Project::new(&[("f.csv", text)]).fetch(params).unwrap();
    let hours: Vec<i64> = table
        .times()
        .iter()
        .map(|time| time % 86_400 / 3600)
        .collect();
    assert_eq!(hours, [0, 1, 0, 1]);
    // Also where the issues alternate from row to row.
    let text = b"i,v,TEMP\n\
        2020-10-24T00,2020-10-25 02:00,1\n2020-10-24T12,2020-10-25 02:00,2\n\
        2020-10-24T00,2020-10-25 02:00,3\n2020-10-24T12,2020-10-25 02:00,4\n";
    let table = Project::new(&[("f.csv", text)]).fetch(params).unwrap();
    let hours = table.times().iter().map(|time| time % 86_400 / 3600);
    assert_eq!(hours.collect::<Vec<_>>(), [0, 0, 1, 1]);
}

/// As the farms of `GEFCom` 2012.
#[test]
fn a_wide_file_has_a_row_for_each_series() {
    let text = b"date,wp1,wp2,ws\n2009070100,0.1,,5\n2009070101,0.3,0.4,6\n";
    let params = "path: f.csv\ntime: {column: date, format: '%Y%m%d%H'}\n\
        columns: {power: {unit: '1', series: {wf1: wp1, wf2: wp2}}, speed: {from: ws, unit: m/s}}";
    let table = Project::new(&[("f.csv", text)]).fetch(params).unwrap();
    assert_eq!(
        rows(&table),
        [
            "2009-07-01T00:00:00Z 0.1 5",
            "2009-07-01T00:00:00Z NaN 5",
            "2009-07-01T01:00:00Z 0.3 6",
            "2009-07-01T01:00:00Z 0.4 6",
        ]
    );
    let names: Vec<&str> = (0..4)
        .map(|row| table.series().unwrap().name(row))
        .collect();
    assert_eq!(names, ["wf1", "wf2", "wf1", "wf2"]);
}

#[test]
fn all_files_of_a_pattern_in_their_order() {
    let files: [(&str, &[u8]); 4] = [
        ("b.csv", b"time,TEMP\n1970-01-02,2\n"),
        ("a.csv", b"TEMP,x,time\n1,0,1970-01-01\n"),
        (".hidden.csv", b"nothing"),
        ("c.txt", b"nothing"),
    ];
    let project = Project::new(&files);
    let params = |path: &str| {
        format!("path: '{path}'\ntime: {{column: time}}\ncolumns: {{t: {{from: TEMP, unit: K}}}}")
    };
    assert_eq!(
        project.fetch(&params("*.csv")).unwrap().times(),
        [0, 86_400]
    );
    assert_eq!(
        project.fetch(&params("*.tsv")).unwrap_err(),
        "*.tsv: no file matches"
    );
    for pattern in ["[ab].csv", "?.csv"] {
        let table = project.fetch(&params(pattern)).unwrap();
        assert_eq!(table.times(), [0, 86_400], "{pattern}");
    }
    let told = project.fetch(&params("*.*")).unwrap_err();
    assert!(told.starts_with("c.txt: no column `time`"), "{told}");
    assert!(
        project
            .fetch(&params("[a.csv"))
            .unwrap_err()
            .contains("[a.csv")
    );
    assert!(
        project
            .fetch(&params("*[.csv"))
            .unwrap_err()
            .contains("is no pattern")
    );
}

#[test]
fn a_name_that_is_a_pattern_is_told_how_to_be_one() {
    let project = Project::new(&[("t[1].csv", b"time,TEMP\n1970-01-02,2\n")]);
    let fetch = |path: &str| {
        project.fetch(&format!(
            "path: '{path}'\ntime: {{column: time}}\ncolumns: {{t: {{from: TEMP, unit: K}}}}"
        ))
    };
    let told = fetch("t[1].csv").unwrap_err();
    let literal = told.split('`').nth(1).unwrap();
    assert_eq!(fetch(literal).unwrap().times(), [86_400], "{told}");
}

#[test]
fn json_lines_by_keys_and_pointers() {
    let text = br#"{"at": 1577829600000, "main": {"temp": 1.5, "list": [0, {"x": "2"}]}, "id": 12, "more": [1, {"deep": null}]}

{"at": "1577833200000", "main": {"temp": null}, "id": "12"}
"#;
    let params = "path: f.jsonl\ntime: {column: at, format: unix_ms}\nseries: {column: id}\n\
        columns: {a: {from: /main/temp, unit: K}, b: {from: /main/list/1/x, unit: K}}";
    let table = Project::new(&[("f.jsonl", text)]).fetch(params).unwrap();
    assert_eq!(
        rows(&table),
        ["2019-12-31T22:00:00Z 1.5 2", "2019-12-31T23:00:00Z NaN NaN"]
    );
    assert_eq!(table.series().unwrap().names(), ["12"]);
    let unusual = Project::new(&[("f.jsonl", text)]).fetch(&params.replace("/1/x", "/01/x"));
    let told = unusual.unwrap_err();
    assert!(told.contains("no line has `/main/list/01/x`"), "{told}");
    let error = |text: &str| {
        let params = "path: f\ntime: {column: at}\ncolumns: {a: {unit: K}}";
        Project::new(&[("f", text.as_bytes())])
            .fetch(params)
            .unwrap_err()
    };
    let good = "{\"at\": \"1970-01-01\", \"a\": 1}\n";
    for (text, told) in [
        (
            format!("{good}{{\"at\": \"1970"),
            "f, line 2: expected a JSON object: EOF",
        ),
        (format!("{good}[1]\n"), "f, line 2: expected a JSON object"),
        (format!("{good}{good}{{}}\n"), "f, line 3: expected a time"),
        (
            good.replace("\"a\"", "\"b\""),
            "f: no line has `a`; the first one has at, b",
        ),
        (good.replace('1', "true"), "f, line 1"),
        (
            good.replace(": 1}", ": true}"),
            "f, line 1: expected a number in `a`, found true or false",
        ),
        (
            good.replace(": 1}", ": {}}"),
            "f, line 1: expected a number in `a`, found an object",
        ),
        (
            format!(
                "{good}{}",
                good.replace(": 1}", &format!(": {}", "[".repeat(500)))
            ),
            "f, line 2",
        ),
    ] {
        let found = error(&text);
        assert!(found.starts_with(told), "{text}: {found}");
    }
}
