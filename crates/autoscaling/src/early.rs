//! Looks between two rounds, so that a step in load does not wait for the next one.
//!
//! A round comes every 15 s by default, and a step that comes just after one waits for the whole of it. So the figures are looked at
//! in between, too, and an autoscaler whose count would rise by them is decided for at once. Nothing else comes of such a look: what
//! would stay or fall is not even noted, so nothing falls earlier, and what is recommended, said and written is what rounds say.
//! Windows, policies, bounds, and which pods count are the same. Three things keep chance from being taken for demand:
//!
//! 1. An early look wants a tenth more above the target than the tolerance: a figure that wavers about its target is the rounds' alone.
//! 2. It changes nothing within ten seconds of another change, by whomever: figures are means of about that long, and are to show
//!    first what that one has brought.
//! 3. There is none in the last five seconds before a round: that one comes soon enough, and does not judge a change that was made a
//!    moment ago.
//!
//! So a count rises within five seconds of its figures' being that far above the target, whenever that is.

use std::time::Duration;

use jiff::SignedDuration;

use crate::{
    Moment, Tolerances,
    behavior::Select,
    decide::{Autoscaler, Demand, Reading, Scale, Seen},
    history::History,
    predict::Forecast,
    replicas::{CannotTell, Proposal},
};

/// From one early look to the next.
pub const EVERY: Duration = Duration::from_millis(2500);
/// Over how long figures of pods are the mean while they are looked at so often.
pub const WINDOW: Duration = Duration::from_secs(10);
/// So long before a round there is none any more.
const BEFORE_ROUND: Duration = Duration::from_secs(5);
/// So long after a change of the count nothing is changed early.
const AFTER_CHANGE: SignedDuration = SignedDuration::from_secs(10);
/// What a figure has to be above the target beyond the tolerance, as a share of the target.
const MARGIN: f64 = 0.1;

/// How long after a round there are early looks, given the time to the next round; none where rounds are that frequent themselves.
pub fn times(period: Duration) -> impl Iterator<Item = Duration> {
    let last = period.saturating_sub(BEFORE_ROUND);
    (1..).map(|number| EVERY * number).take_while(move |after| *after <= last)
}

impl Autoscaler {
    /// Whether an early look at it may change anything.
    pub fn may_rise_early(&self, scale: &Scale, history: &History, now: Moment) -> bool {
        let up = self.behavior.as_ref().is_none_or(|behavior| behavior.up.select != Select::Disabled);
        let rests = history.changed.is_some_and(|at| now.steady.saturating_sub(at) < AFTER_CHANGE);
        let within = scale.replicas > 0 && scale.replicas >= self.bounds.min && scale.replicas < self.bounds.max;
        up && within && !rests && history.seen == Some(scale.replicas)
    }

    /// Whether the count would rise now by what is seen early. Nothing is noted.
    pub fn rises_early(&self, seen: Seen<'_>, history: &History, now: Moment) -> bool {
        let Ok(pods) = seen.pods else { return false };
        if !self.may_rise_early(seen.scale, history, now) {
            return false;
        }
        let mut wary = self.clone();
        wary.tolerances = self.early_tolerances();
        let unread: Result<Reading, String> = Err(String::new());
        let reading = |index: usize| seen.readings.get(index).unwrap_or(&unread);
        let metrics = wary.metrics.iter().enumerate();
        let proposals: Vec<_> =
            metrics.map(|(index, metric)| wary.propose(metric, reading(index), seen.scale, pods, now)).collect();
        self.raises(&proposals, seen.scale.replicas, history, now)
    }

    /// The tolerances that proposals of an early look are made with.
    pub(crate) fn early_tolerances(&self) -> Tolerances {
        Tolerances { up: self.tolerances.up + MARGIN, ..self.tolerances }
    }

    /// Whether these proposals would raise the count.
    pub(crate) fn raises(
        &self,
        proposals: &[Result<Proposal, CannotTell>],
        current: i32,
        history: &History,
        now: Moment,
    ) -> bool {
        let nothing_ahead = (Demand::Unknown, &Forecast::Learning);
        self.count(proposals, current, nothing_ahead, &mut history.clone(), now) > current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_looks_leave_the_last_seconds_to_the_round() {
        let of =
            |seconds: u64| times(Duration::from_secs(seconds)).map(|after| after.as_secs_f64()).collect::<Vec<_>>();
        assert_eq!(of(15), [2.5, 5.0, 7.5, 10.0]);
        assert_eq!(of(8), [2.5]);
        assert!(of(5).is_empty() && of(1).is_empty(), "rounds that come often are soon enough");
    }
}
