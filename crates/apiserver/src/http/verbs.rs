//! The verbs on objects.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use objects::{
    kinds::Kind,
    patch,
    selector::{Fields, Labels},
};
use serde_json::{Value, json};

use super::{
    Answer, Handler, body, logs,
    respond::{self, Form},
    watch,
};
use crate::{
    registry::{Deleted, delete::DeleteOptions, meta, parse, update::Part},
    request::{Query, Target, Verb},
    scale,
    status::Failure,
};

/// One request on objects.
pub(super) struct Call<'a> {
    pub handler: &'a Handler,
    pub target: Target,
    pub query: Query,
    pub verb: Verb,
    pub headers: &'a HeaderMap,
    pub body: Bytes,
}

/// What a list or watch selects.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    pub labels: Labels,
    pub fields: Fields,
}

impl Selection {
    fn of(target: &Target, query: &Query) -> Result<Self, Failure> {
        let wrong = |e: objects::selector::NotASelector| Failure::bad_request(e.to_string());
        let labels = Labels::parse(query.get("labelSelector").unwrap_or_default()).map_err(wrong)?;
        let mut fields = query.get("fieldSelector").unwrap_or_default().to_owned();
        // Watching one object is watching the collection for its name.
        if let Some(name) = &target.name {
            fields = format!("metadata.name={name},{fields}");
        }
        Ok(Self { labels, fields: Fields::parse(&fields).map_err(wrong)? })
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        (self.labels.is_empty() || self.labels.matches(&meta::labels(object)))
            && self.fields.matches(|path| meta::field(object, path))
    }

    fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }
}

