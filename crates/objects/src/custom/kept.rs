//! What is made when it is first needed, and kept while there is room for it: compiled schemas take many times the memory of their
//! texts, and there is no bound on how many definitions there are.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

/// Keeps things up to a size together; past it those that were made first are made again when they are needed again.
pub(super) struct Keeper<T> {
    most: usize,
    kept: Mutex<Kept<T>>,
}

struct Kept<T> {
    /// In the order in which they were made, each with its size.
    order: VecDeque<(Weak<Slot<T>>, usize)>,
    size: usize,
}

/// The place of one thing.
pub(super) struct Slot<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Keeper<T> {
    /// Keeps things of so many bytes, and always the last one.
    pub(super) const fn new(most: usize) -> Self {
        Self { most, kept: Mutex::new(Kept { order: VecDeque::new(), size: 0 }) }
    }

    /// What is in a place; `make` makes it, and says how many bytes it takes. Whoever else wants it meanwhile waits.
    pub(super) fn get(&self, slot: &Arc<Slot<T>>, make: impl FnOnce() -> (T, usize)) -> Arc<T> {
        let mut place = lock(&slot.0);
        if let Some(there) = &*place {
            return there.clone();
        }
        let (made, size) = make();
        let made = place.insert(Arc::new(made)).clone();
        // Nobody holds a place while waiting for the order.
        drop(place);
        let gone = self.keep(slot, size);
        drop(gone);
        made
    }

    /// Counts what was made, and takes out what there is no room for.
    fn keep(&self, slot: &Arc<Slot<T>>, size: usize) -> Vec<Arc<T>> {
        let mut kept = lock(&self.kept);
        let Kept { order, size: total } = &mut *kept;
        order.retain(|(slot, size)| {
            let alive = slot.strong_count() > 0;
            *total = total.saturating_sub(if alive { 0 } else { *size });
            alive
        });
        order.push_back((Arc::downgrade(slot), size));
        *total = total.saturating_add(size);
        let mut gone = Vec::new();
        while *total > self.most && order.len() > 1 {
            let Some((first, size)) = order.pop_front() else { break };
            *total = total.saturating_sub(size);
            gone.extend(first.upgrade().and_then(|first| lock(&first.0).take()));
        }
        gone
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_first_gives_way_and_is_made_again() {
        let keeper = Keeper::new(100);
        let slots: Vec<Arc<Slot<u32>>> = (0..4).map(|_| Arc::default()).collect();
        let mut made = Vec::new();
        let mut get = |index: usize, size: usize| {
            let number = u32::try_from(index).unwrap();
            let got = keeper.get(slots.get(index).unwrap(), || {
                made.push(index);
                (number, size)
            });
            assert_eq!(*got, number);
        };
        for (index, size) in [(0, 40), (1, 40), (0, 40), (2, 40), (1, 40), (0, 40), (3, 500), (3, 500), (2, 40)] {
            get(index, size);
        }
        assert_eq!(made, [0, 1, 2, 0, 3, 2]);
    }

    #[test]
    fn what_is_gone_makes_room() {
        let keeper = Keeper::new(100);
        let (first, second, third) = (Arc::default(), Arc::default(), Arc::default());
        keeper.get(&first, || (1, 40));
        keeper.get(&second, || (2, 60));
        drop(second);
        keeper.get(&third, || (3, 60));
        assert_eq!(*keeper.get(&first, || (9, 40)), 1, "it is still there");
        assert_eq!(lock(&keeper.kept).size, 100);
    }
}
