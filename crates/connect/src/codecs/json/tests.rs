//! The reader against serde_json: the same lines are good, and the same values come out.
//!
//! Differences that are meant: a lone surrogate is U+FFFD here and an error there, a number too large for 64 bits is
//! the field's matter here and an error there, and the depth limits are 128 and 127.

use super::is_blank;
use crate::codecs::tests::{check_invariants, chunk, wanted};
use crate::codecs::{CodecConfig, JsonCodec};
use arrow_array::cast::AsArray;
use ouzel_core::{Path, Wanted, path::Step};
use proptest::prelude::*;
use serde_json::{Map, Number, Value};

const PATHS: [&str; 9] = ["a", "b", "c.a", "c.b", "c.c.a", "c.0", "c.1.a", "a.a", "d"];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1000i64..1000).prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |f| Number::from_f64(f).map(Value::Number)),
        "[a-z]{0,20}".prop_map(Value::from),
        "[\\PC\"\\\\\n\u{0}é😀]{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from), object(inner).prop_map(Value::Object),]
    })
}

/// An object whose keys often are wanted ones.
fn object(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    let key = prop_oneof![8 => "[a-e]", 1 => "[a-z_]{0,30}", 1 => "[\\PC\"\\\\\n]{0,5}"];
    prop::collection::vec((key, inner), 0..7).prop_map(|entries| entries.into_iter().collect())
}

fn records() -> impl Strategy<Value = Vec<Map<String, Value>>> {
    prop::collection::vec(object(value()), 1..8)
}

fn at<'a>(record: &'a Value, path: &Path) -> Option<&'a Value> {
    let found = path.0.iter().try_fold(record, |value, step| match step {
        Step::Key(key) => value.as_object()?.get(key),
        Step::Index(i) => value.as_array()?.get(*i),
    });
    found.filter(|value| !value.is_null())
}

fn is_meant(refusal: &serde_json::Error) -> bool {
    let text = refusal.to_string();
    ["surrogate", "hex escape", "number out of range"].iter().any(|meant| text.contains(meant))
}

/// Every line as serde_json reads it, and every wanted value in it.
fn agrees(data: &[u8]) -> Result<(), TestCaseError> {
    let fields: Vec<Wanted> = PATHS.iter().map(|path| wanted(&format!("{path}:any"))).collect();
    let chunk = chunk(data, None);
    let decoded = JsonCodec::default().decoder(fields.clone()).decode(&chunk).expect("decodes");
    check_invariants(&chunk, &decoded);
    let (mut row, mut broken) = (0, 0);
    for line in data.split(|b| *b == b'\n').filter(|line| !line.iter().all(is_blank)) {
        let model = serde_json::from_slice::<Value>(line);
        if model.as_ref().is_err_and(is_meant) {
            let start = line.as_ptr() as usize - data.as_ptr() as usize;
            let here = decoded.broken.get(broken).is_some_and(|b| (start..start + line.len()).contains(&(b.range.0 as usize)));
            if here {
                broken += 1
            } else {
                row += 1
            }
            continue;
        }
        let Some(record) = model.ok().filter(Value::is_object) else {
            broken += 1;
            continue;
        };
        prop_assert!(row < decoded.rows, "{} is good: {:?}", String::from_utf8_lossy(line), decoded.broken);
        for (field, column) in fields.iter().zip(&decoded.columns) {
            let texts = column.values.as_string_view();
            let found = (!column.values.is_null(row)).then(|| texts.value(row));
            match (at(&record, &field.path), found) {
                (Some(Value::String(expected)), Some(found)) => prop_assert_eq!(expected, found),
                (Some(expected), Some(found)) => prop_assert_eq!(expected, &serde_json::from_str::<Value>(found).expect("JSON")),
                (None, None) => {}
                (expected, found) => prop_assert!(false, "{}: {expected:?} is {found:?}", field.path),
            }
        }
        row += 1;
    }
    prop_assert_eq!((row, broken), (decoded.rows, decoded.broken.len()), "{}", String::from_utf8_lossy(data));
    Ok(())
}

