//! Service accounts over TLS: a token is issued, its bearer is known by it, and is nobody any more when the account, or the pod
//! that the token is bound to, is gone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::sync::Arc;

use apiserver::{ApiServer, Options};
use http::Request;
use kube::Client;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

struct Api {
    server: ApiServer,
    client: Client,
    address: std::net::SocketAddr,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Api {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options =
            Options { data_dir: dir.path().to_owned(), service_cidr: "10.43.0.0/16".to_owned(), names: Vec::new() };
        let server = ApiServer::open(options).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let (serving, until) = (server.clone(), stop.clone());
        tokio::spawn(async move { serving.serve(listener, until).await.unwrap() });
        Self { client: server.client("tester"), server, address, stop, _dir: dir }
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let answer = self.client.send(request.body(kube::client::Body::from(bytes)).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect_bytes().await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// The status line of an answer to somebody who has this token and no certificate.
    async fn as_bearer(&self, token: &str) -> String {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.server.pki().ca_pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect("127.0.0.1".try_into().unwrap(), stream).await.unwrap();
        let request = format!(
            "GET /api/v1/namespaces/default/pods HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
    }
}

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn token(api: &Api, spec: Value) -> (u16, Value) {
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    api.ask("POST", &format!("{ACCOUNTS}/robot/token"), request).await
}

async fn review(api: &Api, spec: Value) -> Value {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec});
    let (status, answer) = api.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review).await;
    assert_eq!(status, 201, "{answer}");
    answer["status"].clone()
}

#[tokio::test]
async fn the_bearer_of_a_token_is_its_account_for_as_long_as_that_is_there() {
    let api = Api::start().await;
    let account = json!({"metadata": {"name": "robot"}});
    assert_eq!(api.ask("POST", ACCOUNTS, account.clone()).await.0, 201);
    let (status, issued) = token(&api, json!({"expirationSeconds": 600})).await;
    assert_eq!((status, &issued["spec"]["expirationSeconds"]), (201, &json!(600)), "{issued}");
    let secret = issued["status"]["token"].as_str().unwrap().to_owned();
    assert_eq!(api.as_bearer(&secret).await, "HTTP/1.1 200 OK");
    assert_eq!(api.as_bearer("nonsense").await, "HTTP/1.1 401 Unauthorized");
    let known = review(&api, json!({"token": secret})).await;
    assert_eq!(known["user"]["username"], "system:serviceaccount:default:robot", "{known}");
    assert_eq!(known["user"]["groups"][1], "system:serviceaccounts:default");
    let elsewhere = review(&api, json!({"token": secret, "audiences": ["vault"]})).await;
    assert_ne!(elsewhere["authenticated"], true, "{elsewhere}");

    api.ask("DELETE", &format!("{ACCOUNTS}/robot"), Value::Null).await;
    assert_eq!(api.as_bearer(&secret).await, "HTTP/1.1 401 Unauthorized");
    // Another account of the same name is another account.
    api.ask("POST", ACCOUNTS, account).await;
    assert_eq!(api.as_bearer(&secret).await, "HTTP/1.1 401 Unauthorized");
    api.stop.cancel();
}

#[tokio::test]
async fn a_token_ends_with_the_pod_that_it_is_bound_to() {
    let api = Api::start().await;
    api.ask("POST", ACCOUNTS, json!({"metadata": {"name": "robot"}})).await;
    let spec = |account: &str| json!({"serviceAccountName": account, "containers": [{"name": "c", "image": "i"}]});
    for (name, account) in [("p", "robot"), ("q", "other")] {
        let made = api.ask("POST", PODS, json!({"metadata": {"name": name}, "spec": spec(account)})).await;
        assert_eq!(made.0, 201, "{made:?}");
    }
    let bound = |name: &str| json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": name}});
    assert_eq!(token(&api, bound("q")).await.0, 400, "it runs as another account");
    assert_eq!(token(&api, bound("none")).await.0, 404);
    let (status, issued) = token(&api, bound("p")).await;
    assert_eq!(status, 201, "{issued}");
    let secret = json!({"token": issued["status"]["token"]});
    let known = review(&api, secret.clone()).await;
    assert_eq!(known["user"]["extra"]["authentication.kubernetes.io/pod-name"], json!(["p"]), "{known}");
    api.ask("DELETE", &format!("{PODS}/p?gracePeriodSeconds=0"), Value::Null).await;
    assert!(review(&api, secret).await["error"].as_str().unwrap().contains("is gone"));
    api.stop.cancel();
}

#[tokio::test]
async fn what_a_token_may_not_be_is_said() {
    let api = Api::start().await;
    api.ask("POST", ACCOUNTS, json!({"metadata": {"name": "robot"}})).await;
    let (status, refused) = token(&api, json!({"expirationSeconds": 10})).await;
    assert_eq!(status, 422);
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.contains("spec.expirationSeconds: Invalid value: 10: may not specify a duration less than 10 minutes")
    );
    assert_eq!(api.as_bearer("").await, "HTTP/1.1 401 Unauthorized");
    api.stop.cancel();
}

#[tokio::test]
async fn who_acts_as_somebody_else_is_that_one() {
    let api = Api::start().await;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
        .header("content-type", "application/json")
        .header("impersonate-user", "bob")
        .header("impersonate-group", "dev");
    let request = request.body(kube::client::Body::from(review.to_string().into_bytes())).unwrap();
    let answer = api.client.send(request).await.unwrap().into_body().collect_bytes().await.unwrap();
    let said: Value = serde_json::from_slice(&answer).unwrap();
    let expected = json!({"username": "bob", "groups": ["dev", "system:authenticated"]});
    assert_eq!(said["status"]["userInfo"], expected, "{said}");
    api.stop.cancel();
}
