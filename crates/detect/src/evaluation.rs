//! How well a score tells two classes apart: areas, precision and recall, with intervals by bootstrap over entities.
//!
//! Area under the ROC curve: the chance that a positive scores above a negative, ties counting half (Mann-Whitney U; Hanley and McNeil, 1982).
//! Average precision: the sum of precision times the step in recall, a step for each distinct score (as scikit-learn's
//! `average_precision_score`; no interpolation). Intervals: percentiles of resampled entities (Efron and Tibshirani, 1993).

/// A scored row whose class is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Labelled {
    pub score: f64,
    pub positive: bool,
    /// Rows of one entity are resampled together.
    pub entity: u32,
}

/// A point of both curves: everything at or above the threshold is called positive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub threshold: f64,
    pub true_positives: f64,
    pub false_positives: f64,
}

/// The curves of a score.
#[derive(Debug, Clone, Default)]
pub struct Curve {
    pub positives: f64,
    pub negatives: f64,
    /// By falling threshold, one for each distinct score.
    pub points: Vec<Point>,
}

/// What a curve comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    pub auc: f64,
    pub average_precision: f64,
    /// Recall at each of the false-positive rates asked for.
    pub recall_at: Vec<f64>,
}

impl Curve {
    /// `None` if there is but one class. Scores that are no number rank below all others.
    pub fn of(rows: &[Labelled]) -> Option<Curve> {
        let mut order: Vec<(f64, bool, f64)> = rows.iter().map(|row| (below_all(row.score), row.positive, 1.0)).collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0));
        Curve::of_sorted(&order)
    }

    /// `sorted`: score, class and weight, by falling score.
    fn of_sorted(sorted: &[(f64, bool, f64)]) -> Option<Curve> {
        let mut curve = Curve::default();
        for (i, (score, positive, weight)) in sorted.iter().enumerate() {
            match positive {
                true => curve.positives += weight,
                false => curve.negatives += weight,
            }
            let is_last = sorted.get(i + 1).is_none_or(|next| next.0 != *score);
            if is_last {
                curve.points.push(Point { threshold: *score, true_positives: curve.positives, false_positives: curve.negatives });
            }
        }
        (curve.positives > 0.0 && curve.negatives > 0.0).then_some(curve)
    }

    pub fn figures(&self, rates: &[f64]) -> Figures {
        let (mut auc, mut average_precision) = (0.0, 0.0);
        let (mut tp, mut fp) = (0.0, 0.0);
        for point in &self.points {
            let (up, right) = (point.true_positives - tp, point.false_positives - fp);
            auc += right * (tp + up / 2.0);
            average_precision +=
                up * point.true_positives / (point.true_positives + point.false_positives).max(f64::MIN_POSITIVE);
            (tp, fp) = (point.true_positives, point.false_positives);
        }
        Figures {
            auc: auc / (self.positives * self.negatives),
            average_precision: average_precision / self.positives,
            recall_at: rates.iter().map(|rate| self.at_rate(*rate).map_or(0.0, |p| p.true_positives / self.positives)).collect(),
        }
    }

    /// The lowest threshold with no higher false-positive rate; `None` if there is none.
    pub fn at_rate(&self, rate: f64) -> Option<Point> {
        self.points.iter().take_while(|p| p.false_positives / self.negatives <= rate + 1e-12).last().copied()
    }

    /// Everything at or above a threshold.
    pub fn at(&self, threshold: f64) -> Option<Point> {
        self.points.iter().take_while(|p| p.threshold >= threshold).last().copied()
    }
}

fn below_all(score: f64) -> f64 {
    if score.is_nan() { f64::NEG_INFINITY } else { score }
}

