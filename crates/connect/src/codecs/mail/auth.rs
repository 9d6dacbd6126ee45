//! What servers found out about a mail's sender, from the headers that they added (RFC 8601, RFC 7208).

/// The result of a method (`spf`, `dkim`, `dmarc`) in one `Authentication-Results` header, in lower case. Of several
/// signatures one that passes is enough.
pub(super) fn result(header: &str, method: &str) -> Option<String> {
    let plain = without_comments(header);
    let mut found = None;
    // The first part names the server.
    for part in plain.split(';').skip(1) {
        let Some((name, rest)) = part.trim().split_once('=') else { continue };
        let name = name.split('/').next().unwrap_or_default().trim();
        if !name.eq_ignore_ascii_case(method) {
            continue;
        }
        let Some(word) = word(rest) else { continue };
        if word == "pass" {
            return Some(word);
        }
        found = found.or(Some(word));
    }
    found
}

/// The result in a `Received-SPF` header.
pub(super) fn received_spf(header: &str) -> Option<String> {
    word(&without_comments(header))
}

fn word(text: &str) -> Option<String> {
    let word: String = text.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric()).take(20).collect();
    (!word.is_empty()).then(|| word.to_ascii_lowercase())
}

/// Comments stand in brackets, also within one another.
fn without_comments(text: &str) -> String {
    let mut depth = 0usize;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}
