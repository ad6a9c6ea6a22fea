//! An API server on a port, as the tests of what is on the network have it.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part; a failed step of a test is its failure")]

use std::sync::Arc;

use apiserver::{ApiServer, Options};
use http::{Request, StatusCode};
use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// The ConfigMaps of the namespace `default`.
pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A server on a port; its directory goes with it.
pub struct Server {
    pub server: ApiServer,
    /// Over the network.
    pub client: Client,
    pub address: std::net::SocketAddr,
    pub stop: CancellationToken,
    pub serving: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Server {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options =
            Options { data_dir: dir.path().to_owned(), service_cidr: "10.43.0.0/16".to_owned(), names: Vec::new() };
        let server = ApiServer::open(options).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kubeconfig = Kubeconfig::from_yaml(&server.kubeconfig(&format!("https://{address}")).unwrap()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn({
            let (server, stop) = (server.clone(), stop.clone());
            async move { server.serve(listener, stop).await.unwrap() }
        });
        Self { server, client: Client::try_from(config).unwrap(), address, stop, serving, _dir: dir }
    }

    pub async fn ask(&self, method: &str, path: &str, body: Vec<u8>) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let answer = self.client.send(request.body(kube::client::Body::from(body)).unwrap()).await.unwrap();
        let status = answer.status();
        let bytes = answer.into_body().collect_bytes().await.unwrap();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        let (status, text) = self.ask("GET", path, Vec::new()).await;
        (status.as_u16(), text)
    }

    pub async fn make(&self, name: &str) {
        let object = json!({"metadata": {"name": name}}).to_string();
        let (status, said) = self.ask("POST", MAPS, object.into_bytes()).await;
        assert_eq!(status, StatusCode::CREATED, "{said}");
    }

    /// A connection of TLS with the administrator's certificate.
    pub async fn connect(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        self.secure(TcpStream::connect(self.address).await.unwrap()).await
    }

    /// TLS over a connection to the server.
    pub async fn secure(&self, stream: TcpStream) -> tokio_rustls::client::TlsStream<TcpStream> {
        let config = self.server.pki().client_config("tester", &["system:masters"]).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }
}
