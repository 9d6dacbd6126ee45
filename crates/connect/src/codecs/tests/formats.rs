//! Formats and options, by example.

use super::{chunk, decode, show};
use crate::codecs::CodecConfig;
use ouzel_core::{Report, Span};

fn check(codec: &str, fields: &[&str], lines: &str, expected: &str) {
    let (header, lines) = match lines.split_once("\n===\n") {
        Some((header, lines)) => (Some(header), lines),
        None => (None, lines),
    };
    assert_eq!(show(&decode(codec, fields, &chunk(lines.as_bytes(), header))), expected, "{lines}");
}

fn problems(codec: &str) -> Vec<String> {
    let codec: CodecConfig = serde_json::from_str(codec).expect("a codec");
    let mut report = Report::new();
    codec.validate(&mut report, Span::default());
    report.problems().iter().map(|p| p.message.clone()).collect()
}

#[test]
fn several_types_of_a_field() {
    let json = r#"{"json": {}}"#;
    check(
        json,
        &["fonts:list<text>|text"],
        "{\"fonts\":[\"a\",null,\"b\"]}\n{\"fonts\":\"a\\nb\"}\n{\"fonts\":7}\n{\"fonts\":[1]}\n{}",
        "[a, ~, b]\na\nb?\n! `7` is no list<text> or text\n! `[1]` is no list<text> or text\n~",
    );
    check(
        json,
        &["x:int|bool|text"],
        "{\"x\":1}\n{\"x\":true}\n{\"x\":\"1\"}\n{\"x\":[]}\n",
        "1\ntrue?\n1?\n! `[]` is no int or bool or text",
    );
    check(
        json,
        &["x:any"],
        "{\"x\":1.50}\n{\"x\":\"a\\tb\"}\n{\"x\":[1, 2]}\n{\"x\":null}\n{\"x\":false}\n",
        "1.50\na\tb\n[1, 2]\n~\nfalse",
    );
    check(json, &["x:json"], "{\"x\":1.50}\n{\"x\":\"a\\tb\"}\n{\"x\":[1, 2]}\n{\"x\":null}\n", "1.50\n\"a\\tb\"\n[1, 2]\n~");
    check(
        json,
        &["x:ip"],
        "{\"x\":\"1.2.3.4\"}\n{\"x\":\"2001:DB8::0:1\"}\n{\"x\":\"01.2.3.4\"}\n{\"x\":\"\\u0031.2.3.4\"}\n",
        "1.2.3.4\n2001:db8::1\n! `\"01.2.3.4\"` is no ip\n1.2.3.4",
    );
    check(
        json,
        &["x:timestamp"],
        "{\"x\":1431857103}\n{\"x\":\"1431857103000\"}\n{\"x\":true}\n",
        "2015-05-17T10:05:03Z\n2015-05-17T10:05:03Z\n! `true` is no timestamp",
    );
    check(json, &["x:float"], "{\"x\":1}\n{\"x\":1e400}\n{\"x\":2.5}\n", "1.0\n! `1e400` is no float\n2.5");
    check(
        json,
        &["x:list<int>"],
        "{\"x\":[1,2.0]}\n{\"x\":[]}\n{\"x\":[ 1 , \"2\"]}\n",
        "[1, 2]\n[]\n! `[ 1 , \"2\"]` is no list<int>",
    );
    let long = format!("{{\"x\":\"{}\"}}", "ä".repeat(1000));
    check(json, &["x:int"], &long, &format!("! `\"{}...\"` is no int", "ä".repeat(60)));
}

