//! `metrics.k8s.io/v1beta1`: PodMetrics and NodeMetrics, to get and to list, as metrics-server serves them. Nothing is stored: each
//! answer is made from what is used now.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::core::v1::Node, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Api;
use objects::{
    quantity::Quantity,
    selector::{Fields, Labels},
    wire::{self, Form, Query},
};
use serde_json::{Value, json};

use super::{Figures, Look, Measured, PodFigures, history::Rate, table};

/// The API's group.
pub const GROUP: &str = "metrics.k8s.io";
/// The API's version.
pub const VERSION: &str = "v1beta1";
const API_VERSION: &str = "metrics.k8s.io/v1beta1";

/// An answer that is no object: its status, reason and message.
type Refusal = (StatusCode, &'static str, String);

/// One object and the cells of its row.
type Row = (Value, [String; 3]);

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked<'a> {
    Resources,
    Nodes(Option<&'a str>),
    /// In a namespace, or in all if that is empty.
    Pods(&'a str, Option<&'a str>),
}

impl<'a> Asked<'a> {
    fn parse(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix("/apis/metrics.k8s.io/v1beta1")?.trim_matches('/');
        Some(match rest.split('/').collect::<Vec<_>>().as_slice() {
            [""] => Self::Resources,
            ["nodes"] => Self::Nodes(None),
            ["nodes", name] => Self::Nodes(Some(name)),
            ["pods"] => Self::Pods("", None),
            ["namespaces", namespace, "pods"] => Self::Pods(namespace, None),
            ["namespaces", namespace, "pods", name] => Self::Pods(namespace, Some(name)),
            _ => return None,
        })
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Nodes(_) => "NodeMetrics",
            _ => "PodMetrics",
        }
    }

    /// The one object that is asked for, as the refusal names it.
    fn one(self) -> Option<String> {
        match self {
            Self::Nodes(name) => name.map(str::to_owned),
            Self::Pods(namespace, name) => name.map(|name| format!("{namespace}/{name}")),
            Self::Resources => None,
        }
    }
}

impl Figures {
    /// Answers a request below `/apis/metrics.k8s.io/v1beta1`; whoever hands it over has authenticated it. Failures are answers too.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>> {
        let (parts, _) = request.into_parts();
        let (status, body) = match self.respond(&parts.method, &parts.uri, &parts.headers).await {
            Ok(body) => (StatusCode::OK, body),
            Err((code, reason, message)) => (code, wire::failure(code.as_u16(), reason, &message)),
        };
        let mut response = Response::new(Full::from(body.to_string()));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    async fn respond(&self, method: &Method, uri: &http::Uri, headers: &HeaderMap) -> Result<Value, Refusal> {
        let missing = || "the server could not find the requested resource".to_owned();
        let asked = Asked::parse(uri.path()).ok_or_else(|| (StatusCode::NOT_FOUND, "NotFound", missing()))?;
        let query = Query::parse(uri.query());
        if !matches!(*method, Method::GET | Method::HEAD) || query.is_on("watch") {
            let message = "the server does not allow this method on the requested resource".to_owned();
            return Err((StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message));
        }
        if asked == Asked::Resources {
            return Ok(resources());
        }
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let unacceptable = "only the following media types are accepted: application/json".to_owned();
        let form = Form::accepted(accept).ok_or((StatusCode::NOT_ACCEPTABLE, "NotAcceptable", unacceptable))?;
        let wanted = Wanted::read(&query)?;
        let rows = match asked {
            Asked::Nodes(name) => self.nodes(name, &wanted).await,
            Asked::Pods(namespace, name) => pods(&*self.rates().await, namespace, name, &wanted),
            Asked::Resources => Vec::new(),
        };
        let Some(one) = asked.one() else { return Ok(list(asked.kind(), form, rows, &query)) };
        let found = rows.into_iter().next().ok_or_else(|| {
            let resource = asked.kind().to_ascii_lowercase();
            (StatusCode::NOT_FOUND, "NotFound", format!("{resource}.{GROUP} {one:?} not found"))
        })?;
        Ok(match form {
            Form::Whole => typed(asked.kind(), found.0),
            Form::Metadata => table::metadata(&found.0),
            Form::Table => table::table(vec![found], query.get("includeObject")),
        })
    }

