//! Numbers that are given once each: service addresses, node ports.

use std::{
    collections::BTreeSet,
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Numbers out of one range, each in use once.
#[derive(Debug)]
pub(super) struct Pool {
    range: RangeInclusive<u32>,
    used: Mutex<BTreeSet<u32>>,
}

/// Why a number cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is none of the pool's.
    NotInRange,
    /// Somebody has it.
    Taken,
}

impl Pool {
    /// The numbers of a range, none of them in use.
    pub fn new(range: RangeInclusive<u32>) -> Arc<Self> {
        Arc::new(Self { range, used: Mutex::default() })
    }

    /// Marks numbers that are in use already, whether or not they are of the range.
    pub fn adopt(&self, numbers: impl IntoIterator<Item = u32>) {
        self.lock().extend(numbers);
    }

    /// Frees numbers.
    pub fn release(&self, numbers: impl IntoIterator<Item = u32>) {
        let mut used = self.lock();
        for number in numbers {
            used.remove(&number);
        }
    }

    /// Nothing yet, to which numbers can be added.
    pub fn hold(self: &Arc<Self>) -> Held {
        Held { pool: self.clone(), numbers: BTreeSet::new() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Numbers held for what is being made or changed; given back unless kept.
#[derive(Debug)]
pub(super) struct Held {
    pool: Arc<Pool>,
    numbers: BTreeSet<u32>,
}

impl Held {
    /// Holds this number.
    ///
    /// # Errors
    /// When it is not one of the pool's, or in use.
    pub fn claim(&mut self, number: u32) -> Result<(), Refused> {
        if !self.pool.range.contains(&number) {
            return Err(Refused::NotInRange);
        }
        if !self.pool.lock().insert(number) {
            return Err(Refused::Taken);
        }
        self.numbers.insert(number);
        Ok(())
    }

    /// Holds the first number of a part of the range that nobody has; `None` if there is none.
    pub fn first(&mut self, part: RangeInclusive<u32>) -> Option<u32> {
        let mut used = self.pool.lock();
        let number = part.into_iter().find(|number| self.pool.range.contains(number) && !used.contains(number))?;
        used.insert(number);
        self.numbers.insert(number);
        Some(number)
    }

    /// What holds them was stored: the numbers are its own now.
    pub fn keep(mut self) {
        self.numbers.clear();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.pool.release(std::mem::take(&mut self.numbers));
    }
}

/// Numbers that become free when what gives them up is durable.
#[derive(Debug)]
pub(super) struct Freed {
    /// Of which pool.
    pub pool: Arc<Pool>,
    /// Which.
    pub numbers: BTreeSet<u32>,
}

impl Freed {
    /// It is durable.
    pub fn release(self) {
        self.pool.release(self.numbers);
    }
}
