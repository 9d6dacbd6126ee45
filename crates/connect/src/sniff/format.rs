//! Which formats a sample may be in, the likeliest first.

use super::{Guess, access};
use ouzel_core::path::Step;
use ouzel_core::{Error, Kind, Path, Result};
use serde_json::{Value, json};
use std::collections::HashSet;

/// Lines that decide.
const LINES: usize = 500;
/// Leaves of a JSON record that become fields.
const LEAVES_MAX: usize = 120;

/// Refuses what is no text: the message tells what it is.
pub fn check(sample: &[u8]) -> Result<()> {
    let is = |what: &str| Err(Error::new(Kind::Data, what.to_string()));
    match sample {
        [] => return is("is empty: name a file with events in it"),
        _ if sample.iter().all(u8::is_ascii_whitespace) => return is("holds blank lines only"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            return is("is text in UTF-16: convert it first, for example with `iconv -f UTF-16 -t UTF-8`");
        }
        [b'P', b'K', 3, 4, ..] => return is("is a zip archive: unpack it and name the files in it"),
        [b'P', b'A', b'R', b'1', ..] => {
            return is(
                "is a Parquet file, which `init` does not look into yet: write a pipeline with `codec: parquet` and its `fields`",
            );
        }
        [b'O', b'b', b'j', 1, ..] => {
            return is(
                "is an Avro file, which `init` does not look into yet: write a pipeline with `codec: avro` and its `fields`",
            );
        }
        [b'S', b'Q', b'L', b'i', b't', b'e', ..] => return is("is an SQLite database: export its tables as CSV"),
        [0x7f, b'E', b'L', b'F', ..] => return is("is a program"),
        [0xd4, 0xc3, 0xb2, 0xa1, ..] | [0x0a, 0x0d, 0x0d, 0x0a, ..] => {
            return is("is a capture of network packets: export it as text or JSON, for example with `tshark -T ek`");
        }
        [b'E', b'l', b'f', b'F', b'i', b'l', b'e', ..] => {
            return is("is a Windows event log, which is not read yet: export it as JSON");
        }
        _ => {}
    }
    if sample.len() > 262 && &sample[257..262] == b"ustar" {
        return is("is a tar archive: unpack it and name the files in it");
    }
    let head = &sample[..sample.len().min(64 << 10)];
    let odd = head.iter().filter(|b| **b < 9 || (14..32).contains(*b) && **b != 27).count();
    if memchr::memchr(0, head).is_some() || odd * 50 > head.len() {
        return is("is binary, in no format that is known here");
    }
    Ok(())
}

/// Nothing has fitted.
pub fn unknown(sample: &[u8]) -> Error {
    let line =
        lines(sample).next().map(|line| String::from_utf8_lossy(line).chars().take(120).collect::<String>()).unwrap_or_default();
    let message = format!(
        "is in no format that is known here; its first line is\n    {line}\nsay how its lines are made with `codec: {{ pattern: {{ pattern: '^(?<time>\\S+) (?<rest>.*)$' }} }}`, see \
         docs/reference.md"
    );
    Error::new(Kind::Data, message)
}

pub fn lines(sample: &[u8]) -> impl Iterator<Item = &[u8]> {
    sample
        .split(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.trim_ascii().is_empty())
}

/// All formats that the sample may be in.
pub fn guesses(sample: &[u8]) -> Vec<Guess> {
    let mut guesses = Vec::new();
    let first = lines(sample).next().unwrap_or_default();
    if first.trim_ascii_start().starts_with(b"{") {
        guesses.extend(json(sample));
    }
    if first.trim_ascii_start().starts_with(b"[") {
        guesses.extend(array(sample));
    }
    guesses.extend(mail(sample));
    if has_syslog_head(first) {
        guesses.push(syslog(sample));
    }
    guesses.extend(access::guesses(sample));
    guesses.extend(csv(sample));
    if guesses.is_empty() {
        // The first line may be the odd one out.
        if lines(sample).take(LINES).filter(|line| has_syslog_head(line)).count() * 2 > lines(sample).take(LINES).count() {
            guesses.push(syslog(sample));
        }
        guesses.extend(json(sample));
    }
    guesses
}

/// `Mar 27 13:06:56 `, `<34>`, or an ISO time with a host behind it, as log daemons write.
fn has_syslog_head(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&line[..line.len().min(64)]).into_owned();
    let bytes = text.as_bytes();
    let old = bytes.len() > 16
        && bytes[..3].iter().all(u8::is_ascii_alphabetic)
        && bytes[3] == b' '
        && bytes[6] == b' '
        && bytes[9] == b':'
        && bytes[12] == b':'
        && bytes[15] == b' ';
    let priority =
        bytes.first() == Some(&b'<') && text.find('>').is_some_and(|end| end < 5 && text[1..end].parse::<u8>().is_ok());
    let iso = bytes.len() > 26
        && bytes[4] == b'-'
        && bytes[10] == b'T'
        && text.split(' ').nth(2).is_some_and(|app| app.ends_with(':') || app.contains('['));
    old || priority || iso
}

