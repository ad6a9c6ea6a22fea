//! A routing table as text, for golden files and people.

use std::fmt::Write;

use crate::table::{
    Action, Backend, Cluster, Entry, HeaderChange, Hosts, ListenerService, Mirror, Routes, Rule, Share, Split, Table,
    TlsService, Upstream,
};

/// One line per listener, host and entry, in the order they are tried.
pub fn dump(table: &Table) -> String {
    let mut out = String::new();
    for listener in &table.listeners {
        dump_service(&mut out, &format!("{} {}", listener.bind, listener.name), &listener.service);
        for (namespace, service) in listener.consumers.iter().flat_map(|consumers| consumers.services()) {
            dump_service(&mut out, &format!("{} {} for {namespace}", listener.bind, listener.name), service);
        }
    }
    out
}

fn dump_service(out: &mut String, at: &str, service: &ListenerService) {
    match service {
        ListenerService::Tcp(split) => _ = writeln!(out, "{at} tcp {}", shares(split)),
        ListenerService::Udp(split) => _ = writeln!(out, "{at} udp {}", shares(split)),
        ListenerService::Http(hosts) => {
            _ = writeln!(out, "{at} http");
            dump_hosts(out, hosts);
        }
        ListenerService::Tls(secured) => {
            _ = writeln!(out, "{at} tls");
            for (name, service) in secured.services() {
                let service = match service {
                    TlsService::Https(_) => "https".to_owned(),
                    TlsService::Terminate(_, split) => format!("terminate {}", shares(split)),
                    TlsService::Passthrough(split) => format!("passthrough {}", shares(split)),
                };
                _ = writeln!(out, "  {name} {service}");
            }
            dump_hosts(out, &secured.hosts);
        }
    }
}

fn header_changes(request: &HeaderChange, response: &HeaderChange) -> Vec<String> {
    let all = [("request", request), ("response", response)];
    let some = |change: &HeaderChange| !change.set.is_empty() || !change.add.is_empty() || !change.remove.is_empty();
    all.into_iter().filter(|(_, change)| some(change)).map(|(what, change)| format!("{what}={change:?}")).collect()
}

/// What a rule changes or limits, each thing only where it does.
fn changes(rule: &Rule) -> Vec<String> {
    let mut said = header_changes(&rule.request_headers, &rule.response_headers);
    said.extend(rule.rewrite.as_ref().map(|rewrite| format!("{rewrite:?}")));
    if rule.request_timeout.is_some() || rule.backend_timeout.is_some() {
        said.push(format!("timeouts={:?}/{:?}", rule.request_timeout, rule.backend_timeout));
    }
    said.extend(rule.cors.as_ref().map(|cors| format!("{cors:?}")));
    said.extend(rule.retry.as_ref().map(|retry| format!("{retry:?}")));
    said.extend(
        rule.persistence.as_ref().map(|sessions| {
            format!("sessions by {:?} for {:?}/{:?}", sessions.carrier, sessions.absolute, sessions.idle)
        }),
    );
    said.extend(rule.mirrors.iter().map(mirror));
    said
}

fn mirror(mirror: &Mirror) -> String {
    format!("mirror {}/{} to {}", mirror.part, mirror.whole, mirror.cluster.name)
}

/// What is changed for one backend alone.
fn of_backend(backend: &Backend) -> String {
    let mut said = header_changes(&backend.request_headers, &backend.response_headers);
    said.extend(backend.rewrite.as_ref().map(|rewrite| format!("{rewrite:?}")));
    said.extend(backend.redirect.as_ref().map(|redirect| format!("{redirect:?}")));
    said.extend(backend.mirrors.iter().map(mirror));
    said.into_iter().map(|said| format!(" {said}")).collect()
}

/// As short as it can be for a single cluster.
fn shares(split: &Split) -> String {
    let one = |share: &Share| share.cluster.as_deref().map_or_else(|| "refused".to_owned(), shown);
    match split.shares.as_slice() {
        [only] if only.weight > 0 => one(only),
        all => {
            format!("{:?}", all.iter().map(|share| format!("{} x {}", share.weight, one(share))).collect::<Vec<_>>())
        }
    }
}

fn shown(cluster: &Cluster) -> String {
    let protocol = match cluster.protocol {
        Upstream::Http1 => "",
        Upstream::Http2 => " h2",
    };
    let hashing = cluster.policy().hash_on().map(|_| format!(" by {:?}", cluster.policy().algorithm));
    let tls = cluster.tls.as_ref().map(|tls| format!(" inside TLS with {}", tls.name.to_str())).unwrap_or_default();
    format!("{}{protocol}{tls}{} {:?}", cluster.name, hashing.unwrap_or_default(), cluster.addresses())
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
        let changes = changes(rule);
        if !changes.is_empty() {
            _ = writeln!(out, "      {}", changes.join(" "));
        }
        match &rule.action {
            Action::Forward(backends) => {
                for backend in backends {
                    let target = backend.target.as_ref().map_or_else(ToString::to_string, |cluster| shown(cluster));
                    _ = writeln!(out, "      {} x {target}{}", backend.weight, of_backend(backend));
                }
            }
            other => _ = writeln!(out, "      {other:?}"),
        }
    }
}
