//! What jobs have given, as CI servers read it: JUnit's XML, a test suite for each job, a test for its run and for each check.

use ouzel_core::Result;
use ouzel_core::error::ResultExt;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::path::Path;

/// `outcomes`: by job, as `--format json` has them.
pub fn write(path: &Path, outcomes: &Map<String, Value>) -> Result<()> {
    std::fs::write(path, document(outcomes)).doing(|| format!("writing `{}`", path.display()))
}

fn document(outcomes: &Map<String, Value>) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for (job, outcome) in outcomes {
        let checks = outcome["checks"].as_array().map_or(&[][..], Vec::as_slice);
        let fails = |check: &&Value| check["ok"] == false && check["warns"] == false;
        let skipped = outcome["paused"].as_str().or(outcome["held"].as_str());
        let error = outcome["error"].as_str();
        let (tests, failures) = (checks.len() + 1, checks.iter().filter(fails).count());
        let seconds = outcome["seconds"].as_f64().unwrap_or(0.0);
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{}\" skipped=\"{}\" time=\"{seconds:.3}\">",
            escaped(job),
            u8::from(error.is_some()),
            u8::from(skipped.is_some())
        );
        let _ = write!(out, "    <testcase classname=\"{}\" name=\"run\" time=\"{seconds:.3}\"", escaped(job));
        let _ = match skipped {
            _ if error.is_some() => {
                writeln!(out, "><error message=\"{}\"/></testcase>", escaped(error.unwrap_or_default()))
            }
            Some(why) => writeln!(out, "><skipped message=\"{}\"/></testcase>", escaped(why)),
            None => writeln!(out, "/>"),
        };
        for check in checks {
            let name = escaped(check["name"].as_str().unwrap_or_default());
            let _ = write!(out, "    <testcase classname=\"{}\" name=\"{name}\"", escaped(job));
            let rows = || check["rows"].as_array().into_iter().flatten().map(|row| escaped(&row.to_string())).collect::<Vec<_>>();
            let _ = match (check["ok"] == true, fails(&check)) {
                (true, _) => writeln!(out, "/>"),
                (_, true) => {
                    writeln!(out, "><failure message=\"{} rows\">{}</failure></testcase>", check["failing"], rows().join("\n"))
                }
                _ => {
                    writeln!(out, "><system-out>warns: {} rows\n{}</system-out></testcase>", check["failing"], rows().join("\n"))
                }
            };
        }
        out.push_str("  </testsuite>\n");
    }
    out + "</testsuites>\n"
}

/// Characters that XML cannot have at all are left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}
