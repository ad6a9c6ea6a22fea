//! Lists: what they select, their pages, and deleting what a list holds.

use std::{convert::Infallible, vec};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::StreamBody;
use objects::kinds::KindRef;
use serde_json::{Value, json};

use super::{
    Answer,
    fairness::Lease,
    full,
    options::{ListOptions, Position, Version},
    respond::{Form, ListText},
    selection::Selection,
    verbs::Call,
};
use crate::{
    request::Query,
    status::Failure,
    store::{Key, Range, Snapshot, Stored},
};

/// Objects that are selected, or written out, before others have their turn.
const TURN: usize = 128;
/// Bytes of a list that are in memory at once.
const PIECE: usize = 256 * 1024;
/// Objects that a list, or the beginning of a watch, may look at without waiting for a seat.
pub(super) const LARGE: usize = 500;

impl Call<'_> {
    pub(super) async fn list(&self) -> Result<Answer, Failure> {
        let selection = Selection::of(&self.target, &self.query)?;
        let options = ListOptions::read(&self.query)?;
        let selects_all = selection.is_everything();
        let limit = if selects_all { options.limit } else { 0 };
        let cost = self.handler.registry.count(self.kind());
        let cost = if limit > 0 { cost.min(limit) } else { cost };
        let seat = if cost > LARGE { Some(self.handler.gate.seat(self.flow()).await?.lease()) } else { None };
        let snapshot = self.snapshot(&options, limit)?;
        let revision = snapshot.revision;
        let (items, last, remaining) = if selects_all {
            let last = snapshot.objects.last().map(|(key, _)| key.clone());
            (snapshot.objects.into_iter().map(|(_, stored)| stored).collect(), last, Some(snapshot.remaining))
        } else {
            let (items, last, is_more) = select(self.kind(), &selection, snapshot.objects, options.limit).await?;
            // With a selector nobody knows how many of the rest it selects.
            (items, last.filter(|_| is_more), None)
        };
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if let (Some(last), Some(map)) = (last.filter(|_| remaining != Some(0)), metadata.as_object_mut()) {
            map.insert("continue".to_owned(), Position::of(&last, revision).encode().into());
            map.extend(remaining.map(|count| ("remainingItemCount".to_owned(), count.into())));
        }
        self.listed(items, metadata, seat).await
    }

    /// The state that a list shows: the current one, the one its first page showed, or the one that is asked for exactly.
    fn snapshot(&self, options: &ListOptions, limit: usize) -> Result<Snapshot, Failure> {
        let registry = &self.handler.registry;
        let (store, resource) = (registry.store(), registry.resource(self.kind()));
        let namespace = self.target.namespace.as_str();
        let after = options.after.as_ref().map(|position| (position.namespace.as_str(), position.name.as_str()));
        let mut range = Range { namespace, after, limit, at: None };
        let current = store.revision();
        match options.version {
            Version::NotOlderThan(asked) | Version::Exact(asked) if asked > current => {
                return Err(Failure::too_large_version(asked, current));
            }
            Version::Exact(asked) => range.at = Some(asked),
            Version::Current | Version::NotOlderThan(_) => {}
        }
        if let Some(position) = &options.after {
            range.at = position.revision;
            let gone = || Failure::continue_expired(&position.inconsistent().encode());
            return store.range(&resource, &range).ok_or_else(gone);
        }
        let asked = range.at.unwrap_or_default();
        store.range(&resource, &range).ok_or_else(|| Failure::expired(asked, store.oldest(&resource)))
    }

    /// The answer: at once if it is small, else piece by piece as the client takes it.
    async fn listed(&self, items: Vec<Stored>, metadata: Value, seat: Option<Lease>) -> Result<Answer, Failure> {
        let (form, kind) = (Form::accepted(self.headers), self.kind().clone());
        let text = form.list_text(&kind, &self.query, &metadata)?;
        let items = items.into_iter();
        let mut list = List { form, kind, query: self.query.clone(), items, text, begun: false, ended: false, seat };
        let first = list.piece().unwrap_or_default();
        if list.ended {
            return Ok(json_answer(full(first)));
        }
        let start = futures::stream::once(async move { first });
        let rest = futures::stream::unfold(list, |mut list| async move {
            // Whoever asks for everything in a loop leaves turns to the others.
            tokio::task::yield_now().await;
            list.piece().map(|piece| (piece, list))
        });
        let frames = futures::StreamExt::map(futures::StreamExt::chain(start, rest), |piece| {
            Ok::<_, Infallible>(Frame::data(piece))
        });
        Ok(json_answer(super::whole(StreamBody::new(frames))))
    }

    pub(super) async fn delete_collection(self) -> Result<Answer, Failure> {
        let selection = Selection::of(&self.target, &self.query)?;
        let list_options = ListOptions::read(&self.query)?;
        let options = self.delete_options()?;
        let dry_run = self.is_dry(&options)?;
        let registry = &self.handler.registry;
        let snapshot = self.snapshot(&list_options, 0)?;
        let (items, _, _) = select(self.kind(), &selection, snapshot.objects, list_options.limit).await?;
        let mut gone = Vec::new();
        for stored in items {
            let object = crate::registry::parse(&stored)?;
            let own = |field| crate::registry::meta::text(&object, field);
            match registry.delete(self.kind(), own("namespace"), own("name"), options.clone(), dry_run).await {
                Ok(_) => gone.push(stored),
                // Somebody else was quicker: it is gone, which is what was asked for.
                Err(failure) if failure.code == StatusCode::NOT_FOUND => {}
                Err(failure) => return Err(failure),
            }
        }
        let metadata = json!({"resourceVersion": registry.store().revision().to_string()});
        self.listed(gone, metadata, None).await
    }
}

