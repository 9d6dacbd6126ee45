use crate::lookups::testing::{check_mistakes, check_refused, folder, good, look_up};
use arrow_array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray};
use ouzel_core::FieldType;
use proptest::prelude::*;
use std::io::Write;
use std::sync::Arc;

#[test]
fn example_and_mistakes() {
    let config = good("table: { of: customer, file: data/customers.csv, key: id, take: { tier: text, limit: float } }");
    let expected = [("customer_tier", FieldType::Text), ("customer_limit", FieldType::Float)];
    assert_eq!(config.columns(), expected.map(|(name, kind)| (name.to_string(), kind)));
    assert_eq!((config.of().as_str(), config.files()), ("customer", vec!["data/customers.csv"]));
    let list = good("table: { of: card, as: stolen, file: data/stolen.txt }");
    assert_eq!(list.columns(), [("stolen_listed".to_string(), FieldType::Bool)]);
    check_mistakes(&[
        ("table: { of: c, file: f.txt, take: { a: int } }", "p.yaml:1:23: error: `f.txt` is a list of keys: it has no columns"),
        ("table: { of: c, file: f.list, key: a }", "`f.list` is a list of keys: it has no columns"),
        ("table: { of: c, file: f.txt.gz, columns: [c] }", "hint: a file's ending says what it is"),
        ("table: { of: c, file: f.json, columns: [c] }", "`columns` is for CSV files"),
        ("table: { of: c, file: f.mmdb }", "hint: look it up with `ranges`"),
        ("table: { of: c, file: \"\" }", "an empty path"),
        ("table: { of: c }", "missing field `file`"),
        ("table: { of: c, file: f.csv, take: { a: timestamp } }", "`a` cannot be looked up as `timestamp`"),
        ("table: { of: c, file: f.csv, columns: [id, a], take: { a: int } }", "the file has no column `c`"),
        ("table: { of: c, file: f.csv, key: idd, columns: [id, a], take: { a: int } }", "did you mean `id`?"),
        ("table: { of: c, file: f.csv, on_duplicate: first }", "first"),
    ]);
}

const KEYS: [Option<&str>; 7] = [Some("a"), Some("b"), None, Some("A"), Some(""), Some("ü, \"q\""), Some("a ")];
const TAKE: &str = "take: { t: text, n: int, f: float, b: bool }";

fn parquet() -> Vec<u8> {
    let columns: [(&str, ArrayRef); 5] = [
        ("c", Arc::new(StringArray::from(vec!["a", "b", "ü, \"q\""]))),
        ("other", Arc::new(StringArray::from(vec!["", "", ""]))),
        ("t", Arc::new(StringArray::from(vec![Some("gold"), None, Some("x")]))),
        ("n", Arc::new(Int32Array::from(vec![Some(1), Some(2), None]))),
        ("f", Arc::new(Float64Array::from(vec![0.5, 2.0, 3.0]))),
    ];
    let flags: ArrayRef = Arc::new(arrow_array::BooleanArray::from(vec![Some(true), None, Some(false)]));
    let batch = RecordBatch::try_from_iter(columns.into_iter().chain([("b", flags)])).expect("columns of one length");
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).expect("memory");
    writer.write(&batch).expect("memory");
    writer.close().expect("memory");
    bytes
}

