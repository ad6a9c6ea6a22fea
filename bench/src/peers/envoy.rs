//! Envoy: static routes, a file access log, its statistics, one worker.

use std::{fs, path::Path, process::Stdio};

use serde_json::{Value, json};

use super::{CORES, Peer, Ports, Site, on_core};
use crate::machine::{self, Process};

/// Where the types of configuration are named.
const TYPES: &str = "type.googleapis.com/envoy.extensions";

/// Starts it.
pub(super) fn start(program: &Path, site: &Site) -> anyhow::Result<Peer> {
    let ports = Ports::free()?;
    let conf = site.dir().join("envoy.json");
    fs::write(&conf, bootstrap(site, ports)?.to_string())?;
    let mut command = on_core(CORES.0, program);
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c"]).arg(&conf);
    let process = Process::spawn(command.stdout(Stdio::null()))?;
    Peer::started("envoy", process, ports)
}

fn bootstrap(site: &Site, ports: Ports) -> anyhow::Result<Value> {
    let endpoints = &site.endpoints;
    let tls = json!({"name": "tls", "typed_config": {
        "@type": format!("{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext"),
        "common_tls_context": {"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [{
            "certificate_chain": {"filename": site.certificate.file("cert.pem")?},
            "private_key": {"filename": site.certificate.file("key.pem")?},
        }]},
    }});
    let manager = manager(site)?;
    let listener = |port: u16, tls: Option<&Value>| {
        let mut chain = json!({"filters": [{"name": "http", "typed_config": manager}]});
        if let (Some(tls), Some(chain)) = (tls, chain.as_object_mut()) {
            chain.insert("transport_socket".to_owned(), tls.clone());
        }
        json!({"name": format!("edge-{port}"), "address": address(port), "filter_chains": [chain]})
    };
    Ok(json!({
        "admin": {"address": address(machine::free_port()?)},
        "static_resources": {
            "listeners": [listener(ports.plain, None), listener(ports.h2c, None), listener(ports.tls, Some(&tls))],
            "clusters": [
                cluster("small", endpoints.small, false),
                cluster("large", endpoints.large, false),
                cluster("grpc", endpoints.grpc, true),
            ],
        },
    }))
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

/// The HTTP connection manager, which finds out by itself whether a client speaks HTTP/2.
fn manager(site: &Site) -> anyhow::Result<Value> {
    let route = |prefix: String, cluster: &str| json!({"match": {"prefix": prefix}, "route": {"cluster": cluster}});
    let mut routes: Vec<_> =
        (0..site.routes).map(|route_number| route(format!("/r{route_number}/"), "small")).collect();
    routes.push(route("/large/".to_owned(), "large"));
    routes.push(route("/bench.Echo/".to_owned(), "grpc"));
    Ok(json!({
        "@type": format!("{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "edge",
        "codec_type": "AUTO",
        "use_remote_address": true,
        "access_log": [{"name": "file", "typed_config": {
            "@type": format!("{TYPES}.access_loggers.file.v3.FileAccessLog"),
            "path": machine::text(&site.dir().join("envoy-access.log"))?,
        }}],
        "http_filters": [{"name": "envoy.filters.http.router",
            "typed_config": {"@type": format!("{TYPES}.filters.http.router.v3.Router")}}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    }))
}

fn cluster(name: &str, port: u16, http2: bool) -> Value {
    let protocol = if http2 { "http2_protocol_options" } else { "http_protocol_options" };
    let most = 1_000_000;
    json!({
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": address(port)}}]},
        ]},
        "circuit_breakers": {"thresholds": [{"max_connections": most, "max_pending_requests": most, "max_requests": most}]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": format!("{TYPES}.upstreams.http.v3.HttpProtocolOptions"),
            "explicit_http_config": {protocol: {}},
        }},
    })
}
