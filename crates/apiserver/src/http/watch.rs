//! Watches: one long answer, an event a line, from a revision on.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use objects::kinds::Kind;
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use super::{Answer, respond::Form, selection::Selection};
use crate::{
    registry::{Registry, parse},
    request::{Query, Target},
    status::Failure,
    store::{Change, Store, Stored},
};

/// How often a quiet watch that wants bookmarks gets one.
const BOOKMARK: Duration = Duration::from_secs(60);
/// The longest a watch lasts when the client names no time, as upstream's default minimum.
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// The annotation that tells a client that it has seen everything there was at the start.
const INITIAL_END: &str = "k8s.io/initial-events-end";

/// What the client asked for.
pub(super) struct Options {
    after: Option<u64>,
    initial_events: bool,
    bookmarks: bool,
    lasts: Duration,
    form: Form,
    query: Query,
}

impl Options {
    pub(super) fn read(query: &Query, form: Form) -> Result<Self, Failure> {
        let asked = query.number::<u64>("resourceVersion")?.filter(|revision| *revision > 0);
        let initial_events = query.is_on("sendInitialEvents");
        let matching = query.get("resourceVersionMatch");
        if initial_events && matching != Some("NotOlderThan") {
            let why =
                "sendInitialEvents: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            return Err(Failure::bad_request(why));
        }
        if !initial_events && matching.is_some() {
            let why = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            return Err(Failure::bad_request(why));
        }
        let lasts = query.number("timeoutSeconds")?.filter(|seconds| *seconds > 0).map_or(LONGEST, Duration::from_secs);
        let bookmarks = query.is_on("allowWatchBookmarks");
        let after = if initial_events { None } else { asked };
        Ok(Self { after, initial_events, bookmarks, lasts, form, query: query.clone() })
    }
}

struct Watch {
    store: Store,
    resource: Arc<str>,
    kind: &'static Kind,
    namespace: String,
    selection: Selection,
    options: Options,
    /// Everything up to here has been sent.
    seen: u64,
    ticks: watch::Receiver<u64>,
    end: Instant,
    bookmark: Instant,
    ready: VecDeque<Bytes>,
    /// Table clients get the columns with the first event only.
    columns_sent: bool,
}

/// Starts a watch.
///
/// # Errors
/// 410 when the revision asked for is not remembered.
pub(super) fn start(
    registry: &Registry,
    target: &Target,
    selection: Selection,
    options: Options,
) -> Result<Answer, Failure> {
    let store = registry.store().clone();
    let now = Instant::now();
    let mut watch = Watch {
        resource: registry.resource(target.kind),
        kind: target.kind,
        namespace: target.namespace.clone(),
        selection,
        seen: options.after.unwrap_or_default(),
        // Subscribed before the first read, so that no change falls between them.
        ticks: store.ticks(),
        end: now + options.lasts,
        bookmark: now + BOOKMARK,
        ready: VecDeque::new(),
        columns_sent: false,
        options,
        store,
    };
    match watch.options.after {
        Some(after) if watch.store.changes(&watch.resource, after).is_none() => return Err(Failure::expired(after)),
        Some(_) => {}
        None => watch.initial()?,
    }
    let lines = futures::stream::unfold(watch, |mut watch| async move { watch.next().await.map(|line| (line, watch)) });
    let frames = lines.map(|line| Ok::<_, Infallible>(Frame::data(line)));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

impl Watch {
    /// Everything there is, as if it had just been added.
    fn initial(&mut self) -> Result<(), Failure> {
        let snapshot = self.store.list(&self.resource, &self.namespace);
        for (_, stored) in &snapshot.objects {
            if self.selects(stored)? {
                self.push("ADDED", stored)?;
            }
        }
        self.seen = snapshot.revision;
        if self.options.initial_events && self.options.bookmarks {
            self.push_bookmark(true);
        }
        Ok(())
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            self.ticks.mark_unchanged();
            if !self.collect() {
                // Too slow for the history: the client is told to list again, and the answer ends.
                return self.ready.pop_front();
            }
            if !self.ready.is_empty() {
                continue;
            }
            tokio::select! {
                changed = self.ticks.changed() => changed.ok()?,
                () = tokio::time::sleep_until(self.end) => return None,
                () = tokio::time::sleep_until(self.bookmark), if self.options.bookmarks => self.push_bookmark(false),
            }
        }
    }

    /// Takes over what has changed since; false if that is not remembered.
    fn collect(&mut self) -> bool {
        let Some(news) = self.store.changes(&self.resource, self.seen) else {
            let gone = Failure::expired(self.seen).to_value();
            self.ready.push_back(line("ERROR", &gone));
            // Nothing is newer than this: the next turn finds nothing and ends.
            self.end = Instant::now();
            self.seen = u64::MAX;
            return false;
        };
        for change in &news.changes {
            if !self.namespace.is_empty() && change.key.namespace != self.namespace {
                continue;
            }
            if let Err(failure) = self.push_change(change) {
                // What cannot be read cannot be shown: the client is told, and lists again.
                self.ready.push_back(line("ERROR", &failure.to_value()));
            }
        }
        self.seen = news.until;
        true
    }

    fn selects(&self, stored: &Stored) -> Result<bool, Failure> {
        Ok(self.selection.is_everything() || self.selection.matches(self.kind, &parse(stored)?))
    }

    fn push_change(&mut self, change: &Change) -> Result<(), Failure> {
        let before = match &change.previous {
            Some(previous) => self.selects(previous)?,
            None => false,
        };
        let now = self.selects(&change.stored)?;
        match (before, now, change.deleted) {
            (true, true, false) => self.push("MODIFIED", &change.stored),
            (false, true, false) => self.push("ADDED", &change.stored),
            // It is gone, or has left the selection, which is the same to this client: in the state that it has now.
            (true, _, _) => self.push("DELETED", &change.stored),
            (false, _, _) => Ok(()),
        }
    }

    fn push(&mut self, name: &str, stored: &Stored) -> Result<(), Failure> {
        if self.options.form.is_as_stored(self.kind) {
            let head = format!("{{\"type\":\"{name}\",\"object\":");
            self.ready.push_back([head.as_bytes(), &stored.json, b"}\n"].concat().into());
            return Ok(());
        }
        let mut shown = self.options.form.object(self.kind, &self.options.query, parse(stored)?);
        if self.options.form == Form::Table
            && std::mem::replace(&mut self.columns_sent, true)
            && let Some(table) = shown.as_object_mut()
        {
            table.insert("columnDefinitions".to_owned(), json!([]));
        }
        self.ready.push_back(line(name, &shown));
        Ok(())
    }

    fn push_bookmark(&mut self, initial_end: bool) {
        self.bookmark = Instant::now() + BOOKMARK;
        let mut metadata = json!({"resourceVersion": self.seen.to_string(), "creationTimestamp": null});
        if let (true, Some(map)) = (initial_end, metadata.as_object_mut()) {
            map.insert("annotations".to_owned(), json!({INITIAL_END: "true"}));
        }
        let object = match self.options.form {
            Form::Whole => json!({"kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": metadata}),
            Form::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            Form::Table => {
                let row = json!({"cells": [], "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}});
                json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": self.seen.to_string()},
                    "columnDefinitions": [], "rows": [row]})
            }
        };
        self.ready.push_back(line("BOOKMARK", &object));
    }
}

fn line(name: &str, object: &Value) -> Bytes {
    let mut text = json!({"type": name, "object": object}).to_string();
    text.push('\n');
    Bytes::from(text)
}
