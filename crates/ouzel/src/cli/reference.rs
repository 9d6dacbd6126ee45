//! The reference page: the doc comments of every configuration struct, as Markdown, by way of their JSON schema.

use serde_json::{Map, Value};
use std::fmt::Write;

/// One page of all kinds of files. `files`: title and JSON schema.
pub fn page(files: &[(&str, &Value)]) -> String {
    let mut out = String::from(
        "# Reference\n\nMade from the doc comments of the code by `ouzel schema reference`. What is not here is not known: an unknown key is an error.\n",
    );
    let mut told: Vec<String> = Vec::new();
    for (title, schema) in files {
        let _ = write!(out, "\n## {title}\n\n");
        describe(&mut out, schema);
        let defs = schema["$defs"].as_object().cloned().unwrap_or_default();
        for (name, def) in &defs {
            if told.contains(name) || (def["properties"].is_null() && def["oneOf"].is_null()) {
                continue;
            }
            told.push(name.clone());
            let _ = write!(out, "\n### {}\n\n", heading(name, &defs));
            describe(&mut out, def);
        }
    }
    out
}

/// A component is called what it is called in a pipeline: `file` rather than `FileSource`.
fn heading(name: &str, defs: &Map<String, Value>) -> String {
    for (kind, def) in defs {
        for variant in def["oneOf"].as_array().into_iter().flatten() {
            let Some((tag, content)) = variant["properties"].as_object().and_then(|p| p.iter().next()) else { continue };
            if content["$ref"].as_str().is_some_and(|r| r.ends_with(&format!("/{name}"))) {
                return format!("`{tag}` ({})", kind.trim_end_matches("Config").trim_end_matches("Store").to_lowercase());
            }
        }
    }
    name.trim_end_matches("Config").to_string()
}

fn describe(out: &mut String, schema: &Value) {
    if let Some(text) = schema["description"].as_str() {
        let _ = writeln!(out, "{}\n", text.trim());
    }
    if let Some(variants) = schema["oneOf"].as_array() {
        out.push_str("One of:\n\n");
        for variant in variants {
            let text = variant["description"].as_str().map(|d| format!(": {}", one_line(d))).unwrap_or_default();
            for name in
                variant["properties"].as_object().into_iter().flat_map(|p| p.keys()).map(String::as_str).chain(words(variant))
            {
                let _ = writeln!(out, "- `{name}`{text}");
            }
        }
        out.push('\n');
    }
    let Some(properties) = schema["properties"].as_object().filter(|p| !p.is_empty()) else { return };
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    out.push_str("| key | value | default | |\n| --- | --- | --- | --- |\n");
    for (name, property) in properties {
        let default = match &property["default"] {
            _ if required.contains(&name.as_str()) => "required".to_string(),
            Value::Null => String::new(),
            value => format!("`{value}`"),
        };
        let text = one_line(property["description"].as_str().unwrap_or_default());
        let _ = writeln!(out, "| `{name}` | {} | {default} | {text} |", type_of(property));
    }
    out.push('\n');
}

/// Bare words a variant stands for.
fn words(variant: &Value) -> impl Iterator<Item = &str> {
    variant["const"].as_str().into_iter().chain(variant["enum"].as_array().into_iter().flatten().filter_map(Value::as_str))
}

fn type_of(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        return name.rsplit('/').next().unwrap_or_default().trim_end_matches("Config").to_string();
    }
    if let Some(any) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        let mut all: Vec<String> = any.iter().map(type_of).filter(|t| t != "null").collect();
        all.dedup();
        return all.join(" or ");
    }
    let word = match &schema["type"] {
        Value::String(word) => word.clone(),
        Value::Array(words) => words.iter().filter_map(Value::as_str).filter(|w| *w != "null").collect::<Vec<_>>().join(" or "),
        _ => String::new(),
    };
    match word.as_str() {
        "array" if schema["items"].is_object() => format!("list of {}", type_of(&schema["items"])),
        "array" => "list".into(),
        "object" if schema["additionalProperties"].is_object() => format!("name to {}", type_of(&schema["additionalProperties"])),
        "string" => "text".into(),
        "integer" => "whole number".into(),
        _ => word,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
