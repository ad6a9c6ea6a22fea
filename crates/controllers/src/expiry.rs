//! Events are forgotten an hour after they last happened, as the upstream API server's `--event-ttl` does.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Preconditions},
};

use crate::runner::{gone_is_fine, is_conflict};

/// How long an event is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(1);
/// Events are looked through at most this often: they go in batches.
const SHORTEST: Duration = Duration::from_secs(60);
/// Events read at a time.
const PAGE: u32 = 500;

/// Runs until it is dropped.
pub(crate) async fn run(client: Client) {
    loop {
        let pause = match sweep(&client, Timestamp::now()).await {
            Ok(next) => pause(next, Timestamp::now()),
            Err(error) => {
                tracing::warn!("forget old events: {error}");
                SHORTEST
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Deletes what is too old; says when the next of the rest will be.
async fn sweep(client: &Client, now: Timestamp) -> Result<Option<Timestamp>, kube::Error> {
    let mut next: Option<Timestamp> = None;
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = Api::<Event>::all(client.clone()).list(&params).await?;
        for event in page.items {
            let end = end(&event, now);
            if end > now {
                next = Some(next.map_or(end, |next| next.min(end)));
                continue;
            }
            let api: Api<Event> = Api::namespaced(client.clone(), &event.namespace().unwrap_or_default());
            // One that happens again just now is not the one that was read.
            let preconditions = Some(Preconditions { uid: event.uid(), resource_version: event.resource_version() });
            let params = DeleteParams { preconditions, ..DeleteParams::default() };
            match api.delete(&event.name_any(), &params).await {
                Err(error) if is_conflict(&error) => {}
                other => gone_is_fine(other)?,
            }
        }
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            return Ok(next);
        }
    }
}

/// When an event is to be forgotten: an hour after the last of its times.
fn end(event: &Event, now: Timestamp) -> Timestamp {
    let times = [
        event.last_timestamp.as_ref().map(|time| time.0),
        event.first_timestamp.as_ref().map(|time| time.0),
        event.event_time.as_ref().map(|time| time.0),
        event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0),
        event.metadata.creation_timestamp.as_ref().map(|time| time.0),
    ];
    // A clock that was set back must not keep events for ever.
    let last = times.into_iter().flatten().max().unwrap_or(now).min(now);
    last.checked_add(KEPT).unwrap_or(Timestamp::MAX)
}

/// How long until the next look: nothing that happens from now on ends sooner than in an hour.
fn pause(next: Option<Timestamp>, now: Timestamp) -> Duration {
    let longest = Duration::try_from(KEPT).unwrap_or(SHORTEST);
    let until = next.map_or(longest, |next| Duration::try_from(next.duration_since(now)).unwrap_or_default());
    until.clamp(SHORTEST, longest)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn event(times: Value) -> Event {
        let mut event = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "involvedObject": {}});
        objects::patch::merge_patch(&mut event, &times);
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn an_event_is_kept_for_an_hour_after_it_last_happened() {
        let now = at("2026-01-01T12:00:00Z");
        assert_eq!(end(&event(json!({})), now), at("2026-01-01T01:00:00Z"));
        assert_eq!(end(&event(json!({"lastTimestamp": "2026-01-01T11:30:00Z"})), now), at("2026-01-01T12:30:00Z"));
        let series = json!({"series": {"lastObservedTime": "2026-01-01T11:40:00.000000Z"}});
        assert_eq!(end(&event(series), now), at("2026-01-01T12:40:00Z"));
        assert_eq!(end(&event(json!({"lastTimestamp": "2030-01-01T00:00:00Z"})), now), at("2026-01-01T13:00:00Z"));
    }

    #[test]
    fn the_next_look_is_when_the_next_event_ends_but_neither_at_once_nor_later_than_in_an_hour() {
        let now = at("2026-01-01T12:00:00Z");
        assert_eq!(pause(None, now), Duration::from_secs(3600));
        assert_eq!(pause(Some(at("2026-01-01T12:30:00Z")), now), Duration::from_secs(1800));
        assert_eq!(pause(Some(at("2026-01-01T12:00:01Z")), now), SHORTEST);
    }
}
