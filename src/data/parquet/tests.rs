//! Tables through Parquet and back, and files that are none.

use polars::prelude::ParquetWriter;
use polars_parquet::write::schema_to_metadata_key;

use super::*;

#[test]
fn a_table_reads_as_it_was_written() {
    let column = |name: &str, values: &[f64]| Column {
        name: name.into(),
        unit: "°C".into(),
        values: values.to_vec(),
    };
    let table = Table::new(
        vec![0, 3600, -7200],
        vec![column("b", &[1.5, 2.0, -0.1]), column("a", &[0.0; 3])],
    )
    .unwrap();
    let bytes = to_parquet(&table).unwrap();
    assert_eq!(bytes, to_parquet(&table).unwrap());
    assert_eq!(from_parquet(bytes).unwrap(), table);
}

#[test]
fn series_and_issue_times_stay_with_their_rows() {
    let column = Column {
        name: "a".into(),
        unit: "1".into(),
        values: vec![1.0, 2.0, 3.0],
    };
    let table = Table::new(vec![0, 3600, 0], vec![column])
        .and_then(|table| table.with_issues(vec![-60, -60, 0]))
        .and_then(|table| table.with_series(RowSeries::from_names(["b", "a", "b"].into_iter())))
        .unwrap();
    let bytes = to_parquet(&table).unwrap();
    // Arrow is told of texts in the form that all its readers know.
    let frame = frame::<&str>(&table, None, 0..0).unwrap();
    let known = schema_to_metadata_key(&frame.schema().to_arrow(CompatLevel::oldest()));
    let metadata = ParquetReader::new(Cursor::new(&bytes))
        .get_metadata()
        .unwrap()
        .clone();
    let mut said = metadata.key_value_metadata().as_ref().unwrap().iter();
    assert_eq!(said.find(|said| said.key == known.key), Some(&known));
    assert_eq!(from_parquet(bytes).unwrap(), table);
}

#[test]
fn missing_values_stay_missing_and_empty_tables_pass() {
    let column = Column {
        name: "a".into(),
        unit: "1".into(),
        values: vec![f64::NAN, 2.0],
    };
    let table = Table::new(vec![0, 1], vec![column]).unwrap();
    let back = from_parquet(to_parquet(&table).unwrap()).unwrap();
    assert!(back.columns()[0].values[0].is_nan());
    let empty = Table::new(
        vec![],
        vec![Column {
            name: "a".into(),
            unit: "1".into(),
            values: vec![],
        }],
    )
    .unwrap();
    assert_eq!(from_parquet(to_parquet(&empty).unwrap()).unwrap(), empty);
}

/// Rows with holes in them, more than are read at once.
fn long_table() -> Table {
    let rows = 2 * ROW_GROUP + 3;
    let value = |row: usize| match row % 1000 {
        7 => f64::NAN,
        _ => row as f64 / 8.0,
    };
    let names = (0..rows).map(|row| if row < ROW_GROUP + 5 { "b" } else { "a" });
    let column = Column {
        name: "a".into(),
        unit: "°C".into(),
        values: (0..rows).map(value).collect(),
    };
    let times: Vec<i64> = (0..rows as i64).map(|row| 60 * row - 7).collect();
    Table::new(times.clone(), vec![column])
        .and_then(|table| table.with_issues(times))
        .and_then(|table| table.with_series(RowSeries::from_names(names)))
        .unwrap()
}

/// To the bit, so that a missing value is one.
fn assert_same(a: &Table, b: &Table) {
    let bits = |table: &Table| -> Vec<u64> {
        let values = table.columns().iter().flat_map(|column| &column.values);
        values.map(|value| value.to_bits()).collect()
    };
    assert!(a.times() == b.times() && a.issues() == b.issues() && a.series() == b.series());
    assert!(bits(a) == bits(b));
}

fn pieces_of(bytes: Vec<u8>) -> usize {
    let (_, _, metadata) = read_footer(Cursor::new(&bytes)).unwrap();
    Pieces::new(&Input::Bytes(bytes), &metadata).pieces.len()
}

#[test]
fn pieces_come_together_in_their_order() {
    let table = long_table();
    let bytes = to_parquet(&table).unwrap();
    assert_eq!(pieces_of(bytes.clone()), 3);
    assert_same(&from_parquet(bytes.clone()).unwrap(), &table);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    assert_same(&read_parquet(file, None).unwrap(), &table);
}

#[test]
fn small_row_groups_are_read_together() {
    let table = long_table();
    let mut frame = frame::<&str>(&table, None, 0..table.rows()).unwrap();
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_row_group_size(Some(1 << 12))
        .finish(&mut frame)
        .unwrap();
    let groups = ParquetReader::new(Cursor::new(&bytes));
    assert!({ groups }.get_metadata().unwrap().row_groups.len() > 100);
    assert!(pieces_of(bytes.clone()) <= 3);
    assert_same(&from_parquet(bytes).unwrap(), &table);
}

