//! `ouzel schema`

use super::Exit;
use super::terminal::say;
use ouzel_detect::schema::SchemaConfig;
use ouzel_engine::config::{PipelineConfig, ProjectConfig, SinkColumns};
use ouzel_engine::jobs::JobConfig;
use schemars::{JsonSchema, schema_for};
use serde_json::Value;
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the schema of one kind of file, or the reference page, instead of writing all schemas to `.ouzel/schema/`.
    #[arg(value_parser = ["project", "pipeline", "fields", "job", "reference"])]
    kind: Option<String>,
}

pub fn run(root: &Path, args: &Args) -> Exit {
    let all = [
        ("project", of::<ProjectConfig>()),
        ("pipeline", pipeline()),
        ("fields", of::<SchemaConfig>()),
        ("job", of::<JobConfig>()),
    ];
    if args.kind.as_deref() == Some("reference") {
        let titles = ["`ouzel.yaml`", "`pipelines/*.yaml`", "`schemas/*.yaml`", "`jobs/*.sql`, before the SQL"];
        let files: Vec<(&str, &Value)> = titles.into_iter().zip(all.iter().map(|(_, schema)| schema)).collect();
        say(super::reference::page(&files).trim_end());
        return Exit::Ok;
    }
    if let Some(kind) = &args.kind {
        let schema = all.iter().find(|(name, _)| name == kind).map(|(_, schema)| schema);
        say(&format!("{:#}", schema.unwrap_or(&Value::Null)));
        return Exit::Ok;
    }
    match write(root) {
        Ok(files) => {
            files.iter().for_each(|f| say(f));
            Exit::Ok
        }
        Err(e) => {
            eprintln!("error: {e}");
            Exit::Unavailable
        }
    }
}

/// Writes the schemas that generated files name in their first line.
pub fn write(root: &Path) -> std::io::Result<Vec<String>> {
    let folder = root.join(".ouzel/schema");
    std::fs::create_dir_all(&folder)?;
    [("project", of::<ProjectConfig>()), ("pipeline", pipeline()), ("fields", of::<SchemaConfig>()), ("job", of::<JobConfig>())]
        .into_iter()
        .map(|(name, schema)| {
            let path = folder.join(format!("{name}.json"));
            std::fs::write(&path, format!("{schema:#}\n"))?;
            Ok(path.display().to_string())
        })
        .collect()
}

fn of<T: JsonSchema>() -> Value {
    schema_for!(T).to_value()
}

/// Every sink takes `columns` and `where` beside its own keys.
fn pipeline() -> Value {
    let mut schema = of::<PipelineConfig>();
    let shared = of::<SinkColumns>();
    let names: Vec<String> = schema["$defs"]["SinkConfig"]["oneOf"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|kind| {
            kind["properties"].as_object()?.values().next()?["$ref"].as_str()?.rsplit('/').next().map(String::from)
        })
        .collect();
    for name in names {
        let (Some(own), Some(more)) = (schema["$defs"][&name]["properties"].as_object_mut(), shared["properties"].as_object())
        else {
            continue;
        };
        own.extend(more.clone());
    }
    schema
}
