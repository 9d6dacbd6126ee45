//! nginx's notation: `$remote_addr - $remote_user [$time_local] "$request"`.

use super::format::{Meaning, Token};
use ouzel_core::FieldType;

/// Whether a format is in nginx's notation: it has a `$variable`.
pub(super) fn is_nginx(text: &str) -> bool {
    text.split('$').skip(1).any(|rest| variable(rest).is_some())
}

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut pieces = text.split('$');
    let mut tokens = vec![Token::Literal(pieces.next().unwrap_or_default().into())];
    for piece in pieces {
        let Some((name, rest)) = variable(piece) else {
            return Err(format!("`${piece}` names no variable"));
        };
        tokens.push(Token::Directive(format!("${name}"), meaning(name)));
        tokens.push(Token::Literal(rest.into()));
    }
    tokens.retain(|token| !matches!(token, Token::Literal(text) if text.is_empty()));
    Ok(tokens)
}

/// The name at the start of the text, and what follows it: `status" ...` or `{status}...`.
fn variable(text: &str) -> Option<(&str, &str)> {
    if let Some(braced) = text.strip_prefix('{') {
        return braced.split_once('}').filter(|(name, _)| !name.is_empty());
    }
    let length = text.bytes().take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_').count();
    (length > 0).then(|| text.split_at(length))
}

fn meaning(name: &str) -> Meaning {
    let field = |name: &str, kind: FieldType| Meaning::Field(name.into(), kind);
    match name {
        "remote_addr" => Meaning::Host,
        "remote_user" => field("user", FieldType::Text),
        "time_local" | "time_iso8601" | "msec" => field("time", FieldType::Timestamp),
        "request" => Meaning::Request,
        "request_method" => field("method", FieldType::Text),
        "request_uri" => Meaning::Target,
        "uri" | "document_uri" => field("path", FieldType::Text),
        "args" | "query_string" => field("query", FieldType::Text),
        "server_protocol" => field("protocol", FieldType::Text),
        "status" => field("status", FieldType::Int),
        "body_bytes_sent" | "bytes_sent" => field("bytes", FieldType::Int),
        "request_length" => field("request_length", FieldType::Int),
        "request_time" => Meaning::Duration(0),
        "host" | "server_name" | "http_host" => field("server", FieldType::Text),
        "server_port" => field("port", FieldType::Int),
        "remote_port" => field("remote_port", FieldType::Int),
        "connection" | "connection_requests" | "pid" => field(name, FieldType::Int),
        _ => {
            let header = name.strip_prefix("sent_http_").or_else(|| name.strip_prefix("http_"));
            Meaning::named(header.unwrap_or(name))
        }
    }
}
