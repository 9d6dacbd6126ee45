//! From configuration to plan. Goes on after each problem, so that all are told.

mod fields;
mod reading;
mod stages;

use super::columns::{AlertColumns, Columns, Standard};
use super::sql;
use super::*;
use crate::config::{EventConfig, FilesConfig, LATENESS, PipelineConfig, SinkEntry, given};
use crate::project::Reader;
use arrow_schema::{DataType, Field, Schema};
use ouzel_core::units::TimeSpan;
use ouzel_core::{Lenient, Report, Span, Spanned, limits};
use ouzel_detect::expressions::Planner;
use ouzel_detect::features::{GroupConfig, PlannedMeasure, WindowDefaults};
use ouzel_detect::schema::{SchemaConfig, check_name};
use reading::{codec, schema};
use stages::stages;
use std::collections::BTreeMap;
use std::collections::HashSet;
use std::sync::Arc;

impl Plan {
    /// `None` if anything is wrong; what, is in the report.
    pub fn compile(
        name: &str,
        text: &str,
        config: &PipelineConfig,
        sinks: Vec<SinkEntry>,
        reader: &mut Reader<'_>,
        report: &mut Report,
    ) -> Option<Plan> {
        let problems_before = report.count(ouzel_core::Severity::Error);
        let source = config.source.0.as_ref();
        if let Some(source) = source {
            source.value.validate(report);
        }
        let codec = codec(config, report);
        let event = config.event.0.as_ref()?;
        let given = (&event.value.schema, &event.value.fields);
        let (schema, schema_hash) = schema(given, event.span, codec.as_ref(), reader, report)?;

        let mut c = Compiler::new(problems_before, report);
        let (select, conditions, condition, lookups) = c.reading(&schema, config)?;
        let event_plan = c.event(&event.value, source.as_ref().is_some_and(|s| s.value.records_ingestion()));
        let standard = Standard::add(&mut c.columns, c.report);
        let readable = standard.raw + 1;
        let names: HashSet<String> = c.columns.names().take(readable).map(String::from).collect();
        // The first features read fields, lookups and quality: what is known before any state is touched.
        let mut readable = readable;
        let (mut groups, mut scores, mut rounds) = (Vec::new(), Vec::new(), Vec::new());
        for stage in stages(config, &|name| names.contains(name), c.report) {
            let (groups_before, scores_before) = (groups.len(), scores.len());
            groups.extend(c.groups(&stage.features, &event.value, readable));
            scores.extend(c.scores(&stage.scores));
            rounds.push(Round { groups: groups_before..groups.len(), scores: scores_before..scores.len() });
            readable = c.columns.len();
        }
        let decision = c.decision(config);
        let alerts = c.alerts(config);
        let of_events = c.planner()?;
        let alert_columns = (!config.alerts.is_empty()).then(|| AlertColumns::add(&mut c.columns, c.report));
        let sinks = c.sinks(sinks, &of_events, alert_columns, &event.value.time.value);
        if sinks.is_empty() && c.report.count(ouzel_core::Severity::Error) == problems_before {
            c.report
                .warn(event.span, format!("pipeline `{name}` has no sink: its results go nowhere"))
                .hint("for example `sinks: [{ stdout: {} }]`");
        }

        let (source, codec, event_plan, select) = (source?.value.clone(), codec?, event_plan?, select?);
        let Compiler { report, columns, fields, wanted, .. } = c;
        if report.count(ouzel_core::Severity::Error) > problems_before {
            return None;
        }
        let needed = vec![false; columns.len()];
        let mut plan = Plan {
            name: name.to_string(),
            version: version(&[text, &schema_hash]),
            definitions: BTreeMap::from([("schema".to_string(), version(&[&schema_hash]))]),
            source,
            codec,
            wanted,
            columns: columns.schema(),
            needed,
            fields,
            select,
            conditions,
            condition,
            lookup_columns: lookups.iter().flat_map(|lookup| lookup.outputs.clone()).collect(),
            lookups,
            event: event_plan,
            standard,
            groups,
            scores,
            rounds,
            decision,
            alerts,
            alert_columns,
            sinks,
            risks: crate::risk::all(config),
            written: written(config),
            keeps_raw: false,
        };
        plan.prune();
        Some(plan)
    }
}

