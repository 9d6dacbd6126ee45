use super::grok::Grok;
use super::names;
use crate::codecs::tests::{chunk, codec_of, decode, show};
use ouzel_core::Ordered;
use regex::Regex;

fn check(codec: &str, fields: &[&str], lines: &str, expected: &str) {
    assert_eq!(show(&decode(codec, fields, &chunk(lines.as_bytes(), None))), expected, "{lines}");
}

#[test]
fn named_groups_are_fields() {
    let codec = r"pattern: { pattern: '^(?<time>\S+) (?P<user>\S+) (?<text>.*)$' }";
    check(
        codec,
        &["time:timestamp", "user", "text", "other"],
        "2015-05-17T10:05:03Z ada hello world\r\nx y\n\n2015-05-17T10:05:03Z bob \u{e4}\u{f6}\nsoon ada hi\n",
        "2015-05-17T10:05:03Z | ada | hello world | ~\nbroken: no pattern matches\n2015-05-17T10:05:03Z | bob | \u{e4}\u{f6} | ~\n! `soon` is no timestamp | ada | hi | ~",
    );
}

#[test]
fn groups_of_no_text_are_null() {
    let codec = r#"pattern: { pattern: '^(?<a>\d*),(?<b>x)?,(?<c>.*)$', null: "-" }"#;
    check(codec, &["a:int", "b", "c:float"], "1,x,2.5\n,,-\n7,,x", "1 | x | 2.5\n~ | ~ | ~\n7 | ~ | ! `x` is no float");
}

#[test]
fn of_several_patterns_the_first_that_matches_counts() {
    let codec = r#"
pattern:
  patterns:
    - '^login %{USER:user} from %{IP:ip:ip} in %{NUMBER:ms:int} ms'
    - '^order %{ORDER:order} of %{USER:user}'
    - '%{WORD:verb}'
  definitions: { ORDER: '[A-Z]{2}-%{DIGITS}', DIGITS: '\d+' }"#;
    let fields = ["user", "ip:ip", "ms:int", "order", "verb"];
    check(
        codec,
        &fields,
        "login ada from 2001:DB8::1 in 12 ms\norder DE-17 of bob\n!! logout\n---",
        "ada | 2001:db8::1 | 12 | ~ | ~\nbob | ~ | ~ | DE-17 | ~\n~ | ~ | ~ | ~ | logout\nbroken: no pattern matches",
    );
    let own: Vec<String> =
        codec_of(codec).expect("sound").fields().expect("known").iter().map(|(name, of)| format!("{name}:{of}")).collect();
    assert_eq!(own, ["user:text", "ip:ip", "ms:int", "order:text", "verb:text"]);
}

#[test]
fn times_get_the_year_and_the_zone_that_they_lack() {
    let codec = r#"pattern: { pattern: '^%{DATA:time:timestamp};', year: 2015, utc_offset: "+02:00" }"#;
    check(
        codec,
        &["time:timestamp"],
        "Mar 27 13:06:56;\nMar  7 13:06:56;\n27/Mar/2016:13:06:56 +0000;\n2016-03-27 13:06:56,5;\n1431857103;\nnever;\nSun, 17 May 2015 10:05:03 GMT;",
        "2015-03-27T11:06:56Z\n2015-03-07T11:06:56Z\n2016-03-27T13:06:56Z\n2016-03-27T11:06:56.500Z\n2015-05-17T10:05:03Z\n! `never` is no timestamp\n2015-05-17T10:05:03Z",
    );
    check("pattern: { pattern: '^(?<time>.*)$' }", &["time:timestamp"], "Mar 27 13:06:56", "! `Mar 27 13:06:56` is no timestamp");
    // As text it stays what it is.
    check("pattern: { pattern: '^(?<time>.*)$', year: 2015 }", &["time"], "Mar 27 13:06:56", "Mar 27 13:06:56");
}

