use super::*;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringViewArray};
use arrow_schema::{DataType, Field, Schema};
use std::sync::Arc;

fn planner() -> Planner {
    let fields = vec![
        Field::new("ip", DataType::Utf8View, true),
        Field::new("requests_1m", DataType::Int64, true),
        Field::new("score", DataType::Float64, true),
        Field::new("event_time", ouzel_core::field::timestamp_type(), true),
        Field::new("tags", DataType::List(Arc::new(Field::new("item", DataType::Utf8View, true))), true),
    ];
    Planner::new(Arc::new(Schema::new(fields))).expect("plain columns")
}

fn columns() -> Vec<ArrayRef> {
    vec![
        Arc::new(StringViewArray::from(vec![Some("10.0.0.1"), None, Some("x")])),
        Arc::new(Int64Array::from(vec![Some(60), Some(0), None])),
        Arc::new(Float64Array::from(vec![0.5, 1.0, 2.0])),
    ]
}

fn evaluate(sql: &str) -> (ArrayRef, Vec<Failed>) {
    let mut failed = Vec::new();
    let expression = planner().plan(sql, None).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    (expression.evaluate(&columns(), 3, &mut failed).expect("evaluates"), failed)
}

#[test]
fn arithmetic_is_in_doubles_and_nulls_spread() {
    let (array, failed) = evaluate("0.4 * least(requests_1m / 120.0, 1.0)");
    assert_eq!(array.as_primitive::<Float64Type>(), &Float64Array::from(vec![Some(0.2), Some(0.0), Some(0.4)]));
    assert!(failed.is_empty());
}

#[test]
fn known_is_false_on_null() {
    let (array, _) = evaluate("known(requests_1m)");
    assert_eq!(array.as_boolean(), &BooleanArray::from(vec![true, true, false]));
    let expression = planner().plan("known(requests_1m) and score > 1", None).expect("plans");
    assert_eq!(expression.asks_known.iter().collect::<Vec<_>>(), ["requests_1m"]);
    let expression = planner().plan("coalesce(requests_1m, score, 0) > 1", None).expect("plans");
    assert_eq!(expression.asks_known.iter().collect::<Vec<_>>(), ["requests_1m", "score"]);
}

#[test]
fn a_failing_row_is_alone() {
    let (array, failed) = evaluate("100 / requests_1m");
    assert_eq!(array.as_primitive::<Int64Type>(), &Int64Array::from(vec![Some(1), None, None]));
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].row, 1);
    assert!(failed[0].reason.contains("ivide by zero"), "{}", failed[0].reason);
}

#[test]
fn functions_of_strings_times_and_lists() {
    for sql in [
        "lower(ip)",
        "split_part(ip, '.', 1)",
        "ip like '10.%'",
        "extract(hour from event_time)",
        "cast(event_time as date)",
        "cardinality(tags) > 0",
        "array_has(tags, 'a')",
        "case when score > 1 then 'a' else 'b' end",
        "ip in ('a', 'b')",
        "substr(ip, 1, 2) || '!'",
        "coalesce(ip, '')",
        "round(score, 2)",
        "regexp_like(ip, '^1')",
        "tags[1]",
        "position('x' in ip)",
        "event_time > '2026-01-01T00:00:00Z'",
        "cast(ip as bigint)",
        "try_cast(ip as bigint)",
        "score between 0 and 1",
        "date_trunc('hour', event_time)",
    ] {
        planner().plan(sql, None).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
}

#[test]
fn what_is_refused_says_why() {
    for (sql, expected) in [
        ("requests > 1", "unknown name `requests`"),
        ("lwoer(ip)", "unknown function `lwoer`"),
        ("now() > event_time", "depends on the clock or on chance"),
        ("random()", "depends on the clock or on chance"),
        ("score +", "found: EOF"),
        ("score > 1 1", "found: 1"),
        ("(select 1)", ""),
        ("count(*)", ""),
        ("ip + tags", ""),
    ] {
        let error = planner().plan(sql, None).map(|e| format!("{e:?}")).expect_err(sql);
        assert!(error.message.contains(expected), "{sql}: {}", error.message);
    }
    let deep = format!("{}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(planner().plan(&deep, None).is_err());
}

#[test]
fn paths_into_the_raw_record() {
    let paths = |sql: &str| raw_paths(sql).expect("parses").iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(paths("headers['x-request-id']"), ["headers['x-request-id']"]);
    assert_eq!(paths("split_part(url, '?', 1) || \"userAgent\""), ["url", "userAgent"]);
    assert_eq!(paths("screen.width + tags[0]"), ["screen['width']", "tags[0]"]);
}
