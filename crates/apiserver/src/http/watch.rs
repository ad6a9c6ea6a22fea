//! Watches: one long answer, an event a line, from a revision on.
//!
//! A watch holds no queue: it remembers how far its client is, and reads the store's history when the client takes more. One whose
//! client does not read costs nothing, and is told to list again if it comes back too late. Where many watch the same resource
//! each waits a moment after it has been sent something, so that what happens meanwhile goes out together: a write that is told to
//! a thousand clients one by one would cost a thousand wakings.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::Duration,
    vec,
};

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use objects::kinds::KindRef;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Answer, metrics::Metrics, options::WatchOptions, respond::Form, selection::Selection};
use crate::{
    registry::{Registry, meta, parse},
    request::{Query, Target},
    status::Failure,
    store::{Change, Key, Store, Stored, Watcher},
};

/// How often a watch that wants bookmarks gets one.
const BOOKMARK: Duration = Duration::from_secs(60);
/// How long before its end a watch gets a last one.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// The longest a watch lasts when the client names no time, as upstream's default minimum.
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// The annotation that tells a client that it has seen everything there was at the start.
const INITIAL_END: &str = "k8s.io/initial-events-end";
/// What one waking may cost, shared by all who watch a resource: so many of them wait so much longer for the next.
const WAKING: Duration = Duration::from_micros(100);
/// Below this nobody waits, above the other nobody waits longer.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));
/// Bytes that are made before the client takes them, and changes that are read at once.
const PIECE: usize = 256 * 1024;
const CHANGES: usize = 256;

/// What the client asked for.
pub(super) struct Request {
    pub selection: Selection,
    pub options: WatchOptions,
    pub form: Form,
    pub query: Query,
    /// The server ends; `None` in this process, whose clients end by themselves.
    pub stop: Option<CancellationToken>,
    pub metrics: Arc<Metrics>,
}

/// The three sorts of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Added,
    Modified,
    Deleted,
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

pub(super) struct Watch {
    store: Store,
    resource: Arc<str>,
    kind: KindRef,
    namespace: String,
    request: Request,
    /// What there was at the start and has not been sent.
    initial: vec::IntoIter<(Key, Stored)>,
    /// The bookmark after it is due.
    mark: bool,
    /// Changes that have been read and not sent.
    pending: VecDeque<Arc<Change>>,
    /// Every change up to here has been read.
    seen: u64,
    watcher: Watcher,
    end: Instant,
    bookmark: Option<Instant>,
    /// When the client was sent something last.
    sent: Option<Instant>,
    /// Nothing comes after what has been made.
    over: bool,
    /// Table clients get the columns with the first event only.
    columns_sent: bool,
}

