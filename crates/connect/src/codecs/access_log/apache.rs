//! Apache's notation: `%h %l %u %t "%r" %>s %b`.

use super::format::{Meaning, Token};
use ouzel_core::FieldType;

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        tokens.push(Token::Literal(unescaped(&rest[..at])));
        rest = &rest[at..];
        if let Some(behind) = rest.strip_prefix("%%") {
            tokens.push(Token::Literal("%".into()));
            rest = behind;
            continue;
        }
        let (argument, letter, length) = directive(rest)?;
        let written = &rest[..length];
        let meaning = meaning(written, argument, letter)?;
        rest = &rest[length..];
        // Apache writes this one with its brackets.
        if letter == "t" && argument.is_none() {
            tokens.push(Token::Literal("[".into()));
            tokens.push(Token::Directive(written.into(), meaning));
            tokens.push(Token::Literal("]".into()));
        } else {
            tokens.push(Token::Directive(written.into(), meaning));
        }
    }
    tokens.push(Token::Literal(unescaped(rest)));
    tokens.retain(|token| !matches!(token, Token::Literal(text) if text.is_empty()));
    Ok(tokens)
}

/// Formats are often copied with the quotes escaped, as in `httpd.conf`.
fn unescaped(literal: &str) -> String {
    literal.replace("\\\"", "\"").replace("\\t", "\t")
}

/// Argument, letter and length of the directive at the start of the text: `%>s`, `%{Referer}i`, `%400,501{Referer}i`.
fn directive(text: &str) -> Result<(Option<&str>, &str, usize), String> {
    let bad = || format!("unfinished directive `{text}`");
    let modifiers = text[1..].bytes().take_while(|b| matches!(b, b'<' | b'>' | b'!' | b',' | b'0'..=b'9')).count();
    let mut at = 1 + modifiers;
    let mut argument = None;
    if text[at..].starts_with('{') {
        let close = at + text[at..].find('}').ok_or_else(bad)?;
        argument = Some(&text[at + 1..close]);
        at = close + 1;
    }
    let letters = if text[at..].starts_with('^') { 3 } else { 1 };
    let letter = text.get(at..at + letters).ok_or_else(bad)?;
    Ok((argument, letter, at + letters))
}

fn meaning(written: &str, argument: Option<&str>, letter: &str) -> Result<Meaning, String> {
    let field = |name: &str, kind: FieldType| Ok(Meaning::Field(name.into(), kind));
    match (letter, argument) {
        ("h", None) => Ok(Meaning::Host),
        ("a", None | Some("c")) => field("ip", FieldType::Ip),
        ("A", None) => field("server_ip", FieldType::Ip),
        ("l", None) => field("ident", FieldType::Text),
        ("u", None) => field("user", FieldType::Text),
        ("t", None | Some("sec" | "msec" | "usec")) => field("time", FieldType::Timestamp),
        ("t", Some(_)) => Err(format!("`{written}`: of times only `%t`, `%{{sec}}t`, `%{{msec}}t` and `%{{usec}}t` are read")),
        ("r", None) => Ok(Meaning::Request),
        ("m", None) => field("method", FieldType::Text),
        ("U", None) => Ok(Meaning::Target),
        ("q", None) => Ok(Meaning::Query),
        ("H", None) => field("protocol", FieldType::Text),
        ("s", None) => field("status", FieldType::Int),
        ("b" | "B" | "O", None) => field("bytes", FieldType::Int),
        ("I", None) => field("request_length", FieldType::Int),
        ("D", None) => Ok(Meaning::Duration(6)),
        ("T", None | Some("s")) => Ok(Meaning::Duration(0)),
        ("T", Some("ms")) => Ok(Meaning::Duration(3)),
        ("T", Some("us")) => Ok(Meaning::Duration(6)),
        ("v" | "V", None) => field("server", FieldType::Text),
        ("p", None | Some(_)) => field("port", FieldType::Int),
        ("P", None | Some(_)) => field("pid", FieldType::Int),
        ("k", None) => field("keepalives", FieldType::Int),
        ("X", None) => field("connection", FieldType::Text),
        ("L", None) => field("log_id", FieldType::Text),
        ("f", None) => field("file", FieldType::Text),
        ("R", None) => field("handler", FieldType::Text),
        ("x", Some("-")) => Ok(Meaning::Skip),
        ("x", Some(name)) if !name.is_empty() => Ok(Meaning::text(name)),
        ("i" | "o" | "C" | "e" | "n" | "^ti" | "^to", Some(name)) if !name.is_empty() => Ok(Meaning::named(name)),
        _ => Err(format!("unknown directive `{written}`")),
    }
}
