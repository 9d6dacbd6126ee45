//! Bytes in, verdict out.

use super::{chunk, decode, show};

const JSON: &str = r#"{"json": {}}"#;
const SYSLOG: &str = r#"{"syslog": {"year": 2015}}"#;
const COMBINED: &str = r#"{"access_log": {}}"#;

/// Name, bytes, and what comes of `a:int`, `t:timestamp`, `s:text`.
const RECORDS: &[(&str, &[u8], &str)] = &[
    ("empty chunk", b"", ""),
    ("blank lines", b"\n  \r\n\t\n", ""),
    ("no line end", b"{\"a\":1}", "1 | ~ | ~"),
    ("windows line ends", b"{\"a\":1}\r\n{\"a\":2}\r\n", "1 | ~ | ~\n2 | ~ | ~"),
    ("half a line", b"{\"a\":1}\n{\"a\":2,\"s\":\"ab", "1 | ~ | ~\nbroken: expected `\"`, but the line ends at byte 15"),
    (
        "half a line, then a good one",
        b"{\"a\":2,\n{\"a\":3}\n",
        "broken: expected a key in quotes, but the line ends at byte 8\n3 | ~ | ~",
    ),
    (
        "no object",
        b"[1]\n17\n\"a\"\n",
        "broken: expected an object at byte 1 (a file that is one array is read with `records: array`)\nbroken: expected an object at byte 1\nbroken: expected an object at byte 1",
    ),
    ("text behind the object", b"{\"a\":1} x\n", "broken: expected the end of the line at byte 9"),
    ("two objects", b"{\"a\":1}{\"a\":2}\n", "broken: expected the end of the line at byte 8"),
    ("a bad value nobody wants", b"{\"a\":1,\"z\":[1,{\"y\":tru}]}\n", "broken: expected a value at byte 20"),
    (
        "a comma too many",
        b"{\"a\":1,}\n{\"z\":[1,]}\n",
        "broken: expected a key in quotes at byte 8\nbroken: expected a value at byte 9",
    ),
    ("brackets that do not match", b"{\"z\":[1}\n", "broken: expected `,` or `]` at byte 8"),
    (
        "numbers that are none",
        b"{\"a\":01}\n{\"a\":1.}\n{\"a\":-}\n{\"a\":+1}\n{\"a\":NaN}\n",
        "broken: expected a number without leading zeros at byte 6\nbroken: expected a digit at byte 8\nbroken: expected a digit at byte 7\nbroken: expected a value at byte 6\nbroken: expected a value at byte 6",
    ),
    ("invalid UTF-8", b"{\"a\":1}\n{\"s\":\"x\xff\"}\n{\"a\":2}\n", "1 | ~ | ~\nbroken: invalid UTF-8 at byte 8\n2 | ~ | ~"),
    ("NUL byte in a string", b"{\"s\":\"a\0b\"}\n", "broken: control character in a string at byte 8"),
    ("NUL byte between", b"{\"a\":1\0}\n\0\n", "broken: expected `,` or `}` at byte 7\nbroken: expected an object at byte 1"),
    ("escaped NUL", b"{\"s\":\"a\\u0000b\"}\n", "~ | ~ | a\0b"),
    ("lone surrogate", b"{\"s\":\"a\\ud800b\"}\n", "~ | ~ | a\u{fffd}b"),
    ("bad escape", b"{\"s\":\"\\x41\"}\n", "broken: expected a valid escape at byte 7"),
    ("duplicate keys", b"{\"a\":1,\"a\":2,\"s\":\"x\",\"s\":null}\n", "2 | ~ | ~"),
    ("a duplicate key that is malformed", b"{\"a\":1,\"a\":\"x\"}\n", "! `\"x\"` is no int | ~ | ~"),
    (
        "beyond 64 bits",
        b"{\"a\":9223372036854775808}\n{\"a\":9223372036854775807}\n",
        "! `9223372036854775808` is no int of 64 bits | ~ | ~\n9223372036854775807 | ~ | ~",
    ),
    (
        "no int",
        b"{\"a\":1.5}\n{\"a\":\"12\"}\n{\"a\":{\"b\":[]}}\n",
        "! `1.5` is no int | ~ | ~\n! `\"12\"` is no int | ~ | ~\n! `{\"b\":[]}` is no int | ~ | ~",
    ),
    ("no text", b"{\"s\":12}\n", "~ | ~ | ! `12` is no text"),
    ("year 0", b"{\"t\":\"0000-01-01T00:00:00Z\"}\n", "~ | ! `\"0000-01-01T00:00:00Z\"` is no timestamp | ~"),
    ("year 9999", b"{\"t\":\"9999-12-31T23:59:59.999999Z\"}\n", "~ | 9999-12-31T23:59:59.999999Z | ~"),
    (
        "zones",
        b"{\"t\":\"2024-01-01T00:30:00+01:00\"}\n{\"t\":\"2024-01-01 00:30:00-0130\"}\n",
        "~ | 2023-12-31T23:30:00Z | ~\n~ | 2024-01-01T02:00:00Z | ~",
    ),
    ("a date that is none", b"{\"t\":\"2023-02-30T00:00:00Z\"}\n", "~ | ! `\"2023-02-30T00:00:00Z\"` is no timestamp | ~"),
];

