//! Domains that are made to be taken for others.

mod names;
mod skeleton;
#[cfg(test)]
mod tests;

use super::Files;
use super::columns::{NO_ROW, Picks, Values};
use super::domain::{each_domain, validate_list};
use super::seen::Seen;
use arrow_array::{ArrayRef, StringViewArray};
use arrow_schema::DataType;
use names::{Like, NAMES_MAX, Names};
use ouzel_core::{FieldType, Lookup, Report, Result, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

/// Which protected domain another resembles without being it.
///
/// ```yaml
/// lookalike: { of: sender, as: like, names: data/protected.txt, distance: 1 }
/// ```
///
/// The value may be a host name, a mail address or a URL. Adds `like_of`, the protected domain, and `like_how`. Names are compared without their
/// public suffix; the first that holds counts:
///
/// - `suffix`: the same name below another public suffix, `paypal.co` for `paypal.com`
/// - `skeleton`: looks alike, by Unicode's table of confusable characters (Cyrillic `раураl`), without accents, and by `0` `o`, `1` `l` `i`, `3` `e`,
///   `4` `a`, `5` `s`, `rn` `m`, `vv` `w`, `cl` `d`: `paypa1.com`
/// - `distance`: no more than `distance` letters added, left out, replaced or swapped with their neighbour, `payapl.com`; for each the
///   protected name must have four letters
/// - `part`: has the name as a part between hyphens or dots, if it has three letters, `paypal-login.com`, `paypal.com.example.org`; or with
///   other letters before or behind, if it has six, `paypallogin.com`. Compared as in `skeleton`.
///
/// Both are null for a protected domain, what is part of it, what resembles none, and what is no domain.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LookalikeLookup {
    /// The field that holds the domain, mail address or URL.
    pub of: Spanned<String>,
    /// Prefix of the new columns; by default the field's name.
    #[serde(rename = "as")]
    pub prefix: Option<Spanned<String>>,
    /// The protected domains, one a line with comments behind a `#` at the line's start, or a JSON array of texts; relative to the project. All
    /// that are yours, also those below other suffixes.
    pub names: Spanned<String>,
    /// 0, 1 or 2; by default 1.
    pub distance: Option<Spanned<u64>>,
}

const DISTANCE_MAX: u64 = 2;

impl LookalikeLookup {
    pub fn validate(&self, report: &mut Report) {
        validate_list(&self.names, report);
        if let Some(distance) = self.distance.as_ref().filter(|distance| distance.value > DISTANCE_MAX) {
            report
                .error(distance.span, format!("a distance of {} makes most names alike", distance.value))
                .hint(format!("0 to {DISTANCE_MAX}"));
        }
    }

    pub fn columns(&self) -> Vec<(String, FieldType)> {
        let prefix = self.prefix.as_ref().unwrap_or(&self.of);
        ["of", "how"].map(|name| (format!("{}_{name}", prefix.value), FieldType::Text)).to_vec()
    }

    pub fn open(&self, files: Files<'_>, wanted: &[bool]) -> Result<Box<dyn Lookup>> {
        let distance = self.distance.as_ref().map_or(1, |distance| distance.value.min(DISTANCE_MAX));
        let mut names = Names::new(distance as usize);
        each_domain(files, &self.names, &mut |domain, _| match names.len() < NAMES_MAX {
            true => names.add(domain),
            false => Err(format!("more than {NAMES_MAX} names")),
        })?;
        names.finish();
        let is_wanted = |i: usize| wanted.get(i).copied().unwrap_or(true);
        let of = is_wanted(0).then(|| Values::texts(names.all().iter().map(|name| Some(name.as_str()))));
        let how = is_wanted(1).then(|| Values::texts(Like::WORDS.iter().map(|word| Some(*word))));
        Ok(Box::new(Lookalikes::new(Arc::new(Shared {
            names,
            columns: [of, how].map(|values| vec![(DataType::Utf8View, values)]),
        }))))
    }
}

struct Shared {
    names: Names,
    /// `of` and `how`.
    columns: [super::columns::Columns; 2],
}

/// One thread's view of the names.
struct Lookalikes {
    shared: Arc<Shared>,
    /// Rows in both columns.
    seen: Seen<[u32; 2]>,
    rows: [Vec<u32>; 2],
    picks: [Picks; 2],
}

impl Lookalikes {
    fn new(shared: Arc<Shared>) -> Lookalikes {
        let picks = [0, 1].map(|i| Picks::new(&shared.columns[i]));
        Lookalikes { shared, seen: Seen::new(), rows: Default::default(), picks }
    }
}

impl Lookup for Lookalikes {
    fn lookup(&mut self, keys: &StringViewArray) -> Result<Vec<ArrayRef>> {
        const NONE: [u32; 2] = [NO_ROW; 2];
        let Lookalikes { shared, seen, rows, picks } = self;
        rows.iter_mut().for_each(Vec::clear);
        let work_out = |text: &str| shared.names.like(text).map_or(NONE, |(name, how)| [name, how as u32]);
        for key in keys {
            let [of, how] = key.map_or(NONE, |text| seen.with(text, work_out, |rows| *rows));
            rows[0].push(of);
            rows[1].push(how);
        }
        let columns = shared.columns.iter().zip(picks).zip(rows.iter());
        Ok(columns.flat_map(|((columns, picks), rows)| picks.of(columns, rows)).collect())
    }

    fn fork(&self) -> Box<dyn Lookup> {
        Box::new(Lookalikes::new(self.shared.clone()))
    }
}
