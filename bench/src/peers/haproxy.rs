//! haproxy: a map of path prefixes, log to a file, the Prometheus exporter.

use std::{
    fmt::Write as _,
    fs::{self, File},
};

use super::{CORES, Peer, Ports, Site, on_core};
use crate::machine::{self, Process};

/// Starts it.
pub(super) fn start(site: &Site) -> anyhow::Result<Peer> {
    let (ports, metrics) = (Ports::free()?, machine::free_port()?);
    let mut map = String::from("/large/ large\n/bench.Echo/ grpc\n");
    for route in 0..site.routes {
        writeln!(map, "/r{route}/ small")?;
    }
    let (conf, paths) = (site.dir().join("haproxy.cfg"), site.dir().join("haproxy.map"));
    fs::write(&paths, map)?;
    let endpoints = &site.endpoints;
    let text = format!(
        "global
    nbthread 1
    maxconn 12000
    no strict-limits
    log stdout format raw local0
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    log global
    option httplog
    option http-keep-alive
    http-reuse always
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout http-keep-alive 300s
frontend edge
    bind 127.0.0.1:{plain} backlog 4096
    bind 127.0.0.1:{h2c} proto h2 backlog 4096
    bind 127.0.0.1:{tls} ssl crt {both} alpn h2,http/1.1 backlog 4096
    option forwardfor
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
    http-request set-header X-Request-Id %[uuid]
    use_backend %[path,map_beg({map})]
frontend metrics
    bind 127.0.0.1:{metrics}
    http-request use-service prometheus-exporter if {{ path /metrics }}
backend small
    server one 127.0.0.1:{small}
backend large
    server one 127.0.0.1:{large}
backend grpc
    server one 127.0.0.1:{grpc} proto h2
",
        plain = ports.plain,
        h2c = ports.h2c,
        tls = ports.tls,
        both = site.certificate.file("both.pem")?,
        map = machine::text(&paths)?,
        small = endpoints.small,
        large = endpoints.large,
        grpc = endpoints.grpc,
    );
    fs::write(&conf, text)?;
    let log = File::create(site.dir().join("haproxy-access.log"))?;
    // Not `-q`: with it, standard output is /dev/null, and with it the access log.
    let process = Process::spawn(on_core(CORES.0, "haproxy").args(["-db", "-f", machine::text(&conf)?]).stdout(log))?;
    Peer::started("haproxy", process, ports)
}
