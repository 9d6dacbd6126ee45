use super::*;

fn found(sample: &str) -> Found {
    sniff(sample.as_bytes()).unwrap_or_else(|e| panic!("{e}"))
}

fn roles(found: &Found) -> Vec<(&str, String, Option<Role>)> {
    found.columns.iter().filter(|c| c.filled > 0).map(|c| (c.name.as_str(), c.kind.to_string(), c.role)).collect()
}

fn many(line: impl Fn(usize) -> String) -> String {
    (0..60).map(|i| line(i) + "\n").collect()
}

#[test]
fn an_access_log() {
    let log = many(|i| {
        format!(
            "10.0.0.{} - - [17/May/2015:10:05:{:02} +0000] \"GET /p{} HTTP/1.1\" 200 2030 \"-\" \"Mozilla/5.0 (X11)\"",
            i % 7,
            i % 60,
            i % 5
        )
    });
    let found = found(&log);
    assert_eq!(found.codec, serde_json::json!({ "access_log": { "format": "combined" } }));
    assert_eq!(found.column(Role::Time).map(|c| c.name.as_str()), Some("time"));
    assert_eq!(found.column(Role::Address).map(|c| c.name.as_str()), Some("ip"));
    assert_eq!(found.column(Role::Resource).map(|c| c.name.as_str()), Some("path"));
    assert_eq!(found.column(Role::Status).map(|c| c.name.as_str()), Some("status"));
    assert_eq!((found.broken, found.knows_fields()), (0, true));
}

#[test]
fn an_access_log_in_a_format_of_its_own() {
    let log = many(|i| {
        format!(
            "- - [27/Oct/2019:18:08:{:02} +0000] \"GET /a{} HTTP/1.1\" 200 {} \"https://x.example/\" dr09rk5eagjuu87gedvdq{} \"Mozilla/5.0 (X11; Linux)\"",
            i % 60,
            i % 9,
            700 + i,
            i % 4
        )
    });
    let found = found(&log);
    assert_eq!(found.broken, 0);
    assert_eq!(found.column(Role::Session).map(|c| (c.name.as_str(), c.distinct)), Some(("session", 4)));
    assert!(found.column(Role::Agent).is_some() && found.column(Role::Time).is_some());
}

#[test]
fn json_with_leaves_and_odd_names() {
    let log = many(|i| {
        format!(
            "{{\"@timestamp\": \"2024-03-01T00:00:{:02}Z\", \"event\": {{\"id\": \"e{i}\"}}, \"user\": {{\"name\": \"u{}\"}}, \"srcIp\": \"10.0.0.{}\", \"ok\": true, \"tags\": {}}}",
            i % 60,
            i % 3,
            i % 5,
            if i % 9 == 0 { "17" } else { "[1]" }
        )
    });
    let found = found(&log);
    assert_eq!(
        roles(&found),
        [
            ("timestamp", "timestamp".into(), Some(Role::Time)),
            ("event_id", "text".into(), Some(Role::Identity)),
            ("user_name", "text".into(), Some(Role::User)),
            ("src_ip", "ip".into(), Some(Role::Address)),
            ("ok", "bool".into(), None),
            ("tags", "json".into(), None),
        ]
    );
}

#[test]
fn records_in_one_document() {
    let log = format!(
        "[\n{}{{\"time\": \"2024-03-01T00:00:59Z\", \"user\": \"u1\"}}\n]\n",
        many(|i| format!("  {{\"time\": \"2024-03-01T00:00:{:02}Z\",\n   \"user\": \"u{}\"}},", i % 60, i % 3))
    );
    let found = found(&log);
    assert_eq!(found.codec, serde_json::json!({ "json": { "records": "array" } }));
    assert_eq!((found.records, found.broken), (61, 0));
    assert_eq!(found.column(Role::User).map(|c| c.distinct), Some(3));
}

#[test]
fn mails() {
    let mail = "Received: from a.example ([192.0.2.1]) by b.example; Tue, 1 Oct 2024 10:00:01 +0000\nFrom: Ann <ann@a.example>\nTo: bob@b.example\nDate: Tue, 1 Oct 2024 10:00:00 +0000\nSubject: hi\n\ntext\n";
    let found = found(mail);
    assert_eq!((found.what.as_str(), found.broken), ("a mail", 0));
    assert!(found.column(Role::Time).is_some() && found.knows_fields());
    let mbox = format!("From ann@a.example Tue Oct  1 10:00:00 2024\n{mail}\n").repeat(3);
    assert_eq!(sniff(mbox.as_bytes()).expect("mails").what, "mails, an mbox file");
}

#[test]
fn delimited_text_with_a_header_and_without() {
    let log = format!("user;seq;command;masquerade\n{}", many(|i| format!("u{};{i};c{};0", i % 3, i % 8)));
    let with = found(&log);
    assert_eq!(with.codec, serde_json::json!({ "csv": { "delimiter": ";" } }));
    assert_eq!(with.column(Role::Label).map(|c| c.name.as_str()), Some("masquerade"));
    assert_eq!(with.column(Role::User).map(|c| c.name.as_str()), Some("user"));
    assert_eq!(with.column(Role::Time).map(|c| c.name.clone()), None);
    let without = found(&many(|i| format!("2024-01-01T00:00:{:02}Z,u{},{}", i % 60, i % 3, i * 7)));
    assert_eq!(without.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["column_1", "column_2", "column_3"]);
    assert_eq!(without.column(Role::Time).map(|c| c.name.as_str()), Some("column_1"));
    assert!(without.notes[0].contains("names no columns"), "{:?}", without.notes);
}

#[test]
fn a_daemons_log_without_years() {
    let log = many(|i| {
        format!("Mar 27 13:06:{:02} ip-10 sshd[12{i}]: Failed password for root from 10.0.0.{} port 22 ssh2", i % 60, i % 9)
    });
    let found = found(&log);
    assert_eq!(found.what, "syslog");
    assert!(found.codec.pointer("/syslog/year").is_some());
}

#[test]
fn what_is_no_log_is_told() {
    let told = |sample: &[u8]| sniff(sample).err().map(|e| (e.kind, e.to_string())).expect("refused");
    for (sample, says) in [
        (b"".as_slice(), "is empty"),
        (b"\n \n", "blank lines"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"\xff\xfea\0b\0", "UTF-16"),
        (b"\x7fELF\x01\x01", "a program"),
        (b"\x00\x01\x02\x03\x00\x00", "is binary"),
        (b"Es war einmal ein Mann\nder hatte drei Kinder\nund keine Zeit\n", "no format that is known"),
    ] {
        let (kind, text) = told(sample);
        assert!(kind == Kind::Data && text.contains(says), "{text}");
    }
}

#[test]
fn two_formats_in_one_file_are_told() {
    let mut log = many(|i| format!("{{\"time\": \"2024-03-01T00:00:{:02}Z\", \"user\": \"u{}\"}}", i % 60, i % 3));
    log.push_str(&"10.0.0.1 - - [17/May/2015:10:05:00 +0000] \"GET / HTTP/1.1\" 200 1\n".repeat(9));
    let found = found(&log);
    assert_eq!((found.records, found.broken), (69, 9));
    assert!(found.notes.iter().any(|note| note.contains("9 of the first 69 records")), "{:?}", found.notes);
}

proptest::proptest! {
    /// Whatever the bytes, there is an answer.
    #[test]
    fn any_bytes_have_an_answer(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400), text in "[a-z0-9,;|{}\"\\[\\]:/ \n-]{0,400}") {
        let _ = sniff(&bytes);
        let _ = sniff(text.as_bytes());
    }
}
