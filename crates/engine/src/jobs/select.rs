//! Which jobs are meant, in dbt's grammar: `NAME`, `+NAME` with all that it is made of, `NAME+` with all that is made of it, `tag:TAG`, `owner:NAME`; `A,B` is what
//! both mean, several words what any means.

use super::Job;
use std::collections::BTreeSet;

/// Whether a word is of this grammar and of nothing else.
pub fn is_selector(word: &str) -> bool {
    word.contains(['+', ',']) || word.starts_with("tag:") || word.starts_with("owner:")
}

/// The jobs that any of some words means, in their order; all where there is none. `Err`: a word that means none, and what there is.
pub fn select<'j>(jobs: &'j [Job], words: &[String]) -> Result<Vec<&'j Job>, String> {
    if words.is_empty() {
        return Ok(jobs.iter().collect());
    }
    let mut meant = BTreeSet::new();
    for word in words {
        let mut parts = word.split(',').map(|part| one(jobs, part));
        let first = parts.next().unwrap_or_default();
        let both = parts.fold(first, |all, part| all.intersection(&part).copied().collect());
        if both.is_empty() {
            let known: Vec<&str> = jobs.iter().map(|job| job.target.as_str()).collect();
            return Err(format!("there is no job `{word}`; known are {}", known.join(", ")));
        }
        meant.extend(both);
    }
    Ok(jobs.iter().enumerate().filter(|(at, _)| meant.contains(at)).map(|(_, job)| job).collect())
}

fn one(jobs: &[Job], word: &str) -> BTreeSet<usize> {
    let (word, up) = word.strip_prefix('+').map_or((word, false), |word| (word, true));
    let (word, down) = word.strip_suffix('+').map_or((word, false), |word| (word, true));
    let is_meant = |job: &Job| match word.split_once(':') {
        Some(("tag", tag)) => job.config.tags.iter().any(|own| own == tag),
        Some(("owner", owner)) => job.config.owner.as_deref() == Some(owner),
        _ => job.target == word,
    };
    let named: BTreeSet<usize> = (0..jobs.len()).filter(|at| is_meant(&jobs[*at])).collect();
    let mut meant = named.clone();
    // Each job is behind those that it reads.
    if up {
        let mut above = named.clone();
        for at in (0..jobs.len()).rev() {
            if above.iter().any(|below| jobs[*below].reads.contains(&jobs[at].target)) {
                above.insert(at);
            }
        }
        meant.extend(above);
    }
    if down {
        let mut below = named;
        for at in 0..jobs.len() {
            if below.iter().any(|above| jobs[at].reads.contains(&jobs[*above].target)) {
                below.insert(at);
            }
        }
        meant.extend(below);
    }
    meant
}
