//! Groups that somebody else serves: requests are handed on with who asks, discovery shows them, and what fails stays there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::convert::Infallible;

use apiserver::{ApiServer, Delegate, Options};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kube::Client;
use serde_json::{Value, json};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Serves `things.example.com/v1`: says who asked for what, and does what it should not.
async fn serve(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let header = |name: &str| -> Vec<String> {
        parts.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    };
    let (status, answer) = match parts.uri.path() {
        "/apis/things.example.com/v1" => {
            let one = |name: &str, namespaced: bool| {
                json!({"name": name, "singularName": "", "namespaced": namespaced,
                "kind": "Thing", "verbs": ["get", "list"]})
            };
            let resources = [one("things", true), one("things/size", true), one("boxes/size", false)];
            (
                200,
                json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "things.example.com/v1", "resources": resources}),
            )
        }
        "/apis/things.example.com/v1/panic" => panic!("as the test wants it"),
        "/apis/things.example.com/v1/missing" => (404, json!({"kind": "Status"})),
        path => {
            let body = body.collect().await.unwrap().to_bytes();
            let body = String::from_utf8(body.to_vec()).unwrap();
            (
                200,
                json!({"path": path, "query": parts.uri.query(), "method": parts.method.as_str(), "body": body,
                "user": header("x-remote-user"), "groups": header("x-remote-group"), "credentials": header("authorization")}),
            )
        }
    };
    Ok(Response::builder().status(status).body(Full::from(answer.to_string())).unwrap())
}

struct Api {
    server: ApiServer,
    client: Client,
    _dir: tempfile::TempDir,
}

impl Api {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options =
            Options { data_dir: dir.path().to_owned(), service_cidr: "10.43.0.0/16".to_owned(), names: Vec::new() };
        let server = ApiServer::open(options).await.unwrap();
        server.delegate(&Delegate::new("things.example.com", "v1", tower::service_fn(serve)));
        Self { client: server.client("tester"), server, _dir: dir }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (StatusCode, String) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = kube::client::Body::from(body.as_bytes().to_vec());
        let answer = self.client.send(request.body(body).unwrap()).await.unwrap();
        let status = answer.status();
        (status, String::from_utf8(answer.into_body().collect_bytes().await.unwrap().to_vec()).unwrap())
    }

    async fn get(&self, path: &str, accept: &str) -> Value {
        let (status, text) = self.ask("GET", path, &[("accept", accept)], "").await;
        assert_eq!(status, StatusCode::OK, "{text}");
        serde_json::from_str(&text).unwrap()
    }
}

#[tokio::test]
async fn a_request_is_handed_on_whole_with_who_asks() {
    let api = Api::start().await;
    let path = "/apis/things.example.com/v1/namespaces/a/things/b?pretty=1";
    let forged = [("x-remote-user", "root"), ("authorization", "Bearer secret")];
    let (status, text) = api.ask("POST", path, &forged, "{\"a\":1}").await;
    let expected = json!({"path": "/apis/things.example.com/v1/namespaces/a/things/b", "query": "pretty=1",
        "method": "POST", "body": "{\"a\":1}", "user": ["tester"],
        "groups": ["system:masters", "system:authenticated"], "credentials": []});
    assert_eq!((status, serde_json::from_str::<Value>(&text).unwrap()), (StatusCode::OK, expected));
}

