//! What can be known when. Features of fields come first, then the scores that read those; then features that read such features or
//! scores, and the scores that read them; and so on, in rounds.

use crate::config::PipelineConfig;
use ouzel_core::{Report, Spanned};
use ouzel_detect::expressions::raw_paths;
use ouzel_detect::features::GroupConfig;
use std::collections::HashMap;

/// Features and scores of one round, each in the order of the file.
#[derive(Default)]
pub struct Stage<'c> {
    pub features: Vec<&'c GroupConfig>,
    pub scores: Vec<&'c (Spanned<String>, Spanned<String>)>,
}

/// The rounds; at least one. `known`: columns that are there before any feature. A circle is a problem.
pub fn stages<'c>(config: &'c PipelineConfig, known: &dyn Fn(&str) -> bool, report: &mut Report) -> Vec<Stage<'c>> {
    let groups: Vec<&GroupConfig> = config.features.iter().filter_map(|group| group.0.as_ref()).collect();
    let read_by_group: Vec<Vec<String>> = groups.iter().map(|group| read_by(group)).collect();
    let read_by_score: Vec<Vec<String>> = config.scores.0.iter().map(|(_, sql)| mentioned(&sql.value)).collect();
    let mut round_of: HashMap<String, usize> = HashMap::new();
    for (name, _) in &config.scores.0 {
        round_of.insert(name.value.clone(), 0);
    }
    for name in groups.iter().flat_map(|group| outputs(group)) {
        round_of.insert(name, 0);
    }
    round_of.retain(|name, _| !known(name));
    let after = |round_of: &HashMap<String, usize>, reads: &[String], then: usize| {
        reads.iter().filter_map(|name| round_of.get(name)).map(|round| round + then).max().unwrap_or(0)
    };
    // No way through all of them is longer than there are groups.
    for pass in 0..=groups.len() + 1 {
        let mut moved = None;
        for (group, reads) in groups.iter().zip(&read_by_group) {
            let round = after(&round_of, reads, 1);
            for name in outputs(group) {
                if let Some(before) = round_of.get_mut(&name).filter(|before| **before != round) {
                    *before = round;
                    moved = group.measure.0.first().map(|(name, _)| name);
                }
            }
        }
        for ((name, _), reads) in config.scores.0.iter().zip(&read_by_score) {
            let others: Vec<String> = reads.iter().filter(|read| **read != name.value).cloned().collect();
            let round = after(&round_of, &others, 0);
            if let Some(before) = round_of.get_mut(&name.value) {
                *before = round;
            }
        }
        match moved {
            None => break,
            Some(name) if pass > groups.len() => {
                report
                    .error(name.span, format!("`{}` reads, by way of others, itself", name.value))
                    .hint("features and scores may read those that are known before them");
                break;
            }
            Some(_) => {}
        }
    }
    let last = round_of.values().max().copied().unwrap_or(0).min(groups.len());
    let mut stages: Vec<Stage<'_>> = (0..=last).map(|_| Stage::default()).collect();
    for (group, reads) in groups.iter().zip(&read_by_group) {
        stages[after(&round_of, reads, 1).min(last)].features.push(group);
    }
    for score in &config.scores.0 {
        let round = round_of.get(&score.0.value).copied().unwrap_or(0);
        stages[round.min(last)].scores.push(score);
    }
    stages
}

fn outputs(group: &GroupConfig) -> impl Iterator<Item = String> {
    group.measure.0.iter().flat_map(|(name, _)| [name.value.clone(), format!("{}_age", name.value)])
}

fn read_by(group: &GroupConfig) -> Vec<String> {
    group.measure.0.iter().flat_map(|(_, measure)| measure.value.expressions()).flat_map(|sql| mentioned(&sql.value)).collect()
}

/// Names in an expression. What cannot be parsed names nothing; that it cannot is told where it is planned.
fn mentioned(sql: &str) -> Vec<String> {
    let paths = raw_paths(sql).unwrap_or_default();
    paths.iter().filter_map(|path| path.first_key().map(String::from)).collect()
}
