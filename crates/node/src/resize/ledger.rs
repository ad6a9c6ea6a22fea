//! What the node has promised to which pod: one book for all workers, so that two pods that grow at once do not get the same room.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use objects::resources::Amounts;
use tokio::sync::watch;

use super::Pending;

/// What the node has to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Memory in bytes.
    pub memory: i128,
    /// CPUs in thousandths.
    pub cpu: i128,
}

/// The promises. It has an entry for each pod that is bound here and has not ended.
pub struct Ledger {
    room: Room,
    promised: Mutex<HashMap<String, Amounts>>,
    /// Told when there may be more room.
    freed: watch::Sender<()>,
}

impl Ledger {
    /// Nothing promised yet of all that there is.
    pub fn new(room: Room) -> Self {
        Self { room, promised: Mutex::default(), freed: watch::Sender::new(()) }
    }

    /// Notes what a pod has that was not known yet, whatever else there is: it was bound here.
    pub fn note(&self, uid: &str, amounts: Amounts) {
        self.promised().entry(uid.to_owned()).or_insert(amounts);
    }

    /// Forgets a pod that has ended.
    pub fn release(&self, uid: &str) {
        if self.promised().remove(uid).is_some() {
            self.freed.send_replace(());
        }
    }

    /// Promises other amounts to a pod, if there is room beside the others.
    ///
    /// # Errors
    /// Why not, in the kubelet's words; the old promise holds.
    pub fn promise(&self, uid: &str, amounts: Amounts) -> Result<(), Pending> {
        let mut promised = self.promised();
        let table = [("memory", self.room.memory), ("cpu", self.room.cpu)];
        let of = |amounts: &Amounts, name: &str| {
            let amount = amounts.get(name).copied();
            amount.map_or(0, |amount| if name == "cpu" { amount.millis() } else { amount.value() })
        };
        for (name, capacity) in table {
            let requested = of(&amounts, name);
            if requested > capacity {
                let lack = format!("{name}, requested: {requested}, capacity: {capacity}");
                return Err(Pending::Infeasible(format!("Node didn't have enough capacity: {lack}")));
            }
        }
        for (name, capacity) in table {
            let others = promised.iter().filter(|(other, _)| *other != uid).map(|(_, amounts)| of(amounts, name));
            let (requested, used) = (of(&amounts, name), others.fold(0_i128, i128::saturating_add));
            let before = promised.get(uid).map_or(0, |amounts| of(amounts, name));
            // What does not grow needs no room, also where more was promised than there is.
            if requested > before && used.saturating_add(requested) > capacity {
                let lack = format!("{name}, requested: {requested}, used: {used}, capacity: {capacity}");
                return Err(Pending::Deferred(format!("Node didn't have enough resource: {lack}")));
            }
        }
        promised.insert(uid.to_owned(), amounts);
        drop(promised);
        self.freed.send_replace(());
        Ok(())
    }

    /// Tells when there may be more room than before.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.freed.subscribe()
    }

    fn promised(&self) -> MutexGuard<'_, HashMap<String, Amounts>> {
        self.promised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cpu(amount: &str) -> Amounts {
        Amounts::from([("cpu".to_owned(), amount.parse().unwrap())])
    }

    #[test]
    fn a_pod_grows_into_what_others_leave_and_waits_for_what_they_hold() {
        let ledger = Ledger::new(Room { memory: 1 << 30, cpu: 2000 });
        ledger.note("a", cpu("1"));
        ledger.note("b", cpu("500m"));
        assert_eq!(ledger.promise("a", cpu("1500m")), Ok(()));
        let full = "Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000";
        assert_eq!(ledger.promise("b", cpu("600m")), Err(Pending::Deferred(full.to_owned())));
        let large = "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000";
        assert_eq!(ledger.promise("b", cpu("3")), Err(Pending::Infeasible(large.to_owned())));
        let mut changes = ledger.changes();
        changes.mark_unchanged();
        ledger.release("a");
        assert!(changes.has_changed().unwrap());
        assert_eq!(ledger.promise("b", cpu("2")), Ok(()));
    }

    #[test]
    fn a_pod_shrinks_also_where_more_was_promised_than_there_is() {
        let ledger = Ledger::new(Room { memory: 1 << 30, cpu: 1000 });
        ledger.note("a", cpu("800m"));
        ledger.note("b", cpu("800m"));
        assert_eq!(ledger.promise("b", cpu("700m")), Ok(()));
    }

    proptest! {
        #[test]
        fn no_more_is_promised_than_there_is(asked in proptest::collection::vec((0_usize..5, 0_u32..3000), 1..100)) {
            let ledger = Ledger::new(Room { memory: 0, cpu: 4000 });
            for (pod, millis) in asked {
                let before: i128 = ledger.promised().values().map(|all| all["cpu"].millis()).sum();
                let kept = ledger.promise(&pod.to_string(), cpu(&format!("{millis}m")));
                let after: i128 = ledger.promised().values().map(|all| all["cpu"].millis()).sum();
                prop_assert!(after <= 4000);
                prop_assert!(kept.is_ok() || before == after, "what is refused changes nothing");
            }
        }
    }
}
