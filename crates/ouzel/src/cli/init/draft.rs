//! A pipeline for a file that nobody has described: what is worth measuring of whom, and when to speak up.

use ouzel_connect::sniff::{Column, Found, Role};
use ouzel_core::FieldType;
use ouzel_core::path::Step;
use std::fmt::Write as _;
use std::path::Path;

/// What is measured of one entity, and how much of it is much.
pub struct Measure {
    pub name: String,
    /// As a pipeline has it.
    pub definition: String,
    pub says: String,
    /// At or below it are 99 % of the events of the file.
    pub much: Option<f64>,
}

pub struct Entity {
    pub column: String,
    pub measures: Vec<Measure>,
    /// Scores above which 1 % and 0.1 % of the events of the file lie.
    pub cuts: Option<(f64, f64)>,
}

pub struct Draft {
    pub name: String,
    pub found: Found,
    /// Absolute, or as a glob.
    pub files: Vec<String>,
    pub year: Option<i32>,
    select: Vec<(String, String, &'static str)>,
    time: String,
    lateness: &'static str,
    id: Option<String>,
    pub entities: Vec<Entity>,
    failure: Option<String>,
    pub notes: Vec<String>,
}

/// Who is worth remembering, the likeliest first.
const ACTORS: [Role; 5] = [Role::Address, Role::User, Role::Session, Role::Sender, Role::Recipient];
const ENTITIES_MAX: usize = 3;
const KINDS_MAX: usize = 4;

impl Draft {
    pub fn new(name: String, found: Found, files: Vec<String>, year: Option<i32>) -> Draft {
        let mut draft = Draft {
            name,
            files,
            year,
            select: Vec::new(),
            time: String::new(),
            lateness: "5m",
            id: None,
            entities: Vec::new(),
            failure: None,
            notes: found.notes.clone(),
            found,
        };
        draft.find_time();
        draft.find_who_in_messages();
        draft.id = draft.found.column(Role::Identity).map(|c| c.name.clone());
        draft.find_failure();
        draft.find_entities();
        draft
    }

    fn find_time(&mut self) {
        if let Some(time) = self.found.column(Role::Time) {
            self.time = time.name.clone();
            if self.year.is_some() {
                self.notes.push("its times have no year: the file's own is taken, see `year`".into());
            }
            return;
        }
        let is_order = |c: &&Column| {
            let named = ["seq", "sequence", "index", "n", "line", "step", "order", "offset", "position", "no", "nr"];
            c.kind == FieldType::Int && c.filled == c.records && (c.ascends || named.contains(&c.name.to_lowercase().as_str()))
        };
        self.time = "at".into();
        self.lateness = "90d";
        match self.found.columns.iter().find(is_order) {
            Some(order) => {
                let name = order.name.clone();
                self.select.push((
                    "at".into(),
                    format!("to_timestamp_micros(try_cast({} as bigint) * 1000000)", path_sql(&order.path.0)),
                    "timestamp",
                ));
                self.notes.push(format!("no field holds a time: `{name}` gives the order, as a second each; say what is the time with `select: {{ at: .. }}`"));
            }
            None => {
                self.select.push(("at".into(), "to_timestamp_micros(0)".into(), "timestamp"));
                self.notes.push(
                    "no field holds a time: all events have the same one, so windows hold all that came before; say what is the time with `select: { at: .. }`".into(),
                );
            }
        }
    }

    /// Messages of daemons name addresses and users in their text.
    fn find_who_in_messages(&mut self) {
        if !self.found.codec.as_object().is_some_and(|codec| codec.contains_key("syslog")) {
            return;
        }
        self.select.push((
            "ip".into(),
            r"regexp_match(message, '(?:from|rhost=|\[)[ ]?((?:[0-9]{1,3}\.){3}[0-9]{1,3})')[1]".into(),
            "ip",
        ));
        self.select.push((
            "user".into(),
            r"regexp_match(message, '(?:(?:password|publickey|keyboard-interactive/pam) for (?:invalid user )?|[Ii]nvalid user |for user |user=)([A-Za-z0-9._@-]+)')[1]".into(),
            "text",
        ));
        self.select.push((
            "failed".into(),
            "regexp_like(message, '(?i)fail|invalid|denied|refused|error|break-in')".into(),
            "bool",
        ));
    }

