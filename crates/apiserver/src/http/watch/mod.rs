//! Watches: one long answer, an event a line, from a revision on.
//!
//! A watch holds no queue: it remembers how far its client is, and reads the store's history when the client takes more. One whose
//! client does not read costs nothing; it is told to list again if it comes back too late, and cut if it does not come back
//! (`crate::stall`). `view` is what a client sees, `rounds` is how many of them are told together.

mod rounds;
pub(super) mod socket;
mod view;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
    vec,
};

use bytes::Bytes;
use futures::{StreamExt, future::Either};
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::StreamBody;
use objects::kinds::{Kind, Kinds};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::WaitForCancellationFutureOwned;

use self::{
    rounds::Round,
    view::{Event, News, PIECE, write_failure},
};
pub(super) use self::{rounds::Rounds, view::View};
use super::{Answer, Handler, Origin, fairness::Lease, list::LARGE, metrics::Metrics, options::WatchOptions};
use crate::{
    registry::Registry,
    status::Failure,
    store::{Key, Range, Snapshot, Store, Stored, Watcher},
};

/// How often a watch that wants bookmarks gets one.
const BOOKMARK: Duration = Duration::from_secs(60);
/// How long before its end a watch gets a last one.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// The longest a watch lasts when the client names no time, as upstream's default minimum.
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// The longest that a client can ask for.
const FOREVER: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// Objects that are read at once of what there is at the start.
const PAGE: usize = 256;
/// The annotation that tells a client that it has seen everything there was at the start.
const INITIAL_END: &str = "k8s.io/initial-events-end";

/// What the client asked for.
pub(super) struct Request {
    pub view: View,
    pub options: WatchOptions,
    /// Where it came from; `None` is this process, whose clients end by themselves.
    pub origin: Option<Origin>,
}

/// What there was at the start and has not been sent. It is read page by page: a thousand clients that begin at once, or one that
/// is slow to read, do not keep it all.
struct Initial {
    revision: u64,
    page: vec::IntoIter<(Key, Stored)>,
    /// The last object that was taken of a page, if more come after this one.
    after: Option<Key>,
    is_last: bool,
    /// It costs what a list does.
    _seat: Option<Lease>,
}

impl Initial {
    fn new(snapshot: Snapshot, seat: Option<Lease>) -> Self {
        let Snapshot { revision, objects, remaining } = snapshot;
        Self { revision, page: objects.into_iter(), after: None, is_last: remaining == 0, _seat: seat }
    }

    /// Reads the next page, of the state that the first was of; whether that can still be told.
    fn turn(&mut self, store: &Store, resource: &Arc<str>, namespace: &str) -> bool {
        let after = self.after.as_ref().map(|key| (key.namespace.as_str(), key.name.as_str()));
        let range = Range { namespace, after, limit: PAGE, at: Some(self.revision) };
        let Some(snapshot) = store.range(resource, &range) else { return false };
        self.is_last = snapshot.remaining == 0;
        self.page = snapshot.objects.into_iter();
        true
    }
}

/// Whether a kind is still what it was when a watch of it began. A watch sees objects as its kind had them then, and one that went on
/// after the definition was changed would not show new fields: it ends, as upstream's do, and its client goes on where it was.
struct Kept {
    registry: Arc<Registry>,
    /// What was served when it was last looked at.
    kinds: Option<Arc<Kinds>>,
}

impl Kept {
    /// Whether what is now served under the kind's name is something else, or its version is not served any more and others are. That
    /// nothing is, is no reason to end: what was deleted is still to be told.
    fn is_outdated(&mut self, kind: &Kind) -> bool {
        let kinds = self.registry.kinds();
        if !kind.is_custom() || self.kinds.as_ref().is_some_and(|known| Arc::ptr_eq(known, &kinds)) {
            return false;
        }
        let print = |kind: &Kind| kind.definition().map(|definition| definition.fingerprint);
        let served = kinds.by_resource(kind.group, kind.version, kind.plural);
        let is_other = |other: &Arc<Kind>| (other.group, other.plural) == (kind.group, kind.plural);
        let outdated = match served {
            Some(served) => print(&served) != print(kind),
            None => kinds.defined().iter().any(is_other),
        };
        self.kinds = Some(kinds);
        outdated
    }
}

