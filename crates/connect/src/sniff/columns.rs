//! What each column holds: its type by what its values can be read as, its role by its name and by how its values come again.

use super::Found;
use crate::codecs::read_text;
use arrow_array::{Array, StringViewArray};
use ouzel_core::{FieldType, Path};
use std::collections::HashSet;

/// Of values that do not fit a type, so many are still malformed ones of it.
const MISFITS: f64 = 0.02;

#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    /// Where it lies in a record.
    pub path: Path,
    pub kind: FieldType,
    pub role: Option<Role>,
    /// Records that have a value, distinct values, and records looked at.
    pub filled: usize,
    pub distinct: usize,
    pub records: usize,
    /// No value is less than the one before it.
    pub ascends: bool,
    /// Some values, for people.
    pub examples: Vec<String>,
}

/// What a column is to detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    Time,
    Identity,
    Address,
    User,
    Session,
    Host,
    Agent,
    /// Of a request: its path or URL.
    Resource,
    Status,
    /// What is done: a command, an action, a kind of event.
    Action,
    Message,
    /// Somebody has judged the event already: never used to score it.
    Label,
    Sender,
    Recipient,
}

impl Column {
    pub fn new(name: String, path: Path, known: Option<FieldType>, values: &StringViewArray) -> Column {
        let mut seen = HashSet::new();
        let mut examples = Vec::new();
        for value in values.iter().flatten().filter(|value| !value.is_empty()) {
            if seen.insert(value) && examples.len() < 3 {
                examples.push(value.chars().take(60).collect());
            }
        }
        let filled = values.iter().flatten().filter(|value| !value.is_empty()).count();
        let kind = known.unwrap_or_else(|| kind_of(&name, values, filled));
        let ascends = ascends(values);
        Column { name, path, kind, role: None, filled, distinct: seen.len(), records: values.len(), ascends, examples }
    }

    fn is_unique(&self) -> bool {
        self.filled > 1 && self.filled == self.records && self.distinct == self.filled
    }

    /// Its values come again, and are not all one.
    fn recurs(&self) -> bool {
        self.distinct > 1 && self.distinct * 10 < self.filled * 9
    }
}

/// The narrowest type that nearly all values have.
fn kind_of(name: &str, values: &StringViewArray, filled: usize) -> FieldType {
    let fits = |kind: &FieldType| {
        let misfits = read_text(values, kind).malformed.len();
        filled > 0 && misfits as f64 <= filled as f64 * MISFITS
    };
    let all = |is: &dyn Fn(&str) -> bool| filled > 0 && values.iter().flatten().filter(|v| !v.is_empty()).all(is);
    if all(&|v| matches!(v, "true" | "false" | "True" | "False")) && fits(&FieldType::Bool) {
        return FieldType::Bool;
    }
    if fits(&FieldType::Int) {
        return if is_time_name(name) && all(&in_this_era) { FieldType::Timestamp } else { FieldType::Int };
    }
    if fits(&FieldType::Float) {
        return if is_time_name(name) && all(&in_this_era) { FieldType::Timestamp } else { FieldType::Float };
    }
    // A list here and a bare value there are JSON, too; a text is none.
    if values.iter().flatten().any(|v| v.starts_with(['[', '{'])) && fits(&FieldType::Json) {
        return FieldType::Json;
    }
    // A bare number is a time only if the name says so.
    [FieldType::Ip, FieldType::Timestamp].into_iter().find(|kind| fits(kind)).unwrap_or(FieldType::Text)
}

/// As seconds, milli-, micro- or nanoseconds since 1970 it lies between 2001 and 2065.
fn in_this_era(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(|n| [1.0, 1e3, 1e6, 1e9].iter().any(|unit| (1e9..3e9).contains(&(n / unit))))
}

fn ascends(values: &StringViewArray) -> bool {
    let mut last: Option<(f64, &str)> = None;
    let mut grows = false;
    for value in values.iter().flatten() {
        let number = value.parse().unwrap_or(f64::NAN);
        if let Some((before, text)) = last {
            let is_less = if number.is_nan() || before.is_nan() { value < text } else { number < before };
            if is_less {
                return false;
            }
            grows |= text != value;
        }
        last = Some((number, value));
    }
    grows
}

fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() {
            words.push(String::new());
        } else {
            if c.is_uppercase() && lower {
                words.push(String::new());
            }
            words.last_mut().expect("never empty").extend(c.to_lowercase());
        }
        lower = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

fn has(name: &str, any: &[&str]) -> bool {
    words(name).iter().any(|word| any.contains(&word.as_str()))
}

fn is_time_name(name: &str) -> bool {
    let squeezed = words(name).join("");
    has(name, &["time", "timestamp", "ts", "date", "datetime", "when", "created", "occurred", "received", "epoch", "at"])
        || ["eventtime", "createdat", "timestamp", "datetime", "starttime"].iter().any(|known| squeezed.contains(known))
}

/// Gives each role to the column that it fits best.
pub fn assign_roles(found: &mut Found) {
    let columns = &mut found.columns;
    let order = |column: &Column| -> i32 {
        let squeezed = words(&column.name).join("");
        match squeezed.as_str() {
            "eventtime" | "timestamp" | "time" | "ts" | "datetime" | "date" => 0,
            _ if is_time_name(&column.name) => 1,
            _ => 2,
        }
    };
    let timestamps = columns.iter().enumerate().filter(|(_, c)| c.kind == FieldType::Timestamp && c.filled * 2 > c.records);
    if let Some((i, _)) = timestamps.min_by_key(|(_, c)| order(c)) {
        columns[i].role = Some(Role::Time);
    }
    for column in columns.iter_mut().filter(|column| column.role.is_none() && column.filled > 0) {
        column.role = role_of(column);
    }
    for role in [
        Role::Identity,
        Role::Address,
        Role::User,
        Role::Session,
        Role::Host,
        Role::Agent,
        Role::Resource,
        Role::Status,
        Role::Action,
        Role::Message,
        Role::Sender,
        Role::Recipient,
    ] {
        let mut bearers: Vec<usize> = (0..columns.len()).filter(|i| columns[*i].role == Some(role)).collect();
        // The one that most records have; among those the first.
        bearers.sort_by_key(|i| (std::cmp::Reverse(columns[*i].filled), *i));
        bearers.iter().skip(1).for_each(|i| columns[*i].role = None);
    }
}

fn role_of(column: &Column) -> Option<Role> {
    let name = column.name.as_str();
    let is_text = matches!(column.kind, FieldType::Text);
    let is_key = is_text || matches!(column.kind, FieldType::Int);
    if has(name, &["label", "labels", "attack", "masquerade", "fraud", "malicious", "anomaly", "class", "truth", "target"]) {
        return Some(Role::Label);
    }
    if column.kind == FieldType::Ip && !has(name, &["dst", "dest", "destination", "server"]) {
        return Some(Role::Address);
    }
    if is_text && has(name, &["session", "sid", "sessionid", "cookie", "visit"]) && column.recurs() {
        return Some(Role::Session);
    }
    if is_text && (has(name, &["agent", "useragent", "ua"]) || name == "user_agent") {
        return Some(Role::Agent);
    }
    if is_text && has(name, &["sender", "from"]) && column.recurs() {
        return Some(Role::Sender);
    }
    if is_text && has(name, &["recipient", "to", "rcpt"]) && column.recurs() {
        return Some(Role::Recipient);
    }
    if column.is_unique() && is_key && has(name, &["id", "uuid", "guid", "requestid", "eventid", "key"]) {
        return Some(Role::Identity);
    }
    if is_key
        && has(
            name,
            &["user", "username", "account", "login", "customer", "uid", "email", "actor", "employee", "member", "principal"],
        )
        && column.recurs()
    {
        return Some(Role::User);
    }
    if is_text && has(name, &["host", "hostname", "machine", "computer", "device", "server", "node", "sensor"]) && column.recurs()
    {
        return Some(Role::Host);
    }
    if is_text && has(name, &["path", "url", "uri", "resource", "endpoint", "page"]) {
        return Some(Role::Resource);
    }
    if matches!(column.kind, FieldType::Int) && has(name, &["status", "code", "rc", "response"]) {
        return Some(Role::Status);
    }
    if is_text
        && column.recurs()
        && has(name, &["command", "cmd", "action", "event", "operation", "op", "method", "type", "name", "activity", "verb"])
    {
        return Some(Role::Action);
    }
    if is_text && has(name, &["message", "msg", "text", "body", "payload"]) {
        return Some(Role::Message);
    }
    None
}
