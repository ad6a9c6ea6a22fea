//! The control plane: watches Gateway API objects, Services and endpoints, compiles them into a routing table, and writes
//! their statuses. [`compile`] does no I/O; [`run`] is the loop around it.

mod addresses;
mod again;
mod attach;
mod authorities;
mod autoscalers;
mod backend_tls;
mod backends;
mod certificates;
mod clusters;
mod compile;
mod development;
mod dump;
mod edges;
mod features;
mod filters;
mod frontends;
#[doc(hidden)]
pub mod fuzzing;
mod gateways;
mod grants;
mod grpc_routes;
mod hosts;
mod layer4;
pub mod leader;
mod listener_sets;
mod listeners;
mod mesh;
mod policies;
mod reached;
mod routes;
mod run;
mod scalable;
mod services;
mod sleepers;
mod snapshot;
mod status;
mod trust;
mod unbound;
mod verify;
mod wake;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Pod, Secret, Service},
    discovery::v1::EndpointSlice,
};
use objects::gateway::{
    BackendTLSPolicy, GRPCRoute, Gateway, GatewayClass, HTTPRoute, ListenerSet, ReferenceGrant, TCPRoute, TLSRoute,
    UDPRoute,
};

pub use compile::{Compiled, Memory, compile};
pub use development::{Issued, Issuer};
pub use dump::dump;
pub use reached::Reached;
pub use run::run;
pub use scalable::Scalable;
pub use snapshot::{KINDS, Unserved, unserved};
pub use status::{StatusKind, StatusUpdate};

use tokio::sync::watch;

use crate::table::{Listener, Table, Transport};

/// The `controllerName` of the GatewayClasses served, unless another is asked for.
pub const CONTROLLER: &str = "coracle.dev/gateway-controller";

/// What the control plane must know of this machine.
#[derive(Debug, Clone)]
pub struct Options {
    /// Listener ports served at other addresses, such as 80 at 127.0.0.1:8080.
    pub publish: Vec<Publish>,
    /// Where a port that is not published is bound, if it is 1024 or above.
    pub bind: IpAddr,
    /// The Gateways' addresses.
    pub reached: Reached,
    /// The `controllerName` of the GatewayClasses served.
    pub controller: Arc<str>,
    /// Whether Services' addresses are listeners too, and routes may have Services as parents: not where something else serves
    /// them.
    pub services: bool,
    /// Whether pods call from addresses of their own, by which a route can be for those of one namespace.
    pub callers_known: bool,
    /// Whether this process writes statuses and events now, of several that serve the same; `None` is always.
    pub leading: Option<watch::Receiver<bool>>,
    /// Makes certificates for listeners whose Secrets are missing, if they are to have any.
    pub development: Option<Arc<dyn Issuer>>,
}

impl Options {
    /// One process that serves everything, with Gateways at the address that they are bound to.
    pub fn new(publish: Vec<Publish>, bind: IpAddr) -> Self {
        let controller = CONTROLLER.into();
        Self {
            publish,
            bind,
            reached: Reached::Bound,
            controller,
            services: true,
            callers_known: true,
            leading: None,
            development: None,
        }
    }

    fn leads(&self) -> bool {
        self.leading.as_ref().is_none_or(|leading| *leading.borrow())
    }
}

/// One published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish {
    /// The address bound on this machine.
    pub address: SocketAddr,
    /// The port Gateways name in `listeners[].port`.
    pub listener_port: u16,
}

/// An address the proxy could not bind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What it was to be bound for.
    pub transport: Transport,
    /// What the operating system said.
    pub message: String,
    /// Whether privileges would help.
    pub denied: bool,
}

impl BindError {
    /// Why a listener could not be bound.
    pub fn new(listener: &Listener, error: &std::io::Error) -> Self {
        let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
        Self { address: listener.bind, transport: listener.transport(), message: error.to_string(), denied }
    }
}

/// Takes each new table; the proxy does.
pub trait Sink: Send + Sync + 'static {
    /// Serves the table from now on; returns the addresses that could not be bound.
    fn apply(&self, table: Arc<Table>) -> Vec<BindError>;

    /// The endpoints of the table's clusters may have changed.
    fn endpoints_changed(&self) {}

    /// What there is, before what is made of it is handed over or its endpoints change.
    fn objects(&self, _snapshot: &Arc<Snapshot>) {}
}

impl<S: Sink> Sink for Arc<S> {
    fn apply(&self, table: Arc<Table>) -> Vec<BindError> {
        S::apply(self, table)
    }

    fn endpoints_changed(&self) {
        S::endpoints_changed(self);
    }

    fn objects(&self, snapshot: &Arc<Snapshot>) {
        S::objects(self, snapshot);
    }
}

/// Everything a table is compiled from.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Of every controller; others' are ignored.
    pub classes: Vec<Arc<GatewayClass>>,
    /// Gateways.
    pub gateways: Vec<Arc<Gateway>>,
    /// ListenerSets.
    pub listener_sets: Vec<Arc<ListenerSet>>,
    /// HTTPRoutes.
    pub routes: Vec<Arc<HTTPRoute>>,
    /// GRPCRoutes.
    pub grpc_routes: Vec<Arc<GRPCRoute>>,
    /// TLSRoutes.
    pub tls_routes: Vec<Arc<TLSRoute>>,
    /// TCPRoutes.
    pub tcp_routes: Vec<Arc<TCPRoute>>,
    /// UDPRoutes.
    pub udp_routes: Vec<Arc<UDPRoute>>,
    /// BackendTLSPolicies.
    pub backend_tls: Vec<Arc<BackendTLSPolicy>>,
    /// ReferenceGrants.
    pub grants: Vec<Arc<ReferenceGrant>>,
    /// Services.
    pub services: Vec<Arc<Service>>,
    /// Of type `kubernetes.io/tls`.
    pub secrets: Vec<Arc<Secret>>,
    /// Only their `ca.crt`: the certificates of authorities.
    pub config_maps: Vec<Arc<ConfigMap>>,
    /// EndpointSlices.
    pub slices: Vec<Arc<EndpointSlice>>,
    /// Pods, where Services' addresses are served: who calls.
    pub pods: Vec<Arc<Pod>>,
    /// Namespaces, for `allowedRoutes` selectors.
    pub namespaces: Vec<Arc<Namespace>>,
    /// What autoscalers may take all pods of, whatever its kind.
    pub scalables: Vec<Arc<Scalable>>,
    /// What the proxy could not bind when it took the last table.
    pub bind_errors: Vec<BindError>,
}
