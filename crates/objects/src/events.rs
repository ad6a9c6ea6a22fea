//! Which events are written: the same one again is counted on one Event object, and a flood is cut, as client-go's correlator does.

use std::collections::HashMap;

use jiff::Timestamp;

/// How many different events are remembered.
const REMEMBERED: usize = 4096;
/// This many of a reason are written at once about one object,
const BURST: f64 = 25.0;
/// and then one in this many seconds.
const REFILL: f64 = 300.0;

/// What makes two events the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Same {
    /// The uid of the object that the event is about.
    pub uid: String,
    /// The part of the object that it is about (`involvedObject.fieldPath`).
    pub field: Option<String>,
    /// Its reason.
    pub reason: String,
    /// Its message.
    pub message: String,
}

/// The Event object for something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The Event's name.
    pub name: String,
    /// How often it has happened; above 1 the Event is there already, unless it was forgotten.
    pub count: i32,
}

/// Remembers what was written, in bounded memory.
#[derive(Debug, Default)]
pub struct Correlator {
    seen: HashMap<Same, Counted>,
    /// What is left of the burst and since when, by uid and reason.
    left: HashMap<(String, String), (f64, Timestamp)>,
    /// The number in the latest name.
    last: i128,
}

impl Correlator {
    /// The Event for something that happened to the object `name`; `None` when too much of the kind was written lately. What is not
    /// written is counted all the same.
    pub fn note(&mut self, what: &Same, name: &str, at: Timestamp) -> Option<Counted> {
        if self.seen.len() >= REMEMBERED || self.left.len() >= REMEMBERED {
            (self.seen, self.left) = (HashMap::new(), HashMap::new());
        }
        let entry = self.seen.entry(what.clone()).or_insert_with(|| {
            self.last = at.as_nanosecond().max(self.last + 1);
            Counted { name: format!("{name}.{:016x}", self.last), count: 0 }
        });
        entry.count = entry.count.saturating_add(1);
        let left = self.left.entry((what.uid.clone(), what.reason.clone())).or_insert((BURST, at));
        let seconds = at.duration_since(left.1).as_secs_f64().max(0.0);
        *left = ((left.0 + seconds / REFILL).min(BURST), at);
        if left.0 < 1.0 {
            return None;
        }
        left.0 -= 1.0;
        Some(entry.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(seen: &mut Correlator, reason: &str, message: &str, second: i64) -> Option<Counted> {
        let (reason, message) = (reason.to_owned(), message.to_owned());
        let what = Same { uid: "u".to_owned(), field: None, reason, message };
        seen.note(&what, "p", Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn the_same_event_is_counted_and_another_one_has_another_name() {
        let mut seen = Correlator::default();
        let first = note(&mut seen, "Unhealthy", "a", 1).unwrap();
        let second = note(&mut seen, "Unhealthy", "a", 2).unwrap();
        assert_eq!((first.count, second.count), (1, 2));
        assert_eq!(first.name, second.name);
        assert_ne!(note(&mut seen, "Unhealthy", "b", 2).unwrap().name, first.name);
        assert_ne!(note(&mut seen, "Killing", "b", 1).unwrap().name, first.name);
    }

    #[test]
    fn a_flood_is_cut_to_a_burst_and_one_in_five_minutes_while_other_reasons_pass() {
        let mut seen = Correlator::default();
        let written = (0..3600).filter(|second| note(&mut seen, "Unhealthy", "a", *second).is_some()).count();
        assert_eq!(written, 25 + 11);
        assert_eq!(note(&mut seen, "Unhealthy", "a", 4000).unwrap().count, 3601);
        assert!(note(&mut seen, "Killing", "a", 3600).is_some());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut seen = Correlator::default();
        for number in 0..20_000 {
            note(&mut seen, "R", &number.to_string(), number);
            assert!(seen.seen.len() <= REMEMBERED && seen.left.len() <= REMEMBERED);
        }
    }
}