/// Begins a watch.
///
/// # Errors
/// 504 when it is to begin with a state that there is not yet.
pub(super) fn begin(registry: &Registry, target: &Target, request: Request) -> Result<Watch, Failure> {
    let (store, resource) = (registry.store().clone(), registry.resource(&target.kind));
    // Before the first read, so that no change falls between them.
    let watcher = store.watch(&resource);
    let now = Instant::now();
    let current = store.revision();
    let options = request.options;
    if options.at_least > current {
        return Err(Failure::too_large_version(options.at_least, current));
    }
    let (initial, seen) = if options.initial {
        let snapshot = store.list(&resource, &target.namespace);
        (snapshot.objects, snapshot.revision)
    } else {
        (Vec::new(), options.after.unwrap_or(current))
    };
    let lasts = options.seconds.map_or(LONGEST, Duration::from_secs);
    let mut watch = Watch {
        kind: target.kind.clone(),
        namespace: target.namespace.clone(),
        initial: initial.into_iter(),
        mark: options.marks_initial,
        pending: VecDeque::new(),
        seen,
        watcher,
        end: now + lasts,
        bookmark: None,
        sent: None,
        over: false,
        columns_sent: false,
        request,
        resource,
        store,
    };
    watch.plan_bookmark(now);
    watch.request.metrics.watches.fetch_add(1, Ordering::Relaxed);
    Ok(watch)
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.request.metrics.watches.fetch_sub(1, Ordering::Relaxed);
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
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    /// The next events, each a line; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.watcher.rest();
            let piece = self.make();
            if !piece.is_empty() {
                self.sent = Some(Instant::now());
                return Some(piece.into());
            }
            if self.over {
                return None;
            }
            self.wait().await;
        }
    }

    /// Until there may be something to send.
    async fn wait(&mut self) {
        let stop = self.request.stop.clone();
        let stopped = async {
            match stop {
                Some(stop) => stop.cancelled_owned().await,
                None => std::future::pending().await,
            }
        };
        let pause = self.pause();
        let bookmark = self.bookmark.unwrap_or(self.end);
        let changed = async {
            self.watcher.changed().await;
            if let Some(until) = pause {
                tokio::time::sleep_until(until).await;
            }
        };
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep_until(self.end) => self.over = true,
            () = stopped => self.over = true,
            () = tokio::time::sleep_until(bookmark) => {}
        }
    }

    /// Until when the next event may wait for those after it.
    fn pause(&self) -> Option<Instant> {
        // In this process a waking costs little, and controllers wait for each other.
        self.request.stop.as_ref()?;
        let pause = WAKING.saturating_mul(u32::try_from(self.watcher.together()).unwrap_or(u32::MAX));
        let (least, most) = PAUSES;
        self.sent.filter(|_| pause >= least).map(|sent| sent + pause.min(most))
    }

    /// What can be sent now.
    fn make(&mut self) -> Vec<u8> {
        let mut piece = Vec::new();
        while piece.len() < PIECE && !self.over {
            if let Some((_, stored)) = self.initial.next() {
                self.take(&mut piece, |watch, piece| match watch.selects(&stored)? {
                    true => watch.push(Event::Added, &stored, None, piece),
                    false => Ok(()),
                });
            } else if std::mem::take(&mut self.mark) {
                self.push_bookmark(true, &mut piece);
            } else if let Some(change) = self.pending.pop_front() {
                self.take(&mut piece, |watch, piece| watch.push_change(&change, piece));
            } else if !self.read(&mut piece) {
                break;
            }
        }
        if piece.is_empty() && !self.over && self.bookmark.is_some_and(|due| due <= Instant::now()) {
            self.push_bookmark(false, &mut piece);
        }
        piece
    }

    /// Makes a part; what cannot be shown is said, and the client lists again.
    fn take(&mut self, piece: &mut Vec<u8>, make: impl FnOnce(&mut Self, &mut Vec<u8>) -> Result<(), Failure>) {
        if let Err(failure) = make(self, piece) {
            write_line("ERROR", &failure.to_value(), piece);
            self.over = true;
        }
    }

    /// Reads what has changed; whether there is anything.
    fn read(&mut self, piece: &mut Vec<u8>) -> bool {
        let Some(news) = self.store.changes(&self.resource, self.seen, CHANGES) else {
            // Too slow for the history, or from before it.
            let gone = Failure::expired(self.seen, self.store.oldest(&self.resource));
            write_line("ERROR", &gone.to_value(), piece);
            self.over = true;
            return true;
        };
        self.seen = news.until;
        self.pending.extend(news.changes);
        !self.pending.is_empty()
    }

    fn selects(&self, stored: &Stored) -> Result<bool, Failure> {
        self.request.selection.selects(&self.kind, stored)
    }

    fn push_change(&mut self, change: &Change, piece: &mut Vec<u8>) -> Result<(), Failure> {
        if !self.namespace.is_empty() && change.key.namespace != self.namespace {
            return Ok(());
        }
        let before = match &change.previous {
            Some(previous) => self.selects(previous)?,
            None => false,
        };
        let now = self.selects(&change.stored)?;
        match (before, now, change.deleted) {
            (true, true, false) => self.push(Event::Modified, &change.stored, Some(change), piece),
            (false, true, false) => self.push(Event::Added, &change.stored, Some(change), piece),
            (true, _, true) => self.push(Event::Deleted, &change.stored, Some(change), piece),
            // It has left the selection, which to this client is its end: in the state in which it was last seen.
            (true, false, false) => match &change.previous {
                Some(previous) => self.push(Event::Deleted, &at(previous, change.stored.revision)?, None, piece),
                None => Ok(()),
            },
            (false, _, _) => Ok(()),
        }
    }

    fn push(
        &mut self,
        event: Event,
        stored: &Stored,
        change: Option<&Change>,
        piece: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        self.request.metrics.events.fetch_add(1, Ordering::Relaxed);
        if self.request.form.is_as_stored(&self.kind) {
            for part in [b"{\"type\":\"", event.name().as_bytes(), b"\",\"object\":", &stored.json, b"}\n"] {
                piece.extend_from_slice(part);
            }
            return Ok(());
        }
        let with_columns = self.request.form == Form::Table && !std::mem::replace(&mut self.columns_sent, true);
        let (kind, form, query) = (&self.kind, self.request.form, &self.request.query);
        let make = || -> Result<Bytes, Failure> {
            let mut shown = form.object(kind, query, parse(stored)?);
            if let (Form::Table, false, Some(table)) = (form, with_columns, shown.as_object_mut()) {
                table.insert("columnDefinitions".to_owned(), json!([]));
            }
            let mut text = Vec::new();
            write_line(event.name(), &shown, &mut text);
            Ok(text.into())
        };
        let line = match change {
            // A table says how old things are: what was made for one client may be made long before it is another's turn.
            Some(change) if form != Form::Table => {
                change.in_form(&format!("{} {} {form:?}", event.name(), kind.api_version()), make)?
            }
            _ => make()?,
        };
        piece.extend_from_slice(&line);
        Ok(())
    }

    fn plan_bookmark(&mut self, now: Instant) {
        let last = self.end.checked_sub(LAST_BOOKMARK).filter(|last| *last > now);
        let next = now + BOOKMARK;
        self.bookmark = self.request.options.bookmarks.then(|| last.map_or(next, |last| next.min(last)));
    }

    fn push_bookmark(&mut self, initial_end: bool, piece: &mut Vec<u8>) {
        self.plan_bookmark(Instant::now());
        let version = self.seen.to_string();
        let mut metadata = json!({"resourceVersion": version, "creationTimestamp": null});
        if let (true, Some(map)) = (initial_end, metadata.as_object_mut()) {
            map.insert("annotations".to_owned(), json!({INITIAL_END: "true"}));
        }
        let partial = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
        let object = match self.request.form {
            Form::Whole => json!({"kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": metadata}),
            Form::Metadata => partial,
            Form::Table => {
                let rows = json!([{"cells": [], "object": partial}]);
                json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": version},
                    "columnDefinitions": [], "rows": rows})
            }
        };
        write_line("BOOKMARK", &object, piece);
    }
}

/// An earlier state of an object, under the revision of its last change.
fn at(stored: &Stored, revision: u64) -> Result<Stored, Failure> {
    let mut object = parse(stored)?;
    meta::set(&mut object, "resourceVersion", Some(revision.to_string().into()));
    Ok(Stored::new(revision, object.to_string().into_bytes().into()))
}

fn write_line(name: &str, object: &Value, piece: &mut Vec<u8>) {
    piece.extend_from_slice(json!({"type": name, "object": object}).to_string().as_bytes());
    piece.push(b'\n');
}
