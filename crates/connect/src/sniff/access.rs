//! Access logs, by what stands where: `combined` and `common`, and others by a format that is made from the lines.

use super::Guess;
use super::format::lines;
use serde_json::json;

/// Lines that decide.
const LINES: usize = 300;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// `-`, or anything without spaces.
    Word,
    Quoted,
    Bracketed,
}

/// A line cut at its spaces; quotes and brackets hold together.
fn parts(line: &str) -> Vec<(Part, &str)> {
    let mut parts = Vec::new();
    let mut rest = line.trim_end();
    while !rest.is_empty() {
        rest = rest.trim_start_matches(' ');
        let (part, open, close) = match rest.as_bytes().first() {
            Some(b'"') => (Part::Quoted, 1, '"'),
            Some(b'[') => (Part::Bracketed, 1, ']'),
            Some(_) => (Part::Word, 0, ' '),
            None => break,
        };
        let body = &rest[open..];
        let mut escaped = false;
        let end = body.char_indices().find(|(_, c)| {
            let ends = *c == close && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let end = end.map_or(body.len(), |(at, _)| at);
        parts.push((part, &body[..end]));
        rest = body.get(end + usize::from(part != Part::Word)..).unwrap_or_default();
    }
    parts
}

/// The formats that fit, the usual ones first. None if no line holds a request.
pub fn guesses(sample: &[u8]) -> Vec<Guess> {
    let lines: Vec<String> = lines(sample).take(LINES).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    let cut: Vec<Vec<(Part, &str)>> = lines.iter().map(|line| parts(line)).collect();
    let is_log = |parts: &Vec<(Part, &str)>| {
        parts.iter().any(|(part, text)| *part == Part::Bracketed && is_time(text))
            && parts.iter().any(|(part, text)| *part == Part::Quoted && is_request(text))
    };
    let logs: Vec<&Vec<(Part, &str)>> = cut.iter().filter(|parts| is_log(parts)).collect();
    if logs.len() * 2 < lines.len() {
        return Vec::new();
    }
    let named = |format: &str| Guess {
        codec: json!({ "access_log": { "format": format } }),
        what: format!("access log, {format} format"),
        fields: Vec::new(),
        notes: Vec::new(),
    };
    let mut guesses = vec![named("combined"), named("common")];
    guesses.extend(custom(&logs));
    guesses
}

fn is_time(text: &str) -> bool {
    text.len() > 18 && text.contains('/') && text.matches(':').count() >= 3
}

fn is_request(text: &str) -> bool {
    let mut words = text.split(' ');
    words.next().is_some_and(|method| method.len() > 2 && method.bytes().all(|b| b.is_ascii_uppercase()))
        && words.next().is_some()
}

/// A format in Apache's notation, made from what stands at each place.
fn custom(logs: &[&Vec<(Part, &str)>]) -> Option<Guess> {
    let width = logs.first()?.len();
    let logs: Vec<_> = logs.iter().filter(|parts| parts.len() == width).collect();
    let kind = |i: usize| logs[0][i].0;
    let all = |i: usize, is: &dyn Fn(&str) -> bool| logs.iter().all(|parts| is(parts[i].1));
    let some = |i: usize, is: &dyn Fn(&str) -> bool| logs.iter().any(|parts| is(parts[i].1));
    let is_number = |text: &str| text == "-" || text.parse::<u64>().is_ok();
    let is_status = |text: &str| text.len() == 3 && text.parse::<u16>().is_ok_and(|n| (100..600).contains(&n));
    let is_address = |text: &str| text.parse::<std::net::IpAddr>().is_ok();
    let most = |i: usize, is: &dyn Fn(&str) -> bool| logs.iter().filter(|parts| is(parts[i].1)).count() * 2 > logs.len();
    let is_agent = |text: &str| text.contains("Mozilla/") || text.contains("bot") || text.contains("curl/");
    let is_link = |text: &str| text == "-" || text.is_empty() || text.starts_with("http");
    let mut taken: Vec<&str> = Vec::new();
    let mut others = 0;
    let mut notes = Vec::new();
    let mut format: Vec<String> = Vec::new();
    for i in 0..width {
        let has_status = taken.contains(&"%>s");
        let mut once = |directive: &'static str| {
            (!taken.contains(&directive)).then(|| taken.push(directive)).map(|()| directive.to_string())
        };
        let directive = match kind(i) {
            Part::Bracketed if all(i, &is_time) => once("%t").map(|t| (t, "", "")),
            Part::Quoted if some(i, &is_request) => once("%r").map(|r| (r, "\"", "\"")),
            Part::Quoted if most(i, &is_agent) && !most(i, &is_link) => once("%{User-Agent}i").map(|a| (a, "\"", "\"")),
            Part::Quoted if most(i, &is_link) => once("%{Referer}i").map(|r| (r, "\"", "\"")),
            Part::Word if all(i, &is_status) => once("%>s").map(|s| (s, "", "")),
            Part::Word if all(i, &|t| t == "-" || is_address(t)) && some(i, &is_address) => once("%h").map(|h| (h, "", "")),
            Part::Word if all(i, &|t| t == "-") => Some(("%{-}x".to_string(), "", "")),
            Part::Word if all(i, &is_number) && has_status => once("%b").map(|b| (b, "", "")),
            _ => None,
        };
        let (directive, open, close) = directive.unwrap_or_else(|| {
            others += 1;
            let mut values: Vec<&str> = logs.iter().map(|parts| parts[i].1).collect();
            values.sort_unstable();
            values.dedup();
            // Long, and coming again: what tells visits apart.
            let is_session =
                values.len() > 1 && values.len() * 2 < logs.len() && values.iter().all(|v| v.len() >= 16 && !v.contains(' '));
            let name = if is_session && !format.iter().any(|f| f.contains("session")) {
                "session".to_string()
            } else {
                format!("part_{}", i + 1)
            };
            if name != "session" {
                notes.push(format!("what stands at place {} of a line is called `{name}`: give it a name in `format`", i + 1));
            }
            let (open, close) = match kind(i) {
                Part::Quoted => ("\"", "\""),
                Part::Bracketed => ("[", "]"),
                Part::Word => ("", ""),
            };
            (format!("%{{{name}}}x"), open, close)
        });
        format.push(format!("{open}{directive}{close}"));
    }
    let has = |directive: &str| taken.contains(&directive);
    (has("%t") && has("%r")).then(|| Guess {
        codec: json!({ "access_log": { "format": format.join(" ") } }),
        what: "access log in a format of its own".into(),
        fields: Vec::new(),
        notes,
    })
}