fn lines(records: &[Map<String, Value>], blanks: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        let mut line = serde_json::to_string(record).expect("JSON");
        if blanks {
            line = serde_json::to_string_pretty(record).expect("JSON").replace('\n', "\t \r");
        }
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn good_records(records in records(), blanks: bool) {
        agrees(&lines(&records, blanks))?;
    }

    #[test]
    fn damaged_records(records in records(), hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..5)) {
        let mut data = lines(&records, false);
        for (at, byte, kind) in hits {
            let at = at.index(data.len());
            let byte = if kind == 1 { b"\"\\{}[]:,0-.eE nft"[byte as usize % 17] } else { byte };
            match kind {
                0 | 1 => data[at] = byte,
                2 => data.insert(at, byte),
                _ => { data.remove(at); }
            }
            if data.is_empty() {
                break;
            }
        }
        agrees(&data)?;
    }

    #[test]
    fn truncated_records(records in records(), at: prop::sample::Index) {
        let data = lines(&records, false);
        agrees(&data[..at.index(data.len())])?;
    }
}

#[test]
fn a_form_feed_is_no_whitespace() {
    agrees(b"{\"a\":1}\n\x0c{\"a\":2}\n{\"a\":3}\n").expect("as serde_json has it");
}

#[test]
fn one_decoder_for_many_chunks_keeps_no_meaning() {
    let codec: CodecConfig = serde_json::from_str(r#"{"json": {}}"#).expect("a codec");
    let mut decoder = codec.decoder(vec![wanted("a:int")]).expect("a decoder");
    for data in ["{\"a\":1}\n{\"b\":1,\"a\":2}\n", "{\"a\":", "{\"b\":1}", "{\"a\":1}\n{\"b\":1,\"a\":2}\n"] {
        let chunk = chunk(data.as_bytes(), None);
        let fresh = codec.decoder(vec![wanted("a:int")]).and_then(|mut d| d.decode(&chunk)).expect("decodes");
        let again = decoder.decode(&chunk).expect("decodes");
        assert_eq!((&again.columns[0].values, &again.raw, &again.broken), (&fresh.columns[0].values, &fresh.raw, &fresh.broken));
    }
}

mod documents {
    use crate::codecs::tests::{chunk, codec_of, decode, show};

    const ARRAY: &str = "json: { records: array }";
    const PATH: &str = "json: { path: data.Records }";
    const CONCATENATED: &str = "json: { records: concatenated }";

    /// Reads a file in pieces of every size, as the reader of files does, and shows what came of it.
    fn read(codec: &str, file: &str, step: usize) -> String {
        let mut framing = codec_of(codec).expect("sound").framing();
        let data = file.as_bytes();
        let ends = (1..).map(|n| (n * step).min(data.len())).take(data.len() / step + 1).collect::<Vec<_>>();
        let mut at = ends.iter().find_map(|end| framing.header(&data[..*end], *end == data.len())).unwrap_or(0);
        let header = (at > 0).then(|| file[..at].to_string());
        let mut shown = Vec::new();
        for end in ends {
            let whole = if end == data.len() { end } else { at + framing.split(&data[at.min(end)..end]) };
            if whole > at {
                let piece = chunk(&data[at..whole], header.as_deref());
                shown.push(show(&decode(codec, &["a:int", "s", "o.x:int"], &piece)));
                at = whole;
            }
        }
        shown.retain(|s| !s.is_empty());
        shown.join("\n")
    }

    fn check(codec: &str, file: &str, expected: &str) {
        for step in [file.len().max(1), 1, 2, 3, 7] {
            assert_eq!(read(codec, file, step), expected, "{file} in steps of {step}");
        }
    }

    #[test]
    fn arrays() {
        check(ARRAY, r#"[{"a":1},{"a":2,"o":{"x":3}}]"#, "1 | ~ | ~\n2 | ~ | 3");
        check(
            ARRAY,
            "\u{feff} [\r\n  {\n    \"a\": 1,\n    \"s\": \"}]\\\"\"\n  },\n  {\n    \"a\": 2\n  }\n]\n",
            "1 | }]\" | ~\n2 | ~ | ~",
        );
        check(ARRAY, "[]", "");
        check(ARRAY, "", "");
        check(ARRAY, r#"[{"a":1},{"a":tru},{"a":3}]"#, "1 | ~ | ~\nbroken: expected a value at byte 6\n3 | ~ | ~");
        check(
            ARRAY,
            r#"[{"a":1},17,[2],"s",{"a":3}]"#,
            "1 | ~ | ~\nbroken: expected an object at byte 1\nbroken: expected an object at byte 1\nbroken: expected an object at byte 1\n3 | ~ | ~",
        );
        check(ARRAY, r#"[{"a":1},{"a":2"#, "1 | ~ | ~\nbroken: expected `,` or `}`, but the record ends at byte 7");
        check(ARRAY, r#"[{"a":1}] x"#, "1 | ~ | ~\nbroken: expected the end of the file behind the array");
        check(ARRAY, r#"[{"a":1}][{"a":2}]"#, "1 | ~ | ~\nbroken: expected the end of the file behind the array");
        check(
            ARRAY,
            "{\"a\":1}\n{\"a\":2}\n",
            "broken: the file is no array: expected `[` at its beginning\nbroken: the file is no array: expected `[` at its beginning",
        );
    }

    #[test]
    fn arrays_within_an_object() {
        let file =
            r#"{"v": 1, "z": {"data": ["]"]}, "data": {"n": null, "Records": [{"a": 1}, {"a": 2}], "m": {"a": 3}}, "w": [4]}"#;
        check(PATH, file, "1 | ~ | ~\n2 | ~ | ~");
        check(
            PATH,
            &file[..file.len() - 1],
            "1 | ~ | ~\n2 | ~ | ~\nbroken: the file ends before what the array lies in is closed",
        );
        check(PATH, &format!("{file}\n{file}"), "1 | ~ | ~\n2 | ~ | ~\nbroken: expected the end of the file behind the array");
        for none in [r#"{"data": {"records": [{"a": 1}]}}"#, r#"{"data": {"Records": {"a": 1}}}"#, r#"{"data": 1}"#] {
            check(PATH, none, "broken: the file has no array at `data.Records`");
        }
    }

    #[test]
    fn one_after_another() {
        check(
            CONCATENATED,
            "{\n \"a\": 1\n}\n{\n \"a\": 2\n}{\"a\":3} {\"a\"\n:4}",
            "1 | ~ | ~\n2 | ~ | ~\n3 | ~ | ~\n4 | ~ | ~",
        );
        check(CONCATENATED, "{\"a\":1}, {\"a\":2}\n", "1 | ~ | ~\nbroken: expected an object at byte 1\n2 | ~ | ~");
        check(
            CONCATENATED,
            "{\"a\":1]\n{\"a\":2}\nx y\n{\"a\":3}\n",
            "broken: expected `,` or `}` at byte 7\n2 | ~ | ~\nbroken: expected an object at byte 1\n3 | ~ | ~",
        );
        check(CONCATENATED, "{\"s\":\"\u{1}\"}\n{\"a\":2}", "broken: control character in a string at byte 7\n2 | ~ | ~");
    }

    #[test]
    fn hostile_bytes() {
        let deep = format!("[{}{},{{\"a\":2}}]", "{\"a\":".repeat(100_000), "}".repeat(100_000));
        let shown = read(ARRAY, &deep, deep.len());
        assert_eq!(shown, "broken: nested deeper than 128 at byte 641\n2 | ~ | ~");
        let piece = chunk(b"{\"s\":\"\xff\"}\n{\"a\":2}\n{\"a\":3", None);
        assert_eq!(
            show(&decode(CONCATENATED, &["a:int"], &piece)),
            "broken: invalid UTF-8 at byte 7\n2\nbroken: expected `,` or `}`, but the record ends at byte 7"
        );
        let mut seed = 1u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        for _ in 0..5000 {
            let file: String =
                (0..random(40)).map(|_| ["{", "}", "[", "]", "\"", "\\", ",", ":", "1", "\n", "a"][random(11)]).collect();
            for codec in [ARRAY, PATH, CONCATENATED] {
                let whole = read(codec, &file, file.len().max(1));
                let cut = read(codec, &file, 1 + random(5));
                // What is no record may be cut elsewhere; records may not.
                let rows = |shown: &str| shown.lines().filter(|l| !l.starts_with("broken")).map(String::from).collect::<Vec<_>>();
                assert_eq!(rows(&whole), rows(&cut), "{file:?}");
            }
        }
    }

    #[test]
    fn mistakes() {
        let said = |codec: &str| codec_of(codec).err().unwrap_or_default();
        assert!(said("json: { path: Records, records: concatenated }").contains("`path` leads to an array"));
        assert!(said("json: { path: 'a..b' }").contains("an empty key"));
        assert!(said("json: { records: arrays }").contains("did you mean `array`"));
        let hint = |file: &[u8]| show(&decode("json: {}", &["a"], &chunk(file, None)));
        assert!(hint(b"\n[{\"a\":1}]").contains("read with `records: array`"));
        assert!(hint(b"{\n\"a\":1}").contains("read with `records: concatenated`"));
    }
}