#[test]
fn the_formats_of_httpd_and_syslog() {
    let line = r#"::1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a.gif?b HTTP/1.0" 200 2326 "http://x/y" "Mozilla/4.08 [en]""#;
    check(
        "pattern: { pattern: '^%{COMBINEDAPACHELOG}$' }",
        &["clientip:ip", "auth", "timestamp:timestamp", "verb", "request", "httpversion", "response:int", "bytes:int", "agent"],
        line,
        r#"::1 | frank | 2000-10-10T20:55:36Z | GET | /a.gif?b | 1.0 | 200 | 2326 | "Mozilla/4.08 [en]""#,
    );
    check(
        "pattern: { pattern: '^%{SYSLOGBASE} %{GREEDYDATA:message}', year: 2015 }",
        &["timestamp:timestamp", "logsource", "program", "pid:int", "message"],
        "Mar  7 13:06:56 host.example sshd[1291]: Failed password",
        "2015-03-07T13:06:56Z | host.example | sshd | 1291 | Failed password",
    );
}

#[test]
fn every_name_compiles_and_takes_what_it_should() {
    let own = Ordered::default();
    let grok = Grok::new(&own);
    let whole = |name: &str| {
        let expanded = grok.expand(&format!("^%{{{name}}}$")).unwrap_or_else(|e| panic!("{name}: {}", e.message));
        Regex::new(&expanded.regex).unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    names::all().for_each(|name| _ = whole(name));
    for (name, good, bad) in [
        ("IPV4", "255.1.0.9", "256.1.0.9"),
        ("IPV6", "1:2:3:4:5:6:7:8", "10:05:03"),
        ("IPV6", "2001:db8::", "1::2::3"),
        ("IPV6", "::ffff:1.2.3.4", ":1"),
        ("IPV6", "fe80::1%eth0", "12345::"),
        ("IPV6", "64:ff9b::1.2.3.4", "1:2"),
        ("IP", "::", "1.2.3"),
        ("HOSTNAME", "a-1.example.com", "a b"),
        ("EMAILADDRESS", "a.b+c@example.com", "a@"),
        ("UUID", "01234567-89ab-cdef-0123-456789abcdef", "0123"),
        ("MAC", "00:1a:2B:3c:4d:5e", "00:1a"),
        ("NUMBER", "-1.5", "1e5"),
        ("POSINT", "10", "01"),
        ("QS", r#""a \" b""#, r#""a"#),
        ("PATH", "/var/log/x.log", "var"),
        ("PATH", r"C:\Windows\x", "C:"),
        ("URI", "https://user:pw@example.com:8080/a/b?c=d", "example.com"),
        ("URIPATHPARAM", "/a/b?c=d&e", "a"),
        ("LOGLEVEL", "WARN", "loud"),
        ("MONTH", "September", "Sex"),
        ("TIMESTAMP_ISO8601", "2024-11-05T10:00:00.123+01:00", "2024-13-05T10:00:00"),
        ("TIMESTAMP_ISO8601", "2024-11-05 10:00:00,123", "2024-11-05"),
        ("HTTPDATE", "10/Oct/2000:13:55:36 -0700", "10/10/2000"),
        ("SYSLOGTIMESTAMP", "Nov  5 10:00:00", "Nov 10:00"),
        ("DATESTAMP_RFC2822", "Sun, 17 May 2015 10:05:03 +0000", "17 May"),
    ] {
        assert!(whole(name).is_match(good), "{name} of {good}");
        assert!(!whole(name).is_match(bad), "{name} of {bad}");
    }
    let found = |name: &str, line: &str| {
        let expanded = grok.expand(&format!("%{{{name}:x}}")).expect("known");
        Regex::new(&expanded.regex).expect("sound").captures(line).map(|c| c["x"].to_string())
    };
    assert_eq!(found("IP", "at 10:05:03 from 1.2.3.4 on").as_deref(), Some("1.2.3.4"));
    assert_eq!(found("IP", "from 2001:db8::1:2, on").as_deref(), Some("2001:db8::1:2"));
    assert_eq!(found("IPORHOST", "from example.com").as_deref(), Some("from"));
}

#[test]
fn mistakes() {
    for (codec, expected) in [
        ("pattern: {}", "no `pattern`"),
        ("pattern: { patterns: [] }", "`patterns` is empty"),
        ("pattern: { pattern: '(?<a>x)', patterns: ['(?<b>y)'] }", "two ways to say the same"),
        ("pattern: { pattern: '^(?<a>\\S+' }", "p.yaml:1:21: error: the pattern does not compile: unclosed group at character 2"),
        ("pattern: { pattern: '(?<a>x)(?<a>y)' }", "duplicate capture group name"),
        ("pattern: { pattern: '(?<a>x)(?!y)' }", "look-around"),
        ("pattern: { pattern: '(?<a>(?:x{1000}){1000})' }", "does not compile: Compiled regex exceeds size limit"),
        (
            "pattern: { pattern: '%{WORT:a}' }",
            "unknown grok name `WORT`\n   1 | pattern: { pattern: '%{WORT:a}' }\n     |                     ^^^^^^^^^^^\nhint: did you mean `WORD`?",
        ),
        ("pattern: { pattern: '%{OURS:a}', definitions: { OURS: '%{WORDS}' } }", "p.yaml:1:55: error: unknown grok name `WORDS`"),
        (
            "pattern: { pattern: '%{OURS:a}', definitions: { OURS: '(' } }",
            "p.yaml:1:55: error: the pattern does not compile: unclosed group",
        ),
        ("pattern: { pattern: '%{A:a}', definitions: { A: 'x%{B}', B: '%{A}' } }", "stands for itself"),
        (
            "pattern: { pattern: '%{A:a}', definitions: { A: '%{B}%{B}%{B}%{B}%{B}%{B}%{B}%{B}', B: '%{C}%{C}%{C}%{C}%{C}%{C}%{C}%{C}', C: '%{D}%{D}%{D}%{D}%{D}%{D}%{D}%{D}', D: '%{IP}%{IP}%{IP}%{IP}%{IP}' } }",
            "longer than 256 KiB with its names written out",
        ),
        ("pattern: { pattern: '%{IP:a} %{IP:a}' }", "two groups are called `a`"),
        ("pattern: { pattern: '%{IP:a:number}' }", "`number` in `%{IP:a:number}` is no type"),
        ("pattern: { pattern: '%{IP:a-b}' }", "`a-b` in `%{IP:a-b}` is no name of a field"),
        ("pattern: { pattern: '%{IP' }", "`%{` without its `}`"),
        ("pattern: { pattern: '\\d+' }", "gives no field"),
        ("pattern: { patterns: ['%{INT:a:int}', '%{IP:a:ip}', '%{DATA:a}'] }", "`a` is ip here and int in a pattern before"),
        ("pattern: { pattern: '(?<a>x)', year: 0 }", "`year` is none"),
        ("pattern: { pattern: '(?<a>x)', utc_offset: x }", "`x` is no UTC offset"),
    ] {
        let said = codec_of(codec).err().unwrap_or_default();
        assert!(said.contains(expected), "{codec}: {said}");
    }
}

#[test]
fn hostile_lines() {
    let codec = r"pattern: { pattern: '^(?<a>\w+) (?<b>(?:x+x+)+y)?(?<c>.*)$' }";
    let long = format!("w {}\nw z\n", "x".repeat(1 << 20));
    let shown = show(&decode(codec, &["a", "b", "c"], &chunk(long.as_bytes(), None)));
    assert!(shown.ends_with("w | ~ | z") && shown.len() > 1 << 20);
    check(codec, &["a"], "\0\n\u{feff}w x", "broken: no pattern matches\nbroken: no pattern matches");
    let shown = show(&decode(codec, &["a"], &chunk(b"w \xff\nw x\n\xfe\xffw\0 \0x\0\n", None)));
    assert_eq!(shown, "broken: invalid UTF-8 at byte 3\nw\nbroken: invalid UTF-8 at byte 1");
}
