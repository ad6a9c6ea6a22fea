//! A service: its routes, what it depends on, its metrics and background tasks, put together.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::Router;
use futures::future::BoxFuture;
use prometheus::Registry;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    health::{self, Ask, Check, Health},
    metrics::HttpMetrics,
    observe::{self, ObserveLayer, Shared},
    openapi,
    settings::Limits,
};

pub(crate) type Background = Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, ()> + Send>;

/// A service that is ready to be served.
pub(crate) struct Built {
    pub router: Router,
    pub shared: Arc<Shared>,
    pub background: Vec<(&'static str, Background)>,
}

/// A service, put together step by step and then served by [`crate::run`] or, in tests, by [`Service::serve`].
///
/// The paths `/health`, `/ready`, `/info`, `/metrics`, `/openapi.json` and `/docs` are the kit's.
pub struct Service {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    description: &'static str,
    schemes: Vec<(&'static str, &'static str)>,
    router: OpenApiRouter,
    checks: Vec<Check>,
    registry: Registry,
    pub(crate) background: Vec<(&'static str, Background)>,
    pub(crate) limits: Limits,
    times: Vec<(&'static str, Duration)>,
    pub(crate) traced: bool,
    body_limit_is_set: bool,
}

impl Service {
    /// A service of this name and version (`env!("CARGO_PKG_VERSION")`).
    pub fn new(name: &'static str, version: &'static str) -> Self {
        Self {
            name,
            version,
            description: "",
            schemes: Vec::new(),
            router: OpenApiRouter::new(),
            checks: Vec::new(),
            registry: Registry::new(),
            background: Vec::new(),
            limits: Limits::default(),
            times: Vec::new(),
            traced: false,
            body_limit_is_set: false,
        }
    }

    /// What the service is for, in the OpenAPI document (CommonMark).
    #[must_use]
    pub fn description(mut self, text: &'static str) -> Self {
        self.description = text;
        self
    }

    /// Names a security scheme for the OpenAPI document that the routes refer to with `security((name = []))`: a token in the header
    /// `Authorization: Bearer …`. Checking it is the handlers' part.
    #[must_use]
    pub fn bearer(mut self, name: &'static str, description: &'static str) -> Self {
        self.schemes.push((name, description));
        self
    }

    /// Adds routes, with their state applied (`OpenApiRouter::with_state`).
    #[must_use]
    pub fn routes(mut self, router: OpenApiRouter) -> Self {
        self.router = self.router.merge(router);
        self
    }

    /// Adds something that the service cannot do without: `/ready` names it, and answers 503 while `check` fails or takes more than two
    /// seconds. Why it failed is logged, not answered.
    #[must_use]
    pub fn check<C, F>(self, name: &'static str, check: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.depends(name, true, Arc::new(move || Box::pin(check())))
    }

    /// Adds something that the service does less without: `/ready` names it and how it is, and goes by it no further: `check` counts as
    /// failed when it takes more than 0.7 s, so that the answer does not wait for it. All replicas depend on the same things, so that
    /// what only a part of the service needs would take all of it from its clients.
    #[must_use]
    pub fn watch<C, F>(self, name: &'static str, check: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.depends(name, false, Arc::new(move || Box::pin(check())))
    }

    fn depends(mut self, name: &'static str, required: bool, ask: Ask) -> Self {
        self.checks.push(Check { name, required, ask });
        self
    }

    /// Where the service registers metrics of its own.
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Registers metrics in a registry made before; the default is one of the service's own. Call it before anything else registers.
    #[must_use]
    pub fn with_registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Adds a task that runs beside the handling of requests. It is told to stop once HTTP has drained, and awaited. If it panics, the
    /// service ends: a service whose worker is dead must not look alive.
    #[must_use]
    pub fn background<T, F>(self, task: T) -> Self
    where
        T: FnOnce(CancellationToken) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.worker("background", task)
    }

    /// Like [`Service::background`], with a name for the log.
    #[must_use]
    pub fn worker<T, F>(mut self, name: &'static str, task: T) -> Self
    where
        T: FnOnce(CancellationToken) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.background.push((name, Box::new(move |stop| Box::pin(task(stop)))));
        self
    }

    /// Bytes that a request's body may have, if `MAX_BODY_BYTES` does not say otherwise. JSON bodies have 1 MiB at most in any case.
    #[must_use]
    pub fn body_limit(mut self, bytes: u64) -> Self {
        if !self.body_limit_is_set {
            self.limits.body_bytes = bytes;
        }
        self
    }

    /// How long the handlers of `route` (the template, as in `/orders/{id}`) may take until they begin to answer, if that is longer
    /// than `REQUEST_TIMEOUT_SECONDS`: for routes whose work is long and has bounds of its own, which end first.
    #[must_use]
    pub fn request_time(mut self, route: &'static str, time: Duration) -> Self {
        self.times.push((route, time));
        self
    }

    /// Replaces the bounds on requests and connections, for tests; [`crate::run`] sets those of the environment.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Takes the bounds of the environment; the service's own bound on bodies holds if the environment has none.
    pub(crate) fn configure(mut self, limits: Limits, body_limit_is_set: bool) -> Self {
        let own = self.limits.body_bytes;
        self.limits = limits;
        if !body_limit_is_set {
            self.limits.body_bytes = own;
        }
        self
    }

    /// Says that spans go to a collector.
    pub(crate) fn traced(mut self) -> Self {
        self.traced = true;
        self
    }

    fn about(&self) -> openapi::About {
        let Self { name, version, description, .. } = *self;
        openapi::About { name, version, description, schemes: self.schemes.clone() }
    }

    /// The OpenAPI document as `/openapi.json` answers it, to write it to a file or to compare it.
    pub fn openapi(&self) -> serde_json::Value {
        let about = self.about();
        let health = Arc::new(Health::new(self.name, self.version, Vec::new(), Registry::new()));
        let (_, document) = self.router.clone().merge(health::router(health)).split_for_parts();
        openapi::complete(document, &about)
    }

    /// Every operation (method and path template) that the service's own routes have, for tests that enumerate them.
    pub fn operations(&self) -> BTreeMap<String, Vec<String>> {
        let document = self.openapi();
        let paths = document.get("paths").and_then(|p| p.as_object());
        let methods = |item: &serde_json::Value| item.as_object().map(|i| i.keys().map(|m| m.to_uppercase()).collect());
        paths.into_iter().flatten().map(|(path, item)| (path.clone(), methods(item).unwrap_or_default())).collect()
    }

    /// The service as one router, with everything that surrounds its routes.
    ///
    /// # Errors
    /// One of the service's metrics has a name that the kit uses.
    pub(crate) fn build(self) -> prometheus::Result<Built> {
        let metrics = HttpMetrics::new(&self.registry)?;
        let about = self.about();
        let health = Arc::new(Health::new(self.name, self.version, self.checks, self.registry));
        let (router, document) = self.router.merge(health::router(Arc::clone(&health))).split_for_parts();
        let document = openapi::complete(document, &about);
        let shared = Shared { metrics, health, limits: self.limits, times: self.times, traced: self.traced };
        let shared = Arc::new(shared);
        let router = router
            .merge(openapi::router(&document))
            .fallback(observe::no_such_path)
            .method_not_allowed_fallback(observe::no_such_method)
            .layer(ObserveLayer(Arc::clone(&shared)));
        Ok(Built { router, shared, background: self.background })
    }
}