/// What wakes a watch.
enum Wakes {
    /// Each change: in this process a waking costs little, and controllers wait for each other.
    Changes(watch::Receiver<u64>),
    /// Together with others.
    Rounds(watch::Receiver<()>, Arc<Round>),
}

pub(super) struct Watch {
    store: Store,
    resource: Arc<str>,
    view: Arc<View>,
    options: WatchOptions,
    metrics: Arc<Metrics>,
    kept: Kept,
    initial: Option<Initial>,
    /// The bookmark after it is due.
    mark: bool,
    /// Every change up to here has been sent, or is none to this client.
    seen: u64,
    wakes: Wakes,
    /// Its place among those who are counted.
    _watcher: Watcher,
    stopped: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    end: Instant,
    bookmark: Option<Instant>,
    /// When something is due even if nothing changes.
    due: Pin<Box<Sleep>>,
    /// Nothing comes after what has been made.
    over: bool,
    /// Table clients get the columns with the first event only.
    columns: bool,
}

/// Begins a watch.
///
/// # Errors
/// 504 when it is to begin with a state that there is not yet; 429 when it is to begin with a large one, and too many are.
pub(super) async fn begin(handler: &Handler, request: Request) -> Result<Watch, Failure> {
    let Request { view, options, origin } = request;
    let (flow, stop) = origin.map(|origin| (origin.connection, origin.stop)).unzip();
    let registry = &handler.registry;
    let seat = if options.initial && registry.count(&view.kind) > LARGE {
        Some(handler.gate.seat(flow).await?.lease())
    } else {
        None
    };
    let (store, resource) = (registry.store().clone(), registry.resource(&view.kind));
    // Before the first read, so that no change falls between them.
    let watcher = store.watch(&resource);
    let view = Arc::new(view);
    let (wakes, view) = if stop.is_none() {
        (Wakes::Changes(watcher.changes()), view)
    } else {
        let round = handler.rounds.of(&resource, watcher.changes());
        let view = round.share(view);
        (Wakes::Rounds(round.turns(), round), view)
    };
    let now = Instant::now();
    let current = store.revision();
    if options.at_least > current {
        return Err(Failure::too_large_version(options.at_least, current));
    }
    let (initial, seen) = if options.initial {
        let range = Range { namespace: &view.namespace, limit: PAGE, ..Range::default() };
        // What there is now can always be told.
        let first = store.range(&resource, &range);
        let first = first.unwrap_or(Snapshot { revision: current, objects: Vec::new(), remaining: 0 });
        let revision = first.revision;
        (Some(Initial::new(first, seat)), revision)
    } else {
        (None, options.after.unwrap_or(current))
    };
    let end = now + options.seconds.map_or(LONGEST, |seconds| Duration::from_secs(seconds).min(FOREVER));
    let metrics = handler.metrics.clone();
    metrics.watches.fetch_add(1, Ordering::Relaxed);
    let mut watch = Watch {
        store,
        resource,
        view,
        options,
        metrics,
        kept: Kept { registry: registry.clone(), kinds: None },
        initial,
        mark: options.marks_initial,
        seen,
        wakes,
        _watcher: watcher,
        stopped: stop.map(|stop| Box::pin(stop.cancelled_owned())),
        end,
        bookmark: None,
        due: Box::pin(sleep_until(end)),
        over: false,
        columns: true,
    };
    watch.plan_bookmark(now);
    Ok(watch)
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.metrics.watches.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Wakes {
    /// Changes from now on are new.
    fn rest(&mut self) {
        match self {
            Self::Changes(changes) => changes.mark_unchanged(),
            Self::Rounds(turns, _) => turns.mark_unchanged(),
        }
    }

    /// Resolves when there may have been a change since the last [`Self::rest`].
    async fn next(&mut self) {
        let woken = match self {
            Self::Changes(changes) => changes.changed().await,
            Self::Rounds(turns, _) => turns.changed().await,
        };
        if woken.is_err() {
            // Nothing changes any more; whatever else ends the watch still does.
            std::future::pending::<()>().await;
        }
    }
}

impl Watch {
    /// The answer that it is.
    pub(super) fn into_answer(self) -> Answer {
        let pieces = futures::stream::unfold(self, |mut watch| async move {
            let piece = watch.next().await;
            piece.map(|piece| (piece, watch))
        });
        let frames = pieces.map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
        let mut response = Response::new(super::whole(StreamBody::new(frames)));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    /// The next events, each a line; `None` at the end. Nothing is lost if it is dropped before it is ready.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.wakes.rest();
            let piece = self.make();
            if !piece.is_empty() {
                return Some(piece);
            }
            if self.over {
                return None;
            }
            if self.initial.is_some() {
                // A page of which nothing is selected; the others have their turn before the next.
                tokio::task::yield_now().await;
                continue;
            }
            self.wait().await;
        }
    }

    /// Until there may be something to send.
    async fn wait(&mut self) {
        let due = self.bookmark.map_or(self.end, |bookmark| bookmark.min(self.end));
        if self.due.deadline() != due {
            self.due.as_mut().reset(due);
        }
        let stopped = match &mut self.stopped {
            Some(stopped) => Either::Left(stopped.as_mut()),
            None => Either::Right(std::future::pending()),
        };
        tokio::select! {
            biased;
            () = self.wakes.next() => {}
            () = self.due.as_mut() => self.over = Instant::now() >= self.end,
            () = stopped => self.over = true,
        }
    }

    /// What can be sent now.
    fn make(&mut self) -> Bytes {
        let mut piece = self.start();
        if self.initial.is_some() {
            return piece;
        }
        if piece.is_empty() && !self.over {
            piece = self.news();
        }
        if piece.is_empty() && !self.over && self.bookmark.is_some_and(|due| due <= Instant::now()) {
            let mut text = Vec::new();
            self.push_bookmark(false, &mut text);
            return text.into();
        }
        piece
    }

    /// What there was at the start, as far as it has not been sent: of one page at most.
    fn start(&mut self) -> Bytes {
        let mut text = Vec::new();
        while let Some(initial) = self.initial.as_mut().filter(|_| text.len() < PIECE && !self.over) {
            let Some((key, stored)) = initial.page.next() else {
                if initial.is_last {
                    self.initial = None;
                } else if !initial.turn(&self.store, &self.resource, &self.view.namespace) {
                    // Too slow for the history.
                    let oldest = self.store.oldest(&self.resource);
                    write_failure(&Failure::expired(initial.revision, oldest), &mut text);
                    self.over = true;
                }
                break;
            };
            initial.after = Some(key);
            let pushed = self.view.selects(&stored).and_then(|selected| {
                if selected {
                    self.view.push(Event::Added, &stored, None, &mut self.columns, &mut text)?;
                    self.metrics.events.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
            if let Err(failure) = pushed {
                // What cannot be shown is said, and the client lists again.
                write_failure(&failure, &mut text);
                self.over = true;
            }
        }
        if self.mark && !self.over && self.initial.is_none() {
            self.mark = false;
            self.push_bookmark(true, &mut text);
        }
        text.into()
    }

    /// What has happened since.
    fn news(&mut self) -> Bytes {
        if self.kept.is_outdated(&self.view.kind) {
            self.over = true;
            return Bytes::new();
        }
        loop {
            let (view, store, resource, after) = (&self.view, &self.store, &self.resource, self.seen);
            let mut make = || view.news(store, resource, after, &mut self.columns);
            let News { text, until, events, changes, over } = match &self.wakes {
                Wakes::Rounds(_, round) => round.news(view, after, make),
                Wakes::Changes(_) => make(),
            };
            (self.seen, self.over) = (until, over);
            if !text.is_empty() || changes == 0 {
                self.metrics.events.fetch_add(events, Ordering::Relaxed);
                return text;
            }
        }
    }

    fn plan_bookmark(&mut self, now: Instant) {
        let last = self.end.checked_sub(LAST_BOOKMARK).filter(|last| *last > now);
        let next = now + BOOKMARK;
        self.bookmark = self.options.bookmarks.then(|| last.map_or(next, |last| next.min(last)));
    }

    fn push_bookmark(&mut self, initial_end: bool, text: &mut Vec<u8>) {
        self.plan_bookmark(Instant::now());
        let annotations = initial_end.then(|| json!({INITIAL_END: "true"}));
        self.view.push_bookmark(self.seen, annotations, text);
    }
}