#[test]
fn what_is_wrong_is_told_by_the_row_of_the_table() {
    let rows = ROW_GROUP + 100;
    let mut values = vec![1.0; rows];
    values[ROW_GROUP + 9] = f64::INFINITY;
    values[ROW_GROUP + 10] = f64::NEG_INFINITY;
    let column = Column {
        name: "a".into(),
        unit: "1".into(),
        values,
    };
    let table = Table::of((0..rows as i64).collect(), vec![column]);
    let told = from_parquet(to_parquet(&table).unwrap()).unwrap_err();
    let (column, row) = ("a".to_owned(), ROW_GROUP + 9);
    assert!(
        matches!(told, ParquetError::Table(told) if told == SeriesError::Infinite { column, row })
    );

    let time = |row: usize| (row != ROW_GROUP + 3).then_some(row as i64);
    let times = PolarsSeries::new(TIME.into(), (0..rows).map(time).collect::<Vec<_>>());
    let zone = Some(TimeZone::UTC);
    let times = times.cast(&DataType::Datetime(TimeUnit::Milliseconds, zone));
    let columns = vec![times.unwrap().into_column()];
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_row_group_size(Some(ROW_GROUP))
        .finish(&mut DataFrame::new(rows, columns).unwrap())
        .unwrap();
    let told = from_parquet(bytes).unwrap_err().to_string();
    let expected = format!("its column `time` is empty in row {}", ROW_GROUP + 3);
    assert_eq!(told, expected);
}

#[test]
fn a_file_that_is_cut_short_is_an_error() {
    let table = long_table();
    let bytes = to_parquet(&table).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let (_, _, metadata) = read_footer(Cursor::new(&bytes)).unwrap();
    file.set_len(bytes.len() as u64 / 2).unwrap();
    let input = Input::File(file);
    assert!(
        Pieces::new(&input, &metadata)
            .fill("a", read_values)
            .is_err()
    );
}

#[test]
fn refused_rows_have_their_reasons_beside_them() {
    let column = Column {
        name: "a".into(),
        unit: "°C".into(),
        values: vec![99.0, f64::NAN],
    };
    let table = Table::new(vec![0, 3600], vec![column]).unwrap();
    let reasons = ["range of a".to_owned(), "order".to_owned()];
    let bytes = refused_to_parquet(&table, &reasons).unwrap();
    let frame = ParquetReader::new(Cursor::new(bytes)).finish().unwrap();
    let names: Vec<&str> = frame.columns().iter().map(|c| c.name().as_str()).collect();
    assert_eq!(names, ["time", "a", "reasons"]);
    let text = frame
        .column("reasons")
        .unwrap()
        .as_materialized_series()
        .clone();
    let text: Vec<Option<&str>> = text.str().unwrap().iter().collect();
    assert_eq!(text, [Some("range of a"), Some("order")]);
    assert_eq!(frame.column("a").unwrap().null_count(), 1);
}

/// They would all be missing values.
#[test]
fn texts_in_place_of_numbers_are_refused() {
    let column = Column {
        name: "a".into(),
        unit: "1".into(),
        values: vec![1.0],
    };
    let table = Table::new(vec![0], vec![column]).unwrap();
    let bytes = refused_to_parquet(&table, &["none".to_owned()]).unwrap();
    let told = from_parquet(bytes).unwrap_err().to_string();
    assert_eq!(told, "column reasons holds texts in place of numbers");
}

/// A file of some row groups, with missing values.
fn large() -> Table {
    let rows = 2 * ROW_GROUP + 5;
    let column = |name: &str, every: usize| Column {
        name: name.into(),
        unit: "m/s".into(),
        values: (0..rows)
            .map(|row| {
                if row % every == 0 {
                    f64::NAN
                } else {
                    row as f64
                }
            })
            .collect(),
    };
    Table::new(
        (0..rows as i64).map(|row| row * 60).collect(),
        vec![column("a", 7), column("b", rows)],
    )
    .unwrap()
}

fn bits(table: &Table) -> Vec<Vec<u64>> {
    let of = |column: &Column| column.values.iter().map(|value| value.to_bits()).collect();
    table.columns().iter().map(of).collect()
}

#[test]
fn large_tables_are_written_in_parts_and_read_by_column() {
    let table = large();
    let bytes = to_parquet(&table).unwrap();
    assert_eq!(bytes, to_parquet(&table).unwrap());
    let whole = from_parquet(bytes.clone()).unwrap();
    assert_eq!((whole.times(), bits(&whole)), (table.times(), bits(&table)));

    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let open = || file.try_clone().unwrap();
    assert_eq!(parquet_columns(open()).unwrap(), ["a", "b"]);
    let part = read_parquet(open(), Some(&["b".to_owned()])).unwrap();
    assert_eq!(part.columns().len(), 1);
    assert_eq!(part.columns()[0].unit, "m/s");
    assert_eq!(bits(&part)[0], bits(&table)[1]);
    let none = read_parquet(open(), Some(&[])).unwrap();
    assert_eq!((none.times(), none.columns().len()), (table.times(), 0));
    let error = read_parquet(open(), Some(&["c".to_owned()])).unwrap_err();
    assert_eq!(error.to_string(), "no column c; there are a, b");
    // Cut short after its parts were named, which are at the end.
    let whole = bytes.len();
    let cut = [&bytes[..1000], &bytes[whole - 2000..]].concat();
    assert!(from_parquet(cut).is_err());
}

#[test]
fn other_files_are_refused() {
    assert!(matches!(
        from_parquet(b"no parquet at all".to_vec()),
        Err(ParquetError::Polars(_))
    ));
    assert!(matches!(
        from_parquet(Vec::new()),
        Err(ParquetError::Polars(_))
    ));
}