#[test]
fn every_format_says_the_same() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"c,t,n,f,b\na,gold,1,0.5,true\nb,,2,2,\n\"\xc3\xbc, \"\"q\"\"\",x,,3,no\n").expect("memory");
    let files: [(&str, Vec<u8>); 6] = [
        ("t.csv", b"\xef\xbb\xbft,c,n,f,b\r\n gold , a ,1,0.5,true\r\n,b,2,2,\r\nx,\"\xc3\xbc, \"\"q\"\"\",,3,no\r\n".to_vec()),
        ("t.csv.gz", gzip.finish().expect("memory")),
        ("t.tsv", "c\tt\tn\tf\tb\na\tgold\t1\t0.5\t1\nb\t\t2\t2\t\n\"ü, \"\"q\"\"\"\tx\t\t3\t0\n".as_bytes().to_vec()),
        (
            "t.ndjson",
            "{\"c\":\"a\",\"t\":\"gold\",\"n\":1,\"f\":0.5,\"b\":true,\"z\":[1]}\n\n{\"c\":\"b\",\"n\":\"2\",\"f\":2}\n{\"c\":\"ü, \\\"q\\\"\",\"t\":\"x\",\"n\":null,\"f\":3,\"b\":false}\n".as_bytes().to_vec(),
        ),
        (
            "t.json",
            "[{\"c\":\"a\",\"t\":\"gold\",\"n\":1,\"f\":0.5,\"b\":true},\n{\"c\":\"b\",\"n\":2,\"f\":2},{\"c\":\"ü, \\\"q\\\"\",\"t\":\"x\",\"f\":3,\"b\":false}]".as_bytes().to_vec(),
        ),
        ("t.parquet", parquet()),
    ];
    for (name, bytes) in &files {
        let dir = folder(&[(name, bytes)]);
        let config = good(&format!("table: {{ of: c, file: {name}, {TAKE} }}"));
        let found = look_up(&config, dir.path(), &[], &KEYS).expect(name);
        let expected = ["gold - - - - x -", "1 2 - - - - -", "0.5 2 - - - 3 -", "true - - - - false -"];
        assert_eq!(found, expected, "{name}");
        let found = look_up(&config, dir.path(), &[false, true, false, false], &KEYS).expect(name);
        assert_eq!(found[..2], ["- - - - - - -", expected[1]], "{name}");
        let list = good(&format!("table: {{ of: x, key: c, file: {name} }}"));
        let found = look_up(&list, dir.path(), &[], &KEYS).expect(name);
        assert_eq!(found, ["true true - false false true false"], "{name}");
    }
    let dir = folder(&[("t.csv", b"1,gold\n2,silver\n")]);
    let config = good("table: { of: c, file: t.csv, columns: [c, tier], take: { tier: text } }");
    assert_eq!(look_up(&config, dir.path(), &[], &[Some("2"), Some("c")]).expect("no header"), ["silver -"]);
}

#[test]
fn lists() {
    for (name, bytes) in [
        ("l.txt", &b"# cards\r\na\r\n\r\n  b \r\n #x\na\n"[..]),
        ("l", b"a\nb"),
        ("l.json", b" [\"a\", \"b\", \"a\"] "),
        ("l.jsonl", b"\"a\"\n{\"c\": \"b\"}\n"),
    ] {
        let dir = folder(&[(name, bytes)]);
        let found = look_up(&good(&format!("table: {{ of: c, file: {name} }}")), dir.path(), &[], &KEYS).expect(name);
        assert_eq!(found, ["true true - false false false false"], "{name}");
        let found = look_up(&good(&format!("table: {{ of: c, file: {name} }}")), dir.path(), &[false], &KEYS).expect(name);
        assert_eq!(found, ["- - - - - - -"], "{name}");
    }
    let dir = folder(&[("l.json", b"[12, \"13\"]"), ("none.txt", b"# none\n"), ("none.json", b"[]")]);
    let found =
        |file: &str| look_up(&good(&format!("table: {{ of: c, file: {file} }}")), dir.path(), &[], &["12", "13"].map(Some));
    assert_eq!(found("l.json").expect("numbers are keys"), ["true true"]);
    assert_eq!(found("none.txt").expect("a list of none"), ["false false"]);
    assert_eq!(found("none.json").expect("a list of none"), ["false false"]);
}