fn syslog(sample: &[u8]) -> Guess {
    let has_year = lines(sample).next().is_some_and(|line| line.iter().take(8).any(|b| *b == b'-') || line.starts_with(b"<"));
    let codec = if has_year { json!({ "syslog": {} }) } else { json!({ "syslog": { "year": 1970 } }) };
    Guess { codec, what: "syslog".into(), fields: Vec::new(), notes: Vec::new() }
}

/// Records of JSON, one a line.
fn json(sample: &[u8]) -> Option<Guess> {
    let records = lines(sample).take(LINES).filter_map(|line| serde_json::from_slice(line).ok());
    of_records(records, json!({ "json": {} }), "JSON, a record a line")
}

/// Records of JSON that are the elements of one array.
fn array(sample: &[u8]) -> Option<Guess> {
    let mut rest = sample.trim_ascii_start().strip_prefix(b"[")?;
    let mut records = Vec::new();
    while records.len() < LINES {
        let mut elements = serde_json::Deserializer::from_slice(rest).into_iter::<Value>();
        // The sample may end in the midst of one.
        let Some(Ok(element)) = elements.next() else { break };
        records.push(element);
        let Some(next) = rest[elements.byte_offset()..].trim_ascii_start().strip_prefix(b",") else { break };
        rest = next;
    }
    of_records(records.into_iter(), json!({ "json": { "records": "array" } }), "JSON, an array of records")
}

/// Headers as mails have them, from the first line on.
fn mail(sample: &[u8]) -> Option<Guess> {
    let is_mbox = sample.starts_with(b"From ");
    let headers = lines(sample).skip(usize::from(is_mbox)).take(40);
    let names = headers.filter_map(|line| line.split(|b| *b == b':').next().map(<[u8]>::to_ascii_lowercase));
    let known: [&[u8]; 6] = [b"from", b"to", b"subject", b"date", b"received", b"message-id"];
    let found: HashSet<Vec<u8>> = names.filter(|name| known.contains(&name.as_slice())).collect();
    let codec = if is_mbox { json!({ "mail": { "format": "mbox" } }) } else { json!({ "mail": {} }) };
    let what = if is_mbox { "mails, an mbox file" } else { "a mail" };
    (found.len() >= 3).then(|| Guess { codec, what: what.into(), fields: Vec::new(), notes: Vec::new() })
}

/// Every leaf of the records is a field, by its path.
fn of_records(records: impl Iterator<Item = Value>, codec: Value, what: &str) -> Option<Guess> {
    let mut fields: Vec<(String, Path)> = Vec::new();
    let mut seen = HashSet::new();
    let mut any = false;
    for record in records {
        let Value::Object(record) = record else { continue };
        any = true;
        for (key, value) in &record {
            leaves(value, &mut vec![key.clone()], &mut |steps| {
                if fields.len() < LEAVES_MAX && seen.insert(steps.to_vec()) {
                    fields.push((name_of(steps), Path(steps.iter().cloned().map(Step::Key).collect())));
                }
            });
        }
    }
    // What is an object in one record and nothing, or a value, in another: its leaves are the fields.
    let paths: HashSet<Path> = fields.iter().map(|(_, path)| path.clone()).collect();
    let is_inner = |path: &Path| paths.iter().any(|other| other.0.len() > path.0.len() && other.0.starts_with(&path.0));
    fields.retain(|(_, path)| !is_inner(path));
    unique(&mut fields);
    let notes = match fields.len() {
        LEAVES_MAX.. => vec![format!("it has more fields than the {LEAVES_MAX} that are taken: name others in `select`")],
        _ => Vec::new(),
    };
    any.then(|| Guess { codec, what: what.into(), fields, notes })
}

fn leaves(value: &Value, at: &mut Vec<String>, found: &mut impl FnMut(&[String])) {
    match value {
        Value::Object(inner) if !inner.is_empty() && at.len() < 6 => {
            for (key, value) in inner {
                at.push(key.clone());
                leaves(value, at, found);
                at.pop();
            }
        }
        _ => found(at),
    }
}

/// A name for a path as fields have it: `screen.width` is `screen_width`, `@timestamp` is `timestamp`, `userAgent` is `user_agent`.
fn name_of(steps: &[String]) -> String {
    let joined = steps.join("_");
    let mut plain = String::new();
    let mut before = '_';
    for c in joined.chars() {
        let is_new_word = c.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit());
        if (is_new_word || !c.is_ascii_alphanumeric()) && !plain.ends_with('_') {
            plain.push('_');
        }
        if c.is_ascii_alphanumeric() {
            plain.push(c.to_ascii_lowercase());
        }
        before = c;
    }
    let plain = plain.trim_matches('_').to_string();
    match plain.chars().next() {
        None => "field".into(),
        Some(c) if c.is_ascii_digit() => format!("f_{plain}"),
        Some(_) => plain,
    }
}

