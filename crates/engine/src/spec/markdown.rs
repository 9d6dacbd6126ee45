//! A spec's text, taken apart.

/// A spec file.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    pub cases: Vec<Case>,
}

/// One case: files, events, expectations.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Case {
    /// Its heading.
    pub name: String,
    /// Path in the project and text.
    pub files: Vec<(String, String)>,
    /// The pipeline that gets the events, if named.
    pub pipeline: Option<String>,
    pub input: Option<String>,
    pub output: Option<Block>,
    pub counts: Option<Block>,
    pub problems: Option<Block>,
}

/// Lines of an expectation, and where they stand: `lines` of the file from `first` (0-based) on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Block {
    pub text: String,
    pub first: usize,
    pub lines: usize,
}

/// `Err`: line (from 1) and what is wrong there.
pub fn parse(text: &str) -> Result<Spec, (usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut cases = vec![Case::default()];
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        if let Some(name) = line.strip_prefix("## ") {
            let shared = cases[0].files.clone();
            cases.push(Case { name: name.trim().to_string(), files: shared, ..Case::default() });
        } else if let Some(name) = line.strip_prefix("# ")
            && cases[0].name.is_empty()
        {
            cases[0].name = name.trim().to_string();
        }
        let ticks = line.len() - line.trim_start_matches('`').len();
        if ticks < 3 {
            at += 1;
            continue;
        }
        let fence = &line[..ticks];
        let first = at + 1;
        let Some(length) = lines[first..].iter().position(|l| l.trim_end() == fence) else {
            return Err((at + 1, "a block without its end".into()));
        };
        let body = lines[first..first + length].iter().map(|l| format!("{l}\n")).collect::<String>();
        let block = Block { text: body, first, lines: length };
        add(cases.last_mut().expect("never empty"), &line[ticks..], block).map_err(|e| (at + 1, e))?;
        at = first + length + 1;
    }
    cases.retain(|c| c.input.is_some() || c.problems.is_some());
    Ok(Spec { cases })
}

fn add(case: &mut Case, info: &str, block: Block) -> Result<(), String> {
    let mut words = info.split_whitespace();
    let (Some(_), Some(role)) = (words.next(), words.next()) else { return Ok(()) };
    let set = |slot: &mut Option<Block>, block: Block| match slot.replace(block) {
        None => Ok(()),
        Some(_) => Err(format!("a second `{role}` in one case: begin a new case with `## `")),
    };
    match role {
        "input" => {
            case.pipeline = words.next().map(String::from);
            if case.input.replace(block.text).is_some() {
                return Err("a second `input` in one case: begin a new case with `## `".into());
            }
            Ok(())
        }
        "output" => set(&mut case.output, block),
        "counts" => set(&mut case.counts, block),
        "problems" => set(&mut case.problems, block),
        path if path.contains('.') && !path.contains("..") && !path.starts_with('/') => {
            case.files.retain(|(p, _)| p != path);
            case.files.push((path.to_string(), block.text));
            Ok(())
        }
        other => Err(format!("unknown block `{other}`: expected input, output, counts, problems or a file's path")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_share_the_files_before_them() {
        let text = "# Web\n```yaml ouzel.yaml\nname: a\n```\nprose\n```json\nno role\n```\n## One\n```ndjson input\n{}\n```\n```ndjson output\n{}\n{}\n```\n## Two\n```ndjson input web\n```\n```yaml counts\nreceived: 0\n```\n";
        let spec = parse(text).expect("parses");
        assert_eq!(spec.cases.len(), 2);
        assert_eq!(spec.cases[0].name, "One");
        assert_eq!(spec.cases[1].files, [("ouzel.yaml".to_string(), "name: a\n".to_string())]);
        assert_eq!(spec.cases[1].pipeline.as_deref(), Some("web"));
        assert_eq!(spec.cases[0].output.as_ref().map(|b| (b.first, b.lines)), Some((13, 2)));
        assert_eq!(parse("```x input\n").expect_err("open").0, 1);
        assert!(parse("```x inptu\n```\n").expect_err("unknown").1.contains("inptu"));
    }
}