    fn find_failure(&mut self) {
        let is_selected = |name: &str| self.select.iter().any(|(n, ..)| n == name);
        self.failure = match self.found.column(Role::Status) {
            Some(status) => Some(format!("{} >= 400", quoted(&status.name))),
            None if is_selected("failed") => Some("failed".into()),
            None => {
                let outcome = ["outcome", "result", "success", "ok"];
                let column = self
                    .found
                    .columns
                    .iter()
                    .find(|c| c.kind == FieldType::Bool && outcome.iter().any(|o| c.name.to_lowercase().contains(o)));
                column.map(|c| format!("not {}", quoted(&c.name)))
            }
        };
    }

    fn find_entities(&mut self) {
        let mut actors: Vec<String> = ACTORS.iter().filter_map(|role| self.found.column(*role)).map(|c| c.name.clone()).collect();
        let selected: Vec<String> =
            self.select.iter().filter(|(name, ..)| name == "ip" || name == "user").map(|(name, ..)| name.clone()).collect();
        // What is named in a message says more than who has written it.
        actors.splice(0..0, selected);
        if actors.is_empty() {
            // A machine has many people: it is remembered where nobody else is known.
            actors.extend(self.found.column(Role::Host).map(|c| c.name.clone()));
        }
        if actors.is_empty() {
            let mut others: Vec<&Column> = self
                .found
                .columns
                .iter()
                .filter(|c| {
                    c.kind == FieldType::Text && c.role != Some(Role::Label) && c.distinct > 1 && c.distinct * 3 < c.filled
                })
                .collect();
            others.sort_by_key(|c| std::cmp::Reverse(c.distinct));
            actors.extend(others.first().map(|c| c.name.clone()));
            match actors.first() {
                Some(name) => self
                    .notes
                    .push(format!("nobody plainly acts here: `{name}` is taken for whom to remember; name another with `by:`")),
                None => self.notes.push("no field says who acts: nothing is remembered; name a field with `by:`".into()),
            }
        }
        actors.dedup();
        actors.truncate(ENTITIES_MAX);
        let kinds = self.kinds(&actors);
        for actor in &actors {
            let mut measures = vec![count(actor, "1m", None, "events"), count(actor, "1h", None, "events")];
            if let Some(failure) = &self.failure {
                measures.push(count(actor, "10m", Some(failure), "failures"));
            }
            for kind in kinds.iter().chain(actors.iter().filter(|other| *other != actor)).take(KINDS_MAX) {
                measures.push(Measure {
                    name: format!("{}_different_{}_1h", plain(actor), plural(&plain(kind))),
                    definition: format!("{{ distinct: {}, within: 1h }}", sql_of(kind)),
                    says: format!("different {} in an hour", plural(&plain(kind))),
                    much: None,
                });
            }
            self.entities.push(Entity { column: actor.clone(), measures, cuts: None });
        }
    }

    /// Columns whose variety says something of who acts.
    fn kinds(&self, actors: &[String]) -> Vec<String> {
        let told = [Role::Resource, Role::Agent, Role::Action];
        let mut kinds: Vec<String> =
            told.iter().filter_map(|role| self.found.column(*role)).filter(|c| c.distinct > 1).map(|c| c.name.clone()).collect();
        let is_other = |c: &&Column| {
            c.kind == FieldType::Text
                && c.role.is_none()
                && c.distinct > 1
                && c.distinct * 2 < c.filled
                && !matches!(c.name.as_str(), "protocol" | "method" | "request" | "host")
        };
        kinds.extend(self.found.columns.iter().filter(is_other).map(|c| c.name.clone()));
        kinds.retain(|kind| !actors.contains(kind));
        kinds.truncate(KINDS_MAX - 1);
        kinds
    }

