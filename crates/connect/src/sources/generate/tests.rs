use super::*;
use ouzel_core::{clock::Stopwatch, yaml};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

fn parse(text: &str) -> (Option<super::super::SourceConfig>, String) {
    let mut report = Report::new();
    let file = report.file("p.yaml", text);
    let config: Option<super::super::SourceConfig> =
        yaml::parse(&mut report, file, text, &|_| None).and_then(|node| yaml::decode(&mut report, &node));
    if let Some(config) = &config {
        config.validate(&mut report);
    }
    (config, report.render(|_, word| word.to_string()))
}

fn lines(events: u64, rate: f64, seed: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let source = GenerateSource { events, rate: Spanned::nowhere(rate), seed, ..Default::default() };
    source.write_to(&mut out).expect("memory takes everything");
    out
}

#[test]
fn examples_and_mistakes() {
    for good in ["generate: { kind: web, events: 1000000, rate: 5000, seed: 1, start: \"2026-03-01T00:00:00Z\" }", "generate"] {
        let (config, problems) = parse(good);
        assert_eq!(problems, "", "{good}");
        let Some(crate::sources::SourceConfig::Generate(config)) = config else { panic!("{good}") };
        assert_eq!((config.start, config.rate.value, config.seed), (StartTime(1_772_323_200_000_000), 5000.0, 1));
    }
    for (bad, expected) in [
        ("generate: { rate: 0 }", "p.yaml:1:19: error: the rate must lie between"),
        ("generate: { start: soon }", "p.yaml:1:20: error: `soon` is no time"),
        ("generate: { start: 0001-01-01T00:00:00Z }", "error: `0001"),
        ("generate: { kind: mail }", "unknown kind `mail`"),
    ] {
        let (_, problems) = parse(bad);
        assert!(problems.contains(expected), "{bad}: {problems}");
    }
}

#[test]
fn the_first_events_are_the_same_however_many_follow() {
    let (short, long) = (lines(1000, 5000.0, 1), lines(5000, 5000.0, 1));
    assert!(long.starts_with(&short));
    assert_ne!(lines(1000, 5000.0, 2), short);
    let config = GenerateSource { events: 5000, ..Default::default() };
    let mut source = config.open().expect("nothing to open");
    let mut chunked = Vec::new();
    while let Some(chunk) = source.next().expect("never fails") {
        assert_eq!(chunk.origin.position, chunked.len() as u64);
        assert!(chunk.data.len() <= CHUNK_BYTES_MAX && chunk.data.ends_with(b"\n"));
        chunked.extend_from_slice(&chunk.data);
    }
    assert!(chunked == long);
}

/// The traffic has the shape that the documentation promises.
#[test]
fn traffic_looks_as_promised() {
    let events = 200_000;
    let text = lines(events, 1000.0, 7);
    let mut labels: HashMap<String, u64> = HashMap::new();
    let (mut implausible, mut malformed, mut last) = (0, 0, String::new());
    let mut customers_of: HashMap<String, HashSet<String>> = HashMap::new();
    let mut agents_of: HashMap<String, HashSet<String>> = HashMap::new();
    let mut per_session: HashMap<String, u64> = HashMap::new();
    let mut longest = 0;
    for line in text.split_inclusive(|b| *b == b'\n') {
        longest = longest.max(line.len());
        let event: Value = serde_json::from_slice(line).expect("valid JSON");
        let field = |name: &str| event[name].as_str().unwrap_or("null").to_string();
        assert_eq!(field("request_id").len(), 32);
        field("ip").parse::<std::net::Ipv4Addr>().expect("an address");
        let time = field("event_time");
        assert!(time > last, "{time} after {last}");
        last = time;
        implausible += (event["color_depth"] == -100) as u64;
        malformed += event["fonts"].is_number() as u64;
        *labels.entry(field("label")).or_default() += 1;
        *per_session.entry(field("session")).or_default() += 1;
        customers_of.entry(field("session")).or_default().insert(field("customer"));
        if field("label") == "credential_stuffing" {
            assert_eq!((field("method"), field("path")), ("POST".into(), "/login".into()));
            agents_of.entry(field("session")).or_default().insert(field("user_agent"));
        }
    }
    assert!(longest < LINE_LIMIT, "{longest}");
    assert_eq!(labels.values().sum::<u64>(), events);
    let attacks = events - labels["null"];
    assert!((events * 35 / 1000..events * 45 / 1000).contains(&attacks), "{labels:?}");
    for name in ["credential_stuffing", "login_burst", "scraper"] {
        assert!(labels[name] > events / 200, "{labels:?}");
    }
    for (what, n) in [("implausible", implausible), ("malformed", malformed)] {
        assert!((events / 2000..events / 500).contains(&n), "{what} {n}");
    }
    assert!(customers_of.values().all(|customers| customers.len() == 1));
    assert!(agents_of.values().any(|agents| agents.len() > 3));
    // 1,000 events per second: 200 seconds, give or take a few.
    assert!(("2026-03-01T00:03:15".to_string().."2026-03-01T00:03:25".to_string()).contains(&last), "{last}");
}

const LINE_LIMIT: usize = web::LINE_BYTES_MAX * 3 / 4;

#[test]
fn speed() {
    let source = GenerateSource { events: 2_000_000, ..Default::default() };
    let watch = Stopwatch::start();
    source.write_to(&mut io::sink()).expect("the sink takes everything");
    println!("generate: {:.1} M events/s", 2.0 / watch.seconds());
}
