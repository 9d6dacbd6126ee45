use super::*;
use crate::alerts::{AlertConfig, Severity};
use crate::expressions::Planner;
use arrow_schema::{DataType, Field, Schema};
use ouzel_core::{Report, Spanned};
use proptest::prelude::*;
use std::sync::Arc;

fn alert(count: u32, every: i64) -> Alert {
    let planner = Planner::new(Arc::new(Schema::new(vec![Field::new("ip", DataType::Utf8View, true)]))).unwrap();
    let config = AlertConfig {
        name: Spanned::nowhere("a".into()),
        when: Spanned::nowhere("true".into()),
        severity: Severity::High,
        message: None,
        per: None,
        at_most: None,
        tags: Vec::new(),
    };
    let mut alert = Alert::compile(&config, &planner, &mut Report::new(), &mut |_, _, _, e| panic!("{e:?}")).unwrap();
    alert.at_most = Some((count, every));
    alert
}

/// What is told: an alert with the number held back, or a closing.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Alert { key: u8, time: i64, suppressed: u64 },
    Closing { key: u8, time: i64, suppressed: u64 },
}

/// The same from all that has happened, without any cleverness: lists, filtered.
fn model(events: &[(u8, i64)], count: usize, every: i64) -> Vec<Told> {
    let mut told = Vec::new();
    let mut sent: Vec<(u8, i64)> = Vec::new();
    let mut held = std::collections::BTreeMap::<u8, u64>::new();
    let mut clock = i64::MIN;
    for (key, time) in events {
        clock = clock.max(*time);
        // Whose time is over, by its end and then its name.
        let end = |key: u8, sent: &[(u8, i64)]| sent.iter().filter(|(k, _)| *k == key).map(|(_, t)| t + every).max();
        let mut over: Vec<(i64, u8)> =
            (0..=255).filter_map(|k| Some((end(k, &sent)?, k))).filter(|(end, _)| *end <= clock).collect();
        over.sort();
        for (time, key) in over {
            sent.retain(|(k, _)| *k != key);
            if let Some(suppressed) = held.remove(&key) {
                told.push(Told::Closing { key, time, suppressed });
            }
        }
        let recent = sent.iter().filter(|(k, t)| k == key && *t > time - every).count();
        if recent < count {
            sent.push((*key, *time));
            told.push(Told::Alert { key: *key, time: *time, suppressed: held.remove(key).unwrap_or(0) });
        } else {
            *held.entry(*key).or_default() += 1;
        }
    }
    told
}

proptest! {
    /// Also where it is written down and read again between any two events.
    #[test]
    fn equals_the_plain_model(steps in prop::collection::vec((0u8..4, 0i64..40, -30i64..0, any::<bool>()), 0..200), count in 1u32..4, every in 1i64..60) {
        let alert = alert(count, every);
        let (mut now, mut clock) = (0, i64::MIN);
        let mut events = Vec::new();
        for (key, step, late, is_late) in &steps {
            now += step;
            events.push((*key, if *is_late { now + late } else { now }));
        }
        let mut throttle = Throttle::default();
        let mut told = Vec::new();
        for (i, (key, time)) in events.iter().enumerate() {
            clock = clock.max(*time);
            let closing = |c: Closing| Told::Closing { key: c.entity.parse().unwrap(), time: c.time, suppressed: c.suppressed };
            told.extend(throttle.advance(clock).into_iter().map(closing));
            let (raised, _) = throttle.raise(&alert, &key.to_string(), *time);
            told.extend(raised.map(|suppressed| Told::Alert { key: *key, time: *time, suppressed }));
            if i % 3 == 0 {
                let mut bytes = Vec::new();
                throttle.put(&mut bytes);
                let read: Throttle = Taker(&bytes).take().unwrap();
                prop_assert_eq!(&read, &throttle);
                throttle = read;
            }
        }
        prop_assert_eq!(told, model(&events, count as usize, every));
    }
}

#[test]
fn an_attacker_buys_no_memory() {
    let alert = alert(1, 1_000_000);
    let mut throttle = Throttle::default();
    let mut closed = 0;
    for entity in 0..ALERT_ENTITIES_MAX + 100 {
        for _ in 0..2 {
            let (_, room) = throttle.raise(&alert, &format!("e{entity}"), entity as i64);
            closed += room.map_or(0, |c| c.suppressed);
        }
    }
    assert_eq!(throttle.open.len(), ALERT_ENTITIES_MAX);
    assert_eq!(closed, 100, "those that made room are told");
}