    /// The scores, as SQL: how many times as much as is much, all measures of an entity together.
    pub fn scores(&self) -> Vec<(String, String)> {
        let term = |m: &Measure| format!("least(coalesce({}, 0) / {:.1}, 4.0)", m.name, 1.0f64.max(m.much.unwrap_or(10.0)));
        let score = |e: &Entity| (e.score(), e.measures.iter().map(term).collect::<Vec<_>>().join(" + "));
        self.entities.iter().map(score).collect()
    }

    /// The pipeline's file. `trial`: only what is needed to measure the file, into a table of its own.
    pub fn pipeline(&self, trial: bool) -> String {
        let mut out = String::new();
        let o = &mut out;
        let plain = |name: &str| name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
        let names: Vec<String> =
            self.files.iter().filter_map(|file| Some(plain(Path::new(file).file_name()?.to_str()?))).collect();
        let _ = writeln!(o, "# yaml-language-server: $schema=../.ouzel/schema/pipeline.json\n#");
        let _ = writeln!(
            o,
            "# Made by `ouzel init` from {}: {}, {} records looked at.",
            names.join(", "),
            self.found.what,
            self.found.records
        );
        for note in &self.notes {
            let _ = writeln!(o, "# Note: {}.", note.replace('\n', " "));
        }
        let files = self.files.iter().map(|file| yaml_text(file)).collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            o,
            "name: {}\n\n# A path, a glob (\"logs/*.gz\"), or a list; compressed or not. New files are read by the next run.",
            self.name
        );
        let _ =
            writeln!(o, "source: {{ file: {{ path: {} }} }}", if self.files.len() == 1 { files } else { format!("[{files}]") });
        let _ = writeln!(o, "codec: {}\n", self.codec());
        self.write_select(o);
        self.write_event(o);
        if let Some(agent) = self.found.column(Role::Agent).filter(|_| !trial) {
            let _ = writeln!(o, "\n# What is known of a value from elsewhere. This adds ua_family, ua_os, ua_is_crawler.");
            let _ = writeln!(o, "lookups:\n  - user_agent: {{ of: {}, as: ua }}", yaml_name(&agent.name));
        }
        if !self.entities.is_empty() {
            let _ =
                writeln!(o, "\n# What each key has done up to and with this event, in windows of event time. Exact.\nfeatures:");
        }
        for entity in &self.entities {
            let _ = writeln!(o, "  - by: {}\n    measure:", yaml_name(&entity.column));
            let width = entity.measures.iter().map(|m| m.name.len()).max().unwrap_or(0) + 1;
            for m in &entity.measures {
                let much = m.much.map_or(String::new(), |much| format!("   # 99 % of the events: at most {much:.0} {}", m.says));
                let _ = writeln!(o, "      {:<width$} {}{much}", format!("{}:", m.name), m.definition);
            }
            if !trial {
                let _ = writeln!(o, "      {:<width$} {{ since_last: \"*\" }}", format!("{}_idle:", plain(&entity.column)));
            }
        }
        if !self.entities.is_empty() {
            let _ = writeln!(
                o,
                "\n# SQL over everything above. Each term is 1 where its measure is at what 99 % of this file's events do not exceed, 4 at most.\nscores:"
            );
        }
        for (name, sql) in self.scores() {
            let _ = writeln!(o, "  {name}: {}", yaml_text(&sql));
        }
        if trial {
            let _ = writeln!(o, "sinks:\n  - lake: {{ table: trial }}");
            return out;
        }
        self.write_decision(o);
        out
    }

    fn codec(&self) -> String {
        let mut codec = self.found.codec.clone();
        if let (Some(year), Some(syslog)) = (self.year, codec.get_mut("syslog").and_then(|s| s.as_object_mut())) {
            syslog.insert("year".into(), year.into());
        }
        flow(&codec)
    }

