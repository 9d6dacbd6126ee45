use super::*;
use arrow_array::builder::{ListBuilder, StringViewBuilder};
use arrow_array::types::*;
use arrow_array::*;
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field};
use ouzel_core::clock::Stopwatch;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

fn encode(rows: &RecordBatch) -> String {
    let Encoded::Bytes { data, rows: n } = NdjsonEncoder::new(&rows.schema()).encode(rows).unwrap() else { panic!() };
    assert_eq!(n, rows.num_rows());
    String::from_utf8(data).unwrap()
}

fn one(array: impl Array + 'static) -> String {
    encode(&RecordBatch::try_from_iter([("x", Arc::new(array) as ArrayRef)]).unwrap())
}

#[test]
fn every_type() {
    let check = |expected: &[&str], text: String| {
        let expected: String = expected.iter().map(|value| format!("{{\"x\":{value}}}\n")).collect();
        assert_eq!(text, expected);
    };
    check(
        &["1.0", "0.1", "1e16", "-0.0", "null", "null", "null"],
        one(Float64Array::from(vec![Some(1.0), Some(0.1), Some(1e16), Some(-0.0), Some(f64::NAN), Some(f64::INFINITY), None])),
    );
    check(&["0.1"], one(Float32Array::from(vec![0.1])));
    check(&["-9223372036854775808", "null"], one(Int64Array::from(vec![Some(i64::MIN), None])));
    check(&["18446744073709551615"], one(UInt64Array::from(vec![u64::MAX])));
    check(&["255"], one(UInt8Array::from(vec![255])));
    check(&["-7"], one(Int16Array::from(vec![-7])));
    check(&["true", "null"], one(BooleanArray::from(vec![Some(true), None])));
    check(&["null"], one(NullArray::new(1)));
    check(&["12.30"], one(Decimal128Array::from(vec![1230]).with_precision_and_scale(10, 2).unwrap()));
    check(&["\"2026-11-24\""], one(Date32Array::from(vec![20_781])));
    check(&["\"1970-01-01T00:00:00.000001Z\""], one(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC")));
    check(&["\"1970-01-01T00:00:01.000000\""], one(TimestampSecondArray::from(vec![1])));
    check(&["\"a\\\"\\\\\\n\\u0001é\""], one(StringArray::from(vec!["a\"\\\n\u{1}é"])));
    check(&["\"a\"", "null", "\"a\""], one([Some("a"), None, Some("a")].into_iter().collect::<DictionaryArray<Int32Type>>()));
    check(&["\"0aff\""], one(BinaryArray::from(vec![&[0x0a_u8, 0xff][..]])));
    check(&["[1,null]", "null"], one(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None])));
    let a: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let fields = vec![Field::new("a", DataType::Int64, true)];
    check(&["{\"a\":1}", "null"], one(StructArray::new(fields.into(), vec![a], Some(NullBuffer::from(vec![true, false])))));
}

#[test]
fn slices_and_odd_names() {
    let rows = RecordBatch::try_from_iter([("a \"b\"", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef)]).unwrap();
    assert_eq!(encode(&rows.slice(1, 1)), "{\"a \\\"b\\\"\":2}\n");
    assert_eq!(encode(&rows.slice(0, 0)), "");
}

proptest! {
    #[test]
    fn a_parser_reads_back_what_was_there(rows in prop::collection::vec(
        (any::<Option<i64>>(), any::<Option<f64>>(), any::<Option<bool>>(), any::<Option<String>>(), any::<Option<Vec<Option<String>>>>()), 0..40)
    ) {
        let mut lists = ListBuilder::new(StringViewBuilder::new());
        for row in &rows {
            if let Some(items) = &row.4 {
                for item in items {
                    lists.values().append_option(item.as_deref());
                }
            }
            lists.append(row.4.is_some());
        }
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("i", Arc::new(rows.iter().map(|r| r.0).collect::<Int64Array>())),
            ("f", Arc::new(rows.iter().map(|r| r.1).collect::<Float64Array>())),
            ("b", Arc::new(rows.iter().map(|r| r.2).collect::<BooleanArray>())),
            ("v", Arc::new(rows.iter().map(|r| r.3.as_deref()).collect::<StringViewArray>())),
            ("s", Arc::new(rows.iter().map(|r| r.3.as_deref()).collect::<StringArray>())),
            ("l", Arc::new(lists.finish())),
        ];
        let text = encode(&RecordBatch::try_from_iter(columns).unwrap());
        prop_assert_eq!(text.lines().count(), rows.len());
        for (line, (i, f, b, s, l)) in text.lines().zip(rows) {
            let mut read: Value = serde_json::from_str(line).unwrap();
            // serde_json reads floats to within a bit; the standard library reads them exactly.
            let text = line.split_once("\"f\":").unwrap().1.split_once(',').unwrap().0;
            let float = read.as_object_mut().unwrap().shift_remove("f").unwrap();
            prop_assert_eq!(float.is_number(), f.is_some_and(f64::is_finite));
            prop_assert_eq!(text.parse().ok().map(f64::to_bits), f.filter(|f| f.is_finite()).map(f64::to_bits));
            prop_assert_eq!(&read, &json!({ "i": i, "b": b, "v": s, "s": s, "l": l }));
        }
    }
}

/// Not a check: `cargo test --release -p ouzel-connect sinks -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed_of_the_web_workloads_columns() {
    const ROWS: usize = 8192;
    let int = |f: fn(usize) -> i64| Arc::new((0..ROWS).map(|i| Some(f(i))).collect::<Int64Array>()) as ArrayRef;
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "request_id",
            Arc::new(
                (0..ROWS).map(|i| Some(format!("{:032x}", i as u128 * 0x9e37_79b9_7f4a_7c15_f39c))).collect::<StringViewArray>(),
            ),
        ),
        ("ip_asn", Arc::new((0..ROWS).map(|i| (i % 9 != 0).then_some(i as i64 * 7)).collect::<Int64Array>())),
        ("is_crawler", Arc::new((0..ROWS).map(|i| Some(i % 20 == 0)).collect::<BooleanArray>())),
        ("requests_1m", int(|i| i as i64 % 200)),
        ("errors_5m", int(|i| i as i64 % 20)),
        ("bytes_1h", int(|i| i as i64 * 1237 % 9_000_000)),
        ("requests_10m", int(|i| i as i64 % 1000)),
        ("agents_1h", int(|i| 1 + i as i64 % 3)),
        ("bot", Arc::new((0..ROWS).map(|i| Some((i as f64 * 617.0) % 1_000_000.0 / 1e6)).collect::<Float64Array>())),
        ("decision", Arc::new((0..ROWS).map(|i| Some(["allow", "challenge", "deny"][i % 3])).collect::<StringViewArray>())),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let mut encoder = NdjsonEncoder::new(&rows.schema());
    let mut best = f64::MAX;
    let mut bytes = 0;
    for _ in 0..200 {
        let watch = Stopwatch::start();
        let Encoded::Bytes { data, .. } = encoder.encode(&rows).unwrap() else { panic!() };
        best = best.min(watch.seconds());
        bytes = data.len();
    }
    eprintln!("ndjson, 10 columns: {:.0} ns a row, {} bytes a row", best * 1e9 / ROWS as f64, bytes / ROWS);
}