impl Plan {
    /// How the records of files are read, which a job takes: nothing follows from one for another, and all that is known of one is needed. `definition`: a hash of what the
    /// source says. `None` if anything is wrong.
    pub fn of_files(
        name: &str,
        definition: &str,
        (files, place): (&FilesConfig, &Spanned<String>),
        reader: &mut Reader<'_>,
        report: &mut Report,
    ) -> Option<Plan> {
        let problems_before = report.count(ouzel_core::Severity::Error);
        let (config, record) = (files.reading(place), files.record());
        let codec = codec(&config, report)?;
        let span = files.event.as_ref().and_then(|event| event.0.as_ref()).map_or(place.span, |event| event.span);
        let (schema, schema_hash) = schema((&record.schema, &record.fields), span, Some(&codec), reader, report)?;
        let mut c = Compiler::new(problems_before, report);
        let (select, conditions, condition, lookups) = c.reading(&schema, &config)?;
        let time = record.time.as_ref().map(|time| c.time(time));
        let standard = Standard::add(&mut c.columns, c.report);
        let Compiler { report, columns, fields, wanted, .. } = c;
        if report.count(ouzel_core::Severity::Error) > problems_before {
            return None;
        }
        let mut needed = vec![true; columns.len()];
        [standard.id, standard.late, standard.date, standard.version].into_iter().for_each(|column| needed[column] = false);
        let all = |lookup: LookupPlan| LookupPlan { wanted: vec![true; lookup.outputs.len()], ..lookup };
        Some(Plan {
            name: name.to_string(),
            version: version(&[definition, &schema_hash]),
            definitions: BTreeMap::new(),
            source: config.source.0?.value,
            codec,
            wanted,
            columns: columns.schema(),
            needed,
            fields,
            select: select?,
            conditions,
            condition,
            lookup_columns: lookups.iter().flat_map(|lookup| lookup.outputs.clone()).collect(),
            lookups: lookups.into_iter().map(all).collect(),
            event: EventPlan {
                time: time.flatten(),
                id: None,
                lateness: LATENESS.micros(),
                too_late: TooLate::default(),
                ahead: None,
                duplicates_within: None,
            },
            standard,
            groups: Vec::new(),
            scores: Vec::new(),
            rounds: Vec::new(),
            decision: None,
            alerts: Vec::new(),
            alert_columns: None,
            sinks: Vec::new(),
            risks: Vec::new(),
            written: Written::default(),
            keeps_raw: false,
        })
    }
}

fn written(config: &PipelineConfig) -> Written {
    let mut written = Written::default();
    for group in config.features.iter().filter_map(|g| g.0.as_ref()) {
        let by = key_name(group);
        let measures = group.measure.0.iter().map(|(name, measure)| (name.value.clone(), by.clone(), measure.value.to_string()));
        written.measures.extend(measures);
    }
    written.scores = config.scores.0.iter().map(|(name, sql)| (name.value.clone(), sql.value.clone())).collect();
    written.rules = ouzel_detect::decision::written(&config.decision);
    written
}

/// The name of a group by nothing: one key has all events.
pub(crate) const ALL: &str = "all";

/// What a group is by, for people.
fn key_name(group: &GroupConfig) -> String {
    let names: Vec<&str> = group.by.0.iter().map(|name| name.value.as_str()).collect();
    if names.is_empty() { ALL.into() } else { names.join(", ") }
}

/// A short hash of texts, the same for good.
pub(crate) fn version(texts: &[&str]) -> String {
    let hash = texts.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, text| {
        // FNV-1a: short, fixed for good, and nobody gains by a collision.
        text.bytes().chain([0]).fold(h, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
    });
    format!("{hash:016x}")[..12].to_string()
}

struct Compiler<'r> {
    /// Errors told before this pipeline.
    problems_before: usize,
    report: &'r mut Report,
    columns: Columns,
    fields: Vec<FieldPlan>,
    wanted: Vec<Wanted>,
    /// Features that are null while there is not enough history.
    may_be_unknown: HashSet<String>,
}

/// What is done to a record before any state is touched: `select`, the schema's conditions, `where`, lookups.
type Reading = (Option<Select>, Vec<(String, Expression)>, Option<Expression>, Vec<LookupPlan>);

