//! What one client wants to see of a resource, and how changes look to it.

use std::sync::Arc;

use bytes::Bytes;
use objects::kinds::KindRef;
use serde_json::{Value, json};

use crate::{
    http::{respond::Form, selection::Selection},
    registry::{meta, parse},
    request::Query,
    status::Failure,
    store::{Change, Store, Stored},
};

/// Bytes that are made before the client takes them, and changes that are read at once.
pub(super) const PIECE: usize = 64 * 1024;
const CHANGES: usize = 256;

/// What a client wants to see.
pub(in crate::http) struct View {
    pub kind: KindRef,
    /// Empty for all.
    pub namespace: String,
    pub selection: Selection,
    pub form: Form,
    pub query: Query,
}

/// The three sorts of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
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

/// What happened after some revision, as a view's clients are told it.
#[derive(Clone, Debug, Default)]
pub(super) struct News {
    /// The events, each a line.
    pub text: Bytes,
    /// Every change up to this revision is in it, or is nothing to these clients.
    pub until: u64,
    /// Events in the text.
    pub events: u64,
    /// Changes that were read for it; where there were none, there is nothing more to read.
    pub changes: usize,
    /// The last line is a failure: the client has to list again.
    pub over: bool,
}

impl View {
    /// Whether clients of both are told the same of every change.
    pub fn is_like(&self, other: &Self) -> bool {
        self.form == other.form
            && self.namespace == other.namespace
            && self.selection == other.selection
            && self.kind == other.kind
    }

    /// Whether what was made for one client is for others as well: a table says how old things are, and its columns only once.
    pub fn is_shared(&self) -> bool {
        self.form != Form::Table
    }

    pub fn selects(&self, stored: &Stored) -> Result<bool, Failure> {
        self.selection.selects(&self.kind, stored)
    }

    /// What happened after `after`: as much as fits into a piece, or may be read at once. `columns` is whether a table's columns are
    /// still to be told.
    pub(super) fn news(&self, store: &Store, resource: &Arc<str>, after: u64, columns: &mut bool) -> News {
        let Some(found) = store.changes(resource, after, CHANGES) else {
            // Too slow for the history, or from before it.
            let mut text = Vec::new();
            write_failure(&Failure::expired(after, store.oldest(resource)), &mut text);
            return News { text: text.into(), until: after, over: true, ..News::default() };
        };
        let (mut text, mut news) = (Vec::new(), News { until: found.until, ..News::default() });
        for change in &found.changes {
            if text.len() >= PIECE {
                break;
            }
            news.changes += 1;
            match self.push_change(change, columns, &mut text) {
                Ok(told) => news.events += u64::from(told),
                Err(failure) => {
                    write_failure(&failure, &mut text);
                    news.over = true;
                    break;
                }
            }
        }
        if let Some(last) =
            found.changes.get(..news.changes).and_then(<[_]>::last).filter(|_| news.changes < found.changes.len())
        {
            news.until = last.stored.revision;
        }
        news.text = text.into();
        news
    }

    /// Adds what a change is to this view, if it is anything.
    fn push_change(&self, change: &Change, columns: &mut bool, text: &mut Vec<u8>) -> Result<bool, Failure> {
        if !self.namespace.is_empty() && change.key.namespace != self.namespace {
            return Ok(false);
        }
        let before = match &change.previous {
            Some(previous) => self.selects(previous)?,
            None => false,
        };
        let now = self.selects(&change.stored)?;
        match (before, now, change.deleted) {
            (true, true, false) => self.push(Event::Modified, &change.stored, Some(change), columns, text)?,
            (false, true, false) => self.push(Event::Added, &change.stored, Some(change), columns, text)?,
            (true, _, true) => self.push(Event::Deleted, &change.stored, Some(change), columns, text)?,
            // It has left the selection, which to this client is its end: in the state in which it was last seen.
            (true, false, false) => {
                let Some(previous) = &change.previous else { return Ok(false) };
                self.push(Event::Deleted, &at(previous, change.stored.revision)?, None, columns, text)?;
            }
            (false, _, _) => return Ok(false),
        }
        Ok(true)
    }

    /// Adds an event; `change` is the one that it is of, if the event shows the state after it.
    pub(super) fn push(
        &self,
        event: Event,
        stored: &Stored,
        change: Option<&Change>,
        columns: &mut bool,
        text: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        if self.form.is_as_stored(&self.kind) {
            for part in [b"{\"type\":\"", event.name().as_bytes(), b"\",\"object\":", &stored.json, b"}\n"] {
                text.extend_from_slice(part);
            }
            return Ok(());
        }
        let with_columns = self.form == Form::Table && std::mem::take(columns);
        let make = || -> Result<Bytes, Failure> {
            let mut shown = self.form.object(&self.kind, &self.query, parse(stored)?);
            if let (Form::Table, false, Some(table)) = (self.form, with_columns, shown.as_object_mut()) {
                table.insert("columnDefinitions".to_owned(), json!([]));
            }
            let mut line = Vec::new();
            write_line(event.name(), &shown, &mut line);
            Ok(line.into())
        };
        let line = match change.filter(|_| self.is_shared() && self.kind.definition().is_none()) {
            Some(change) => {
                change.in_form(&format!("{} {} {:?}", event.name(), self.kind.api_version(), self.form), make)?
            }
            // A definition may have changed since this client began, and others see its objects in another way.
            None => make()?,
        };
        text.extend_from_slice(&line);
        Ok(())
    }

    /// Adds a bookmark.
    pub fn push_bookmark(&self, version: u64, annotations: Option<Value>, text: &mut Vec<u8>) {
        let version = version.to_string();
        let mut metadata = json!({"resourceVersion": version, "creationTimestamp": null});
        if let (Some(annotations), Some(map)) = (annotations, metadata.as_object_mut()) {
            map.insert("annotations".to_owned(), annotations);
        }
        let partial = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
        let object = match self.form {
            Form::Whole => json!({"kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": metadata}),
            Form::Metadata => partial,
            Form::Table => {
                let rows = json!([{"cells": [], "object": partial}]);
                json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": version},
                    "columnDefinitions": [], "rows": rows})
            }
        };
        write_line("BOOKMARK", &object, text);
    }
}

/// Adds what cannot be shown, and why.
pub(super) fn write_failure(failure: &Failure, text: &mut Vec<u8>) {
    write_line("ERROR", &failure.to_value(), text);
}

/// An earlier state of an object, under the revision of its last change.
fn at(stored: &Stored, revision: u64) -> Result<Stored, Failure> {
    let mut object = parse(stored)?;
    meta::set(&mut object, "resourceVersion", Some(revision.to_string().into()));
    Ok(Stored::new(revision, object.to_string().into_bytes().into()))
}

fn write_line(name: &str, object: &Value, text: &mut Vec<u8>) {
    text.extend_from_slice(json!({"type": name, "object": object}).to_string().as_bytes());
    text.push(b'\n');
}
