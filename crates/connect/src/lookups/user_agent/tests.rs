mod regexes;

use super::*;
use crate::lookups::testing::parse;
use arrow_array::cast::AsArray;
use ouzel_core::clock::Stopwatch;
use std::fs;
use std::path::Path;

fn open(text: &str, root: &Path, wanted: &[bool]) -> Result<Box<dyn Lookup>> {
    let (config, problems) = parse(text);
    assert_eq!(problems, "");
    config.expect("no problems").open(&|name| root.join(name), wanted)
}

/// `crawler family os` of each, nulls as `-`.
fn look_up(lookup: &mut dyn Lookup, keys: &[Option<&str>]) -> Vec<String> {
    let columns = lookup.lookup(&keys.iter().copied().collect()).expect("never fails");
    for column in &columns {
        column.to_data().validate_full().expect("valid arrow data");
        assert_eq!(column.len(), keys.len());
    }
    let text = |i: usize, row: usize| match columns[i].is_null(row) {
        true => "-",
        false => columns[i].as_string_view().value(row),
    };
    let crawler = |row: usize| match columns[0].is_null(row) {
        true => "-",
        false => ["no", "crawler"][columns[0].as_boolean().value(row) as usize],
    };
    (0..keys.len()).map(|row| format!("{}, {}, {}", crawler(row), text(1, row), text(2, row))).collect()
}

#[test]
fn example_and_mistakes() {
    let (config, problems) = parse("user_agent: { of: user_agent, as: ua, substrings: data/crawlers.txt }");
    assert_eq!(problems, "");
    let columns: Vec<_> = config.expect("no problems").columns();
    let expected = [("ua_is_crawler", FieldType::Bool), ("ua_family", FieldType::Text), ("ua_os", FieldType::Text)];
    assert_eq!(columns, expected.map(|(name, kind)| (name.to_string(), kind)));
    for (bad, expected) in [
        ("user_agent: { as: ua }", "missing field `of`"),
        ("user_agent: { of: ua, substrings: \"\" }", "an empty path"),
        ("user_agent: { of: ua, substring: x }", "did you mean `substrings`?"),
    ] {
        let (_, problems) = parse(bad);
        assert!(problems.contains(expected), "{bad}: {problems}");
    }
}

#[test]
fn agents() {
    let cases = [
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 Safari/537.36",
            "no, Chrome, Windows",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 Safari/537.36 Edg/146.0.3051.8",
            "no, Edge, Windows",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 Safari/537.36 OPR/119.0.0.0",
            "no, Opera, Linux",
        ),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14.4; rv:145.0) Gecko/20100101 Firefox/145.0", "no, Firefox, macOS"),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
            "no, Safari, macOS",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Mobile/15E148 Safari/604.1",
            "no, Safari, iOS",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0.0.0 Mobile/15E148 Safari/604.1",
            "no, Chrome, iOS",
        ),
        (
            "Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-A546B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
            "no, Samsung Internet, Android",
        ),
        (
            "Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
            "no, Chrome, Android",
        ),
        (
            "Mozilla/5.0 (Linux; U; Android 4.0.3; de-de) AppleWebKit/534.30 (KHTML, like Gecko) Version/4.0 Mobile Safari/534.30",
            "no, Android Browser, Android",
        ),
        (
            "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 Safari/537.36",
            "no, Chrome, ChromeOS",
        ),
        ("Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko", "no, Internet Explorer, Windows"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "crawler, Googlebot, Other"),
        (
            "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 Mobile Safari/537.36 (compatible; GOOGLEBOT/2.1)",
            "crawler, Googlebot, Android",
        ),
        ("Mozilla/5.0 (compatible; NobodyKnowsBot/0.1)", "crawler, Other bot, Other"),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/146.0.0.0 Safari/537.36",
            "crawler, Headless Chrome, Linux",
        ),
        ("curl/8.5.0", "crawler, curl, Other"),
        ("python-requests/2.31.0", "crawler, python-requests, Other"),
        ("Go-http-client/2.0", "crawler, Go-http-client, Other"),
        ("", "no, Other, Other"),
        ("\u{1F600} Ärger", "no, Other, Other"),
        ("\u{fc}bot", "crawler, Other bot, Other"),
    ];
    let mut lookup = open("user_agent: { of: ua }", Path::new("/nowhere"), &[]).expect("built in");
    for round in 0..2 {
        for (agent, expected) in cases {
            assert_eq!(look_up(lookup.as_mut(), &[Some(agent)]), [expected], "{agent}, round {round}");
        }
    }
    let keys = [None, Some("curl/8"), None];
    assert_eq!(look_up(lookup.fork().as_mut(), &keys), ["-, -, -", "crawler, curl, Other", "-, -, -"]);
    assert!(look_up(lookup.as_mut(), &[]).is_empty());
}

