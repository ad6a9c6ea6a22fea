//! A guest book: a complete small service on the kit. `docs/services.md` walks through it.

#![allow(unused_qualifications, reason = "the macro that documents handlers writes them")]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::extract::State;
use garde::Validate;
use http::{HeaderMap, StatusCode, header};
use prometheus::IntCounter;
use serde::{Deserialize, Serialize};
use service::{
    Env, Service,
    audit::{self, Audit, Outcome},
    config::{ConfigError, Secret},
    extract::{ClientAddress, Json, Query},
    metrics,
    problem::{Answer, Problem},
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

/// What the service needs to know, from the environment.
struct Config {
    most: usize,
    age: Duration,
    key: Secret,
}

impl Config {
    fn read(env: &mut Env<'_>) -> Result<Self, ConfigError> {
        let most = env.or("GUESTBOOK_ENTRIES", 100);
        let age = env.seconds("GUESTBOOK_AGE_SECONDS", Duration::from_secs(3600));
        let key = env.required_secret("GUESTBOOK_KEY");
        if most == 0 {
            env.refuse("GUESTBOOK_ENTRIES", "a book needs a page");
        }
        env.done(|| Some(Self { most, age, key: key? }))
    }
}

/// What a guest writes.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewEntry {
    /// Who writes.
    #[garde(length(chars, min = 1, max = 50))]
    #[schema(min_length = 1, max_length = 50)]
    guest: String,
    /// What they say.
    #[garde(length(chars, min = 1, max = 500))]
    #[schema(min_length = 1, max_length = 500)]
    text: String,
}

/// What the book keeps.
#[derive(Clone, Serialize, ToSchema)]
struct Entry {
    /// Who wrote.
    guest: String,
    /// What they said.
    text: String,
    /// When (RFC 3339, UTC).
    #[schema(format = DateTime)]
    written: String,
}

/// Which entries are asked for.
#[derive(Deserialize, Validate, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Page {
    /// How many at most, the newest first; 20 if it does not say.
    #[garde(range(min = 1, max = 100))]
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
}

/// What the handlers share.
struct Book {
    config: Config,
    entries: Mutex<VecDeque<(jiff::Timestamp, Entry)>>,
    written: IntCounter,
}

impl Book {
    fn entries(&self) -> MutexGuard<'_, VecDeque<(jiff::Timestamp, Entry)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is older than entries may be at `now`.
    fn sweep(&self, now: jiff::Timestamp) {
        let old = |(at, _): &(jiff::Timestamp, Entry)| now.duration_since(*at).unsigned_abs() > self.config.age;
        let mut entries = self.entries();
        while entries.back().is_some_and(old) {
            entries.pop_back();
        }
    }
}

/// Reads the book.
#[utoipa::path(get, path = "/entries", params(Page), responses(
    (status = 200, description = "The newest entries", body = [Entry]),
))]
async fn read(State(book): State<Arc<Book>>, Query(page): Query<Page>) -> Json<Vec<Entry>> {
    let entries = book.entries();
    Json(entries.iter().take(page.limit.unwrap_or(20)).map(|(_, entry)| entry.clone()).collect())
}

/// Writes into the book. Only who has the key may.
#[utoipa::path(post, path = "/entries", request_body = NewEntry, security(("key" = [])), responses(
    (status = 201, description = "What was written", body = Entry),
    (status = 401, description = "The key is missing or wrong", body = Problem, content_type = "application/problem+json"),
))]
async fn write(
    State(book): State<Arc<Book>>,
    client: ClientAddress,
    headers: HeaderMap,
    Json(new): Json<NewEntry>,
) -> Answer<(StatusCode, Json<Entry>)> {
    let given = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()?.strip_prefix("Bearer "));
    let allowed = given.is_some_and(|given| book.config.key.matches(given));
    audit::record(&Audit {
        actor: "anonymous",
        action: "entry.write",
        object: "",
        outcome: if allowed { Outcome::Allowed } else { Outcome::Denied },
        reason: None,
        client: Some(client.0),
    });
    if !allowed {
        return Err(Problem::unauthorized("this needs the key of the book"));
    }
    let now = jiff::Timestamp::now();
    let entry = Entry { guest: new.guest, text: new.text, written: now.to_string() };
    let mut entries = book.entries();
    entries.push_front((now, entry.clone()));
    entries.truncate(book.config.most);
    book.written.inc();
    Ok((StatusCode::CREATED, Json(entry)))
}

/// Puts the service together.
fn guestbook(config: Config) -> prometheus::Result<Service> {
    let service = Service::new("guestbook", env!("CARGO_PKG_VERSION")).description("Guests write, everybody reads.");
    let written = IntCounter::new("guestbook_entries_written_total", "Entries written")?;
    let written = metrics::register(&service.registry(), written)?;
    let book = Arc::new(Book { config, entries: Mutex::default(), written });
    let sweeper = Arc::clone(&book);
    Ok(service
        .routes(OpenApiRouter::new().routes(routes!(read, write)).with_state(book))
        .bearer("key", "The book's key")
        .worker("sweeper", |stop| async move {
            let mut minute = tokio::time::interval(Duration::from_secs(60));
            while stop.run_until_cancelled(minute.tick()).await.is_some() {
                sweeper.sweep(jiff::Timestamp::now());
            }
        }))
}

fn main() -> std::io::Result<()> {
    service::run("guestbook", async |env, _start| Ok(guestbook(Config::read(env)?)?))
}