impl<'r> Compiler<'r> {
    fn new(problems_before: usize, report: &'r mut Report) -> Compiler<'r> {
        let (columns, may_be_unknown) = (Columns::default(), HashSet::new());
        Compiler { problems_before, report, columns, fields: Vec::new(), wanted: Vec::new(), may_be_unknown }
    }
}

impl Compiler<'_> {
    fn reading(&mut self, schema: &SchemaConfig, config: &PipelineConfig) -> Option<Reading> {
        self.declare_fields(schema, config);
        let select = self.select(config);
        for i in 0..self.fields.len() {
            if self.fields[i].spec.types.len() > 1 {
                let other = format!("{}_other", self.fields[i].spec.name);
                self.fields[i].other = Some(self.columns.add(&other, DataType::Utf8View, Span::default(), self.report));
            }
        }
        let planner = self.planner()?;
        let condition = |(name, sql): &(Spanned<String>, Spanned<String>)| {
            Some((name.value.clone(), sql::condition(&planner, sql, self.report)?))
        };
        let conditions = schema.conditions.0.iter().filter_map(condition).collect();
        let condition = config.condition.as_ref().and_then(|sql| sql::condition(&planner, sql, self.report));
        Some((select, conditions, condition, self.lookups(config)))
    }

    fn planner(&self) -> Option<Planner> {
        Planner::new(self.columns.schema()).ok()
    }

    fn lookups(&mut self, config: &PipelineConfig) -> Vec<LookupPlan> {
        let mut plans = Vec::new();
        for lookup in config.lookups.iter().filter_map(|l| l.0.as_ref()) {
            lookup.value.validate(self.report);
            let of = lookup.value.of();
            let Some(column) = self.field_named(of, "a lookup is of a field") else { continue };
            if *self.columns.field(column).data_type() != DataType::Utf8View {
                let found = ouzel_detect::describe(self.columns.field(column).data_type());
                self.report.error(of.span, format!("a lookup is of text, `{}` is {found}", of.value));
                continue;
            }
            let outputs = lookup
                .value
                .columns()
                .into_iter()
                .map(|(name, t)| self.columns.add(&name, t.arrow(), lookup.span, self.report))
                .collect();
            plans.push(LookupPlan { config: lookup.value.clone(), of: column, outputs, wanted: Vec::new() });
        }
        plans
    }

    fn field_named(&mut self, name: &Spanned<String>, what: &str) -> Option<usize> {
        let found = self.columns.position(&name.value);
        if found.is_none() {
            let names: Vec<String> = self.columns.names().map(String::from).collect();
            self.report
                .error(name.span, format!("unknown field `{}`: {what}", name.value))
                .did_you_mean(&name.value, names.iter().map(String::as_str));
        }
        found
    }

    fn time(&mut self, name: &Spanned<String>) -> Option<usize> {
        let time = self.field_named(name, "the event's time is a field")?;
        let of = self.columns.field(time).data_type();
        if !matches!(of, DataType::Timestamp(..)) {
            let found = ouzel_detect::describe(of);
            self.report.error(name.span, format!("the event's time is a timestamp, `{}` is {found}", name.value));
        }
        Some(time)
    }

    /// `recorded`: the source tells when each event was.
    fn event(&mut self, event: &EventConfig, recorded: bool) -> Option<EventPlan> {
        let time = self.time(&event.time);
        let id = event.id.as_ref().and_then(|id| self.field_named(id, "the event's id is a field"));
        if let (Some(span), None) = (given(&event.duplicates_within), &event.id) {
            self.report.error(span.span, "`duplicates_within` needs the event's `id`").hint("for example `id: request_id`");
        }
        let ahead = given(&event.ahead).filter(|_| recorded);
        if let (Some(ahead), false) = (given(&event.ahead), recorded) {
            self.report
                .warn(ahead.span, "`ahead` has no effect: this source records no ingestion time to compare with")
                .hint("an event dated far ahead is scored in its own window and moves nothing else");
        }
        let micros = |t: &Option<Lenient<Spanned<TimeSpan>>>| given(t).map(|t| t.value.micros());
        Some(EventPlan {
            time: Some(time?),
            id,
            lateness: micros(&event.lateness).unwrap_or(LATENESS.micros()),
            too_late: event.too_late,
            ahead: ahead.map(|t| t.value.micros()),
            duplicates_within: micros(&event.duplicates_within).filter(|_| event.id.is_some()),
        })
    }

