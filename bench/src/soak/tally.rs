//! What has been counted so far.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Complaints that are kept until they are asked for; of more there is only the count.
const COMPLAINTS: usize = 30;

/// Of one kind of client or fault.
#[derive(Debug, Clone, Copy, Default)]
pub struct Row {
    /// It went as it should.
    pub right: u64,
    /// It did not.
    pub wrong: u64,
    /// It was left out, because as many as may be were under way.
    pub left_out: u64,
}

/// Kinds with their counts, in order of their names.
pub type Rows = Vec<(&'static str, Row)>;

/// Counts by kind, and complaints.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    clients: BTreeMap<&'static str, Row>,
    faults: BTreeMap<&'static str, Row>,
    complaints: Vec<String>,
}

impl Tally {
    /// Notes how a request of a well-behaved client went.
    pub fn asked(&self, kind: &'static str, outcome: &anyhow::Result<()>) {
        let mut inner = self.inner();
        note(inner.clients.entry(kind).or_default(), outcome);
        inner.complain(kind, outcome);
    }

    /// Notes what came of a fault.
    pub fn did(&self, kind: &'static str, outcome: &anyhow::Result<()>) {
        let mut inner = self.inner();
        note(inner.faults.entry(kind).or_default(), outcome);
        inner.complain(kind, outcome);
    }

    /// Notes that a fault was left out.
    pub fn left_out(&self, kind: &'static str) {
        self.inner().faults.entry(kind).or_default().left_out += 1;
    }

    /// Requests of well-behaved clients.
    pub fn requests(&self) -> Row {
        sum(self.inner().clients.values())
    }

    /// All faults.
    pub fn faults(&self) -> Row {
        sum(self.inner().faults.values())
    }

    /// Every kind with its counts: clients, then faults.
    pub fn rows(&self) -> (Rows, Rows) {
        let inner = self.inner();
        let list = |rows: &BTreeMap<&'static str, Row>| rows.iter().map(|(name, row)| (*name, *row)).collect();
        (list(&inner.clients), list(&inner.faults))
    }

    /// The first complaints that there were since they were last asked for.
    pub fn take_complaints(&self) -> Vec<String> {
        mem::take(&mut self.inner().complaints)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn complain(&mut self, kind: &str, outcome: &anyhow::Result<()>) {
        if let Err(error) = outcome
            && self.complaints.len() < COMPLAINTS
        {
            self.complaints.push(format!("{kind}: {error:#}"));
        }
    }
}

fn note(row: &mut Row, outcome: &anyhow::Result<()>) {
    match outcome {
        Ok(()) => row.right += 1,
        Err(_) => row.wrong += 1,
    }
}

fn sum<'a>(rows: impl Iterator<Item = &'a Row>) -> Row {
    rows.fold(Row::default(), |sum, row| Row {
        right: sum.right + row.right,
        wrong: sum.wrong + row.wrong,
        left_out: sum.left_out + row.left_out,
    })
}
