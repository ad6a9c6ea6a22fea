//! Ingresses, their classes, and the addresses of Services (kubernetes/pkg/apis/networking/validation).

use std::net::IpAddr;

use objects::names;
use serde_json::{Value, json};

use super::{
    at::At,
    change::{immutable, unchangeable_fields},
    policy::cidr,
};
use crate::status::Cause;

/// Parts of a path that mean another path.
const INSIDE: &[&str] = &["//", "/./", "/../", "%2f", "%2F"];
const AT_END: &[&str] = &["/..", "/."];

pub(super) fn ingress(object: &At<'_>, causes: &mut Vec<Cause>) {
    let spec = object.field("spec");
    let (default, rules) = (spec.field("defaultBackend"), spec.field("rules"));
    if rules.len() == 0 && !default.is_set() {
        let why = "either `defaultBackend` or `rules` must be specified";
        causes.push(Cause::invalid_shown(&spec.path, "[]networking.IngressRule(nil)", why));
    }
    if default.is_set() {
        backend(&default, causes);
    }
    for rule in rules.elements() {
        let host = rule.field("host");
        if !host.text().is_empty() {
            self::host(&host, causes);
        }
        let http = rule.field("http");
        if http.is_set() {
            paths(&http.field("paths"), causes);
        }
    }
    for tls in spec.each("tls") {
        for host in tls.each("hosts") {
            let check = if host.text().contains('*') { names::wildcard_subdomain } else { names::dns_subdomain };
            causes.extend(host.named(check));
        }
        let secret = tls.field("secretName");
        if !secret.text().is_empty() {
            causes.extend(secret.named(names::dns_subdomain));
        }
    }
    let class = spec.field("ingressClassName");
    if class.is_set() {
        causes.extend(class.named(names::dns_subdomain));
    }
}

fn host(host: &At<'_>, causes: &mut Vec<Cause>) {
    if host.text().parse::<IpAddr>().is_ok() {
        causes.push(host.invalid("must be a DNS name, not an IP address"));
        return;
    }
    let check = if host.text().contains('*') { names::wildcard_subdomain } else { names::dns_subdomain };
    causes.extend(host.named(check));
}

fn paths(paths: &At<'_>, causes: &mut Vec<Cause>) {
    if paths.len() == 0 {
        causes.push(paths.required(""));
    }
    for one in paths.clone().elements() {
        let (of, path) = (one.field("pathType"), one.field("path"));
        match of.text() {
            "" => causes.push(of.required("pathType must be specified")),
            "Exact" | "Prefix" => {
                if path.text().starts_with('/') {
                    let inside = INSIDE.iter().filter(|part| path.text().contains(**part));
                    causes.extend(inside.map(|part| path.invalid(&format!("must not contain '{part}'"))));
                    let at_end = AT_END.iter().filter(|part| path.text().ends_with(**part));
                    causes.extend(at_end.map(|part| path.invalid(&format!("cannot end with '{part}'"))));
                } else {
                    causes.push(Cause::invalid(&path.path, &json!(path.text()), "must be an absolute path"));
                }
            }
            "ImplementationSpecific" => {
                if !path.text().is_empty() && !path.text().starts_with('/') {
                    causes.push(path.invalid("must be an absolute path"));
                }
            }
            _ => causes.extend(of.one_of(&["Exact", "ImplementationSpecific", "Prefix"])),
        }
        backend(&one.field("backend"), causes);
    }
}

fn backend(backend: &At<'_>, causes: &mut Vec<Cause>) {
    let empty = |why: &str| Cause::invalid(&backend.path, &json!(""), why);
    let (resource, service) = (backend.field("resource"), backend.field("service"));
    match (resource.is_set(), service.is_set()) {
        (true, true) => causes.push(empty("cannot set both resource and service backends")),
        (false, false) => causes.push(empty("resource or service backend is required")),
        (true, false) => {
            causes.extend(["kind", "name"].iter().filter_map(|field| resource.field(field).must_be_set()));
        }
        (false, true) => {
            causes.extend(service.field("name").must_be_named(names::dns_1035_label));
            let (name, number) = (service.field("port").field("name"), service.field("port").field("number"));
            match (!name.text().is_empty(), number.number().unwrap_or(0) != 0) {
                (true, true) => causes.push(empty("cannot set both port name & port number")),
                (true, false) => causes.extend(name.named(names::port_name)),
                (false, true) => causes.extend(number.port_number()),
                (false, false) => causes.push(backend.required("port name or number is required")),
            }
        }
    }
}

pub(super) fn class(object: &At<'_>, causes: &mut Vec<Cause>) {
    let controller = object.field("spec").field("controller");
    if controller.len() > 250 {
        causes.push(Cause::too_long(&controller.path, 250));
    }
    causes.extend(controller.must_be_named(names::domain_prefixed_path));
    let parameters = object.field("spec").field("parameters");
    if !parameters.is_set() {
        return;
    }
    causes.extend(["kind", "name"].iter().filter_map(|field| parameters.field(field).must_be_set()));
    let (scope, namespace) = (parameters.field("scope"), parameters.field("namespace"));
    match scope.text() {
        "Namespace" if namespace.text().is_empty() => {
            causes.push(namespace.required("`parameters.scope` is set to 'Namespace'"));
        }
        "Namespace" => causes.extend(namespace.named(names::dns_label)),
        "Cluster" if namespace.is_set() => {
            causes.push(namespace.forbidden("`parameters.scope` is set to 'Cluster'"));
        }
        "Cluster" => {}
        _ => causes.extend(scope.must_be_one_of(&["Cluster", "Namespace"])),
    }
}

pub(super) fn class_change(new: &Value, old: &Value) -> Vec<Cause> {
    immutable(new, old, "spec.controller").into_iter().collect()
}

pub(super) fn service_cidr(object: &At<'_>, causes: &mut Vec<Cause>) {
    let cidrs = object.field("spec").field("cidrs");
    if cidrs.len() == 0 {
        causes.push(cidrs.required("at least one CIDR required"));
    } else if cidrs.len() > 2 {
        causes.push(cidrs.invalid("may only hold up to 2 values"));
    }
    for one in cidrs.elements() {
        causes.extend(cidr(&one));
    }
}

pub(super) fn ip_address(object: &At<'_>, causes: &mut Vec<Cause>) {
    let name = object.field("metadata").field("name");
    if name.text().parse::<IpAddr>().map(|ip| ip.to_string()).ok().as_deref() != Some(name.text()) {
        causes.push(name.invalid("must be a valid IP address in canonical form"));
    }
    let parent = object.field("spec").field("parentRef");
    if !parent.is_set() {
        causes.push(parent.required(""));
        return;
    }
    causes.extend(["resource", "name"].iter().filter_map(|field| parent.field(field).must_be_set()));
}

pub(super) fn ip_address_change(new: &Value, old: &Value) -> Vec<Cause> {
    unchangeable_fields(new, old, &["spec.parentRef"])
}
