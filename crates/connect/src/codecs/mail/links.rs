//! Web addresses in texts.

/// Links of one mail that are kept.
const LINKS_MAX: usize = 1000;
/// Bytes of a link that are kept.
const LINK_BYTES_MAX: usize = 4 << 10;

#[derive(Default)]
pub(super) struct Links {
    found: Vec<String>,
    known: hashbrown::HashSet<String>,
}

impl Links {
    pub fn into_list(self) -> Vec<String> {
        self.found
    }

    /// Of plain text: what begins with `http://` or `https://`.
    pub fn text(&mut self, text: &str) {
        let mut at = 0;
        while let Some(found) = find(text, at, "http") {
            let rest = &text[found..];
            let end = rest.find(|c: char| c.is_whitespace() || c.is_control() || "<>\"'`\\|{}".contains(c)).unwrap_or(rest.len());
            self.add(rest[..end].trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '*']));
            at = found + end.max(4);
        }
    }

    /// Of HTML: what `href` and `action` name.
    pub fn html(&mut self, html: &str) {
        for attribute in ["href", "action"] {
            let mut at = 0;
            while let Some(found) = find(html, at, attribute) {
                at = found + attribute.len();
                let Some(value) = html[at..].trim_start().strip_prefix('=').map(str::trim_start) else { continue };
                let (value, end) = match value.chars().next() {
                    Some(quote @ ('"' | '\'')) => (&value[1..], value[1..].find(quote)),
                    _ => (value, value.find(|c: char| c.is_whitespace() || c == '>')),
                };
                let link = &value[..end.unwrap_or(value.len())];
                if link.len() <= LINK_BYTES_MAX {
                    let link: String = link.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
                    self.add(&link.replace("&amp;", "&").replace("&#38;", "&"));
                }
            }
        }
    }

    fn add(&mut self, link: &str) {
        if self.found.len() < LINKS_MAX && link.len() <= LINK_BYTES_MAX && domain(link).is_some() && !self.known.contains(link) {
            self.known.insert(link.to_string());
            self.found.push(link.to_string());
        }
    }
}

/// The host of a web address, in lower case; `None` if it is no web address.
pub(super) fn domain(link: &str) -> Option<String> {
    let (scheme, rest) = link.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let host = host.trim_end_matches('.').to_lowercase();
    (!host.is_empty()).then_some(host)
}

/// Where a word of ASCII letters stands next, whatever its case.
fn find(text: &str, at: usize, word: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let first = word.as_bytes()[0];
    memchr::memchr2_iter(first, first.to_ascii_uppercase(), bytes.get(at..)?)
        .map(|n| at + n)
        .find(|n| bytes.get(*n..n + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes())))
}
