//! The fields of one mail.

use super::links::{Links, domain};
use super::{auth, hosts};
use mail_parser::{Address, Header, HeaderValue, Host, Message, MimeHeaders, PartType, Received};
use std::cell::OnceCell;
use std::net::IpAddr;

/// Names and types.
pub(super) const FIELDS: [(&str, &str); 26] = [
    ("message_id", "text"),
    ("date", "timestamp"),
    ("from_address", "text"),
    ("from_name", "text"),
    ("from_domain", "text"),
    ("reply_to_address", "text"),
    ("reply_to_domain", "text"),
    ("return_path", "text"),
    ("to", "list<text>"),
    ("to_count", "int"),
    ("subject", "text"),
    ("received_at", "timestamp"),
    ("received_count", "int"),
    ("received_hops", "list<text>"),
    ("origin_ip", "ip"),
    ("spf", "text"),
    ("dkim", "text"),
    ("dmarc", "text"),
    ("links", "list<text>"),
    ("link_domains", "list<text>"),
    ("attachments", "list<text>"),
    ("attachment_types", "list<text>"),
    ("is_html", "bool"),
    ("list_id", "text"),
    ("mailer", "text"),
    ("size", "int"),
];

pub(super) struct Mail<'m> {
    message: &'m Message<'m>,
    size: usize,
    links: OnceCell<Vec<String>>,
}

impl<'m> Mail<'m> {
    pub fn new(message: &'m Message<'m>, size: usize) -> Mail<'m> {
        Mail { message, size, links: OnceCell::new() }
    }

    /// A field's value as text, lists as JSON; `None` is null.
    pub fn value(&self, field: &str) -> Option<String> {
        let m = self.message;
        match field {
            "message_id" => m.message_id().map(String::from),
            "date" => self.date(),
            "from_address" => address(m.from()),
            "from_name" => m.from().and_then(name),
            "from_domain" => address(m.from()).and_then(|a| domain_of(&a)),
            "reply_to_address" => address(m.reply_to()),
            "reply_to_domain" => address(m.reply_to()).and_then(|a| domain_of(&a)),
            "return_path" => self.return_path(),
            "to" => Some(list(self.to().into_iter().map(Some))),
            "to_count" => Some(self.to().len().to_string()),
            "subject" => m.subject().map(String::from),
            "received_at" => self.received_at(),
            "received_count" => Some(self.received().count().to_string()),
            "received_hops" => Some(list(self.received().map(|header| hop(header)))),
            "origin_ip" => self.origin_ip().map(|ip| ip.to_string()),
            "spf" => self.authenticated("spf").or_else(|| auth::received_spf(&self.raw("Received-SPF")?)),
            "dkim" | "dmarc" => self.authenticated(field),
            "links" => Some(list(self.links().iter().cloned().map(Some))),
            "link_domains" => Some(self.link_domains()),
            "attachments" => Some(list(m.attachments().map(|part| part.attachment_name().map(String::from)))),
            "attachment_types" => Some(list(m.attachments().map(|part| Some(kind(part))))),
            "is_html" => Some(m.parts.iter().any(|part| matches!(part.body, PartType::Html(_))).to_string()),
            "list_id" => self.raw("List-Id").map(|text| in_brackets(&text).to_string()),
            "mailer" => self.raw("X-Mailer").or_else(|| self.raw("User-Agent")),
            "size" => Some(self.size.to_string()),
            _ => None,
        }
        .filter(|value| !value.is_empty())
    }

    /// One that does not read stays as it is written, to be told as malformed.
    fn date(&self) -> Option<String> {
        let date = self.message.date().filter(|date| date.is_valid());
        date.map(|date| date.to_rfc3339()).or_else(|| self.raw("Date"))
    }

    /// When the newest server says that it came.
    fn received_at(&self) -> Option<String> {
        let date = self.received().find_map(|header| received_of(header)?.date.filter(|date| date.is_valid()));
        date.map(|date| date.to_rfc3339())
    }

    fn return_path(&self) -> Option<String> {
        let text = self.raw("Return-Path")?;
        Some(in_brackets(&text).to_lowercase())
    }

    fn to(&self) -> Vec<String> {
        self.message.all_to().flat_map(Address::iter).filter_map(|a| Some(a.address.as_deref()?.to_lowercase())).collect()
    }

    fn named<'s>(&'s self, name: &'s str) -> impl DoubleEndedIterator<Item = &'s Header<'m>> {
        self.message.headers().iter().filter(move |header| header.name.as_str().eq_ignore_ascii_case(name))
    }

    fn text(&self, header: &Header<'_>) -> String {
        let bytes = self.message.raw_message().get(header.offset_start as usize..header.offset_end as usize);
        let text = String::from_utf8_lossy(bytes.unwrap_or_default());
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The topmost header of a name as it is written, unfolded.
    fn raw(&self, name: &str) -> Option<String> {
        self.named(name).next().map(|header| self.text(header)).filter(|text| !text.is_empty())
    }

    fn authenticated(&self, method: &str) -> Option<String> {
        self.named("Authentication-Results").find_map(|header| auth::result(&self.text(header), method))
    }

    fn received(&self) -> impl DoubleEndedIterator<Item = &Header<'m>> {
        self.named("Received")
    }

    fn origin_ip(&self) -> Option<IpAddr> {
        self.received().rev().find_map(|header| {
            let parsed = received_of(header).and_then(|r| match &r.from {
                _ if r.from_ip.is_some() => r.from_ip,
                Some(Host::IpAddr(ip)) => Some(*ip),
                _ => None,
            });
            parsed.filter(hosts::is_public).or_else(|| {
                let text = self.text(header);
                // Who received it stands behind `by`.
                hosts::public_in(text.split(" by ").next().filter(|_| text.starts_with("from"))?)
            })
        })
    }

    fn links(&self) -> &[String] {
        self.links.get_or_init(|| {
            let mut links = Links::default();
            for part in &self.message.parts {
                match &part.body {
                    PartType::Html(html) => links.html(html),
                    PartType::Text(text) => links.text(text),
                    _ => {}
                }
            }
            links.into_list()
        })
    }

    fn link_domains(&self) -> String {
        let mut known: Vec<String> = self.links().iter().filter_map(|link| domain(link)).collect();
        let mut seen = hashbrown::HashSet::new();
        known.retain(|domain| seen.insert(domain.clone()));
        list(known.into_iter().map(Some))
    }
}

