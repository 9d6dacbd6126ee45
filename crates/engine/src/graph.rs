//! Pipelines and the streams that join them: whether they fit together, and in which order they stand.

use crate::plan::Plan;
use crate::project::Pipeline;
use crate::registry::CodecConfig;
use arrow_schema::DataType;
use ouzel_connect::streams::{StreamRef, Streams};
use ouzel_core::{FieldType, Report, Span};
use ouzel_detect::describe;
use std::collections::BTreeSet;

/// The stream a pipeline reads.
pub fn reads(plan: &Plan) -> Option<&str> {
    plan.source.stream().map(StreamRef::name)
}

/// The streams a pipeline writes to.
pub fn writes(plan: &Plan) -> impl Iterator<Item = &str> {
    plan.sinks.iter().filter_map(|sink| Some(sink.config.stream()?.name()))
}

/// Sets of pipelines that streams join, each with writers before readers, in order of their first.
pub fn joined<'p>(pipelines: &[&'p Pipeline]) -> Vec<Vec<&'p Pipeline>> {
    let mut sets: Vec<(BTreeSet<&str>, Vec<&Pipeline>)> = Vec::new();
    for pipeline in pipelines {
        let mut streams: BTreeSet<&str> = reads(&pipeline.plan).into_iter().chain(writes(&pipeline.plan)).collect();
        let mut members = vec![*pipeline];
        let (joined, others): (Vec<_>, Vec<_>) = sets.into_iter().partition(|(of, _)| !of.is_disjoint(&streams));
        sets = others;
        for (of, before) in joined {
            streams.extend(of);
            members.splice(0..0, before);
        }
        sets.push((streams, members));
    }
    let place = |p: &Pipeline| pipelines.iter().position(|other| other.name == p.name);
    let mut sets: Vec<Vec<&Pipeline>> = sets.into_iter().map(|(_, members)| in_order(members)).collect();
    sets.sort_by_key(|set| set.iter().filter_map(|p| place(p)).min());
    sets
}

/// Writers before readers; as given where nothing is said.
fn in_order(mut left: Vec<&Pipeline>) -> Vec<&Pipeline> {
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let waits = |p: &Pipeline| {
            reads(&p.plan).is_some_and(|stream| left.iter().any(|w| w.name != p.name && writes(&w.plan).any(|s| s == stream)))
        };
        // In a circle, which is refused, somebody is first.
        let next = left.iter().position(|p| !waits(p)).unwrap_or(0);
        ordered.push(left.remove(next));
    }
    ordered
}

/// Everything that does not fit together, among streams that are known.
pub fn check(pipelines: &[Pipeline], streams: &Streams, report: &mut Report) {
    for pipeline in pipelines {
        if let Some(stream) = pipeline.plan.source.stream() {
            check_source(pipeline, stream, pipelines, streams, report);
        }
        for sink in &pipeline.plan.sinks {
            let Some(stream) = sink.config.stream() else { continue };
            let key = streams.settings.get(stream.name()).and_then(|s| s.key.as_ref());
            if let Some(key) = key.filter(|key| sink.schema.index_of(key).is_err()) {
                report
                    .error(stream.span(), format!("the stream `{}` has the key `{key}`, which is no column here", stream.name()))
                    .hint("add it to the sink's `columns`");
            }
        }
    }
    check_circles(pipelines, report);
}

/// A stream that a pipeline names is one of the project.
pub fn check_declared(stream: &StreamRef, streams: &Streams, report: &mut Report) {
    if streams.settings.contains_key(stream.name()) {
        return;
    }
    let problem = report.error(stream.span(), format!("unknown stream `{}`", stream.name()));
    match streams.settings.is_empty() {
        true => problem.hint(format!("declare it in `ouzel.yaml`: `streams: {{ {}: {{}} }}`", stream.name())),
        false => problem.did_you_mean(stream.name(), streams.settings.keys().map(String::as_str)),
    };
}

