//! The files that every container of a pod has of its own: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`.

use std::{fs, net::IpAddr, path::PathBuf};

use super::super::SandboxSpec;

/// The machine's own files.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    hosts: String,
    hostname: String,
    /// Its resolver; not one on the machine itself.
    pub resolv_conf: String,
}

impl Machine {
    /// Reads them. Where a resolver on the machine itself is named, the servers behind it are taken: a pod cannot reach the
    /// machine's loopback address.
    pub fn read() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let own = read("/etc/resolv.conf");
        let local = own
            .lines()
            .filter_map(|line| line.strip_prefix("nameserver"))
            .all(|rest| rest.trim().parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()));
        let behind = if local { read("/run/systemd/resolve/resolv.conf") } else { String::new() };
        let resolv_conf = if behind.is_empty() { own } else { behind };
        Self { hosts: read("/etc/hosts"), hostname: read("/proc/sys/kernel/hostname"), resolv_conf }
    }
}

/// The files of a pod with this address: path and contents, worded as the kubelet does.
pub(super) fn of_pod(spec: &SandboxSpec, ip: IpAddr, machine: &Machine) -> Vec<(PathBuf, String)> {
    let (mut hosts, hostname) = if spec.host_network {
        (machine.hosts.clone(), machine.hostname.clone())
    } else {
        let name = &spec.hostname;
        let short = name.split('.').next().unwrap_or(name);
        let names = if spec.fqdn.is_empty() { name.clone() } else { format!("{}\t{short}", spec.fqdn) };
        let hosts = format!(
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n{ip}\t{names}\n"
        );
        (hosts, format!("{name}\n"))
    };
    if !spec.host_aliases.is_empty() {
        hosts += &format!("\n# Entries added by HostAliases.\n{}", spec.host_aliases);
    }
    let resolv_conf = if spec.resolv_conf.is_empty() { machine.resolv_conf.clone() } else { spec.resolv_conf.clone() };
    [("/etc/hosts", hosts), ("/etc/hostname", hostname), ("/etc/resolv.conf", resolv_conf)]
        .map(|(path, text)| (PathBuf::from(path), text))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(host_network: bool) -> SandboxSpec {
        SandboxSpec {
            pod_uid: "u".to_owned(),
            namespace: "n".to_owned(),
            name: "p".to_owned(),
            hostname: "web".to_owned(),
            fqdn: String::new(),
            resolv_conf: String::new(),
            host_aliases: "10.0.0.9\tdb\n".to_owned(),
            host_network,
            share_processes: false,
        }
    }

    #[test]
    fn a_pod_knows_itself_and_its_aliases_and_keeps_the_machines_resolver() {
        let machine = Machine { hosts: "127.0.0.1 box\n".into(), hostname: "box\n".into(), resolv_conf: "r".into() };
        let ip = IpAddr::from([10, 42, 0, 7]);
        let own = of_pod(&spec(false), ip, &machine);
        assert!(own[0].1.contains("10.42.0.7\tweb\n") && own[0].1.ends_with("10.0.0.9\tdb\n"), "{}", own[0].1);
        assert_eq!((own[1].1.as_str(), own[2].1.as_str()), ("web\n", "r"));
        let named = SandboxSpec { fqdn: "web.sub.n.svc.cluster.local".to_owned(), ..spec(false) };
        assert!(of_pod(&named, ip, &machine)[0].1.contains("10.42.0.7\tweb.sub.n.svc.cluster.local\tweb\n"));
        let shared = of_pod(&spec(true), ip, &machine);
        assert!(shared[0].1.starts_with("127.0.0.1 box\n"));
    }
}