    async fn nodes(&self, name: Option<&str>, wanted: &Wanted) -> Vec<Row> {
        let own = self.0.node.as_str();
        if name.is_some_and(|name| name != own) {
            return Vec::new();
        }
        let nodes: Api<Node> = Api::all(self.0.client.clone());
        let node = match nodes.get_metadata_opt(own).await {
            Ok(Some(node)) => node.metadata,
            Ok(None) => return Vec::new(),
            // Its labels are not known, its figures are.
            Err(_) => ObjectMeta { name: Some(own.to_owned()), ..ObjectMeta::default() },
        };
        let look = self.rates().await;
        let (Some(rate), true) = (look.node.rate, wanted.is(&node)) else { return Vec::new() };
        let object = json!({
            "metadata": metadata(&node, look.at), "timestamp": seconds(look.at), "window": table::duration(rate.window),
            "usage": usage(rate, look.node.usage.memory.working_set),
        });
        vec![(object, cells(rate, look.node.usage.memory.working_set))]
    }
}

/// Which objects are wanted.
struct Wanted {
    labels: Labels,
    fields: Fields,
}

impl Wanted {
    fn read(query: &Query) -> Result<Self, Refusal> {
        let refuse = |message: String| (StatusCode::BAD_REQUEST, "BadRequest", message);
        let labels = Labels::parse(query.get("labelSelector").unwrap_or_default());
        let fields = Fields::parse(query.get("fieldSelector").unwrap_or_default());
        let fields = fields.map_err(|error| refuse(error.to_string()))?;
        if let Some(unknown) = fields.paths().find(|path| !["metadata.name", "metadata.namespace"].contains(path)) {
            let known = "only \"metadata.name\", \"metadata.namespace\"";
            return Err(refuse(format!("{unknown:?} is not a known field selector: {known}")));
        }
        Ok(Self { labels: labels.map_err(|error| refuse(error.to_string()))?, fields })
    }

    fn is(&self, metadata: &ObjectMeta) -> bool {
        let field = |path: &str| match path {
            "metadata.name" => metadata.name.clone(),
            "metadata.namespace" => metadata.namespace.clone(),
            _ => None,
        };
        let labels = metadata.labels.as_ref();
        self.fields.matches(field)
            && labels.map_or_else(|| self.labels.matches(&Default::default()), |l| self.labels.matches(l))
    }
}

/// The pods whose containers all have rates: a sum without one of them would say too little.
fn pods(look: &Look, namespace: &str, name: Option<&str>, wanted: &Wanted) -> Vec<Row> {
    let is_asked = |pod: &&PodFigures| {
        let metadata = &pod.pod.metadata;
        (namespace.is_empty() || metadata.namespace.as_deref() == Some(namespace))
            && name.is_none_or(|name| metadata.name.as_deref() == Some(name))
            && pod.whole
            && wanted.is(metadata)
    };
    let row = |pod: &PodFigures| {
        let rated = |measured: &Measured| Some((measured.rate?, measured.usage.memory.working_set));
        let rates: Vec<_> =
            pod.containers.iter().map(|c| Some((&c.name, rated(&c.measured)?))).collect::<Option<_>>()?;
        let mut sum = Rate { nanocores: 0, window: rates.iter().map(|(_, (rate, _))| rate.window).max()? };
        let mut memory = 0_u64;
        for (_, (rate, held)) in &rates {
            sum.nanocores = sum.nanocores.saturating_add(rate.nanocores);
            memory = memory.saturating_add(*held);
        }
        let containers: Vec<Value> =
            rates.iter().map(|(name, (rate, memory))| json!({"name": name, "usage": usage(*rate, *memory)})).collect();
        let object = json!({
            "metadata": metadata(&pod.pod.metadata, look.at), "timestamp": seconds(look.at),
            "window": table::duration(sum.window), "containers": containers,
        });
        Some((object, cells(sum, memory)))
    };
    look.pods.iter().filter(is_asked).filter_map(row).collect()
}