fn check_source(reader: &Pipeline, stream: &StreamRef, pipelines: &[Pipeline], streams: &Streams, report: &mut Report) {
    // One that is unknown has been told.
    let Some(settings) = streams.settings.get(stream.name()) else { return };
    let writers: Vec<&Pipeline> = pipelines.iter().filter(|p| writes(&p.plan).any(|s| s == stream.name())).collect();
    if writers.is_empty() {
        report
            .error(stream.span(), format!("nobody writes to the stream `{}`", stream.name()))
            .hint(format!("a pipeline does with `sinks: [{{ stream: {} }}]`", stream.name()));
    }
    if let CodecConfig::Json(_) = reader.plan.codec {
        writers.iter().for_each(|writer| check_fields(reader, stream, writer, report));
    }
    if let (true, Some(key)) = (settings.log.partitions > 1, &settings.key) {
        for group in &reader.plan.groups {
            if !group.group.name.split(", ").any(|by| by == key) {
                let what = format!(
                    "the stream `{}` is partitioned by `{key}`: features by `{}` would see a part of each key's events",
                    stream.name(),
                    group.group.name
                );
                report
                    .error(stream.span(), what)
                    .hint(format!("add `{key}` to `by`, or write to a stream whose key is `{}`", group.group.name));
            }
        }
    }
}

/// The fields a pipeline reads from a stream are columns of whoever writes to it.
fn check_fields(reader: &Pipeline, stream: &StreamRef, writer: &Pipeline, report: &mut Report) {
    let sinks = writer.plan.sinks.iter().filter(|s| s.config.stream().is_some_and(|s| s.name() == stream.name()));
    for sink in sinks {
        for wanted in &reader.plan.wanted {
            let Some(name) = wanted.path.first_key() else { continue };
            let Ok(column) = sink.schema.field_with_name(name) else {
                let names: Vec<&str> = sink.schema.fields().iter().map(|f| f.name().as_str()).collect();
                let what =
                    format!("the field `{name}` is no column of the stream `{}`, as `{}` writes it", stream.name(), writer.name);
                report.error(stream.span(), what).did_you_mean(name, names);
                continue;
            };
            let is_whole = wanted.path.as_key().is_some();
            if is_whole && !wanted.any_text && !wanted.types.iter().any(|t| may_read(t, column.data_type())) {
                let types: Vec<String> = wanted.types.iter().map(ToString::to_string).collect();
                report.error(
                    stream.span(),
                    format!(
                        "the field `{name}` is {} here; in the stream `{}`, as `{}` writes it, it is {}",
                        types.join(" or "),
                        stream.name(),
                        writer.name,
                        describe(column.data_type())
                    ),
                );
            }
        }
    }
}

/// Whether a value of this column, written as JSON, may be one of this type.
fn may_read(as_type: &FieldType, column: &DataType) -> bool {
    use DataType as D;
    let is_text = matches!(column, D::Utf8View | D::Utf8 | D::LargeUtf8 | D::Null | D::Date32);
    let is_int = column.is_integer();
    match as_type {
        FieldType::Json => true,
        _ if is_text => !matches!(as_type, FieldType::List(_)),
        FieldType::Text | FieldType::Ip => matches!(column, D::Timestamp(..)),
        FieldType::Int => is_int,
        FieldType::Float => is_int || column.is_floating() || matches!(column, D::Decimal128(..)),
        FieldType::Bool => *column == D::Boolean,
        FieldType::Timestamp => is_int || column.is_floating() || matches!(column, D::Timestamp(..)),
        FieldType::List(of) => match column {
            D::List(item) | D::LargeList(item) | D::FixedSizeList(item, _) => may_read(of, item.data_type()),
            _ => false,
        },
    }
}

fn check_circles(pipelines: &[Pipeline], report: &mut Report) {
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for start in pipelines {
        let mut way = vec![start];
        if circle(&mut way, pipelines) && !way.iter().any(|p| told.contains(p.name.as_str())) {
            told.extend(way.iter().map(|p| p.name.as_str()));
            let names: Vec<&str> = way.iter().chain([&start]).map(|p| p.name.as_str()).collect();
            let span = start.plan.source.stream().map_or(Span::default(), StreamRef::span);
            report.error(span, format!("a circle of streams: {}", names.join(" -> "))).hint("events would go round for ever");
        }
    }
}

/// Goes on from the last of `way` until it is at its first again.
fn circle<'p>(way: &mut Vec<&'p Pipeline>, pipelines: &'p [Pipeline]) -> bool {
    let (first, last) = (way[0], way[way.len() - 1]);
    let next: Vec<&Pipeline> =
        pipelines.iter().filter(|p| reads(&p.plan).is_some_and(|stream| writes(&last.plan).any(|s| s == stream))).collect();
    for pipeline in next {
        if pipeline.name == first.name {
            return true;
        }
        if way.iter().all(|p| p.name != pipeline.name) {
            way.push(pipeline);
            if circle(way, pipelines) {
                return true;
            }
            way.pop();
        }
    }
    false
}
