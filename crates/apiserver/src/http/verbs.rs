//! The verbs on objects.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use objects::kinds::KindRef;
use serde_json::{Value, json};

use super::{
    Answer, Handler, Identity, Origin, apply, body, certificates,
    fairness::Connection,
    fields::{Directive, Model},
    logs, made,
    options::WatchOptions,
    patches::Patch,
    respond::{self, Form},
    selection::Selection,
    watch::{self, View},
};
use crate::{
    convert, crd,
    registry::{
        Change, Deleted, Outcome,
        delete::{self, DeleteOptions},
        meta,
        ownership::Write,
        requests::is_certificate_request,
        update::Part,
    },
    request::{Query, Target, Verb},
    status::Failure,
};

/// One request on objects.
pub(super) struct Call<'a> {
    pub handler: &'a Handler,
    /// Who asks.
    pub identity: &'a Identity,
    pub target: Target,
    pub query: Query,
    pub verb: Verb,
    pub headers: &'a HeaderMap,
    pub body: Bytes,
    /// Where it came from; `None` is this process.
    pub origin: Option<Origin>,
    /// The connection, where the client asks for it to become a WebSocket and it can.
    pub upgrade: Option<Option<OnUpgrade>>,
}

impl Call<'_> {
    pub(super) async fn run(self) -> Result<Answer, Failure> {
        // Whoever only reads is to know it, too.
        let deprecated = crd::objects::deprecation(self.kind()).map(str::to_owned);
        let mut answer = self.done().await?;
        respond::warn(&mut answer, deprecated.as_slice());
        Ok(answer)
    }

    async fn done(self) -> Result<Answer, Failure> {
        match self.target.subresource.as_deref() {
            None => self.on_object(Part::Main).await,
            Some("status") if self.target.kind.status => self.on_object(Part::Status).await,
            Some("finalize") if self.target.kind.kind == "Namespace" => self.on_object(Part::Finalize).await,
            Some("scale") if self.target.kind.scale => self.on_scale().await,
            Some("log") if self.target.kind.kind == "Pod" => logs::run(&self).await,
            Some("binding") if self.target.kind.kind == "Pod" => self.bind().await,
            Some("eviction") if self.target.kind.kind == "Pod" => self.evict().await,
            Some("ephemeralcontainers") if self.target.kind.kind == "Pod" => {
                self.on_object(Part::EphemeralContainers).await
            }
            Some("approval") if is_certificate_request(&self.target.kind) => self.on_object(Part::Approval).await,
            Some("resize") if self.target.kind.is("", "Pod") => self.on_object(Part::Resize).await,
            Some("token") if self.target.kind.kind == "ServiceAccount" => self.issue_token().await,
            Some(_) => Err(Failure::no_such_path()),
        }
    }

    async fn on_object(self, part: Part) -> Result<Answer, Failure> {
        // Before anything is written: an answer that the client cannot read must not have had an effect.
        Form::negotiate(self.headers)?;
        match self.verb {
            Verb::Get => self.get(),
            Verb::List => self.list().await,
            Verb::Watch => self.watch().await,
            Verb::Create if part == Part::Main => self.create().await,
            Verb::Update => self.update(part).await,
            Verb::Patch => self.patch(part).await,
            Verb::Delete if part == Part::Main => self.delete().await,
            Verb::DeleteCollection if part == Part::Main => self.delete_collection().await,
            _ => Err(Failure::method_not_allowed()),
        }
    }

    /// The kind that the client speaks of; the stored one may be another version of it.
    pub(super) fn kind(&self) -> &KindRef {
        &self.target.kind
    }

    /// Whose turn it is when several wait.
    pub(super) fn flow(&self) -> Option<Connection> {
        self.origin.as_ref().map(|origin| origin.connection)
    }

    pub(super) fn name(&self) -> &str {
        self.target.name.as_deref().unwrap_or_default()
    }

    /// The query's `dryRun`.
    ///
    /// # Errors
    /// 422 for anything but `All`.
    pub(super) fn dry_run(&self) -> Result<bool, Failure> {
        match self.query.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => {
                let cause = delete::not_dry(&[other.to_owned()]);
                Err(Failure::invalid_kind("meta.k8s.io", self.options(), "", &[cause]))
            }
        }
    }

    /// The type of the query's parameters, as messages name it.
    fn options(&self) -> &'static str {
        match self.verb {
            Verb::Create => "CreateOptions",
            Verb::Update => "UpdateOptions",
            Verb::Patch => "PatchOptions",
            _ => "DeleteOptions",
        }
    }

    fn shown(&self, status: StatusCode, json: Bytes) -> Result<Answer, Failure> {
        let form = Form::accepted(self.headers);
        if form.is_as_stored(self.kind()) {
            return Ok(respond::bytes(status, json));
        }
        let object = serde_json::from_slice(&json).map_err(Failure::internal)?;
        Ok(respond::json(status, &form.object(self.kind(), &self.query, object)))
    }

    fn get(&self) -> Result<Answer, Failure> {
        // Whatever there is, is new enough for any version that there has been.
        let current = self.handler.registry.store().revision();
        if let Some(asked) = self.query.number::<u64>("resourceVersion")?.filter(|asked| *asked > current) {
            return Err(Failure::too_large_version(asked, current));
        }
        let stored = self.handler.registry.get(self.kind(), &self.target.namespace, self.name())?;
        self.shown(StatusCode::OK, stored.json)
    }

    async fn watch(self) -> Result<Answer, Failure> {
        let view = View {
            selection: Selection::of(&self.target, &self.query)?,
            form: Form::accepted(self.headers),
            kind: self.target.kind,
            namespace: self.target.namespace,
            query: self.query,
        };
        let options = WatchOptions::read(&view.query)?;
        let watch = watch::begin(self.handler, watch::Request { view, options, origin: self.origin }).await?;
        match self.upgrade {
            Some(upgrade) => watch::socket::answer(watch, self.headers, upgrade),
            None => Ok(watch.into_answer()),
        }
    }

    /// The body as an object of a type, and what to warn about.
    pub(super) fn body_as(&self, model: Model) -> Result<(Value, Vec<String>), Failure> {
        let body = body::decode(self.headers.get(header::CONTENT_TYPE), &self.body)?;
        model.read(body, self.directive()?)
    }

    pub(super) fn directive(&self) -> Result<Directive, Failure> {
        Directive::of(&self.query, self.options())
    }

    /// The answer to a write: the object, and what of it is unknown or has no effect here.
    pub(super) fn written(
        &self,
        status: StatusCode,
        outcome: Outcome,
        mut warnings: Vec<String>,
    ) -> Result<Answer, Failure> {
        let Outcome { json, object, before } = outcome;
        if self.target.subresource.is_none() {
            // What it said before already is not warned about again.
            let found = self.warnings(&object);
            let known = before.as_ref().filter(|_| !found.is_empty()).map(|before| self.warnings(before));
            let known = known.unwrap_or_default();
            warnings.extend(found.into_iter().filter(|warning| !known.contains(warning)));
            if let Some(before) = before.filter(|_| self.kind().definition().is_some()) {
                let object = convert::from_stored(self.kind(), object);
                warnings.extend(crd::objects::tolerated(self.kind(), &object, &before));
            }
        }
        let mut answer = self.shown(status, json)?;
        respond::warn(&mut answer, &warnings);
        Ok(answer)
    }

    /// What of a written object is deprecated, or has no effect here.
    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings = crate::warnings::of(&self.kind().storage(), object);
        warnings.extend(::objects::support::warnings(self.kind(), object));
        if crd::is_definition(self.kind()) {
            warnings.extend(crd::warnings(object));
        }
        warnings
    }

    async fn create(self) -> Result<Answer, Failure> {
        let kind = self.kind().clone();
        let model = Model::of(&kind);
        let (object, warnings) = self.body_as(model.clone())?;
        // Before it becomes one of the version that is stored.
        model.is_said_by(&object).map_err(Failure::bad_request)?;
        let dry_run = self.dry_run()?;
        let mut object = convert::to_stored(&kind, object)?;
        certificates::say_who_asks(&kind, &mut object, self.identity);
        let write = Write { dry_run, ..self.write("CreateOptions")? };
        let made = self.handler.registry.create(kind.storage(), &self.target.namespace, object, write).await?;
        self.written(StatusCode::CREATED, made, warnings)
    }

    async fn update(self, part: Part) -> Result<Answer, Failure> {
        let model = Model::of(self.kind());
        let (mut wanted, warnings) = self.body_as(model.clone())?;
        model.is_said_by(&wanted).map_err(Failure::bad_request)?;
        model.name(&mut wanted);
        let own = meta::text(&wanted, "name");
        if own != self.name() {
            let message =
                format!("the name of the object ({own}) does not match the name on the URL ({})", self.name());
            return Err(Failure::bad_request(message));
        }
        let (said, namespace) = (meta::text(&wanted, "namespace"), &self.target.namespace);
        if !said.is_empty() && said != namespace {
            let message = format!(
                "the namespace of the object ({said}) does not match the namespace on the request ({namespace})"
            );
            return Err(Failure::bad_request(message));
        }
        let write = self.write("UpdateOptions")?;
        if part != Part::Main || !made::by_update(&self.kind().storage()) {
            let changed = self.change(part, write, move |_: &Value| Ok(wanted.clone())).await?;
            return self.written(StatusCode::OK, changed, warnings);
        }
        let wanted = Arc::new(wanted);
        let own = wanted.clone();
        let change = move |_: &Value| Ok(Value::clone(&own));
        let (status, outcome) =
            self.change_or_make(&write, change, || self.make(Value::clone(&wanted), &write)).await?;
        self.written(status, outcome, warnings)
    }

    async fn patch(self, part: Part) -> Result<Answer, Failure> {
        if apply::is_asked(self.headers) {
            return self.apply(part).await;
        }
        let model = Model::of(self.kind());
        let patch = Patch::read(self.headers, &self.body, self.kind(), model, self.directive()?)?;
        let (change, told) = patch.into_change();
        let changed = self.change(part, self.write("PatchOptions")?, change).await?;
        self.written(StatusCode::OK, changed, told.try_iter().last().unwrap_or_default())
    }

    pub(super) async fn change(&self, part: Part, write: Write, change: impl Change) -> Result<Outcome, Failure> {
        let kind = self.kind().clone();
        let registry = &self.handler.registry;
        let storage = kind.storage();
        let change = move |stored: &Value| match kind.stored_as {
            None => change(stored),
            Some(_) => convert::to_stored(&kind, change(&convert::from_stored(&kind, stored.clone()))?),
        };
        registry.update(storage, &self.target.namespace, self.name(), part, write, change).await
    }

    /// The options of a deletion: those of the body, or of the query if there is none.
    ///
    /// # Errors
    /// 400 for what cannot be read, 422 for options that there are not or that do not go together.
    pub(super) fn delete_options(&self) -> Result<DeleteOptions, Failure> {
        let options = if self.body.is_empty() {
            DeleteOptions {
                grace_period_seconds: self.query.number("gracePeriodSeconds")?,
                propagation_policy: self.query.get("propagationPolicy").map(str::to_owned),
                orphan_dependents: self.query.get("orphanDependents").map(|_| self.query.is_on("orphanDependents")),
                ..DeleteOptions::default()
            }
        } else {
            let value = body::decode(self.headers.get(header::CONTENT_TYPE), &self.body)?.value;
            serde_json::from_value(value).map_err(|e| Failure::bad_request(format!("DeleteOptions: {e}")))?
        };
        options.check()?;
        Ok(options)
    }

    /// Whether a deletion is not to change anything: the query's word counts as well as the body's.
    pub(super) fn is_dry(&self, options: &DeleteOptions) -> Result<bool, Failure> {
        Ok(self.dry_run()? || options.dry_run.as_ref().is_some_and(|dry_run| !dry_run.is_empty()))
    }

    async fn delete(self) -> Result<Answer, Failure> {
        let options = self.delete_options()?;
        let dry_run = self.is_dry(&options)?;
        let cascades = options.orphan_dependents == Some(false);
        let (kind, namespace) = (self.kind(), &self.target.namespace);
        match self.handler.registry.delete(kind, namespace, self.name(), options, dry_run).await? {
            // Who asked for dependents to go first by the older option is told that it takes a while.
            Deleted::Waits(json) => self.shown(if cascades { StatusCode::ACCEPTED } else { StatusCode::OK }, json),
            Deleted::Gone(last) if delete::returns_object(kind) => {
                self.shown(StatusCode::OK, last.to_string().into_bytes().into())
            }
            Deleted::Gone(last) => {
                let mut details = json!({"name": self.name(), "kind": kind.plural, "uid": meta::text(&last, "uid")});
                if let (false, Some(map)) = (kind.group.is_empty(), details.as_object_mut()) {
                    map.insert("group".to_owned(), kind.group.into());
                }
                let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
                Ok(respond::json(StatusCode::OK, &status))
            }
        }
    }
}