    /// `readable`: how many columns there are to read.
    fn groups(&mut self, groups: &[&GroupConfig], event: &EventConfig, readable: usize) -> Vec<GroupPlan> {
        let defaults = WindowDefaults {
            lateness: given(&event.lateness).map_or(LATENESS, |l| l.value).micros(),
            exact_up_to: given(&event.exact_up_to)
                .map_or(limits::EXACT_UP_TO, |n| usize::try_from(n.value).unwrap_or(usize::MAX)),
        };
        let Some(all) = self.planner() else { return Vec::new() };
        let Ok(planner) =
            Planner::new(Arc::new(all.schema().project(&(0..readable).collect::<Vec<_>>()).expect("positions exist")))
        else {
            return Vec::new();
        };
        let mut plans = Vec::new();
        for group in groups {
            let mut by = Vec::new();
            for name in &group.by.0 {
                match planner.schema().index_of(&name.value) {
                    Ok(column) if matches!(planner.schema().field(column).data_type(), DataType::List(_)) => {
                        self.report.error(name.span, format!("`{}` is a list: no key", name.value));
                    }
                    Ok(column) => by.push(column),
                    Err(_) => {
                        let names: Vec<String> = planner.schema().fields().iter().map(|f| f.name().clone()).collect();
                        self.report
                            .error(name.span, format!("unknown field `{}`", name.value))
                            .did_you_mean(&name.value, names.iter().map(String::as_str));
                    }
                }
            }
            let mut measures = Vec::new();
            let mut spans = Vec::new();
            for (name, measure) in &group.measure.0 {
                check_name(name, self.report);
                let Some(spec) = measure.value.spec(measure.span, name, defaults, self.report) else { continue };
                let mut failed = false;
                let mut plan = |sql: &Option<Spanned<String>>, condition: bool, report: &mut Report| {
                    let sql = sql.as_ref()?;
                    let planned =
                        if condition { sql::condition(&planner, sql, report) } else { sql::plan(&planner, sql, report) };
                    failed |= planned.is_none();
                    planned
                };
                let argument = plan(&spec.argument, false, self.report);
                let of = plan(&spec.of, false, self.report);
                let condition = plan(&spec.condition, true, self.report);
                if failed {
                    continue;
                }
                measures.push(PlannedMeasure { name: name.value.clone(), spec, argument, of, condition });
                spans.push(name.span);
            }
            let name = key_name(group);
            let unknowable: Vec<(String, bool)> =
                measures.iter().map(|m| (m.name.clone(), m.spec.window.min_events > 0)).collect();
            let checkable = by.len() == group.by.0.len() && !measures.is_empty();
            match checkable.then(|| Group::new(name, by, measures)) {
                None => {}
                Some(Ok(group)) => {
                    let first = self.columns.len();
                    for output in group.outputs() {
                        let span = spans
                            .get(unknowable.iter().position(|(n, _)| output.name.starts_with(n.as_str())).unwrap_or(0))
                            .copied();
                        self.columns.add(&output.name, output.data_type.clone(), span.unwrap_or_default(), self.report);
                    }
                    self.may_be_unknown.extend(unknowable.into_iter().filter(|(_, unknown)| *unknown).map(|(n, _)| n));
                    plans.push(GroupPlan { group, first });
                }
                Some(Err((i, why))) => {
                    self.report.error(spans[i], why);
                }
            }
            // What is wrong was told: what reads these names is not wrong as well.
            for (name, _) in &group.measure.0 {
                if self.columns.position(&name.value).is_none() {
                    self.columns.add(&name.value, DataType::Float64, name.span, self.report);
                }
            }
        }
        plans
    }

    fn scores(&mut self, written: &[&(Spanned<String>, Spanned<String>)]) -> Vec<(usize, Expression)> {
        let mut scores = Vec::new();
        for (name, sql) in written {
            check_name(name, self.report);
            let Some(planner) = self.planner() else { continue };
            let Some(expression) = sql::plan(&planner, sql, self.report) else {
                // So that what reads it is not a problem too.
                self.columns.add(&name.value, DataType::Float64, name.span, self.report);
                continue;
            };
            if expression.reads.iter().any(|r| self.may_be_unknown.contains(r) && !expression.asks_known.contains(r)) {
                self.may_be_unknown.insert(name.value.clone());
            }
            let column = self.columns.add(&name.value, expression.data_type().clone(), name.span, self.report);
            scores.push((column, expression));
        }
        scores
    }

