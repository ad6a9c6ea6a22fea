//! Many watchers of one resource are told together.
//!
//! A write that is told to a thousand clients one by one would cost a thousand wakings and a thousand times the same text. So those
//! who watch a resource from outside are woken in rounds: the first change at once, and after a round the next one waits for a
//! moment that grows with how many are woken. What happens meanwhile goes out together, in a text that is made once for all who see
//! the same of it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::watch, time::sleep};
use tokio_util::task::AbortOnDropHandle;

use super::view::{News, View};

/// What one waking may cost, shared by all who watch a resource: so many of them wait so much longer for the next. To wake a client
/// that has been idle and send it what is new takes about a fifteenth of this, so that telling all of them takes no more than that of
/// a core, however much changes.
const WAKING: Duration = Duration::from_micros(400);
/// Below this nobody waits, above the other nobody waits longer.
const PAUSES: (Duration, Duration) = (Duration::from_millis(8), Duration::from_millis(500));
/// Texts that are kept of one resource: clients that take theirs promptly all want the last one of their view.
const KEPT: usize = 8;

/// The rounds of every resource that is watched from outside.
#[derive(Default)]
pub(in crate::http) struct Rounds(Mutex<HashMap<Arc<str>, Weak<Round>>>);

/// The rounds of one resource; they end with the last who waits for them.
pub(super) struct Round {
    turn: watch::Sender<()>,
    shared: Mutex<Shared>,
    _pacer: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// Views of present watchers.
    views: Vec<Weak<View>>,
    /// The last texts, each with its view and the revision that it begins after.
    made: VecDeque<(Arc<View>, u64, News)>,
}

impl Rounds {
    /// The rounds of a resource, of whose changes `changes` tells.
    pub(super) fn of(&self, resource: &Arc<str>, changes: watch::Receiver<u64>) -> Arc<Round> {
        let mut rounds = lock(&self.0);
        if let Some(round) = rounds.get(resource).and_then(Weak::upgrade) {
            return round;
        }
        rounds.retain(|_, round| round.strong_count() > 0);
        let round = Arc::new_cyclic(|round| Round {
            turn: watch::Sender::new(()),
            shared: Mutex::default(),
            _pacer: AbortOnDropHandle::new(tokio::spawn(pace(changes, round.clone()))),
        });
        rounds.insert(resource.clone(), Arc::downgrade(&round));
        round
    }
}

