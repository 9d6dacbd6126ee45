//! A state goes on under the definitions that it was made by.

use crate::checkpoint::Manifest;
use crate::plan::Plan;
use ouzel_core::{Error, Kind, Result};
use std::collections::BTreeSet;

/// State is of the definitions it was made by.
pub(super) fn fits(plan: &Plan, commit: &Manifest) -> Result<()> {
    let changed = changes(plan, commit);
    if changed.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the state of `{}` was made by other definitions: {}. Put them back to go on (scores, rules and sinks may change); or make the state \
         anew from the source with `--rebuild` or from the lake with `--rebuild=lake`, which keeps what was written of the {} events so far; or start \
         anew with `--fresh`, which discards it",
        plan.name,
        changed.iter().map(|(part, how)| format!("`{part}` {how}")).collect::<Vec<_>>().join(", "),
        commit.offset
    );
    Err(Error::new(Kind::Changed, message))
}

/// Which definitions are not those of the state, and what has become of them.
pub(super) fn changes<'d>(plan: &'d Plan, commit: &'d Manifest) -> Vec<(&'d str, &'static str)> {
    let (then, now) = (&commit.definitions, &plan.definitions);
    let parts: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    parts
        .into_iter()
        .filter_map(|part| match (then.get(part), now.get(part)) {
            (Some(then), Some(now)) if then == now => None,
            (Some(_), Some(_)) => Some((part.as_str(), "is another than before")),
            (None, _) => Some((part.as_str(), "is new")),
            (_, None) => Some((part.as_str(), "is gone")),
        })
        .collect()
}
