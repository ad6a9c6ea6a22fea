//! From proposals of metrics to a count, without a word about it: the part of a decision that is arithmetic alone.

use crate::{
    Moment,
    behavior::Bounds,
    decide::{Autoscaler, Demand},
    history::History,
    metrics::Metric,
    predict::Forecast,
    replicas::{CannotTell, Proposal},
};

impl Autoscaler {
    /// The count after one look, without a word about it: for who has proposals and wants counts by the million, as a
    /// simulation does. It is what `decide` comes to.
    pub fn count(
        &self,
        proposals: &[Result<Proposal, CannotTell>],
        current: i32,
        (demand, forecast): (Demand, &Forecast),
        history: &mut History,
        now: Moment,
    ) -> i32 {
        history.observe(current, now);
        let Bounds { min, max } = self.bounds;
        let asleep = current == 0 && (min != 0 || self.metrics.iter().all(Metric::is_of_pods));
        if asleep {
            return current;
        }
        if current > max {
            return max;
        }
        if current < min {
            return min;
        }
        let highest = highest(proposals, current).map(|(_, wanted)| wanted);
        self.wanted(highest, current, demand, forecast)
            .map_or(current, |wanted| self.normalize(history, current, wanted, now.steady).limited.replicas)
    }

    /// What is wanted by the metrics, in view of who waits and of what is ahead; `None` if nobody can say.
    pub(crate) fn wanted(
        &self,
        highest: Option<i32>,
        current: i32,
        demand: Demand,
        forecast: &Forecast,
    ) -> Option<i32> {
        let by_metrics = highest.map(|highest| self.by_demand(highest, current, demand));
        let raised = forecast.raise(by_metrics.unwrap_or(current), self.tolerances.up);
        by_metrics.map(|_| raised).or((raised > current).then_some(raised))
    }
}

/// The metric with the highest proposal, and that; `None` where a metric is invalid and the others would lower the count, or all
/// are.
pub(crate) fn highest(proposals: &[Result<Proposal, CannotTell>], current: i32) -> Option<(usize, i32)> {
    let (mut best, mut invalid) = ((0, 0), 0);
    for (index, proposal) in proposals.iter().enumerate() {
        match proposal {
            Ok(proposal) if best.1 == 0 || proposal.replicas > best.1 => best = (index, proposal.replicas),
            Ok(_) => {}
            Err(_) => invalid += 1,
        }
    }
    (invalid == 0 || (invalid < proposals.len() && best.1 >= current)).then_some(best)
}
