//! ResourceQuotas in front of writes: what does not fit into every quota of its namespace is refused. Usage is counted from the objects
//! themselves, not from a quota's status, and whoever is let in holds a turn until it is settled: two writes that would each fit
//! cannot slip in together.

use std::sync::Arc;

use jiff::Timestamp;
use objects::{
    kinds::{self, Kind, KindRef},
    quota,
    resources::{Amounts, add},
};
use serde_json::Value;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{Registry, meta, parse};
use crate::status::Failure;

/// Turns: namespaces that share one wait for each other, which costs them time and nothing else.
const TURNS: usize = 16;

/// Lets writes of namespaces with quotas in one after the other.
#[derive(Debug, Default)]
pub(super) struct Turns([Arc<Mutex<()>>; TURNS]);

/// The turn of a write: it ends when the last handle goes, which is the store's.
pub(super) type Turn = Arc<OwnedMutexGuard<()>>;

impl Turns {
    async fn of(&self, namespace: &str) -> Option<Turn> {
        let sum = namespace.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        match self.0.get(sum % TURNS) {
            Some(turn) => Some(Arc::new(turn.clone().lock_owned().await)),
            None => None,
        }
    }
}

/// One quota, and what is used of it.
struct Limit {
    name: String,
    quota: Value,
    hard: Amounts,
    used: Amounts,
}

/// What a write must fit into.
#[derive(Default)]
pub(super) struct Limits(Vec<Limit>);

impl Limits {
    /// Whether `next` fits, where there is `current` now.
    ///
    /// # Errors
    /// 403 naming the quota, and what of it is exceeded or not said.
    pub fn check(&self, kind: &Kind, current: Option<&Value>, next: &Value) -> Result<(), Failure> {
        let now = Timestamp::now();
        let refused = |why: String| Err(Failure::forbidden(kind, meta::text(next, "name"), &why));
        for limit in self.0.iter().filter(|limit| quota::is_about(&limit.quota, kind, next)) {
            if let (None, Some(missing)) = (current, quota::missing(&limit.hard, kind, next)) {
                return refused(format!("failed quota: {}: {missing}", limit.name));
            }
            let mut more = quota::usage(kind, next, now);
            let before = current.filter(|current| quota::is_about(&limit.quota, kind, current));
            for (name, amount) in before.map(|current| quota::usage(kind, current, now)).unwrap_or_default() {
                if let Some(more) = more.get_mut(&name) {
                    let left = more.millis().saturating_sub(amount.millis());
                    *more = objects::quantity::Quantity::from_millis(left);
                }
            }
            if let Some(exceeded) = quota::exceeded(&limit.hard, &limit.used, &more) {
                return refused(format!("exceeded quota: {}, {exceeded}", limit.name));
            }
        }
        Ok(())
    }
}

impl Registry {
    /// The limits of a write of this kind and, while there are any, the turn to hold until it is settled.
    pub(super) async fn limits(&self, kind: &KindRef, namespace: &str) -> (Option<Turn>, Limits) {
        let Some(quotas) = kinds::by_kind("", "v1", "ResourceQuota") else { return Default::default() };
        let is_event = kind.kind == "Event" && !kind.is_custom();
        if !kind.namespaced || is_event || self.concerned(quotas, kind, namespace).is_empty() {
            return Default::default();
        }
        let turn = self.turns.of(namespace).await;
        let mut limits = self.concerned(quotas, kind, namespace);
        let now = Timestamp::now();
        for (_, stored) in self.list(kind, namespace).objects {
            let Ok(object) = parse(&stored) else { continue };
            for limit in limits.iter_mut().filter(|limit| quota::is_about(&limit.quota, kind, &object)) {
                add(&mut limit.used, &quota::usage(kind, &object, now));
            }
        }
        (turn, Limits(limits))
    }

    /// The quotas of a namespace that count anything which objects of a kind use.
    fn concerned(&self, quotas: &Kind, kind: &Kind, namespace: &str) -> Vec<Limit> {
        if self.count(quotas) == 0 {
            return Vec::new();
        }
        let all = self.list(quotas, namespace).objects.into_iter();
        let read = all.filter_map(|(_, stored)| {
            let quota = parse(&stored).ok()?;
            let hard = quota::hard(&quota);
            let concerned = hard.keys().any(|name| quota::is_used_by(name, kind));
            let name = meta::text(&quota, "name").to_owned();
            concerned.then(|| Limit { name, quota, hard, used: Amounts::new() })
        });
        read.collect()
    }
}
