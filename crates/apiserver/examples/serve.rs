//! The API server alone, for trying kubectl on it: `cargo run -p apiserver --example serve -- DATA_DIR`.

use std::path::PathBuf;

use apiserver::{ApiServer, Options};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data_dir = PathBuf::from(std::env::args().nth(1).ok_or("name a data directory")?);
    std::fs::create_dir_all(&data_dir)?;
    let options = Options { data_dir: data_dir.clone(), service_cidr: "10.43.0.0/16".into(), names: Vec::new() };
    let api = ApiServer::open(options).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let kubeconfig = data_dir.join("kubeconfig");
    std::fs::write(&kubeconfig, api.kubeconfig(&format!("https://{}", listener.local_addr()?))?)?;
    println!("export KUBECONFIG={}", kubeconfig.display());
    Ok(api.serve(listener, CancellationToken::new()).await?)
}