fn received_of<'h>(header: &'h Header<'_>) -> Option<&'h Received<'h>> {
    match &header.value {
        HeaderValue::Received(received) => Some(received),
        _ => None,
    }
}

fn hop(header: &Header<'_>) -> Option<String> {
    let received = received_of(header)?;
    match &received.from {
        Some(Host::Name(name)) => Some(name.to_lowercase()),
        Some(Host::IpAddr(ip)) => Some(ip.to_string()),
        None => received.from_ip.map(|ip| ip.to_string()),
    }
}

fn kind(part: &mail_parser::MessagePart<'_>) -> String {
    match part.content_type() {
        Some(kind) => format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("*")).to_lowercase(),
        None => "text/plain".into(),
    }
}

/// The first that is an address of mail: senders who hide have names with commas, as in `Your bank, <x@evil.example>`.
fn address(of: Option<&Address<'_>>) -> Option<String> {
    let of = of?;
    let found = of.iter().find(|a| a.address.as_deref().is_some_and(is_address)).or(of.first())?;
    found.address.as_deref().map(str::to_lowercase)
}

/// What stands before it.
fn name(of: &Address<'_>) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for one in of.iter() {
        parts.extend(one.name.as_deref());
        match one.address.as_deref() {
            Some(address) if is_address(address) => break,
            other => parts.extend(other),
        }
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn is_address(text: &str) -> bool {
    text.contains('@')
}

fn domain_of(address: &str) -> Option<String> {
    address.rsplit_once('@').map(|(_, domain)| domain.trim_end_matches(['.', '>']).to_string())
}

fn in_brackets(text: &str) -> &str {
    let inner = text.rsplit_once('<').map_or(text, |(_, rest)| rest);
    inner.split('>').next().unwrap_or(inner).trim()
}

fn list(items: impl Iterator<Item = Option<String>>) -> String {
    serde_json::Value::from_iter(items).to_string()
}
