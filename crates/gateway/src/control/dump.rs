//! A routing table as text, for golden files and people.

use std::fmt::Write;

use crate::table::{Action, Entry, Hosts, ListenerService, Routes, Table};

/// One line per listener, host and entry, in the order they are tried.
pub fn dump(table: &Table) -> String {
    let mut out = String::new();
    for listener in &table.listeners {
        match &listener.service {
            ListenerService::Tcp(cluster) => {
                _ = writeln!(
                    out,
                    "{} {} tcp {} {:?}",
                    listener.bind,
                    listener.name,
                    cluster.name,
                    cluster.endpoints.load()
                );
            }
            ListenerService::Http(hosts) => {
                _ = writeln!(out, "{} {} http", listener.bind, listener.name);
                dump_hosts(&mut out, hosts);
            }
            ListenerService::Https(secured) => {
                let names = secured.certificates.names();
                _ = writeln!(out, "{} {} https {names:?}", listener.bind, listener.name);
                dump_hosts(&mut out, &secured.hosts);
            }
        }
    }
    out
}

fn dump_hosts(out: &mut String, hosts: &Hosts) {
    hosts.sorted().iter().for_each(|(host, routes)| dump_routes(out, host, routes));
}

fn dump_routes(out: &mut String, host: &str, routes: &Routes) {
    _ = writeln!(out, "  {host}");
    for Entry { matches, rule } in routes.entries() {
        let method = matches.method.as_ref().map(|m| format!("{m} ")).unwrap_or_default();
        _ = writeln!(
            out,
            "    {method}{:?} headers={:?} query={:?} -> {}",
            matches.path, matches.headers, matches.queries, rule.name
        );
        let changes = (&rule.request_headers, &rule.response_headers, &rule.rewrite);
        _ = writeln!(out, "      {changes:?} timeouts={:?}/{:?}", rule.request_timeout, rule.backend_timeout);
        match &rule.action {
            Action::Forward(backends) => {
                for backend in backends {
                    match &backend.target {
                        Ok(cluster) => {
                            _ = writeln!(
                                out,
                                "      {} x {} {:?}",
                                backend.weight,
                                cluster.name,
                                cluster.endpoints.load()
                            );
                        }
                        Err(status) => _ = writeln!(out, "      {} x {status}", backend.weight),
                    }
                }
            }
            other => _ = writeln!(out, "      {other:?}"),
        }
    }
}
