//! How pods resolve names: their `/etc/resolv.conf` (kubelet's `GetPodDNS`). Pure.

use k8s_openapi::api::core::v1::{PodDNSConfig, PodSpec};

use crate::Dns;

/// What a `resolv.conf` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Resolver {
    servers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

impl Resolver {
    /// Reads one; of several lines with searches or options the last one counts.
    fn parse(text: &str) -> Self {
        let mut all = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => all.servers.extend(words.next()),
                Some("search") => {
                    // The same with and without a dot at its end; a dot alone is the root.
                    let bare = |word: String| word.strip_suffix('.').map_or(word.clone(), str::to_owned);
                    all.searches = words.map(|word| if word == "." { word } else { bare(word) }).collect();
                }
                Some("options") => all.options = words.collect(),
                _ => {}
            }
        }
        all
    }

    /// Adds what a pod says itself; its options take the place of those of the same name.
    fn add(&mut self, config: PodDNSConfig) {
        self.servers.extend(config.nameservers.unwrap_or_default());
        self.searches.extend(config.searches.unwrap_or_default());
        for option in config.options.unwrap_or_default() {
            let name = option.name.unwrap_or_default();
            self.options.retain(|known| known.split(':').next() != Some(name.as_str()));
            self.options.push(option.value.map_or(name.clone(), |value| format!("{name}:{value}")));
        }
    }

    fn text(&self) -> String {
        let mut text: String = once(&self.servers).map(|server| format!("nameserver {server}\n")).collect();
        for (word, list) in [("search", &self.searches), ("options", &self.options)] {
            let list: Vec<&str> = once(list).collect();
            if !list.is_empty() {
                text += &format!("{word} {}\n", list.join(" "));
            }
        }
        text
    }
}

/// Each of a list, the first time that it comes.
fn once(list: &[String]) -> impl Iterator<Item = &str> {
    let is_first = move |(at, one): &(usize, &String)| !list.iter().take(*at).any(|other| other == *one);
    list.iter().enumerate().filter(is_first).map(|(_, one)| one.as_str())
}

/// The pod's `/etc/resolv.conf` by its `dnsPolicy` and `dnsConfig`, on a machine that has this one; empty keeps the machine's.
///
/// Cluster DNS takes the place of the machine's servers and options; the machine's search domains come after the cluster's, so that
/// names of the house are found as they are on the machine.
pub fn resolv_conf(dns: Option<&Dns>, spec: &PodSpec, namespace: &str, machine: &str) -> String {
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let host = spec.host_network == Some(true) && policy == "ClusterFirst";
    let mut all = match (dns, &spec.dns_config) {
        _ if policy == "None" => Resolver::default(),
        (Some(dns), _) if policy.starts_with("ClusterFirst") && !host => {
            let domain = &dns.domain;
            let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
            searches.extend(Resolver::parse(machine).searches);
            Resolver { servers: vec![dns.nameserver.to_string()], searches, options: vec!["ndots:5".to_owned()] }
        }
        (_, None) => return String::new(),
        (_, Some(_)) => Resolver::parse(machine),
    };
    all.add(spec.dns_config.clone().unwrap_or_default());
    all.text()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const MACHINE: &str =
        "# of the house\nnameserver 192.0.2.1\nsearch lan. corp.example\noptions timeout:2 ndots:1 edns0\n";

    fn conf(dns: Option<&Dns>, spec: Value, machine: &str) -> String {
        resolv_conf(dns, &serde_json::from_value(spec).unwrap(), "n", machine)
    }

    fn cluster() -> Dns {
        Dns { nameserver: [10, 43, 0, 10].into(), domain: "cluster.local".to_owned() }
    }

    #[test]
    fn resolution_follows_the_policy_and_its_options() {
        let dns = cluster();
        let conf = |spec: Value| conf(Some(&dns), spec, "nameserver 192.0.2.1\n");
        let cluster =
            "nameserver 10.43.0.10\nsearch n.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";
        assert_eq!(conf(json!({"containers": []})), cluster);
        assert_eq!(
            conf(json!({"containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"})),
            cluster
        );
        assert_eq!(conf(json!({"containers": [], "dnsPolicy": "Default"})), "");
        assert_eq!(conf(json!({"containers": [], "hostNetwork": true})), "");
        let own = json!({"containers": [], "dnsPolicy": "None", "dnsConfig":
            {"nameservers": ["1.1.1.1"], "searches": ["x"], "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}]}});
        assert_eq!(conf(own), "nameserver 1.1.1.1\nsearch x\noptions ndots:2 rotate\n");
    }

    #[test]
    fn the_machines_search_domains_come_after_the_clusters() {
        let said = conf(Some(&cluster()), json!({"containers": []}), MACHINE);
        let search = "search n.svc.cluster.local svc.cluster.local cluster.local lan corp.example\n";
        assert_eq!(said, format!("nameserver 10.43.0.10\n{search}options ndots:5\n"));
    }

    #[test]
    fn what_a_pod_says_itself_is_added_to_the_machines_resolver() {
        let own = json!({"nameservers": ["192.0.2.1", "192.0.2.9"], "searches": ["corp.example", "mine"],
            "options": [{"name": "ndots", "value": "3"}]});
        let expected = "nameserver 192.0.2.1\nnameserver 192.0.2.9\nsearch lan corp.example mine\n\
            options timeout:2 edns0 ndots:3\n";
        let dns = cluster();
        for (dns, spec) in [
            (Some(&dns), json!({"containers": [], "dnsPolicy": "Default", "dnsConfig": own})),
            (Some(&dns), json!({"containers": [], "hostNetwork": true, "dnsConfig": own})),
            (None, json!({"containers": [], "dnsConfig": own})),
        ] {
            assert_eq!(conf(dns, spec, MACHINE), expected);
        }
    }
}
