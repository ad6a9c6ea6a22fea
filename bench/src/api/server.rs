//! The API server as a process of its own, and what its clients send.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use apiserver::{ApiServer, Options};
use http::Request;
use kube::{
    Client,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::machine::Process;

/// The ConfigMaps of the namespace `default`.
pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Serves until it is killed; says its address in the first line that it prints.
pub fn serve(data_dir: &Path) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = open(data_dir).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://{}", listener.local_addr()?);
        std::fs::write(data_dir.join("kubeconfig"), server.kubeconfig(&url)?)?;
        println!("{url}");
        server.serve(listener, CancellationToken::new()).await?;
        Ok(())
    })
}

/// An API server in this process.
pub async fn open(data_dir: &Path) -> anyhow::Result<ApiServer> {
    let service_cidr = "10.43.0.0/16".to_owned();
    Ok(ApiServer::open(Options { data_dir: data_dir.to_owned(), service_cidr, names: Vec::new() }).await?)
}

/// A server in another process; it ends with its value.
pub struct Server {
    pub process: Process,
    pub client: Client,
    /// From its start to its first answer.
    pub started: Duration,
    kubeconfig: Kubeconfig,
}

impl Server {
    /// Starts one, and waits for its first answer.
    pub async fn start(data_dir: &Path) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let mut command = Command::new(std::env::current_exe().context("find this program")?);
        command.arg("api-server").arg(data_dir).stdout(Stdio::piped());
        let mut process = Process::spawn(&mut command)?;
        let output = process.0.stdout.take().context("the server's output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(!line.is_empty(), "the server did not start");
        let kubeconfig = Kubeconfig::read_from(data_dir.join("kubeconfig"))?;
        let client = client(&kubeconfig).await?;
        ask(&client, "GET", "/api/v1/namespaces/default", None).await?;
        Ok(Self { process, client, started: begun.elapsed(), kubeconfig })
    }

    /// A client with connections of its own.
    pub async fn another_client(&self) -> anyhow::Result<Client> {
        client(&self.kubeconfig).await
    }
}

async fn client(kubeconfig: &Kubeconfig) -> anyhow::Result<Client> {
    let config = kube::Config::from_custom_kubeconfig(kubeconfig.clone(), &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// One request; gives how many bytes came back.
pub async fn ask(client: &Client, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<usize> {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let body = body.map_or(Vec::new(), |body| body.to_string().into_bytes());
    let answer = client.send(request.body(Body::from(body))?).await?;
    let status = answer.status();
    let bytes = answer.into_body().collect_bytes().await?;
    ensure!(status.is_success(), "{method} {path}: {status} {}", String::from_utf8_lossy(&bytes));
    Ok(bytes.len())
}

/// A ConfigMap whose data has so many bytes.
pub fn config_map(name: &str, bytes: usize) -> Value {
    serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": "x".repeat(bytes)}})
}