#[test]
fn paths_into_json() {
    let json = r#"{"json": {}}"#;
    let fields = ["a:any", "a.b:any", "a.1:any", "a.1.c:any", "a.b.c:int"];
    check(json, &fields, r#"{"a":{"b":{"c":3},"z":[{"b":4}]}}"#, r#"{"b":{"c":3},"z":[{"b":4}]} | {"c":3} | ~ | ~ | 3"#);
    check(json, &fields, r#"{"a":[0,{"c":5},6]}"#, r#"[0,{"c":5},6] | ~ | {"c":5} | 5 | ~"#);
    // The last of two equal keys counts, with all that is in it.
    check(json, &fields, r#"{"a":{"b":{"c":3}},"a":{"b":7}}"#, r#"{"b":7} | 7 | ~ | ~ | ~"#);
    check(json, &fields, r#"{"a":{"b":{"c":3}},"a":[]}"#, "[] | ~ | ~ | ~ | ~");
    // Keys are compared by what they mean, and blanks do not matter.
    check(
        json,
        &["a", "b"],
        "{\"a\":\"1\",\"b\":\"2\"}\n{\"\\u0061\" : \"3\" , \"b\":\"4\" }\n{ \"b\": \"5\",\"a\": \"6\"}\n{\"a\":\"7\",\"b\":\"8\"}",
        "1 | 2\n3 | 4\n6 | 5\n7 | 8",
    );
    check(
        json,
        &["a", "long_enough_to_need_more:int"],
        "{\"long_enough_to_need_more\":1}\n{\"long_enough_to_need_more\":2}\n{\"long_enough_to_need_mare\":3}\n{ }\n{}",
        "~ | 1\n~ | 2\n~ | ~\n~ | ~\n~ | ~",
    );
    // More keys than are learnt.
    let many: String = (0..3000).map(|i| format!("{{\"k{i}\":0,\"a\":\"{i}\"}}\n")).collect();
    let expected: Vec<String> = (0..3000).map(|i| i.to_string()).collect();
    check(json, &["a"], &many, &expected.join("\n"));
}

#[test]
fn csv() {
    let csv = r#"{"csv": {}}"#;
    check(
        csv,
        &["b:int", "a", "zz"],
        "\u{feff}a,\"b\"\n===\nx,1\n\"y, \"\"z\"\"\n!\",2\r\n,\n\n",
        "1 | x | ~\n2 | y, \"z\"\n! | ~\n~ | ~ | ~",
    );
    check(
        csv,
        &["a", "b:int"],
        "a,b\n===\nx\nx,1,2\nx,12ms\n5\" disk,3\n\"x\"y,4\n\"x,4",
        "broken: expected 2 cells, found 1\nbroken: expected 2 cells, found 3\nx | ! `12ms` is no int\n5\" disk | 3\nbroken: expected the end of the cell behind its quote at byte 4\nbroken: a quote is not closed",
    );
    check(
        csv,
        &["a:bool", "b:timestamp"],
        "a,b\n===\nTRUE,1431857103\n0,2015-05-17\nyes,",
        "true | 2015-05-17T10:05:03Z\nfalse | 2015-05-17T00:00:00Z\n! `yes` is no bool | ~",
    );
    check(
        csv,
        &["a:json|text", "b:list<int>"],
        "a,b\n===\n\"{\"\"x\"\":\n1}\",\"[1, 2]\"\n{,[]",
        "{\"x\":\n1} | [1, 2]\n{? | []",
    );
    let custom =
        r#"{"csv": {"columns": ["a", "b"], "header": false, "delimiter": ";", "quote": "'", "null": "NULL", "trim": true}}"#;
    check(custom, &["a", "b"], " x ; 'y;' \nNULL;''", "x | y;\n~ | ");
    check(r#"{"tsv": {}}"#, &["a", "b"], "a\tb\n===\n\"x\t y", "\"x |  y");
    assert_eq!(problems(r#"{"csv": {"header": false}}"#), ["without a header line the columns have no names"]);
    assert_eq!(
        problems(r#"{"csv": {"delimiter": "\"", "columns": ["a", "a"]}}"#),
        ["`quote` and `delimiter` are the same character", "column `a` is there twice"]
    );
}

#[test]
fn framing() {
    let framing = |codec: &str| serde_json::from_str::<CodecConfig>(codec).expect("a codec").framing();
    let mut lines = framing(r#"{"json": {}}"#);
    assert_eq!(lines.split(b"{}\n{}\n{"), 6);
    assert_eq!(lines.split(b"{"), 0);
    assert_eq!(
        (lines.header(b"\xef\xbb", false), lines.header(b"\xef\xbb\xbf{", false), lines.header(b"{", false)),
        (None, Some(3), Some(0))
    );
    let mut csv = framing(r#"{"csv": {}}"#);
    assert_eq!(csv.split(b"a,\"b\nc\"\nd,\"e\n"), 8);
    assert_eq!(csv.split(b"5\" x,1\n\"\"\"\n\",2\n"), 15);
    assert_eq!(csv.header(b"a,b\nc", false), Some(4));
    assert_eq!(csv.header(b"a,\"b\n", false), None);
    assert_eq!(csv.header(b"\xef\xbb\xbfa,b", true), Some(6));
    assert_eq!(framing(r#"{"csv": {"header": false, "columns": ["a"]}}"#).header(b"a,b\n", false), Some(0));
}

#[test]
fn access_logs() {
    let fields = ["ip:ip", "time:timestamp", "method", "path", "protocol", "status:int", "bytes:int", "referer", "user_agent"];
    let combined = r#"{"access_log": {"format": "combined"}}"#;
    let line = |request: &str| format!(r#"1.2.3.4 - - [17/May/2015:10:05:03 +0000] "{request}" 200 - "-" "A \"b\" c"  "#);
    let rest = "200 | ~ | ~ | A \"b\" c";
    let start = "1.2.3.4 | 2015-05-17T10:05:03Z";
    check(combined, &fields, &line("GET /a?b HTTP/1.1"), &format!("{start} | GET | /a?b | HTTP/1.1 | {rest}"));
    check(combined, &fields, &line("GET /a b HTTP/2"), &format!("{start} | GET | /a b | HTTP/2 | {rest}"));
    for noise in ["-", "", r"\x16\x03\x01", "GET /", "GET  HTTP/1.1", "quit", "GET / HTTP/"] {
        check(combined, &fields, &line(noise), &format!("{start} | ~ | ~ | ~ | {rest}"));
    }
    check(combined, &["request", "query"], &line(r"GET /?\x22\xc3\xa9 HTTP/1.1"), "GET /?\"é HTTP/1.1 | \"é");
    check(
        combined,
        &["host", "ip:ip", "user"],
        &line("-").replace("1.2.3.4 - -", "crawl.example.com - jo doe"),
        "crawl.example.com | ! `crawl.example.com` is no ip | jo doe",
    );
    check(combined, &["status:int"], "nonsense\n", "broken: `%h` starts at column 1, but no ` ` ends it");
    let nginx = r#"{"access_log": {"format": "$remote_addr [$time_iso8601] \"$request\" $status ${request_time}s $http_x_forwarded_for"}}"#;
    check(
        nginx,
        &["ip:ip", "time:timestamp", "duration:float", "x_forwarded_for"],
        r#"::1 [2015-05-17T12:05:03+02:00] "-" 499 0.250s 1.1.1.1, 2.2.2.2"#,
        "::1 | 2015-05-17T10:05:03Z | 0.25 | 1.1.1.1, 2.2.2.2",
    );
    let apache = r#"{"access_log": {"format": "%v:%p %a %{usec}t %m %U%q %D"}}"#;
    assert_eq!(problems(apache), ["nothing stands between `%U` and `%q`"]);
    let apache = r#"{"access_log": {"format": "%v:%p %a %{usec}t %m %U %q. %D %{Session-Id}C"}}"#;
    check(
        apache,
        &["server", "port:int", "time:timestamp", "method", "path", "query", "duration:float", "session_id"],
        "a.b:443 ::1 1431857103000001 GET /x ?y=1. 1500 s1",
        "a.b | 443 | 2015-05-17T10:05:03.000001Z | GET | /x | y=1 | 0.0015 | s1",
    );
}

#[test]
fn syslog() {
    let fields = ["time:timestamp", "host", "app", "pid:int", "message", "facility:int", "severity:int"];
    let syslog = r#"{"syslog": {"year": 2016, "utc_offset": "+02:00"}}"#;
    check(syslog, &fields, "Mar 27 13:06:56 h sshd[1291]: a: b", "2016-03-27T11:06:56Z | h | sshd | 1291 | a: b | ~ | ~");
    check(
        syslog,
        &fields,
        "<34>Feb  9 13:06:56 h sshd(pam_unix)[19939]: x",
        "2016-02-09T11:06:56Z | h | sshd(pam_unix) | 19939 | x | 4 | 2",
    );
    check(syslog, &fields, "Feb 29 13:06:56 h kernel: [12.3] x", "2016-02-29T11:06:56Z | h | kernel | ~ | [12.3] x | ~ | ~");
    check(
        syslog,
        &fields,
        "Mar 27 2014 13:06:56.5: h last message repeated 2 times",
        "2014-03-27T11:06:56.500Z | h | ~ | ~ | last message repeated 2 times | ~ | ~",
    );
    check(
        syslog,
        &fields,
        "2015-03-27T13:06:56.123456+01:00 h app[x]: m",
        "2015-03-27T12:06:56.123456Z | h | app | ! `x` is no int | m | ~ | ~",
    );
    check(
        syslog,
        &fields,
        "Feb 30 13:06:56 h -- root[1]: LOGIN",
        "! `2016-02-30T13:06:56+02:00` is no timestamp | h | ~ | ~ | -- root[1]: LOGIN | ~ | ~",
    );
    check(r#"{"syslog": {}}"#, &["time:timestamp", "app"], "Mar 27 13:06:56 h a:", "! `Mar 27 13:06:56` is no timestamp | a");
    let new = ["time:timestamp", "host", "app", "pid:int", "msgid", "structured_data:json", "message", "severity:int"];
    check(
        syslog,
        &new,
        "<165>1 2003-10-11T22:14:15.003Z h evntslog - ID47 [a@1 x=\"1\" y=\"q\\\"\\]\\\\n\"][b] \u{feff}An event",
        r#"2003-10-11T22:14:15.003Z | h | evntslog | ~ | ID47 | {"a@1":{"x":"1","y":"q\"]\\n"},"b":{}} | An event | 5"#,
    );
    check(syslog, &new, "<13>1 - - - - - -", "~ | ~ | ~ | ~ | ~ | ~ |  | 5");
    check(
        syslog,
        &new,
        "<200>1 - - - - - -\n<13>1 - -\n<13>1 - - - - - [a\nhello",
        "broken: expected a priority from 0 to 191 and `>` at column 5\nbroken: expected an application or `-` at column 10\nbroken: expected `]` at column 19\nbroken: expected a time such as `Mar 27 13:06:56` or `2015-03-27T13:06:56Z` at column 1",
    );
    assert_eq!(problems(r#"{"syslog": {"year": 0, "utc_offset": "CET"}}"#), ["`year` is 0", "`CET` is no UTC offset"]);
    assert_eq!(problems(r#"{"syslog": {}}"#).len(), 1);
}

/// The real logs beside the project: not a line is lost.
#[test]
fn real_logs() {
    let folder =
        std::path::Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo runs the tests")).join("../../../shared/data");
    if !folder.exists() {
        eprintln!("skipped: no {}", folder.display());
        return;
    }
    let certh = r#"{"access_log": {"format": "- - %t \"%r\" %>s %b \"%{Referer}i\" %{session}x \"%{User-Agent}i\""}}"#;
    let combined = r#"{"access_log": {"format": "combined"}}"#;
    let syslog = r#"{"syslog": {"year": 2015}}"#;
    for (file, codec, rows, malformed) in [
        ("web/elastic_apache_logs_10k.log.gz", combined, 10_000, 0),
        ("web/slrbl_access.log.2021-10-22.gz", combined, 644, 0),
        ("web/certh_sessions.log.gz", certh, 14_650, 0),
        ("auth/elastic_auth_7121.log.gz", syslog, 7_121, 0),
        ("auth/loghub_Linux_2k.log.gz", syslog, 2_000, 0),
        ("auth/loghub_OpenSSH_2k.log.gz", syslog, 2_000, 0),
    ] {
        let packed = std::fs::File::open(folder.join(file)).expect("a file of the data folder");
        let mut data = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(packed), &mut data).expect("a good file");
        let config: CodecConfig = serde_json::from_str(codec).expect("a codec");
        let fields: Vec<String> =
            config.fields().expect("fields").into_iter().map(|(name, kind)| format!("{name}:{kind}")).collect();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let decoded = decode(codec, &fields, &chunk(&data, None));
        let bad: usize = decoded.columns.iter().map(|c| c.malformed.len()).sum();
        assert_eq!((decoded.rows, decoded.broken.len(), bad), (rows, 0, malformed), "{file}: {:?}", decoded.broken.first());
    }
}