    fn write_select(&self, o: &mut String) {
        let renamed = |c: &&Column| c.path.as_key() != Some(c.name.as_str()) && !self.found.knows_fields();
        let renamed: Vec<&Column> = self.found.columns.iter().filter(renamed).collect();
        if renamed.is_empty() && self.select.is_empty() {
            return;
        }
        let _ = writeln!(o, "# Fields that are made, in SQL over the raw record.\nselect:");
        for column in renamed {
            let _ = writeln!(o, "  {}: {}", yaml_name(&column.name), yaml_text(&path_sql(&column.path.0)));
        }
        for (name, sql, _) in &self.select {
            let _ = writeln!(o, "  {name}: {}", yaml_text(sql));
        }
        o.push('\n');
    }

    fn write_event(&self, o: &mut String) {
        let _ = writeln!(
            o,
            "# A value that is none of its field's type is malformed: it is null, and the event says so in `_malformed`.\nevent:"
        );
        let declared: Vec<(String, String, String)> = match self.found.knows_fields() && self.select.is_empty() {
            true => Vec::new(),
            false => {
                let columns = self.found.columns.iter();
                let columns =
                    columns.map(|c| (c.name.clone(), c.kind.to_string(), c.examples.first().cloned().unwrap_or_default()));
                columns.chain(self.select.iter().map(|(name, _, kind)| (name.clone(), kind.to_string(), String::new()))).collect()
            }
        };
        if !declared.is_empty() {
            let _ = writeln!(o, "  fields:");
            let width = declared.iter().map(|(name, ..)| yaml_name(name).len()).max().unwrap_or(0) + 1;
            for (name, kind, example) in &declared {
                let example: String = example.chars().map(|c| if c.is_control() { ' ' } else { c }).take(40).collect();
                let comment = if example.is_empty() { String::new() } else { format!("{:<11}# {example}", "") };
                let _ = writeln!(o, "    {:<width$} {kind}{comment}", format!("{}:", yaml_name(name)));
            }
        }
        let _ = writeln!(o, "  time: {}", yaml_name(&self.time));
        if let Some(id) = &self.id {
            let _ = writeln!(o, "  id: {}", yaml_name(id));
        }
        let _ = writeln!(o, "  lateness: {}", self.lateness);
    }

    fn write_decision(&self, o: &mut String) {
        let is_web = self.found.column(Role::Resource).is_some() && self.found.column(Role::Address).is_some();
        let [worst, bad, good] = if is_web { ["deny", "challenge", "allow"] } else { ["alert", "review", "ok"] };
        if !self.entities.is_empty() {
            let _ = writeln!(
                o,
                "\n# The first rule that matches decides. Of this file's events 0.1 % would be `{worst}` and 1 % `{bad}`: move the numbers to taste."
            );
            let _ = writeln!(o, "decision:");
            for (decision, of) in [(worst, "very_unusual"), (bad, "unusual")] {
                for entity in &self.entities {
                    let (one, tenth) = entity.cuts.unwrap_or((2.0, 4.0));
                    let cut = if decision == worst { tenth } else { one };
                    if decision == bad && one >= tenth {
                        continue;
                    }
                    let _ = writeln!(
                        o,
                        "  - {decision}: {{ rule: {of}_{}, when: \"{} >= {cut:.2}\" }}",
                        plain(&entity.column),
                        entity.score()
                    );
                }
            }
            let _ = writeln!(o, "  - {good}: {{ rule: others, when: \"true\" }}");
            let _ = writeln!(
                o,
                "\n# What somebody should look at: once an hour for each of them; how many more there were is told.\nalerts:"
            );
        }
        for entity in &self.entities {
            let tenth = entity.cuts.map_or(4.0, |cuts| cuts.1);
            let says: Vec<String> = entity.measures.iter().map(|m| format!("{{{}}} {}", m.name, m.says)).collect();
            let message = format!("{} {{{}}}: {}", entity.column, quoted(&entity.column), says.join(", "));
            let _ =
                writeln!(o, "  - name: very_unusual_{}\n    when: \"{} >= {tenth:.2}\"", plain(&entity.column), entity.score());
            let _ = writeln!(
                o,
                "    severity: high\n    per: {}\n    at_most: {{ every: 1h }}\n    message: {}",
                yaml_name(&entity.column),
                yaml_text(&message)
            );
        }
        let _ = writeln!(
            o,
            "\n# Everything goes into a table that any engine reads (`ouzel query \"select * from {0}\"`), alerts into one of their own.\nsinks:\n  - lake: {{ table: {0} }}",
            self.name
        );
        if self.entities.is_empty() {
            let _ = writeln!(o, "  - stdout: {{ limit: 5 }}");
            return;
        }
        let _ = writeln!(o, "  - lake: {{ table: {}_alerts, only: alerts }}", self.name);
        let _ = writeln!(
            o,
            "  - stdout:\n      only: alerts\n      limit: 20\n      columns: {{ time: alert_time, severity: alert_severity, held_back: alert_suppressed, event: alert_event, alert: alert_message }}"
        );
    }
}