#[test]
fn a_bad_table_is_refused_with_its_line() {
    check_refused(
        "table: { of: c, file: t.csv, take: { n: int } }",
        "t.csv",
        &[
            (b"", "t.csv:1: no column `c` among ``"),
            (b"c;n\n1;2\n", "t.csv:1: no column `c` among `c;n`"),
            (b"c,m\n", "t.csv:1: no column `n` among `c,m`"),
            (b"c,n\na,1\nb\n", "t.csv:3: expected 2 cells, found 1"),
            (b"c,n\na,1\n\nb,x\n", "t.csv:4: `x` is no `int`"),
            (b"c,n\na,1\n ,2\n", "t.csv:3: the key `c` is empty"),
            (b"c,n\na,1\nb,2\na,3\n", "t.csv:4: key `a` has other values in line 2"),
            (b"c,n\na,\"1\n", "t.csv:2: a quote that is not closed"),
            (b"c,n\na,1\nM\xfcller,2\n", "t.csv:3: not UTF-8"),
            (b"\xff\xfec\0,\0n\0", "`t.csv` is UTF-16: expected UTF-8"),
        ],
    );
    check_refused(
        "table: { of: c, file: t.json, take: { n: int } }",
        "t.json",
        &[
            (b" \n", "`t.json` is empty: expected JSON"),
            (b"[{\"c\":\"a\",\"n\":1}\n", "t.json:2: expected a JSON array: EOF"),
            (b"[{\"c\":\"a\",\"n\":1}] x", "t.json:1: expected a JSON array: trailing"),
            (b"[{\"c\":\"a\",\"n\":1},{\"c\":\"a\",\"n\":2}]", "t.json: entry 2: key `a` has other values in entry 1"),
            (b"[{\"c\":\"a\",\"n\":1},{\"n\":2}]", "t.json: entry 2: the key `c` is empty"),
            (b"[\"a\"]", "t.json: entry 1: expected an object: a key alone has nothing to take"),
            (b"[[1]]", "t.json: entry 1: expected an object or a text"),
            (b"[{\"c\":\"a\",\"m\":1}]", "t.json: no record has `n`"),
            (b"{\"c\":\"a\",\"n\":[1]}", "t.json:1: `[1]` is no `int`"),
            (b"{\n\"c\":\"a\"}", "t.json:1: expected one JSON object a line, or an array"),
            (b"nonsense", "t.json:1: expected one JSON object a line"),
        ],
    );
    let mut damaged = parquet();
    let end = damaged.len();
    damaged[4..end - 8].fill(0x5a);
    check_refused(
        "table: { of: c, file: t.parquet, take: { m: int } }",
        "t.parquet",
        &[
            (b"", "t.parquet: expected Parquet"),
            (b"c,n\na,1\n", "t.parquet: expected Parquet"),
            (&damaged, "t.parquet: expected Parquet"),
            (&parquet(), "no column `m` among `c,other,t,n,f,b`"),
        ],
    );
    check_refused(
        "table: { of: c, file: t.parquet, take: { t: int } }",
        "t.parquet",
        &[(&parquet(), "t.parquet: row 1: `gold` is no `int`")],
    );
    check_refused(
        "table: { of: c, file: t.txt }",
        "t.txt",
        &[(b"\n", "`t.txt` is empty: expected one key a line"), (b"a\n\xe4\n", "t.txt:2: not UTF-8")],
    );
}

#[test]
fn the_last_of_two_counts_if_so_told() {
    let dir = folder(&[("t.csv", b"c,n\na,1\nb,2\na,3\nb,2\n")]);
    let config = good("table: { of: c, file: t.csv, take: { n: int }, on_duplicate: last }");
    assert_eq!(look_up(&config, dir.path(), &[], &["a", "b"].map(Some)).expect("the last counts"), ["3 2"]);
    // The same values twice are no contradiction.
    let dir = folder(&[("t.csv", b"c,n\na,1\nb,2\na, 1\n")]);
    let config = good("table: { of: c, file: t.csv, take: { n: int } }");
    assert_eq!(look_up(&config, dir.path(), &[], &["a", "b"].map(Some)).expect("no contradiction"), ["1 2"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes_are_a_table_or_an_error(bytes in prop::collection::vec(prop::sample::select(b"ac,:\"\n\r[]{}1#\xff ".to_vec()), 0..60)) {
        for name in ["t.csv", "t.json", "t.txt", "t.parquet"] {
            let dir = folder(&[(name, &bytes)]);
            let _ = look_up(&good(&format!("table: {{ of: a, file: {name} }}")), dir.path(), &[], &[Some("a")]);
        }
        let dir = folder(&[("t.csv", &bytes)]);
        let _ = look_up(&good("table: { of: a, file: t.csv, columns: [a, c], take: { c: int } }"), dir.path(), &[], &[Some("a")]);
    }

    #[test]
    fn a_damaged_parquet_file_is_read_or_refused(at in 0usize..2000, byte in any::<u8>(), cut in 0usize..3000) {
        let mut bytes = parquet();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(if cut < 1000 { cut } else { bytes.len() });
        let dir = folder(&[("t.parquet", &bytes)]);
        let _ = look_up(&good(&format!("table: {{ of: c, file: t.parquet, {TAKE} }}")), dir.path(), &[], &[Some("a")]);
    }
}