/// The objects that are selected, at most `limit` (0 is all), the last of them, and whether there are more.
async fn select(
    kind: &KindRef,
    selection: &Selection,
    objects: Vec<(Key, Stored)>,
    limit: usize,
) -> Result<(Vec<Stored>, Option<Key>, bool), Failure> {
    let (mut items, mut last) = (Vec::new(), None);
    for (index, (key, stored)) in objects.into_iter().enumerate() {
        if index % TURN == TURN - 1 {
            tokio::task::yield_now().await;
        }
        if !selection.selects(kind, &stored)? {
            continue;
        }
        if limit > 0 && items.len() == limit {
            return Ok((items, last, true));
        }
        items.push(stored);
        last = Some(key);
    }
    Ok((items, last, false))
}

/// A list that is being written out.
struct List {
    form: Form,
    kind: KindRef,
    query: Query,
    items: vec::IntoIter<Stored>,
    text: ListText,
    begun: bool,
    ended: bool,
    /// Held until the last byte is written, if that does not take long.
    seat: Option<Lease>,
}

impl List {
    /// The next piece; `None` after the last.
    fn piece(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut piece = Vec::new();
        let mut is_first = !self.begun;
        if !std::mem::replace(&mut self.begun, true) {
            piece.extend_from_slice(&self.text.head);
        }
        for _ in 0..TURN {
            let Some(stored) = self.items.next() else {
                piece.extend_from_slice(self.text.tail);
                self.ended = true;
                self.seat = None;
                break;
            };
            if !std::mem::replace(&mut is_first, false) {
                piece.push(b',');
            }
            if let Err(failure) = self.form.list_item(&self.kind, &self.query, &stored, &mut piece) {
                // The store checks at the start that all it holds is JSON.
                tracing::error!("an object of {} cannot be listed: {}", self.kind.plural, failure.message);
                piece.extend_from_slice(b"null");
            }
            if piece.len() >= PIECE {
                break;
            }
        }
        Some(piece.into())
    }
}

fn json_answer(body: super::Body) -> Answer {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
