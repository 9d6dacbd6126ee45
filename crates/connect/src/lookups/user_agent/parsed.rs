//! User agents by expressions of the project: names are what these make of a text, not rows of a table.

use super::regexes::{Parsed, Regexes};
use super::rules::Rules;
use crate::lookups::columns::{Columns, Kept, NO_ROW, Picks, Unwanted, listed};
use crate::lookups::seen::Seen;
use arrow_array::{Array, ArrayRef, StringViewArray};
use arrow_schema::DataType;
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
    /// What is kept of family, system and device; the empty text for those that nobody wants.
    texts: [u128; 3],
}

/// One thread's view of the expressions.
pub(super) struct ByRegexes {
    shared: Arc<Shared>,
    seen: Seen<Known>,
    kept: Kept,
    crawlers: Vec<u32>,
    picks: Picks,
    unwanted: Unwanted,
}

/// Past this everything is worked out again.
const KEPT_BYTES_MAX: usize = 16 << 20;

impl ByRegexes {
    pub fn new(shared: Arc<Shared>) -> ByRegexes {
        let (picks, unwanted) = (Picks::new(&shared.crawlers), Unwanted::new(&DataType::Utf8View));
        ByRegexes { shared, seen: Seen::new(), kept: Kept::new(), crawlers: Vec::new(), picks, unwanted }
    }
}

impl Lookup for ByRegexes {
    fn lookup(&mut self, keys: &StringViewArray) -> Result<Vec<ArrayRef>> {
        let ByRegexes { shared, seen, kept, crawlers, picks, unwanted } = self;
        if kept.bytes() > KEPT_BYTES_MAX {
            kept.clear();
            seen.clear();
        }
        crawlers.clear();
        let mut texts = shared.wanted.map(|wanted| Vec::with_capacity(if wanted { keys.len() } else { 0 }));
        let mut add = |known: &Known| {
            crawlers.push(known.is_crawler);
            for ((column, view), wanted) in texts.iter_mut().zip(known.texts).zip(shared.wanted) {
                if wanted {
                    column.push(view);
                }
            }
        };
        let mut work_out = |text: &str| {
            let Parsed { family, os, device } = shared.regexes.parse(text);
            Known {
                is_crawler: shared.rules.as_ref().map_or(NO_ROW, |rules| rules.is_crawler(text) as u32),
                texts: [family, os, device].map(|text| text.map_or(0, |text| kept.keep(&text))),
            }
        };
        const NULL: Known = Known { is_crawler: NO_ROW, texts: [0; 3] };
        for key in keys {
            match key {
                None => add(&NULL),
                Some(text) => seen.with(text, &mut work_out, &mut add),
            }
        }
        let nulls = keys.nulls().filter(|nulls| nulls.null_count() > 0);
        let mut columns: Vec<ArrayRef> = picks.of(&shared.crawlers, crawlers).collect();
        columns.extend(texts.into_iter().zip(shared.wanted).map(|(views, wanted)| match wanted {
            true => kept.column(views, nulls.cloned()),
            false => unwanted.column(keys.len()),
        }));
        Ok(columns)
    }

    fn fork(&self) -> Box<dyn Lookup> {
        Box::new(ByRegexes::new(self.shared.clone()))
    }
}
