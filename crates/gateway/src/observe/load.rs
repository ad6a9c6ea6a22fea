//! What somebody has to do: the requests that have come and gone, and those that are there.

use super::histogram::Histogram;

/// Counts of requests, or connections, that were given to somebody: a way from a listener to a cluster, or an endpoint. Moments
/// are nanoseconds since the counting worker's own beginning, and wrap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// How many have begun.
    pub begun: u64,
    /// How many of these have not ended.
    pub open: u64,
    /// How many of those that have ended were not served, through no fault of the client's.
    pub failed: u64,
    /// The sum of the moments of all ends less that of all beginnings. With those of the open ones taken as ending now, it is
    /// how long all of them have been open together, which is what [`Self::until`] makes of it.
    busy: u64,
    /// How long those took that were answered, or waited for in vain; nothing while there are none.
    took: Option<Box<Histogram>>,
}

impl Load {
    /// One begins.
    pub fn begin(&mut self, at: u64) {
        self.begun += 1;
        self.open += 1;
        self.busy = self.busy.wrapping_sub(at);
    }

    /// One that began then turns out to be somebody else's.
    pub fn withdraw(&mut self, at: u64) {
        self.begun = self.begun.wrapping_sub(1);
        self.open = self.open.wrapping_sub(1);
        self.busy = self.busy.wrapping_add(at);
    }

    /// One ends.
    pub fn end(&mut self, at: u64, failed: bool, took: Option<u64>) {
        self.open = self.open.wrapping_sub(1);
        self.failed += u64::from(failed);
        self.busy = self.busy.wrapping_add(at);
        if let Some(took) = took {
            self.took.get_or_insert_default().count(took);
        }
    }

    /// How many have ended.
    pub fn ended(&self) -> u64 {
        self.begun.wrapping_sub(self.open)
    }

    /// The integral of [`Self::open`] over time, in nanoseconds: how long all have been open together by the moment that this
    /// was taken [until](Self::until). Wraps.
    pub fn busy(&self) -> u64 {
        self.busy
    }

    /// How long those took that were answered.
    pub fn took(&self) -> Option<&Histogram> {
        self.took.as_deref()
    }

    /// A copy with the open ones' time until now.
    fn until(&self, now: u64) -> Self {
        let mut copy = self.clone();
        copy.busy = copy.busy.wrapping_add(self.open.wrapping_mul(now));
        copy
    }

    /// Adds another worker's.
    pub fn add(&mut self, other: &Self) {
        self.begun = self.begun.wrapping_add(other.begun);
        self.open = self.open.wrapping_add(other.open);
        self.failed = self.failed.wrapping_add(other.failed);
        self.busy = self.busy.wrapping_add(other.busy);
        if let Some(others) = &other.took {
            self.took.get_or_insert_default().add(others);
        }
    }
}

/// Both sorts of what can be asked of somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Loads {
    /// Of requests.
    pub requests: Load,
    /// Of connections whose bytes mean nothing to the proxy.
    pub connections: Load,
}

impl Loads {
    /// That of requests, or of connections.
    pub fn of(&mut self, requests: bool) -> &mut Load {
        if requests { &mut self.requests } else { &mut self.connections }
    }

    /// A copy with the open ones' time until now.
    pub fn until(&self, now: u64) -> Self {
        Self { requests: self.requests.until(now), connections: self.connections.until(now) }
    }

    /// Whether there has been anything.
    pub fn is_used(&self) -> bool {
        self.requests.begun > 0 || self.connections.begun > 0
    }

    /// Adds another worker's.
    pub fn add(&mut self, other: &Self) {
        self.requests.add(&other.requests);
        self.connections.add(&other.connections);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_counts_for_as_long_as_it_has_been_open() {
        let mut load = Load::default();
        load.begin(100);
        load.begin(200);
        assert_eq!(load.until(300).busy(), 200 + 100);
        load.end(400, false, Some(300));
        assert_eq!((load.begun, load.open, load.ended()), (2, 1, 1));
        assert_eq!(load.until(500).busy(), 300 + 300);
        load.end(600, true, None);
        assert_eq!((load.until(900).busy(), load.failed), (300 + 400, 1));
        assert_eq!(load.took().and_then(|took| took.quantile(50)), Some(1 << 13));
    }

    #[test]
    fn what_turns_out_to_be_anothers_leaves_no_trace() {
        let mut load = Load::default();
        load.begin(100);
        load.withdraw(100);
        assert_eq!(load, Load::default());
    }

    #[test]
    fn the_loads_of_workers_with_other_beginnings_are_summed() {
        let (mut one, mut other) = (Load::default(), Load::default());
        one.begin(5);
        other.begin(1000);
        let mut sum = one.until(10);
        sum.add(&other.until(1007));
        assert_eq!((sum.busy(), sum.open), (5 + 7, 2));
    }
}