/// Names that a pipeline gives to columns of its own.
const TAKEN: [&str; 6] = ["at", "decision", "rule", "ua_family", "ua_os", "ua_is_crawler"];

fn unique(fields: &mut [(String, Path)]) {
    let mut seen: HashSet<String> = TAKEN.iter().map(|name| name.to_string()).collect();
    fields.iter_mut().filter(|(name, _)| name.starts_with("alert_")).for_each(|(name, _)| name.insert_str(0, "its_"));
    for (name, _) in fields {
        let (base, mut n) = (name.clone(), 1);
        while !seen.insert(name.to_lowercase()) {
            n += 1;
            *name = format!("{base}_{n}");
        }
    }
}

/// Delimited text: the delimiter that cuts every line into as many cells, with a header or without.
fn csv(sample: &[u8]) -> Vec<Guess> {
    let mut found: Vec<(usize, Guess)> = Vec::new();
    for (delimiter, what) in [(b',', "comma"), (b';', "semicolon"), (b'\t', "tab"), (b'|', "bar")] {
        let rows: Vec<Vec<String>> = lines(sample).take(LINES).map(|line| cells(line, delimiter)).collect();
        let Some(width) = rows.first().map(Vec::len).filter(|width| *width > 1) else { continue };
        let even = rows.iter().filter(|row| row.len() == width).count();
        if even * 10 < rows.len() * 7 {
            continue;
        }
        let header = is_header(&rows);
        let mut options = serde_json::Map::new();
        if delimiter != b',' {
            options.insert("delimiter".into(), json!((delimiter as char).to_string()));
        }
        let names: Vec<String> = match header {
            true => rows[0].clone(),
            false => (1..=width).map(|n| format!("column_{n}")).collect(),
        };
        let has_blanks = |line: &[u8]| raw_cells(line, delimiter).iter().any(|cell| cell.trim_ascii().len() < cell.len());
        if lines(sample).take(LINES).any(has_blanks) {
            options.insert("trim".into(), json!(true));
        }
        let mut notes = Vec::new();
        if !header {
            options.insert("header".into(), json!(false));
            options.insert("columns".into(), json!(names));
            notes.push("the file names no columns: give them names under `columns:`".to_string());
        }
        let mut fields: Vec<(String, Path)> =
            names.iter().map(|name| (name_of(std::slice::from_ref(name)), Path::key(name.clone()))).collect();
        unique(&mut fields);
        let guess = Guess { codec: json!({ "csv": options }), what: format!("CSV, {what}-separated"), fields, notes };
        found.push((even * width, guess));
    }
    found.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    found.into_iter().map(|(_, guess)| guess).collect()
}

fn cells(line: &[u8], delimiter: u8) -> Vec<String> {
    raw_cells(line, delimiter).iter().map(|cell| String::from_utf8_lossy(cell).trim().to_string()).collect()
}

/// Cells of a line; quoted ones may hold the delimiter.
fn raw_cells(line: &[u8], delimiter: u8) -> Vec<Vec<u8>> {
    let mut cells = vec![Vec::new()];
    let mut quoted = false;
    for byte in line {
        match byte {
            b'"' => quoted = !quoted,
            b if *b == delimiter && !quoted => cells.push(Vec::new()),
            b => cells.last_mut().expect("never empty").push(*b),
        }
    }
    cells
}

/// A first line of words, none of which is a number, over lines that are not all words; or of names that no other line has.
fn is_header(rows: &[Vec<String>]) -> bool {
    let Some((first, rest)) = rows.split_first() else { return false };
    let is_number = |cell: &String| cell.parse::<f64>().is_ok();
    let is_name = |cell: &String| {
        !cell.is_empty() && cell.len() < 64 && !is_number(cell) && !cell.contains("://") && !cell.contains(['{', '"'])
    };
    if !first.iter().all(is_name) || first.iter().collect::<HashSet<_>>().len() < first.len() {
        return false;
    }
    let column = |i: usize| rest.iter().filter_map(move |row| row.get(i)).filter(|cell| !cell.is_empty());
    let differs = (0..first.len())
        .any(|i| column(i).next().is_some() && column(i).all(|cell| is_number(cell) || cell.len() > 2 * first[i].len() + 8));
    let has_time = first.iter().any(|cell| cell.contains(':') && cell.contains(|c: char| c.is_ascii_digit()));
    let is_new = (0..first.len()).all(|i| column(i).all(|cell| *cell != first[i]));
    let words = first.iter().all(|cell| {
        cell.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ' ' | '.' | '@' | '#' | '/'))
            && cell.starts_with(|c: char| c.is_alphabetic() || matches!(c, '@' | '_' | '#'))
    });
    !has_time && words && (differs || is_new)
}