/// CPU in cores and memory in bytes.
fn usage(rate: Rate, memory: u64) -> Value {
    let [cpu, memory] = quantities(rate, memory);
    json!({"cpu": cpu, "memory": memory})
}

fn quantities(rate: Rate, memory: u64) -> [String; 2] {
    [Quantity::from_nanos(rate.nanocores.into()).to_string(), Quantity::from_bytes(memory.into()).to_string()]
}

fn cells(rate: Rate, memory: u64) -> [String; 3] {
    let [cpu, memory] = quantities(rate, memory);
    [cpu, memory, table::duration(rate.window)]
}

/// Such an object is made when it is asked for.
fn metadata(of: &ObjectMeta, now: Timestamp) -> Value {
    let mut metadata = json!({"name": of.name, "creationTimestamp": seconds(now)});
    if let Some(map) = metadata.as_object_mut() {
        map.extend(of.namespace.as_ref().map(|namespace| ("namespace".to_owned(), json!(namespace))));
        map.extend(of.labels.as_ref().map(|labels| ("labels".to_owned(), json!(labels))));
    }
    metadata
}

/// As `metav1.Time` is written: whole seconds.
fn seconds(at: Timestamp) -> String {
    let fraction = SignedDuration::from_nanos(at.subsec_nanosecond().into());
    at.checked_sub(fraction).unwrap_or(at).to_string()
}

fn typed(kind: &str, mut object: Value) -> Value {
    if let Some(map) = object.as_object_mut() {
        map.insert("kind".to_owned(), kind.into());
        map.insert("apiVersion".to_owned(), API_VERSION.into());
    }
    object
}

fn list(kind: &str, form: Form, rows: Vec<Row>, query: &Query) -> Value {
    let items =
        |rows: Vec<Row>, shown: fn(Value) -> Value| rows.into_iter().map(|row| shown(row.0)).collect::<Vec<_>>();
    match form {
        Form::Table => table::table(rows, query.get("includeObject")),
        Form::Whole => json!({"kind": format!("{kind}List"), "apiVersion": API_VERSION, "metadata": {},
            "items": items(rows, |object| object)}),
        Form::Metadata => json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {},
            "items": items(rows, |object| table::metadata(&object))}),
    }
}

fn resources() -> Value {
    let resource = |name: &str, kind: &str, namespaced: bool| {
        json!({"name": name, "singularName": "", "namespaced": namespaced,
        "kind": kind, "verbs": ["get", "list"]})
    };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": API_VERSION,
        "resources": [resource("nodes", "NodeMetrics", false), resource("pods", "PodMetrics", true)]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_ask_for_nodes_and_pods() {
        let of = |rest: &str| {
            let path = format!("/apis/metrics.k8s.io/v1beta1{rest}");
            Asked::parse(&path).map(|asked| format!("{asked:?}"))
        };
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(of(""), is("Resources"));
        assert_eq!(of("/nodes"), is("Nodes(None)"));
        assert_eq!(of("/nodes/a"), is("Nodes(Some(\"a\"))"));
        assert_eq!(of("/pods"), is("Pods(\"\", None)"));
        assert_eq!(of("/namespaces/n/pods"), is("Pods(\"n\", None)"));
        assert_eq!(of("/namespaces/n/pods/a"), is("Pods(\"n\", Some(\"a\"))"));
        for unknown in ["/services", "/namespaces/n", "/namespaces/n/pods/a/b", "/nodes/a/b"] {
            assert_eq!(of(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn cpu_is_in_billionths_of_a_core_and_memory_in_bytes() {
        let rate = |nanocores| Rate { nanocores, window: std::time::Duration::from_secs(1) };
        assert_eq!(quantities(rate(123_456), 12 << 20), ["123456n", "12Mi"].map(str::to_owned));
        assert_eq!(quantities(rate(250_000_000), 4097), ["250m", "4097"].map(str::to_owned));
        assert_eq!(quantities(rate(0), 0), ["0", "0"].map(str::to_owned));
    }

    #[test]
    fn times_are_whole_seconds() {
        let at: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
        assert_eq!(seconds(at), "2026-01-02T03:04:05Z");
    }
}