#[tokio::test]
async fn discovery_shows_what_the_handler_says_that_it_has() {
    let api = Api::start().await;
    let groups = api.get("/apis", "application/json").await;
    let group = groups["groups"].as_array().unwrap().iter().find(|group| group["name"] == "things.example.com");
    assert_eq!(group.unwrap()["preferredVersion"]["groupVersion"], "things.example.com/v1");
    assert_eq!(api.get("/apis/things.example.com", "application/json").await["kind"], "APIGroup");
    let list = api.get("/apis/things.example.com/v1", "application/json").await;
    assert_eq!(list["resources"].as_array().unwrap().len(), 3);
    let all = api.get("/apis", AGGREGATED).await;
    let found = |all: &Value| {
        let items = all["items"].as_array().unwrap();
        items.iter().find(|item| item["metadata"]["name"] == "things.example.com").unwrap()["versions"][0].clone()
    };
    let kind = json!({"group": "things.example.com", "version": "v1", "kind": "Thing"});
    let size = json!([{"subresource": "size", "responseKind": kind, "verbs": ["get", "list"]}]);
    let expected = json!({"version": "v1", "freshness": "Current", "resources": [
        {"resource": "things", "singularResource": "", "scope": "Namespaced", "verbs": ["get", "list"],
            "responseKind": kind, "subresources": size},
        {"resource": "boxes", "scope": "Cluster", "verbs": [], "responseKind": {"group": "", "version": "", "kind": ""},
            "subresources": size},
    ]});
    assert_eq!(found(&all), expected);
    // Whoever is registered later has the group from then on.
    let mute = tower::service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("?"))) });
    api.server.delegate(&Delegate::new("things.example.com", "v1", mute));
    let stale = json!({"version": "v1", "freshness": "Stale", "resources": []});
    assert_eq!(found(&api.get("/apis", AGGREGATED).await), stale);
}

#[tokio::test]
async fn a_handler_that_panics_or_breaks_off_fails_one_request() {
    let api = Api::start().await;
    let (status, text) = api.ask("GET", "/apis/things.example.com/v1/panic", &[], "").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{text}");
    assert!(text.contains("\"kind\":\"Status\""), "{text}");
    let broken = tower::service_fn(|_| async {
        let pieces = futures::stream::iter([Ok(http_body::Frame::data(Bytes::from("half"))), Err("the disk is gone")]);
        Ok::<_, Infallible>(Response::new(http_body_util::StreamBody::new(pieces)))
    });
    api.server.delegate(&Delegate::new("broken.example.com", "v1", broken));
    let (status, text) = api.ask("GET", "/apis/broken.example.com/v1/x", &[], "").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("broken.example.com/v1 is not available now: the disk is gone"), "{text}");
    api.get("/apis/things.example.com/v1/things", "application/json").await;
}

#[tokio::test]
async fn handed_on_requests_are_counted() {
    let api = Api::start().await;
    api.get("/apis/things.example.com/v1/namespaces/a/things", "application/json").await;
    api.ask("GET", "/apis/things.example.com/v1/missing", &[], "").await;
    let (_, metrics) = api.ask("GET", "/metrics", &[], "").await;
    let of = |code: u16, resource: &str, scope: &str| {
        format!(
            "apiserver_request_total{{code=\"{code}\",component=\"apiserver\",dry_run=\"\",group=\"things.example.com\",\
             resource=\"{resource}\",scope=\"{scope}\",subresource=\"\",verb=\"LIST\",version=\"v1\"}} 1"
        )
    };
    for line in [of(200, "things", "namespace"), of(404, "", "cluster")] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn a_version_that_nobody_serves_is_not_there() {
    let api = Api::start().await;
    let (status, _) = api.ask("GET", "/apis/things.example.com/v2/things", &[], "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_group_that_is_served_has_an_api_service_and_one_of_a_service_is_not_asked() {
    let api = Api::start().await;
    let path = "/apis/apiregistration.k8s.io/v1/apiservices";
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    // It is made when the group is registered, and that waits for nobody.
    let row = loop {
        let list = api.get(path, table).await;
        if let Some(row) = list["rows"].get(0) {
            break row["cells"].clone();
        }
        tokio::task::yield_now().await;
    };
    let row: Vec<_> = row.as_array().unwrap().iter().take(3).cloned().collect();
    assert_eq!(row, ["v1.things.example.com", "Local", "True"]);
    let mut object = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1.other.example.com"},
        "spec": {"group": "other.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100,
            "service": {"namespace": "default", "name": "metrics"}}});
    let json = [("content-type", "application/json")];
    let (status, text) = api.ask("POST", path, &json, &object.to_string()).await;
    assert_eq!(status, StatusCode::CREATED, "{text}");
    let made: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(made["spec"]["service"]["port"], 443);
    assert_eq!(made["status"]["conditions"][0]["reason"], "ServiceNotAsked");
    let (status, text) = api.ask("GET", "/apis/other.example.com/v1/things", &[], "").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("names the Service default/metrics"), "{text}");
    object["metadata"]["name"] = "v2.other.example.com".into();
    let (status, text) = api.ask("POST", path, &json, &object.to_string()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{text}");
}
