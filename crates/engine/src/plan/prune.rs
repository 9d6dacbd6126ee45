//! Leaves out what nobody reads: columns, lookups, values of the record.

use super::{Plan, Select};
use ouzel_detect::expressions::Expression;
use ouzel_detect::schema::Policy;

impl Plan {
    /// Marks the columns somebody reads, then drops lookups and wanted values that serve none of them.
    pub(super) fn prune(&mut self) {
        self.mark_needed();
        for lookup in &mut self.lookups {
            lookup.wanted = lookup.outputs.iter().map(|o| self.needed[*o]).collect();
        }
        self.lookups.retain(|l| l.wanted.contains(&true));
        self.drop_wanted();
    }

    fn mark_needed(&mut self) {
        let mut needed = vec![false; self.columns.fields().len()];
        let mut mark = |of: &[usize]| of.iter().for_each(|c| needed[*c] = true);
        for sink in &self.sinks {
            sink.columns.iter().chain(&sink.condition).for_each(|e| mark(e.inputs()));
        }
        if let Some(decision) = &self.decision {
            mark(&decision.decision.reads());
            // Counted in the summary.
            mark(&[decision.decision_column]);
        }
        self.alerts.iter().for_each(|alert| mark(&alert.reads()));
        if !self.alerts.is_empty() {
            mark(&[self.standard.id]);
        }
        self.groups.iter().for_each(|g| mark(&g.group.reads()));
        self.event.time.iter().for_each(|time| mark(&[*time]));
        if let (Some(id), Some(_)) = (self.event.id, self.event.duplicates_within) {
            mark(&[id]);
        }
        self.condition.iter().for_each(|e| mark(e.inputs()));
        for (column, expression) in self.scores.iter().rev() {
            if needed[*column] {
                expression.inputs().iter().for_each(|c| needed[*c] = true);
            }
        }
        for lookup in &self.lookups {
            if lookup.outputs.iter().any(|o| needed[*o]) {
                needed[lookup.of] = true;
            }
        }
        let s = self.standard;
        let told = needed[s.reasons];
        let implausible = told || needed[s.implausible];
        if implausible {
            self.conditions.iter().for_each(|(_, e)| e.inputs().iter().for_each(|c| needed[*c] = true));
        }
        let malformed = told || needed[s.malformed] || needed[s.raw];
        for (i, field) in self.fields.iter().enumerate() {
            let spec = &field.spec;
            let has_domain = !spec.domain.is_empty();
            let judged = spec.on_malformed != Policy::Keep || (spec.on_implausible != Policy::Keep && has_domain);
            if malformed || judged || (implausible && has_domain) || field.other.is_some_and(|o| needed[o]) {
                needed[i] = true;
            }
        }
        self.needed = needed;
    }

    /// Decodes only what is needed: fields somebody reads, and what the expressions of needed fields read.
    fn drop_wanted(&mut self) {
        let needed = &self.needed;
        let select = std::mem::take(&mut self.select);
        let made: Vec<(usize, Expression)> = select.made.into_iter().filter(|(field, _)| needed[*field]).collect();
        let mut keep = vec![false; self.wanted.len()];
        for (i, field) in self.fields.iter().enumerate() {
            if let Some(decoded) = field.decoded.filter(|_| needed[i]) {
                keep[decoded] = true;
            }
        }
        for (_, expression) in &made {
            expression.inputs().iter().for_each(|c| keep[select.inputs[*c]] = true);
        }
        let mut place = vec![usize::MAX; keep.len()];
        let mut kept = Vec::new();
        for (i, wanted) in std::mem::take(&mut self.wanted).into_iter().enumerate() {
            if keep[i] {
                place[i] = kept.len();
                kept.push(wanted);
            }
        }
        self.wanted = kept;
        for (i, field) in self.fields.iter_mut().enumerate() {
            field.decoded = field.decoded.filter(|_| needed[i]).map(|d| place[d]);
        }
        self.select = Select { inputs: select.inputs.iter().map(|d| place[*d]).collect(), made };
    }
}