impl Entity {
    fn score(&self) -> String {
        format!("{}_unusual", plain(&self.column))
    }
}

fn count(actor: &str, within: &str, condition: Option<&str>, what: &str) -> Measure {
    let condition = condition.map_or(String::new(), |c| format!(", where: {}", yaml_text(c)));
    let span = match within {
        "1m" => "a minute",
        "10m" => "ten minutes",
        _ => "an hour",
    };
    Measure {
        name: format!("{}_{what}_{within}", plain(actor)),
        definition: format!("{{ count: \"*\", within: {within}{condition} }}"),
        says: format!("{what} in {span}"),
        much: None,
    }
}

fn plural(name: &str) -> String {
    match name {
        _ if name.ends_with('s') => format!("{name}es"),
        _ => format!("{name}s"),
    }
}

/// A column's name as part of others.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

/// A name in SQL. Always in quotes: which words it keeps for itself nobody remembers.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A column as an expression in YAML.
fn sql_of(name: &str) -> String {
    yaml_text(&quoted(name))
}

fn path_sql(steps: &[Step]) -> String {
    let mut out = String::new();
    for (i, step) in steps.iter().enumerate() {
        match step {
            Step::Key(key) if i == 0 => out.push_str(&quoted(key)),
            Step::Key(key) => {
                let _ = write!(out, "['{}']", key.replace('\'', "''"));
            }
            Step::Index(n) => {
                let _ = write!(out, "[{n}]");
            }
        }
    }
    out
}

fn yaml_name(name: &str) -> String {
    let is_plain =
        name.starts_with(|c: char| c.is_alphabetic() || c == '_') && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if is_plain && !reserved.contains(&name.to_lowercase().as_str()) { name.to_string() } else { yaml_text(name) }
}

fn yaml_text(text: &str) -> String {
    // A variable it is not.
    let text = &text.replace("${", "$${");
    match text.contains(['\\', '\n', '\t']) {
        // In single quotes a backslash is one.
        true if !text.contains(['\n', '\t']) => format!("'{}'", text.replace('\'', "''")),
        _ => serde_json::to_string(text).unwrap_or_default(),
    }
}

/// A value of JSON as YAML on one line.
fn flow(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(map) => {
            let inner: Vec<String> = map.iter().map(|(key, value)| format!("{key}: {}", flow(value))).collect();
            if inner.is_empty() { "{}".into() } else { format!("{{ {} }}", inner.join(", ")) }
        }
        serde_json::Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        serde_json::Value::String(text) => match text.contains('"') {
            true => format!("'{}'", text.replace('\'', "''")),
            false => yaml_text(text),
        },
        other => other.to_string(),
    }
}
