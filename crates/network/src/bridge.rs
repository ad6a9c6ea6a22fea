//! Pod addresses on a Linux bridge: each pod's network namespace is joined to it by a veth pair.

use std::{net::Ipv4Addr, path::Path, sync::Mutex};

use sha2::{Digest, Sha256};

use crate::{
    NetworkError,
    addresses::{Allocator, Range},
    claim::Claim,
    firewall,
    guard::{self, Port},
    netlink,
};

/// What the bridge network is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// The link's name, at most 15 characters.
    pub name: String,
    /// The pods' range; its first host address is the bridge's own, the pods' gateway.
    pub pods: Range,
    /// The services' range, every address of which becomes the machine's own.
    pub services: Range,
}

impl Default for Options {
    /// `coracle0`, 10.42.0.0/16 and 10.43.0.0/16.
    fn default() -> Self {
        let range = |second| Range::new(Ipv4Addr::new(10, second, 0, 0), 16);
        match (range(42), range(43)) {
            (Some(pods), Some(services)) => Self { name: "coracle0".to_owned(), pods, services },
            _ => unreachable!("both ranges are well formed"),
        }
    }
}

/// A bridge that pods are joined to. The bridge and its pods' links outlive this process, as the pods do.
pub struct Bridge {
    options: Options,
    index: u32,
    handle: rtnetlink::Handle,
    pods: Mutex<Allocator>,
    guarded: bool,
    _claims: [Claim; 2],
}

impl Bridge {
    /// Makes (or finds) the bridge and the routes. Needs CAP_NET_ADMIN and a Tokio runtime.
    ///
    /// # Errors
    /// [`NetworkError::Claimed`] when another Coracle uses a range; otherwise what the kernel refused.
    pub async fn open(options: Options) -> Result<Self, NetworkError> {
        let claims = [Claim::take(options.pods)?, Claim::take(options.services)?];
        let handle = netlink::connect()?;
        let index = netlink::bridge(&handle, &options.name, guard::hardware(gateway(options.pods))).await?;
        netlink::address(&handle, index, gateway(options.pods), options.pods.prefix()).await?;
        netlink::local_range(&handle, options.services).await?;
        if let Err(e) = firewall::open(&options.name, options.pods, options.services) {
            tracing::warn!(
                "pods cannot reach addresses outside this machine, but its neighbours may reach services: {e}"
            );
        }
        if firewall::drops_forwarded() {
            let name = &options.name;
            tracing::warn!(
                "this machine's firewall keeps pods from addresses outside of it; to allow that: iptables -I FORWARD -i {name} -j \
                 ACCEPT; iptables -I FORWARD -o {name} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
            );
        }
        let guarded = guard::open(&options.name).inspect_err(|e| {
            tracing::warn!("a pod with CAP_NET_RAW could send from another pod's address: {e}");
        });
        let pods = Mutex::new(Allocator::new(options.pods));
        Ok(Self { options, index, handle, pods, guarded: guarded.is_ok(), _claims: claims })
    }

    /// The pods' gateway: the bridge's own address.
    pub fn gateway(&self) -> Ipv4Addr {
        gateway(self.options.pods)
    }

    /// Gives the pod an address and wires its network namespace to the bridge.
    ///
    /// # Errors
    /// [`NetworkError::Exhausted`], or what the kernel refused; the address is freed again then.
    pub async fn attach(&self, pod_uid: &str, netns: &Path) -> Result<Ipv4Addr, NetworkError> {
        let address = self.lock().allocate(pod_uid)?;
        let wired = self.wire(pod_uid, netns, address).await;
        if wired.is_err() {
            self.lock().release(pod_uid);
        }
        wired.map(|()| address)
    }

    async fn wire(&self, pod_uid: &str, netns: &Path, address: Ipv4Addr) -> Result<(), NetworkError> {
        let port = Port { link: link_name(pod_uid), address };
        netlink::veth(&self.handle, &port.link, self.index, netns, guard::hardware(address)).await?;
        self.admit(&port).await?;
        netlink::configure_inside(netns, address, self.options.pods.prefix(), self.gateway()).await
    }

    /// Removes the pod's link and frees its address.
    ///
    /// # Errors
    /// What the kernel refused.
    pub async fn detach(&self, pod_uid: &str) -> Result<(), NetworkError> {
        let link = link_name(pod_uid);
        netlink::remove_link(&self.handle, &link).await?;
        let address = self.lock().release(pod_uid);
        match address.filter(|_| self.guarded) {
            Some(address) => guard::dismiss(&self.options.name, &Port { link, address }).await,
            None => Ok(()),
        }
    }

    /// Marks an address as held by a pod found again.
    ///
    /// # Errors
    /// [`NetworkError::Taken`], or what the kernel refused.
    pub async fn adopt(&self, pod_uid: &str, address: Ipv4Addr) -> Result<(), NetworkError> {
        self.lock().adopt(pod_uid, address)?;
        // Somebody may have flushed the machine's rules meanwhile.
        self.admit(&Port { link: link_name(pod_uid), address }).await
    }

    async fn admit(&self, port: &Port) -> Result<(), NetworkError> {
        if self.guarded { guard::admit(&self.options.name, port).await } else { Ok(()) }
    }

    /// Takes the bridge and the firewall rules away; only when no pod is left.
    ///
    /// # Errors
    /// What the kernel refused.
    pub async fn remove(&self) -> Result<(), NetworkError> {
        netlink::remove_link(&self.handle, &self.options.name).await?;
        firewall::clear(&self.options.name)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Allocator> {
        self.pods.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn gateway(pods: Range) -> Ipv4Addr {
    pods.nth(1).unwrap_or(pods.network())
}

/// The host side's link name: link names have 15 characters at most and a uid has 36, so it is a hash of it.
fn link_name(pod_uid: &str) -> String {
    let hash = Sha256::digest(pod_uid.as_bytes());
    let hex: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{}{hex}", guard::LINKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_names_fit_the_kernels_limit_and_differ() {
        let (a, b) = (link_name("7f3a"), link_name("7f3b"));
        assert!(a.len() <= 15 && a != b, "{a} {b}");
    }
}