impl Call<'_> {
    pub(super) async fn run(self) -> Result<Answer, Failure> {
        match self.target.subresource.as_deref() {
            None => self.on_object(Part::Main).await,
            Some("status") if self.target.kind.status => self.on_object(Part::Status).await,
            Some("finalize") if self.target.kind.kind == "Namespace" => self.on_object(Part::Finalize).await,
            Some("scale") if self.target.kind.scale => self.on_scale().await,
            Some("log") if self.target.kind.kind == "Pod" => logs::run(&self).await,
            Some("binding") if self.target.kind.kind == "Pod" => self.bind().await,
            Some(_) => Err(Failure::no_such_path()),
        }
    }

    async fn on_object(self, part: Part) -> Result<Answer, Failure> {
        match self.verb {
            Verb::Get => self.get(),
            Verb::List => self.list(),
            Verb::Watch => self.watch(),
            Verb::Create if part == Part::Main => self.create().await,
            Verb::Update => self.update(part).await,
            Verb::Patch => self.patch(part).await,
            Verb::Delete if part == Part::Main => self.delete().await,
            Verb::DeleteCollection if part == Part::Main => self.delete_collection().await,
            _ => Err(Failure::method_not_allowed()),
        }
    }

    fn kind(&self) -> &'static Kind {
        self.target.kind
    }

    fn name(&self) -> &str {
        self.target.name.as_deref().unwrap_or_default()
    }

    fn dry_run(&self) -> Result<bool, Failure> {
        match self.query.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(Failure::bad_request(format!("dryRun: {other:?} is not supported: it must be \"All\""))),
        }
    }

    fn shown(&self, status: StatusCode, json: Bytes) -> Result<Answer, Failure> {
        let form = Form::accepted(self.headers);
        if form == Form::Whole {
            return Ok(respond::bytes(status, json));
        }
        let object = serde_json::from_slice(&json).map_err(Failure::internal)?;
        Ok(respond::json(status, &form.object(self.kind(), &self.query, object)))
    }

    fn get(&self) -> Result<Answer, Failure> {
        let stored = self.handler.registry.get(self.kind(), &self.target.namespace, self.name())?;
        self.shown(StatusCode::OK, stored.json)
    }

    fn list(&self) -> Result<Answer, Failure> {
        let selection = Selection::of(&self.target, &self.query)?;
        let limit = self.query.number::<usize>("limit")?.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let after = self.query.get("continue").map(Position::decode).transpose()?;
        let snapshot = self.handler.registry.list(self.kind(), &self.target.namespace);
        let mut items = Vec::new();
        let mut next = None;
        for (key, stored) in &snapshot.objects {
            if after.as_ref().is_some_and(|p| (&key.namespace, &key.name) <= (&p.namespace, &p.name)) {
                continue;
            }
            let object = parse(stored)?;
            if !selection.is_everything() && !selection.matches(&object) {
                continue;
            }
            if items.len() == limit {
                next = items.last().map(|last: &Value| Position::of(last).encode());
                break;
            }
            items.push(object);
        }
        let mut metadata = json!({"resourceVersion": snapshot.revision.to_string()});
        if let (Some(next), Some(map)) = (next, metadata.as_object_mut()) {
            map.insert("continue".to_owned(), next.into());
        }
        let list = Form::accepted(self.headers).list(self.kind(), &self.query, items, metadata);
        Ok(respond::json(StatusCode::OK, &list))
    }

    fn watch(&self) -> Result<Answer, Failure> {
        let selection = Selection::of(&self.target, &self.query)?;
        let options = watch::Options::read(&self.query, Form::accepted(self.headers))?;
        watch::start(&self.handler.registry, &self.target, selection, options)
    }

    /// The answer to a write: the object, and what of it has no effect here.
    fn written(&self, status: StatusCode, json: Bytes) -> Result<Answer, Failure> {
        let warnings = match serde_json::from_slice(&json) {
            Ok(object) if self.target.subresource.is_none() => ::objects::support::warnings(self.kind(), &object),
            _ => Vec::new(),
        };
        let mut answer = self.shown(status, json)?;
        respond::warn(&mut answer, &warnings);
        Ok(answer)
    }

    async fn create(self) -> Result<Answer, Failure> {
        let kind = self.kind();
        let object = body::decode(self.headers.get(header::CONTENT_TYPE), &self.body)?;
        let dry_run = self.dry_run()?;
        let created = self.handler.registry.create(kind, &self.target.namespace, object, dry_run).await?;
        self.written(StatusCode::CREATED, created)
    }

    async fn update(self, part: Part) -> Result<Answer, Failure> {
        let wanted = body::decode(self.headers.get(header::CONTENT_TYPE), &self.body)?;
        let own = meta::text(&wanted, "name");
        if own != self.name() {
            let message =
                format!("the name of the object ({own}) does not match the name on the URL ({})", self.name());
            return Err(Failure::bad_request(message));
        }
        self.change(part, move |_| Ok(wanted)).await
    }

    async fn patch(self, part: Part) -> Result<Answer, Failure> {
        let change = self.patch_body()?;
        self.change(part, change).await
    }

    /// The change that a patch's body describes, whatever its type.
    fn patch_body(&self) -> Result<impl FnOnce(&Value) -> Result<Value, Failure> + Send + 'static, Failure> {
        let media = self.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim().to_owned();
        let patch: Value = serde_json::from_slice(&self.body)
            .map_err(|e| Failure::bad_request(format!("error decoding patch: {e}")))?;
        let kind = self.kind();
        type Apply = fn(&'static Kind, &mut Value, &Value) -> Result<(), patch::PatchError>;
        let apply: Apply = match media.as_str() {
            "application/json-patch+json" => |_, target, patch| patch::json_patch(target, patch),
            "application/merge-patch+json" => |_, target, patch| {
                patch::merge_patch(target, patch);
                Ok(())
            },
            "application/strategic-merge-patch+json" if patch::is_strategic(kind) => {
                |kind, target, patch| patch::strategic_merge(Some(kind), target, patch)
            }
            other => {
                let message =
                    format!("the body of the request was in an unknown format - {other:?} is not accepted here");
                return Err(Failure::unsupported_media_type(message));
            }
        };
        Ok(move |current: &Value| {
            let mut next = current.clone();
            apply(kind, &mut next, &patch).map_err(|e| Failure::bad_request(e.to_string()))?;
            Ok(next)
        })
    }

    async fn change(
        self,
        part: Part,
        change: impl FnOnce(&Value) -> Result<Value, Failure> + Send + 'static,
    ) -> Result<Answer, Failure> {
        let (kind, dry_run) = (self.kind(), self.dry_run()?);
        let registry = &self.handler.registry;
        let changed = registry.update(kind, &self.target.namespace, self.name(), part, dry_run, change).await?;
        self.written(StatusCode::OK, changed)
    }

    fn delete_options(&self) -> Result<DeleteOptions, Failure> {
        let mut options: DeleteOptions = if self.body.is_empty() {
            DeleteOptions::default()
        } else {
            let value = body::decode(self.headers.get(header::CONTENT_TYPE), &self.body)?;
            serde_json::from_value(value).map_err(|e| Failure::bad_request(format!("DeleteOptions: {e}")))?
        };
        options.grace_period_seconds = self.query.number("gracePeriodSeconds")?.or(options.grace_period_seconds);
        let policy = self.query.get("propagationPolicy").map(str::to_owned);
        options.propagation_policy = policy.or(options.propagation_policy);
        Ok(options)
    }

    async fn delete(self) -> Result<Answer, Failure> {
        let options = self.delete_options()?;
        let dry_run = self.dry_run()? || options.dry_run.is_some();
        let (kind, namespace) = (self.kind(), &self.target.namespace);
        match self.handler.registry.delete(kind, namespace, self.name(), options, dry_run).await? {
            Deleted::Waits(json) => self.shown(StatusCode::OK, json),
            Deleted::Gone(last) => {
                let details = json!({"name": self.name(), "group": kind.group, "kind": kind.plural,
                    "uid": meta::text(&last, "uid")});
                let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
                Ok(respond::json(StatusCode::OK, &status))
            }
        }
    }

    async fn delete_collection(self) -> Result<Answer, Failure> {
        let selection = Selection::of(&self.target, &self.query)?;
        let options = self.delete_options()?;
        let dry_run = self.dry_run()? || options.dry_run.is_some();
        let registry = &self.handler.registry;
        let snapshot = registry.list(self.kind(), &self.target.namespace);
        let mut items = Vec::new();
        for (key, stored) in &snapshot.objects {
            let object = parse(stored)?;
            if !selection.matches(&object) {
                continue;
            }
            match registry.delete(self.kind(), &key.namespace, &key.name, options.clone(), dry_run).await {
                Ok(_) => items.push(object),
                // Somebody else was quicker: it is gone, which is what was asked for.
                Err(failure) if failure.code == StatusCode::NOT_FOUND => {}
                Err(failure) => return Err(failure),
            }
        }
        let metadata = json!({"resourceVersion": registry.store().revision().to_string()});
        let list = Form::accepted(self.headers).list(self.kind(), &self.query, items, metadata);
        Ok(respond::json(StatusCode::OK, &list))
    }

    async fn on_scale(self) -> Result<Answer, Failure> {
        let shown = |json: &[u8]| -> Result<Answer, Failure> {
            let object: Value = serde_json::from_slice(json).map_err(Failure::internal)?;
            Ok(respond::json(StatusCode::OK, &scale::of(&object)))
        };
        let (registry, namespace) = (&self.handler.registry, &self.target.namespace);
        let change: Box<dyn Change> = match self.verb {
            Verb::Get => return shown(&registry.get(self.kind(), namespace, self.name())?.json),
            Verb::Update => {
                let wanted = body::decode(self.headers.get(header::CONTENT_TYPE), &self.body)?;
                Box::new(move |_| Ok(wanted))
            }
            Verb::Patch => Box::new(self.patch_body()?),
            _ => return Err(Failure::method_not_allowed()),
        };
        let set = move |current: &Value| scale::set(current, &change(&scale::of(current))?);
        let json = registry.update(self.kind(), namespace, self.name(), Part::Main, self.dry_run()?, set).await?;
        shown(&json)
    }

    /// `pods/binding`: the scheduler's decision.
    async fn bind(self) -> Result<Answer, Failure> {
        let binding = body::decode(self.headers.get(header::CONTENT_TYPE), &self.body)?;
        let node = binding.pointer("/target/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, name) = (self.kind(), self.name().to_owned());
        if self.verb != Verb::Create || node.is_empty() {
            return Err(Failure::bad_request("a binding needs target.name: the node"));
        }
        let assign = move |current: &Value| {
            let bound = current.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
            if !bound.is_empty() {
                return Err(Failure::conflict(
                    kind,
                    &name,
                    &format!("pod {name} is already assigned to node {bound:?}"),
                ));
            }
            let mut next = current.clone();
            meta::section(&mut next, "spec").insert("nodeName".to_owned(), node.into());
            Ok(next)
        };
        self.handler
            .registry
            .update(kind, &self.target.namespace, self.name(), Part::Main, self.dry_run()?, assign)
            .await?;
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
        Ok(respond::json(StatusCode::CREATED, &status))
    }
}

/// From the object as it is to the object that is wanted.
trait Change: FnOnce(&Value) -> Result<Value, Failure> + Send {}
impl<T: FnOnce(&Value) -> Result<Value, Failure> + Send> Change for T {}

/// Where the next page of a list begins.
struct Position {
    namespace: String,
    name: String,
}

impl Position {
    fn of(object: &Value) -> Self {
        Self { namespace: meta::text(object, "namespace").to_owned(), name: meta::text(object, "name").to_owned() }
    }

    fn encode(&self) -> String {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("{}/{}", self.namespace, self.name))
    }

    fn decode(token: &str) -> Result<Self, Failure> {
        use base64::Engine;
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).ok();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let parts = text.as_deref().and_then(|text| text.split_once('/'));
        let (namespace, name) = parts.ok_or_else(|| Failure::bad_request("continue key is not valid"))?;
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}