#[test]
fn lists_of_the_project() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("s.txt"), "\u{feff}# ours\r\nEvil Tool\r\n\n  \ncurl\n").expect("a file");
    fs::write(dir.path().join("p.json"), r#"[{"pattern": "Nice\\/[0-9]", "url": "x"}, {"pattern": "^bad$"}]"#).expect("a file");
    let crawlers = |config: &str| {
        let mut lookup =
            open(&format!("user_agent: {{ of: ua, {config} }}"), dir.path(), &[true, false, false]).expect("good lists");
        let agents = ["an evil TOOL/1", "Googlebot", "CURL", "Nice/5", "nice/5", "bad", "very bad"];
        let seen = look_up(lookup.as_mut(), &agents.map(Some));
        assert!(seen.iter().all(|row| row.ends_with(", -, -")));
        seen.iter().map(|row| row.starts_with("crawler") as usize).collect::<Vec<_>>()
    };
    assert_eq!(crawlers("substrings: s.txt"), [1, 0, 1, 0, 0, 0, 0]);
    assert_eq!(crawlers("patterns: p.json"), [0, 0, 0, 1, 0, 1, 0]);
    assert_eq!(crawlers("substrings: s.txt, patterns: p.json"), [1, 0, 1, 1, 0, 1, 0]);
    for (patterns, expected) in [
        ("[{\"pattern\": \"a\"}, {\"pattern\": \"(\"}]", "`p.json`: pattern of entry 2: regex parse error"),
        ("[{\"pattern\": \"a{1000}{1000}\"}]", "`p.json`: pattern of entry 1: Compiled regex exceeds size limit"),
        ("[{\"name\": \"a\"}]", "`p.json`: entry 1 has no text `pattern`"),
        ("[{\"pattern\": \"\"}]", "`p.json`: the pattern of entry 1 is empty"),
        ("{}", "`p.json`: expected a JSON list"),
    ] {
        fs::write(dir.path().join("p.json"), patterns).expect("a file");
        let error = open("user_agent: { of: ua, patterns: p.json }", dir.path(), &[]).map(drop).expect_err(patterns).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// The real list of crawlers; and what a lookup takes.
#[test]
fn real_crawlers() {
    let root =
        Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo runs the tests")).join("../../../shared/data/enrichment");
    if !root.is_dir() {
        println!("SKIPPED real_crawlers: no folder {}", root.display());
        return;
    }
    let watch = Stopwatch::start();
    let mut lookup = open("user_agent: { of: ua, patterns: crawler-user-agents.json.gz }", &root, &[]).expect("a good list");
    println!("crawler-user-agents.json.gz: loaded in {:.2} s", watch.seconds());
    let chrome =
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 Safari/537.36";
    let googlebot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
    assert_eq!(look_up(lookup.as_mut(), &[Some(chrome), Some(googlebot)]), ["no, Chrome, Windows", "crawler, Googlebot, Other"]);

    let agents: Vec<String> = (0..300).map(|i| chrome.replace("146", &i.to_string())).collect();
    let keys: StringViewArray = (0..8192usize).map(|i| Some(agents[i * 7919 % 300].as_str())).collect();
    lookup.lookup(&keys).expect("never fails");
    for (what, wanted) in [("three columns", [true; 3]), ("is_crawler only", [true, false, false])] {
        let mut lookup = open("user_agent: { of: ua }", &root, &wanted).expect("built in");
        lookup.lookup(&keys).expect("never fails");
        let watch = Stopwatch::start();
        for _ in 0..100 {
            lookup.lookup(&keys).expect("never fails");
        }
        println!("user_agent, 300 agents, {what}: {:.1} ns a lookup", watch.seconds() * 1e9 / (100.0 * 8192.0));
    }
}