    fn decision(&mut self, config: &PipelineConfig) -> Option<DecisionPlan> {
        if config.decision.is_empty() {
            return None;
        }
        let planner = self.planner()?;
        let unknown = &self.may_be_unknown;
        let decision = Decision::compile(
            &config.decision,
            &planner,
            &|name| unknown.contains(name),
            self.report,
            &mut |report, sql, span, e| {
                sql::tell(&planner, Some(sql), span, e, report);
            },
        );
        let decision_column = self.columns.add("decision", DataType::Utf8View, Span::default(), self.report);
        let rule_column = self.columns.add("rule", DataType::Utf8View, Span::default(), self.report);
        Some(DecisionPlan { decision: decision?, decision_column, rule_column })
    }

    fn alerts(&mut self, config: &PipelineConfig) -> Vec<Alert> {
        let Some(planner) = self.planner() else { return Vec::new() };
        let mut alerts: Vec<Alert> = Vec::new();
        for alert in config.alerts.iter().filter_map(|alert| alert.0.as_ref()) {
            if alerts.iter().any(|other| other.name == alert.value.name.value) {
                self.report.error(alert.value.name.span, format!("two alerts are named `{}`", alert.value.name.value));
            }
            let tell = &mut |report: &mut Report, sql: &str, span, e| sql::tell(&planner, Some(sql), span, e, report);
            alerts.extend(Alert::compile(&alert.value, &planner, self.report, tell));
        }
        alerts
    }

    /// `of_events`: plans over what rows of events have. `time`: the field of the event's time.
    fn sinks(
        &mut self,
        sinks: Vec<SinkEntry>,
        of_events: &Planner,
        alert_columns: Option<AlertColumns>,
        time: &str,
    ) -> Vec<SinkPlan> {
        let Some(of_alerts) = self.planner() else { return Vec::new() };
        let mut plans = Vec::new();
        let mut targets: Vec<String> = Vec::new();
        for entry in sinks {
            entry.sink.validate(self.report);
            if let Some(target) = entry.sink.target() {
                if targets.contains(&target) {
                    self.report
                        .error(entry.span, format!("two sinks write to `{target}`"))
                        .hint("one would overwrite the other: name another place");
                }
                targets.push(target);
            }
            let only = &entry.columns.only;
            let planner = if only.is_some() { &of_alerts } else { of_events };
            if let (Some(only), None) = (only, alert_columns) {
                self.report
                    .error(only.span, "this pipeline has no alerts")
                    .hint("give it some: `alerts: [{ name: .., when: \"..\" }]`");
            }
            let mut fields = Vec::new();
            let mut columns = Vec::new();
            let quoted = |n: &str| Spanned::nowhere(format!("\"{n}\""));
            let chosen: Vec<(Spanned<String>, Spanned<String>)> = match &entry.columns.columns {
                Some(chosen) => {
                    let needed = entry.sink.needs().filter(|id| chosen.0.iter().all(|(name, _)| name.value != *id));
                    needed.into_iter().map(|id| (Spanned::nowhere(id.to_string()), quoted(id))).chain(chosen.0.clone()).collect()
                }
                // A name that is wrong was told where it is given.
                None if self.report.count(ouzel_core::Severity::Error) > self.problems_before => Vec::new(),
                None => {
                    let is_of_alerts = |i: &usize| alert_columns.is_some_and(|alerts| alerts.all().contains(i));
                    let wanted = |i: &usize| match only {
                        None => !is_of_alerts(i),
                        Some(_) => {
                            is_of_alerts(i)
                                || ["_id", "_version", "_date", time].contains(&self.columns.field(*i).name().as_str())
                        }
                    };
                    let names = (0..self.columns.len()).filter(wanted).map(|i| self.columns.field(i).name().as_str());
                    names.map(|n| (Spanned::nowhere(n.to_string()), quoted(n))).collect()
                }
            };
            for (name, sql) in &chosen {
                if fields.iter().any(|f: &Field| *f.name() == name.value) {
                    self.report.error(name.span, format!("column `{}` is given twice", name.value));
                }
                if let Some(expression) = sql::plan(planner, sql, self.report) {
                    fields.push(Field::new(&name.value, expression.data_type().clone(), true));
                    columns.push(expression);
                }
            }
            let condition = entry.columns.condition.as_ref().and_then(|sql| sql::condition(planner, sql, self.report));
            let of_alerts = only.is_some();
            plans.push(SinkPlan { config: entry.sink, schema: Arc::new(Schema::new(fields)), columns, condition, of_alerts });
        }
        plans
    }
}
