//! The HTTP side: routes, what they take and answer. What surrounds every request (ids, logs, limits, drain) is the kit's.

#![allow(unused_qualifications, reason = "what utoipa's macros generate for query parameters is qualified")]

pub mod account;
pub mod admin;
pub mod answers;
pub mod auth;
pub mod document;
pub mod fields;
pub mod items;
pub mod menus;
pub mod metrics;
pub mod orders;
pub mod pictures;
pub mod staff;
pub mod views;

use std::sync::Arc;

use axum::middleware;
use jiff::{SignedDuration, Timestamp};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::metrics::Metrics;
use crate::{
    auth::{gate, guard::Guard, password::Passwords, sessions::Sessions, tokens::Tokens},
    cache::Cache,
    images::Images,
    seed::Making,
    store::{Store, StoreError},
};

/// What all handlers share. Clones are the same.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What [`App`] is made of.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// Checks passwords.
    pub passwords: Passwords,
    /// Where sessions are.
    pub sessions: Sessions,
    /// Issues access tokens.
    pub tokens: Tokens,
    /// Counts tries.
    pub guard: Guard,
    /// Answers kept ready.
    pub cache: Cache,
    /// Pictures.
    pub images: Images,
    /// What is counted.
    pub metrics: Metrics,
    /// For how long a session can be prolonged.
    pub session_lifetime: SignedDuration,
    /// The first admin, who may not be there yet.
    pub first_admin: Making,
}

impl App {
    /// An app of these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Checks passwords.
    pub fn passwords(&self) -> &Passwords {
        &self.0.passwords
    }

    /// Where sessions are.
    pub fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// Issues access tokens.
    pub fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// Counts tries.
    pub fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// Answers kept ready.
    pub fn cache(&self) -> &Cache {
        &self.0.cache
    }

    /// Pictures.
    pub fn images(&self) -> &Images {
        &self.0.images
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The first admin, who may not be there yet.
    pub fn first_admin(&self) -> &Making {
        &self.0.first_admin
    }

    /// The currency of all prices (ISO 4217), which the rules say.
    ///
    /// # Errors
    /// The database's.
    pub async fn currency(&self) -> Result<String, StoreError> {
        Ok(self.store().rules().await?.rules.currency.clone())
    }

    /// When a session that begins at `now` ends at the latest.
    pub fn session_end(&self, now: Timestamp) -> Timestamp {
        now.saturating_add(self.0.session_lifetime).unwrap_or(Timestamp::MAX)
    }
}

/// Every route, behind the gate, with its part of the OpenAPI document.
pub fn router(app: &App) -> OpenApiRouter {
    let router = OpenApiRouter::new()
        .routes(routes!(auth::register))
        .routes(routes!(auth::login))
        .routes(routes!(auth::refresh))
        .routes(routes!(auth::logout))
        .routes(routes!(account::show, account::change))
        .routes(routes!(account::change_password))
        .routes(routes!(menus::list, menus::create))
        .routes(routes!(menus::show, menus::change, menus::delete))
        .routes(routes!(items::list, items::create))
        .routes(routes!(items::show, items::change, items::delete))
        .routes(routes!(pictures::put, pictures::delete))
        .routes(routes!(pictures::show))
        .routes(routes!(orders::list, orders::place))
        .routes(routes!(orders::quote))
        .routes(routes!(orders::show))
        .routes(routes!(orders::cancel))
        .routes(routes!(staff::orders))
        .routes(routes!(staff::move_order))
        .routes(routes!(staff::stock, staff::set_stock))
        .routes(routes!(admin::list_users))
        .routes(routes!(admin::show_user, admin::appoint))
        .routes(routes!(admin::dead_letters))
        .routes(routes!(admin::requeue))
        .routes(routes!(admin::reports))
        .routes(routes!(admin::audit))
        .routes(routes!(admin::rules, admin::set_rules))
        // Much follows a change that is committed: sessions end, the menu is made anew, the audit log has its entry.
        .route_layer(middleware::from_fn(service::to_the_end))
        .route_layer(middleware::from_fn_with_state(app.clone(), gate::gate))
        .with_state(app.clone());
    document::complete(router)
}
