//! A proxy that serves what manifests say, and pieces that most of them have.

use std::{net::SocketAddr, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD as base64};
use gateway::{
    control::{Memory, Options as Control, Publish, Sink, StatusUpdate, compile},
    proxy::{Options, Proxy},
};
use serde_json::Value;

use super::{
    pki::{Authority, Pair},
    snapshot::snapshot,
    support::Endpoint,
};

/// A running proxy, and what is kept between its manifests.
pub struct Served {
    proxy: Proxy,
    memory: Memory,
    pub control: Control,
}

impl Served {
    /// Serves these listener ports, each somewhere free.
    pub fn at(ports: &[u16]) -> Self {
        let proxy = Proxy::start(Options { workers: 1, ..Options::default() }).unwrap();
        let publish = ports.iter().map(|port| {
            let address = proxy.hold("127.0.0.1:0".parse().unwrap()).unwrap();
            Publish { address, listener_port: *port }
        });
        let control = Control::new(publish.collect(), "127.0.0.1".parse().unwrap());
        Self { proxy, memory: Memory::default(), control }
    }

    /// Where a listener port is served.
    pub fn address(&self, port: u16) -> SocketAddr {
        self.control.publish.iter().find(|published| published.listener_port == port).unwrap().address
    }

    /// Serves what these manifests say, and returns the statuses to write; a GatewayClass is there already.
    pub fn apply(&mut self, manifests: &[String]) -> Vec<StatusUpdate> {
        let class = "kind: GatewayClass
metadata: {name: coracle}
spec: {controllerName: coracle.dev/gateway-controller}
";
        let all = [&[class.to_owned()], manifests].concat().join("---\n");
        let compiled = compile(&snapshot(&all), &self.control, &mut self.memory, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(self.proxy.apply(Arc::new(compiled.table)), []);
        compiled.statuses
    }
}

/// A Gateway of these listeners and TLS settings, both in flow style.
pub fn gateway(tls: &str, listeners: &[&str]) -> String {
    format!(
        "kind: Gateway
metadata: {{name: edge, namespace: default}}
spec: {{gatewayClassName: coracle, tls: {{{tls}}}, listeners: [{}]}}
",
        listeners.join(", ")
    )
}

pub fn secret(name: &str, pair: &Pair) -> String {
    let (certificate, key) = (base64.encode(&pair.certificate), base64.encode(&pair.key));
    format!(
        "kind: Secret
metadata: {{name: {name}, namespace: default}}
type: kubernetes.io/tls
data: {{tls.crt: {certificate}, tls.key: {key}}}
"
    )
}

pub fn authority(name: &str, authority: &Authority) -> String {
    let pem = Value::from(authority.pem());
    format!(
        "kind: ConfigMap
metadata: {{name: {name}, namespace: default}}
data: {{ca.crt: {pem}}}
"
    )
}

/// A Service `up` whose port 80 is this endpoint.
pub fn service(endpoint: &Endpoint) -> String {
    format!(
        "kind: Service
metadata: {{name: up, namespace: default}}
spec: {{clusterIP: None, ports: [{{name: web, port: 80}}]}}
---
kind: EndpointSlice
metadata: {{name: up-1, namespace: default, labels: {{kubernetes.io/service-name: up}}}}
addressType: IPv4
ports: [{{name: web, port: {}}}]
endpoints: [{{addresses: [{}]}}]
",
        endpoint.address.port(),
        endpoint.address.ip()
    )
}

/// Every request at the Gateway to `up`.
pub fn route() -> String {
    "kind: HTTPRoute
metadata: {name: all, namespace: default}
spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{name: up, port: 80}]}]}
"
    .to_owned()
}
