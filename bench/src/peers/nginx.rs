//! nginx: `location` blocks, keep-alive to the endpoints, `access_log` and `stub_status`.

use std::{fmt::Write as _, fs, path::Path};

use super::{CORES, Peer, Ports, Site, on_core};
use crate::machine::{self, Process};

/// What nginx is told to add, as every other proxy adds it; `module` is `proxy` or `grpc`.
fn added(module: &str) -> String {
    let fields = [
        ("Host", "$host"),
        ("X-Forwarded-For", "$proxy_add_x_forwarded_for"),
        ("X-Forwarded-Proto", "$scheme"),
        ("X-Request-Id", "$request_id"),
    ];
    fields.map(|(name, value)| format!("{module}_set_header {name} {value};")).join(" ")
}

/// Starts it.
pub(super) fn start(site: &Site) -> anyhow::Result<Peer> {
    let ports = Ports::free()?;
    let process = spawn(site.dir(), "nginx", CORES.0, &http(site, ports)?)?;
    Peer::started("nginx", process, ports)
}

fn http(site: &Site, ports: Ports) -> anyhow::Result<String> {
    let mut http = String::new();
    let log = site.dir().join("nginx-access.log");
    writeln!(http, "access_log {} combined;", machine::text(&log)?)?;
    let endpoints = &site.endpoints;
    for (name, port) in [("small", endpoints.small), ("large", endpoints.large), ("grpc", endpoints.grpc)] {
        writeln!(http, "upstream {name} {{ server 127.0.0.1:{port}; keepalive 256; keepalive_requests 1000000000; }}")?;
    }
    // This version speaks HTTP/2 without TLS only at a port where it speaks nothing else.
    writeln!(
        http,
        "server {{ listen 127.0.0.1:{} backlog=4096; listen 127.0.0.1:{} http2 backlog=4096;\n\
         listen 127.0.0.1:{} ssl http2 backlog=4096; ssl_certificate {}; ssl_certificate_key {};\n\
         ssl_protocols TLSv1.2 TLSv1.3;\nlocation = /status {{ stub_status; }}",
        ports.plain,
        ports.h2c,
        ports.tls,
        site.certificate.file("cert.pem")?,
        site.certificate.file("key.pem")?
    )?;
    let forward = format!("proxy_http_version 1.1; proxy_set_header Connection \"\"; {}", added("proxy"));
    for route in 0..site.routes {
        writeln!(http, "location /r{route}/ {{ proxy_pass http://small; {forward} }}")?;
    }
    writeln!(http, "location /large/ {{ proxy_pass http://large; {forward} }}")?;
    writeln!(http, "location /bench.Echo/ {{ grpc_pass grpc://grpc; {} }}\n}}", added("grpc"))?;
    Ok(http)
}

/// An nginx of its own with this inside `http`, on one core.
pub(super) fn spawn(dir: &Path, name: &str, core: &str, http: &str) -> anyhow::Result<Process> {
    let (conf, pid) = (dir.join(format!("{name}.conf")), dir.join(format!("{name}.pid")));
    let text = format!(
        "daemon off; worker_processes 1; pid {}; error_log stderr crit;\n\
         events {{ worker_connections 16384; }}\nhttp {{\n\
         keepalive_requests 1000000000; keepalive_timeout 300s;\n{http}\n}}\n",
        machine::text(&pid)?
    );
    fs::write(&conf, text)?;
    Process::spawn(on_core(core, "nginx").args(["-p", machine::text(dir)?, "-c", machine::text(&conf)?]))
}
