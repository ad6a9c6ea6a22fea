//! The Kubernetes API: store, watch, patch, authentication, tables, discovery.
//!
//! [`ApiServer`] is the whole of it. A request goes from `http` (what is asked) through `registry` (what that means for an
//! object) to `store` (durable, watchable bytes); `defaults`, `validation`, `convert` and `printers` know the kinds.
//!
//! What differs from upstream, on purpose: whoever has a certificate of the authority, or a service account's token, may do
//! everything. Protobuf is read and never written.

mod again;
mod api_services;
mod bootstrap;
mod client;
mod convert;
mod crd;
mod defaults;
mod follow;
pub mod fuzzing;
mod go;
pub mod http;
mod openapi;
pub mod pki;
mod printers;
pub mod protobuf;
pub mod registry;
mod request;
mod scale;
mod serve;
pub mod stall;
pub mod status;
pub mod store;
pub mod tokens;
mod validation;
mod warnings;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use crate::http::Delegate;
use crate::{
    http::Handler,
    pki::{Pki, PkiError},
    registry::{Registry, addresses::Addresses},
    store::Store,
    tokens::Tokens,
};

/// What the API server is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of the store and of `pki/`.
    pub data_dir: PathBuf,
    /// The range of service addresses, such as `10.43.0.0/16`.
    pub service_cidr: String,
    /// Names and addresses by which clients know the server, besides the usual ones.
    pub names: Vec<String>,
}

/// Why the API server could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The range is not one.
    #[error("{0:?} is not a range of service addresses such as 10.43.0.0/16")]
    Range(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// A key or certificate.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The first objects could not be made.
    #[error("make the first objects: {0}")]
    Bootstrap(String),
}

/// The API server. Clones are handles to the same one.
#[derive(Clone)]
pub struct ApiServer {
    handler: Arc<Handler>,
    pki: Arc<Pki>,
    names: Vec<String>,
}

impl ApiServer {
    /// Opens the store and the authority, and makes what every cluster has from its first start.
    ///
    /// # Errors
    /// Says what cannot be opened, and why.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let addresses =
            Addresses::new(&options.service_cidr).ok_or_else(|| OpenError::Range(options.service_cidr.clone()))?;
        let pki = Arc::new(Pki::open(&options.data_dir.join("pki"))?);
        let store = Store::open(&options.data_dir.join(store::FILE))?;
        let registry = Arc::new(Registry::new(store, addresses));
        crd::sync(&registry).await.map_err(|failure| OpenError::Bootstrap(failure.message))?;
        tokio::spawn(crd::follow(Arc::downgrade(&registry)));
        bootstrap::run(&registry).await.map_err(|failure| OpenError::Bootstrap(failure.message))?;
        let service: Ipv4Addr = registry.api_address();
        let usual = ["127.0.0.1", "::1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        let mut names: Vec<String> = usual.map(str::to_owned).into();
        names.push(service.to_string());
        names.extend(options.names.into_iter().filter(|name| name != "0.0.0.0" && name != "::"));
        names.dedup();
        let node_tls = Arc::new(pki.client_config("kube-apiserver-kubelet-client", &["system:masters"])?);
        let tokens = Arc::new(Tokens::open(&options.data_dir.join("pki"))?);
        Ok(Self { handler: Arc::new(Handler::new(registry, node_tls, tokens)), pki, names })
    }

    /// Hands a group and version to whoever serves it, from now on; as upstream's aggregator does for an `APIService`. The requests
    /// are authenticated, discovery shows what the handler says that it has, and whoever served it before does so no more.
    /// All handlers are let go when [`Self::serve`] ends. An `APIService` object says who serves it, unless there is one already.
    pub fn delegate(&self, delegate: &Delegate) {
        self.handler.delegates.add(delegate);
        let registry = Arc::downgrade(&self.handler.registry);
        tokio::spawn(api_services::announce(registry, delegate.group().to_owned(), delegate.version().to_owned()));
    }

    /// A client in this process, acting under this name.
    pub fn client(&self, identity: &str) -> kube::Client {
        client::client(self.handler.clone(), identity)
    }

    /// Says where the server is reached, as the endpoints of the Service `kubernetes`: by its address programs in pods find it.
    /// From then on these, the Service and the system's namespaces are made anew when somebody deletes them.
    ///
    /// # Errors
    /// When the store cannot write.
    pub async fn publish(&self, address: SocketAddr) -> Result<(), OpenError> {
        let published = bootstrap::publish(&self.handler.registry, address).await;
        published.map_err(|failure| OpenError::Bootstrap(failure.message))?;
        tokio::spawn(bootstrap::keep(Arc::downgrade(&self.handler.registry), address));
        Ok(())
    }

    /// Serves HTTPS until `stop`.
    ///
    /// # Errors
    /// When the server's certificate cannot be made.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) -> Result<(), PkiError> {
        let mut tls = self.pki.server_config(&self.names, true)?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        serve::serve(self.handler.clone(), tls, listener, stop).await;
        // They may hold clients of this server, and so the server itself.
        self.handler.delegates.clear();
        Ok(())
    }

    /// Resolves when every handle and client is gone and the store's file is closed: then another process can open it.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.handler.registry.closed()
    }

    /// The authority.
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// An administrator's kubeconfig for the server at `url`, with a new client certificate.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn kubeconfig(&self, url: &str) -> Result<String, PkiError> {
        use base64::Engine;
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let admin = self.pki.issue_client("system:admin", &["system:masters"])?;
        Ok(format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: coracle\nclusters:\n- name: coracle\n  cluster:\n    \
             server: {url}\n    certificate-authority-data: {}\nusers:\n- name: admin\n  user:\n    \
             client-certificate-data: {}\n    client-key-data: {}\ncontexts:\n- name: coracle\n  context:\n    \
             cluster: coracle\n    user: admin\n",
            encode(&self.pki.ca_pem()),
            encode(&admin.certificate),
            encode(&admin.key)
        ))
    }
}
