//! Families, systems and devices by the expressions of uap-core.

use crate::lookups::records::{Place, utf8};
use crate::lookups::{Files, read_file};
use ouzel_core::{Error, Report, Result, Spanned, yaml};
use serde::Deserialize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use ua_parser::{ParseError, device, os, user_agent};

/// Compiled once, used by all threads; only those that somebody asked for.
pub(super) struct Regexes {
    family: Option<user_agent::Extractor<'static>>,
    os: Option<os::Extractor<'static>>,
    device: Option<device::Extractor<'static>>,
}

/// What one user agent is by them; null where nobody asked.
#[derive(Default)]
pub(super) struct Parsed {
    pub family: Option<Box<str>>,
    pub os: Option<Box<str>>,
    pub device: Option<Box<str>>,
}

/// `regexes.yaml`.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    user_agent_parsers: Vec<Spanned<user_agent::Parser<'static>>>,
    #[serde(default)]
    os_parsers: Vec<Spanned<os::Parser<'static>>>,
    #[serde(default)]
    device_parsers: Vec<Spanned<device::Parser<'static>>>,
}

impl Regexes {
    /// `wanted`: family, system, device.
    pub fn load(files: Files<'_>, name: &str, wanted: [bool; 3]) -> Result<Regexes> {
        let text = read_file(files, name)?;
        let file = parse(name, utf8(name, &text)?)?;
        // What a library makes of an odd expression is not known.
        let compiled = catch_unwind(AssertUnwindSafe(|| Regexes::compile(name, file, wanted)));
        compiled.unwrap_or_else(|_| Err(Error::config(format!("`{name}`: its expressions cannot be compiled"))))
    }

    fn compile(name: &str, file: File, [family, os, device]: [bool; 3]) -> Result<Regexes> {
        let at = |line: u32, what: String| Place::Line(line as usize).error(name, what);
        let all = |e: ua_parser::BuildError| Error::config(format!("`{name}`: all expressions together: {e}"));
        let mut families = user_agent::Builder::new();
        for parser in file.user_agent_parsers.into_iter().filter(|_| family) {
            families = families.push(parser.value).map_err(|e| at(parser.span.line, described(e)))?;
        }
        let mut systems = os::Builder::new();
        for parser in file.os_parsers.into_iter().filter(|_| os) {
            systems = systems.push(parser.value).map_err(|e| at(parser.span.line, described(e.into())))?;
        }
        let mut devices = device::Builder::new();
        for parser in file.device_parsers.into_iter().filter(|_| device) {
            devices = devices.push(parser.value).map_err(|e| at(parser.span.line, described(e.into())))?;
        }
        Ok(Regexes {
            family: family.then(|| families.build()).transpose().map_err(all)?,
            os: os.then(|| systems.build()).transpose().map_err(all)?,
            device: device.then(|| devices.build()).transpose().map_err(all)?,
        })
    }

    pub fn parse(&self, text: &str) -> Parsed {
        let named = |name: Option<std::borrow::Cow<str>>| {
            Some(name.filter(|name| !name.is_empty()).as_deref().unwrap_or(super::rules::OTHER).into())
        };
        Parsed {
            family: self.family.as_ref().and_then(|family| named(family.extract(text).map(|value| value.family))),
            os: self.os.as_ref().and_then(|os| named(os.extract(text).map(|value| value.os))),
            device: self.device.as_ref().and_then(|device| named(device.extract(text).map(|value| value.device))),
        }
    }
}

fn parse(name: &str, text: &str) -> Result<File> {
    let mut report = Report::new();
    let id = report.file(name, text);
    // `${` means nothing here.
    let file: Option<File> = match text.contains("${") {
        true => yaml::parse(&mut report, id, &text.replace("${", "$${"), &|_| None),
        false => yaml::parse(&mut report, id, text, &|_| None),
    }
    .and_then(|node| yaml::decode(&mut report, &node));
    if let Some(problem) = report.problems().first() {
        return Err(Place::Line(problem.span.line as usize).error(name, &problem.message));
    }
    let file = file.ok_or_else(|| Error::config(format!("`{name}`: expected the lists of uap-core's regexes.yaml")))?;
    if file.user_agent_parsers.is_empty() && file.os_parsers.is_empty() && file.device_parsers.is_empty() {
        return Err(Error::config(format!("`{name}`: expected `user_agent_parsers`, `os_parsers` or `device_parsers`")));
    }
    Ok(file)
}

fn described(error: ua_parser::Error) -> String {
    match error {
        ua_parser::Error::ParseError(ParseError::SyntaxError(what)) => what,
        ua_parser::Error::ParseError(ParseError::RegexTooLarge(_)) => "the compiled expression is too large".into(),
        ua_parser::Error::MissingGroup(group) => {
            format!("the replacement names group {group}, which the expression does not have")
        }
        other => other.to_string(),
    }
}