#[test]
fn json_records() {
    for (name, bytes, expected) in RECORDS {
        assert_eq!(show(&decode(JSON, &["a:int", "t:timestamp", "s:text"], &chunk(bytes, None))), *expected, "{name}");
    }
}

#[test]
fn depth() {
    for (open, close) in [("[", "]"), ("{\"x\":", "}")] {
        for (depth, good) in [(127, true), (128, false), (10_000, false), (1_000_000, false)] {
            let core = if open == "[" { "" } else { "1" };
            let line = format!("{{\"a\":1,\"z\":{}{core}{}}}\n{{\"a\":2}}", open.repeat(depth), close.repeat(depth));
            let shown = show(&decode(JSON, &["a:int", "z.x.x:json"], &chunk(line.as_bytes(), None)));
            assert!(shown.ends_with("2 | ~"), "{shown}");
            assert_eq!(shown.contains("nested deeper than 128 at byte"), !good, "{depth}: {shown}");
        }
    }
}

#[test]
fn a_line_of_20_megabytes_is_one_broken_record() {
    let long = "x".repeat(20 << 20);
    let quoted = format!("{{\"a\":\"{long}\"}}\n{{\"a\":1}}\n");
    assert_eq!(
        show(&decode(JSON, &["a:int"], &chunk(quoted.as_bytes(), None))),
        "broken: a record of 20971528 bytes is longer than 16777216\n1"
    );
    let bare = format!("{long}\n");
    for (codec, field) in [(JSON, "a"), (SYSLOG, "message"), (COMBINED, "path"), (r#"{"csv": {"columns": ["a"]}}"#, "a")] {
        let decoded = decode(codec, &[field], &chunk(bare.as_bytes(), None));
        assert_eq!((decoded.rows, decoded.broken.len()), (0, 1), "{codec}");
    }
}

#[test]
fn a_chunk_with_a_fault_is_one_broken_record() {
    let mut faulty = chunk(b"{\"a\":1}\n{\"a\":2}\n", None);
    faulty.fault = Some("corrupt gzip".into());
    for codec in [JSON, SYSLOG, COMBINED, r#"{"csv": {"columns": ["a"]}}"#] {
        assert_eq!(show(&decode(codec, &["a:int", "b"], &faulty)), "broken: corrupt gzip");
    }
}

/// Random bytes, and good lines with random damage: every byte is in a row, a broken record, or blank.
#[test]
fn no_bytes_make_any_codec_panic_or_lose_a_line() {
    let good: &[(&str, &str)] = &[
        (JSON, r#"{"a":{"b":[1,{"c":"x\u00e9"}]},"t":"2024-01-01T00:00:00Z","s":"x y","n":-1.5e3,"ok":true,"no":null}"#),
        (
            "json: { records: concatenated }",
            r#"{"a":{"b":[1,{"c":"x}"}]},
  "t":"2024-01-01T00:00:00Z","n":-1.5e3}"#,
        ),
        (COMBINED, r#"1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /a?b=c HTTP/1.1" 200 17 "-" "Mozilla \"x\" \xff""#),
        (SYSLOG, "<34>1 2015-03-27T13:06:56Z host app 17 id [a x=\"1\\\"\"][b] \u{feff}message"),
        (SYSLOG, "Mar 27 13:06:56 host sshd(pam_unix)[1291]: message"),
        (
            r"pattern: { pattern: '^(?<time>\S+) (?<s>\S+) \S(?<a>.).(?<t>.*)$' }",
            "2015-03-27T13:06:56Z \u{e4}b x\u{e4}\u{e4}c 1 2024-01-01",
        ),
        (r#"{"csv": {"columns": ["a", "s", "t"], "trim": true}}"#, r#"1, "two ""words""" ,2024-01-01"#),
        (r#"{"tsv": {"columns": ["a", "s", "t"]}}"#, "1\tx\"\t2024-01-01"),
    ];
    let fields = [
        "a.b.1.c",
        "a:json|int",
        "s",
        "t:timestamp",
        "time:timestamp",
        "path",
        "message",
        "structured_data:json",
        "n:int|float",
        "s:any",
    ];
    let mut seed = 1u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    const INTERESTING: &[u8] = b"\"\\{}[]:,-. \t\r\n\0\xff\xc3<>|0'";
    for (codec, line) in good {
        let intact = decode(codec, &fields, &chunk(line.as_bytes(), None));
        assert_eq!((intact.rows, intact.broken.len()), (1, 0), "{codec}: {:?}", intact.broken);
        for _ in 0..3000 {
            let mut bytes = format!("{line}\n{line}\n{line}").into_bytes();
            for _ in 0..1 + random(4) {
                let at = random(bytes.len());
                match random(4) {
                    0 => bytes.truncate(at + 1),
                    1 => bytes[at] = random(256) as u8,
                    2 => bytes[at] = INTERESTING[random(INTERESTING.len())],
                    _ => bytes.insert(at, INTERESTING[random(INTERESTING.len())]),
                }
            }
            let decoded = decode(codec, &fields, &chunk(&bytes, None));
            let mut covered = vec![false; bytes.len()];
            for (start, end) in decoded.raw.iter().copied().chain(decoded.broken.iter().map(|b| b.range)) {
                covered[start as usize..end as usize].fill(true);
            }
            assert!(bytes.iter().zip(covered).all(|(b, covered)| covered || b.is_ascii_whitespace()), "{codec}: {bytes:?}");
        }
    }
}