/// Begins a round when something has changed, and waits after each.
async fn pace(mut changes: watch::Receiver<u64>, round: Weak<Round>) {
    // What changed before the first watcher came, it reads by itself.
    while changes.changed().await.is_ok() {
        let Some(round) = round.upgrade() else { return };
        round.turn.send_replace(());
        let pause = pause(round.turn.receiver_count());
        drop(round);
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
}

/// How long after a round the next one waits.
fn pause(watchers: usize) -> Duration {
    let pause = WAKING.saturating_mul(u32::try_from(watchers).unwrap_or(u32::MAX));
    let (least, most) = PAUSES;
    if pause < least { Duration::ZERO } else { pause.min(most) }
}

impl Round {
    /// Who waits here is told that there may be something new.
    pub fn turns(&self) -> watch::Receiver<()> {
        self.turn.subscribe()
    }

    /// The view that others have as well, if anybody has.
    pub fn share(&self, view: Arc<View>) -> Arc<View> {
        let mut shared = lock(&self.shared);
        let mut same = None;
        shared.views.retain(|other| {
            let other = other.upgrade();
            if same.is_none() {
                same = other.clone().filter(|other| other.is_like(&view));
            }
            other.is_some()
        });
        same.unwrap_or_else(|| {
            shared.views.push(Arc::downgrade(&view));
            view
        })
    }

    /// What happened after a revision, made once for all who share a view.
    pub(super) fn news(&self, view: &Arc<View>, after: u64, make: impl FnOnce() -> News) -> News {
        // Who is alone with its view has nobody to share with: one is its own.
        if !view.is_shared() || Arc::strong_count(view) == 1 {
            return make();
        }
        let is_it = |(of, from, _): &&(Arc<View>, u64, News)| *from == after && Arc::ptr_eq(of, view);
        if let Some((_, _, news)) = lock(&self.shared).made.iter().rev().find(is_it) {
            return news.clone();
        }
        // Not under the lock: at worst it is made twice.
        let news = make();
        // Where nothing has changed yet, something may have by the next time that somebody asks.
        if news.changes > 0 {
            let mut shared = lock(&self.shared);
            let dropped = if shared.made.len() >= KEPT { shared.made.pop_front() } else { None };
            shared.made.push_back((view.clone(), after, news.clone()));
            drop(shared);
            drop(dropped);
        }
        news
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use objects::kinds;
    use tokio::time::Instant;

    use super::*;
    use crate::{
        http::{respond::Form, selection::Selection},
        request::Query,
    };

    fn view(namespace: &str) -> Arc<View> {
        let kind = kinds::by_kind("", "v1", "ConfigMap").unwrap().into();
        let (selection, query) = (Selection::default(), Query::default());
        Arc::new(View { kind, namespace: namespace.to_owned(), selection, form: Form::Whole, query })
    }

    fn news(text: &'static str, changes: usize) -> News {
        News { text: text.into(), until: 9, events: 1, changes, over: false }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_told_at_once_and_those_right_after_it_together() {
        let (changes, told) = (watch::Sender::new(0), Rounds::default());
        let round = told.of(&"/things".into(), changes.subscribe());
        let mut all: Vec<_> = (0..500).map(|_| round.turns()).collect();
        let first = all.first_mut().unwrap();
        let start = Instant::now();
        changes.send_replace(1);
        first.changed().await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
        for revision in 2..10 {
            changes.send_replace(revision);
            tokio::task::yield_now().await;
        }
        first.changed().await.unwrap();
        assert_eq!(start.elapsed(), WAKING * 500);
        assert!(!first.has_changed().unwrap());
    }

    #[test]
    fn few_do_not_wait_and_nobody_waits_long() {
        assert_eq!((pause(10), pause(100)), (Duration::ZERO, WAKING * 100));
        assert_eq!((pause(5_000), pause(usize::MAX)), (PAUSES.1, PAUSES.1));
    }

    #[tokio::test]
    async fn a_text_is_made_once_for_those_who_see_the_same() {
        let (changes, told) = (watch::Sender::new(0), Rounds::default());
        let round = told.of(&"/things".into(), changes.subscribe());
        let (one, two, other) = (round.share(view("")), round.share(view("")), round.share(view("n")));
        assert!(Arc::ptr_eq(&one, &two) && !Arc::ptr_eq(&one, &other));
        let text = |view: &Arc<View>, after, text| round.news(view, after, || news(text, 1)).text;
        assert_eq!((text(&one, 1, "a"), text(&two, 1, "b")), ("a".into(), "a".into()));
        assert_eq!((text(&two, 2, "c"), text(&other, 1, "d")), ("c".into(), "d".into()));
        // Nobody keeps what one alone has seen, and nothing is kept of nothing.
        assert_eq!(text(&other, 1, "e"), "e");
        round.news(&one, 9, || news("", 0));
        assert_eq!(text(&one, 9, "f"), "f");
        for after in 10..30 {
            text(&one, after, "g");
        }
        assert_eq!(lock(&round.shared).made.len(), KEPT);
    }

    #[tokio::test]
    async fn rounds_end_with_the_last_who_waits() {
        let (changes, told) = (watch::Sender::new(0), Rounds::default());
        let round = told.of(&"/things".into(), changes.subscribe());
        assert!(Arc::ptr_eq(&round, &told.of(&"/things".into(), changes.subscribe())));
        assert_eq!(changes.receiver_count(), 1, "one waits for the changes for all");
        drop(round);
        changes.closed().await;
        drop(told.of(&"/others".into(), changes.subscribe()));
        assert_eq!(lock(&told.0).len(), 1);
    }
}