/// The figures of so many resamplings of the entities; those that hold one class only are left out. The same for the same seed.
pub fn bootstrap(rows: &[Labelled], rates: &[f64], times: usize, seed: u64) -> Vec<Figures> {
    let entities = rows.iter().map(|row| row.entity as usize + 1).max().unwrap_or(0);
    let mut order: Vec<Labelled> = rows.to_vec();
    order.sort_by(|a, b| below_all(b.score).total_cmp(&below_all(a.score)));
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut figures = Vec::new();
    let mut weights = vec![0u32; entities];
    for _ in 0..times {
        weights.fill(0);
        for _ in 0..entities {
            // xorshift64* (Vigna, 2016).
            random ^= random >> 12;
            random ^= random << 25;
            random ^= random >> 27;
            let drawn = random.wrapping_mul(0x2545_f491_4f6c_dd1d);
            weights[((u128::from(drawn) * entities as u128) >> 64) as usize] += 1;
        }
        let drawn: Vec<(f64, bool, f64)> = order
            .iter()
            .filter(|row| weights[row.entity as usize] > 0)
            .map(|row| (below_all(row.score), row.positive, f64::from(weights[row.entity as usize])))
            .collect();
        figures.extend(Curve::of_sorted(&drawn).map(|curve| curve.figures(rates)));
    }
    figures
}

/// The 2.5 and 97.5 % points.
pub fn interval(mut values: Vec<f64>) -> Option<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    let at = |part: f64| values.get(((values.len() as f64 - 1.0) * part).round() as usize).copied();
    Some((at(0.025)?, at(0.975)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(of: &[(u8, bool)]) -> Vec<Labelled> {
        of.iter()
            .enumerate()
            .map(|(i, (score, positive))| Labelled { score: f64::from(*score), positive: *positive, entity: i as u32 })
            .collect()
    }

    proptest! {
        /// Areas by their definitions, over all pairs and all thresholds.
        #[test]
        fn equal_their_definitions(of in prop::collection::vec((0u8..12, any::<bool>()), 2..60)) {
            let rows = rows(&of);
            let (p, n): (Vec<&Labelled>, Vec<&Labelled>) = rows.iter().partition(|r| r.positive);
            let Some(curve) = Curve::of(&rows) else {
                prop_assert!(p.is_empty() || n.is_empty());
                return Ok(());
            };
            let figures = curve.figures(&[0.0, 0.3, 1.0]);
            let wins: f64 = p.iter().flat_map(|a| n.iter().map(move |b| if a.score > b.score { 1.0 } else if a.score == b.score { 0.5 } else { 0.0 })).sum();
            prop_assert!((figures.auc - wins / (p.len() * n.len()) as f64).abs() < 1e-12);
            let mut thresholds: Vec<f64> = rows.iter().map(|r| r.score).collect();
            thresholds.sort_by(|a, b| b.total_cmp(a));
            thresholds.dedup();
            let (mut ap, mut before) = (0.0, 0.0);
            let mut best = [0.0f64; 3];
            for t in thresholds {
                let tp = p.iter().filter(|r| r.score >= t).count() as f64;
                let fp = n.iter().filter(|r| r.score >= t).count() as f64;
                ap += (tp - before) / p.len() as f64 * tp / (tp + fp);
                before = tp;
                for (rate, best) in [0.0, 0.3, 1.0].iter().zip(&mut best) {
                    if fp / n.len() as f64 <= *rate {
                        *best = best.max(tp / p.len() as f64);
                    }
                }
            }
            prop_assert!((figures.average_precision - ap).abs() < 1e-12);
            for (found, wanted) in figures.recall_at.iter().zip(best) {
                prop_assert!((found - wanted).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn intervals_hold_the_figure_and_are_the_same_for_the_same_seed() {
        let rows: Vec<Labelled> = (0..400u32)
            .map(|i| Labelled {
                score: f64::from((i * 7919) % 100) + if i % 4 == 0 { 40.0 } else { 0.0 },
                positive: i % 4 == 0,
                entity: i / 2,
            })
            .collect();
        let auc = Curve::of(&rows).expect("two classes").figures(&[]).auc;
        let aucs = |seed| bootstrap(&rows, &[], 200, seed).iter().map(|f| f.auc).collect::<Vec<_>>();
        let (low, high) = interval(aucs(1)).expect("values");
        assert!(low < auc && auc < high && high - low < 0.2, "{low} {auc} {high}");
        assert_eq!(aucs(1), aucs(1));
        assert_ne!(aucs(1), aucs(2));
    }
}
