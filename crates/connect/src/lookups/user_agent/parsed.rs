//! User agents by expressions of the project: names are what these make of a text, not rows of a table.

use super::regexes::{Parsed, Regexes};
use super::rules::Rules;
use crate::lookups::columns::{Columns, NO_ROW, Picks, Texts, listed};
use crate::lookups::seen::Seen;
use arrow_array::{Array, ArrayRef, StringViewArray};
use ouzel_core::{Lookup, Result};
use std::sync::Arc;

pub(super) struct Shared {
    rules: Option<Rules>,
    regexes: Regexes,
    crawlers: Columns,
    wanted: [bool; 3],
}

impl Shared {
    /// `wanted`: crawler, family, system, device.
    pub fn new(rules: Rules, regexes: Regexes, [crawler, family, os, device]: [bool; 4]) -> Shared {
        Shared { rules: crawler.then_some(rules), regexes, crawlers: listed(&[crawler]), wanted: [family, os, device] }
    }
}

struct Known {
    is_crawler: u32,
    parsed: Parsed,
}

/// One thread's view of the expressions.
pub(super) struct ByRegexes {
    shared: Arc<Shared>,
    seen: Seen<Known>,
    crawlers: Vec<u32>,
    picks: Picks,
    texts: [Texts; 3],
}

impl ByRegexes {
    pub fn new(shared: Arc<Shared>) -> ByRegexes {
        let (picks, texts) = (Picks::new(&shared.crawlers), shared.wanted.map(Texts::new));
        ByRegexes { shared, seen: Seen::new(), crawlers: Vec::new(), picks, texts }
    }
}

impl Lookup for ByRegexes {
    fn lookup(&mut self, keys: &StringViewArray) -> Result<Vec<ArrayRef>> {
        let ByRegexes { shared, seen, crawlers, picks, texts } = self;
        crawlers.clear();
        let work_out = |text: &str| Known {
            is_crawler: shared.rules.as_ref().map_or(NO_ROW, |rules| rules.is_crawler(text) as u32),
            parsed: shared.regexes.parse(text),
        };
        let mut add = |known: &Known| {
            crawlers.push(known.is_crawler);
            let Parsed { family, os, device } = &known.parsed;
            texts.iter_mut().zip([family, os, device]).for_each(|(column, text)| column.push(text.as_deref()));
        };
        let null = Known { is_crawler: NO_ROW, parsed: Parsed::default() };
        for key in keys {
            match key {
                None => add(&null),
                Some(text) => seen.with(text, work_out, &mut add),
            }
        }
        let mut columns: Vec<ArrayRef> = picks.of(&shared.crawlers, crawlers).collect();
        columns.extend(texts.iter_mut().map(|text| text.column(keys.len())));
        Ok(columns)
    }

    fn fork(&self) -> Box<dyn Lookup> {
        Box::new(ByRegexes::new(self.shared.clone()))
    }
}
