//! What the node lacks, and whether a pod has to go for it (upstream's eviction manager). Pure: figures and time are parameters.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::settings::{Options, Pressure, Signal, Threshold};

/// What is free of something, and how much of it there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Free.
    pub available: u64,
    /// In all.
    pub capacity: u64,
}

/// What was read; a signal that is not in it is not known, and nothing follows from it.
pub type Readings = BTreeMap<Signal, Reading>;

/// Too little of something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shortage {
    /// The limit that is passed.
    pub threshold: Threshold,
    /// What there is.
    pub reading: Reading,
}

impl Shortage {
    /// The seconds that a pod gets to end in.
    pub fn grace(&self, options: &Options, own: Option<i64>) -> i64 {
        match self.threshold.grace {
            None => 1,
            Some(_) => i64::from(options.max_pod_grace).min(own.unwrap_or(30)).max(1),
        }
    }
}

/// What follows from a look at the machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// What the node is to say that it lacks.
    pub pressures: BTreeSet<Pressure>,
    /// What a pod has to go for.
    pub shortage: Option<Shortage>,
}

/// What was seen before.
#[derive(Clone, Debug)]
pub struct Manager {
    options: Options,
    /// For each limit: since when it is passed, and whether that was for its grace period.
    passed: Vec<Option<Passed>>,
    /// When the node lacked something last.
    lacked: BTreeMap<Pressure, Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Passed {
    since: Instant,
    /// Until there is as much as is to be reclaimed.
    holds: bool,
}

impl Manager {
    /// Nothing was seen yet.
    pub fn new(options: Options) -> Self {
        let passed = vec![None; options.thresholds.len()];
        Self { options, passed, lacked: BTreeMap::new() }
    }

    /// The settings.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Takes in what was read.
    pub fn judge(&mut self, readings: &Readings, now: Instant) -> Verdict {
        let mut shortage: Option<Shortage> = None;
        for (threshold, passed) in self.options.thresholds.iter().zip(&mut self.passed) {
            let Some(reading) = readings.get(&threshold.signal) else { continue };
            let least = threshold.least.of(reading.capacity);
            let more =
                if passed.is_some_and(|passed| passed.holds) { threshold.reclaim.of(reading.capacity) } else { 0 };
            if reading.available >= least.saturating_add(more) {
                *passed = None;
                continue;
            }
            let state = passed.get_or_insert(Passed { since: now, holds: false });
            self.lacked.insert(threshold.signal.pressure(), now);
            state.holds = now.duration_since(state.since) >= threshold.grace.unwrap_or(Duration::ZERO);
            let found = Shortage { threshold: *threshold, reading: *reading };
            // Memory goes first, and what may not wait before what may.
            let key = |shortage: &Shortage| (shortage.threshold.signal, shortage.threshold.grace.is_some());
            if state.holds && shortage.as_ref().is_none_or(|first| key(&found) < key(first)) {
                shortage = Some(found);
            }
        }
        let transition = self.options.transition;
        self.lacked.retain(|_, at| *at == now || now.duration_since(*at) < transition);
        Verdict { pressures: self.lacked.keys().copied().collect(), shortage }
    }
}

/// Why a pod is not let in while the node lacks something, if it is not: critical pods are, and where only memory is short, those
/// that ask for some or tolerate the lack.
pub fn refuses(pressures: &BTreeSet<Pressure>, critical: bool, best_effort: bool, tolerates: bool) -> Option<String> {
    if pressures.is_empty() || critical {
        return None;
    }
    let only_memory = pressures.iter().all(|pressure| *pressure == Pressure::Memory);
    if only_memory && (!best_effort || tolerates) {
        return None;
    }
    let names: Vec<&str> = pressures.iter().map(|pressure| pressure.condition()).collect();
    Some(format!("The node had condition: [{}]. ", names.join(" ")))
}
