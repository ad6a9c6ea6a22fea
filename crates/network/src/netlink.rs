//! The few rtnetlink operations that wiring needs, each naming what it did when it fails.

use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd, BorrowedFd},
    path::Path,
};

use futures::TryStreamExt;
use rtnetlink::{
    Handle, LinkBridge, LinkUnspec, LinkVeth, RouteMessageBuilder, new_connection,
    packet_route::{
        link::{InfoData, InfoVeth},
        route::{RouteScope, RouteType},
    },
};

use crate::{NetworkError, addresses::Range};

/// Linux' number for the routing table of local addresses.
const TABLE_LOCAL: u32 = 255;

fn exists(error: &rtnetlink::Error) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(e) if e.raw_code() == -libc::EEXIST)
}

fn gone(error: &rtnetlink::Error) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(e) if matches!(-e.raw_code(), libc::ENODEV | libc::ENOENT | libc::ESRCH))
}

/// Success if `result` is, or if what it made was there already.
fn made(result: Result<(), rtnetlink::Error>, what: impl FnOnce() -> String) -> Result<(), NetworkError> {
    match result {
        Err(e) if !exists(&e) => Err(NetworkError::kernel(what(), e)),
        _ => Ok(()),
    }
}

/// Opens a netlink connection in the calling thread's network namespace; its task runs on the current Tokio runtime.
pub fn connect() -> Result<Handle, NetworkError> {
    let (connection, handle, _) = new_connection().map_err(|e| NetworkError::kernel("open a netlink socket", e))?;
    tokio::spawn(connection);
    Ok(handle)
}

/// The index of a link, or `None` if there is no such link.
pub async fn index(handle: &Handle, name: &str) -> Result<Option<u32>, NetworkError> {
    match handle.link().get().match_name(name.to_owned()).execute().try_next().await {
        Ok(link) => Ok(link.map(|l| l.header.index)),
        Err(e) if gone(&e) => Ok(None),
        Err(e) => Err(NetworkError::kernel(format!("look up the link {name}"), e)),
    }
}

async fn required_index(handle: &Handle, name: &str) -> Result<u32, NetworkError> {
    index(handle, name).await?.ok_or_else(|| NetworkError::kernel(format!("look up the link {name}"), "no such link"))
}

/// Makes a bridge that is up, unless it is there; returns its index.
///
/// A bridge that is not told its hardware address takes the lowest of its links', and so changes it whenever that link goes: the
/// others would send to the old one until they ask again, most of a minute later.
pub async fn bridge(handle: &Handle, name: &str, hardware: [u8; 6]) -> Result<u32, NetworkError> {
    let what = || format!("make the bridge {name}");
    made(handle.link().add(LinkBridge::new(name).up().build()).execute().await, what)?;
    let index = required_index(handle, name).await?;
    let fixed = LinkUnspec::new_with_index(index).address(hardware.into()).build();
    made(handle.link().set(fixed).execute().await, || format!("set the hardware address of the bridge {name}"))?;
    Ok(index)
}

/// Adds an address to a link, unless it has it.
pub async fn address(handle: &Handle, index: u32, address: Ipv4Addr, prefix: u8) -> Result<(), NetworkError> {
    let added = handle.address().add(index, IpAddr::V4(address), prefix).execute().await;
    made(added, || format!("add the address {address}/{prefix}"))
}

/// Makes every address of `range` the machine's own, so that anything can be bound there.
pub async fn local_range(handle: &Handle, range: Range) -> Result<(), NetworkError> {
    let lo = required_index(handle, "lo").await?;
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(range.network(), range.prefix())
        .output_interface(lo)
        .kind(RouteType::Local)
        .scope(RouteScope::Host)
        .table_id(TABLE_LOCAL)
        .build();
    made(handle.route().add(route).execute().await, || format!("route {range} to this machine"))
}

/// Makes a veth pair: `host` here, in the bridge and up, and `eth0` with this hardware address in the network namespace `netns`.
pub async fn veth(
    handle: &Handle,
    host: &str,
    bridge: u32,
    netns: &Path,
    hardware: [u8; 6],
) -> Result<(), NetworkError> {
    let what = || format!("make the link {host} into {}", netns.display());
    let namespace = File::open(netns).map_err(|e| NetworkError::kernel(format!("open {}", netns.display()), e))?;
    let peer = LinkUnspec::new_with_name("eth0").setns_by_fd(namespace.as_raw_fd()).address(hardware.into()).build();
    let pair = LinkVeth::new(host, "eth0").set_info_data(InfoData::Veth(InfoVeth::Peer(peer))).up().build();
    made(handle.link().add(pair).execute().await, what)?;
    let joined = handle.link().set(LinkUnspec::new_with_name(host).controller(bridge).up().build()).execute().await;
    made(joined, || format!("join {host} to the bridge"))
}

/// Removes a link; success if there is none.
pub async fn remove_link(handle: &Handle, name: &str) -> Result<(), NetworkError> {
    let Some(index) = index(handle, name).await? else { return Ok(()) };
    match handle.link().del(index).execute().await {
        Err(e) if !gone(&e) => Err(NetworkError::kernel(format!("remove the link {name}"), e)),
        _ => Ok(()),
    }
}

/// Gives `eth0` inside the network namespace its address and a default route through `gateway`.
///
/// Entering a namespace changes the calling thread for good, so this runs on a thread of its own.
pub async fn configure_inside(netns: &Path, pod: Ipv4Addr, prefix: u8, gateway: Ipv4Addr) -> Result<(), NetworkError> {
    let path = netns.to_owned();
    let (done, result) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("netns".to_owned())
        .spawn(move || {
            // The receiver is gone only if the caller was cancelled: there is nobody left to tell.
            let _ = done.send(inside(&path, pod, prefix, gateway));
        })
        .map_err(|e| NetworkError::kernel("start a thread", e))?;
    result.await.map_err(|e| NetworkError::kernel(format!("configure {}", netns.display()), e))?
}

fn inside(netns: &Path, pod: Ipv4Addr, prefix: u8, gateway: Ipv4Addr) -> Result<(), NetworkError> {
    let namespace = File::open(netns).map_err(|e| NetworkError::kernel(format!("open {}", netns.display()), e))?;
    enter(std::os::fd::AsFd::as_fd(&namespace))
        .map_err(|e| NetworkError::kernel(format!("enter the network namespace {}", netns.display()), e))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| NetworkError::kernel("start a runtime", e))?;
    runtime.block_on(async {
        let handle = connect()?;
        let lo = required_index(&handle, "lo").await?;
        let eth0 = required_index(&handle, "eth0").await?;
        for (name, link) in [("lo", lo), ("eth0", eth0)] {
            let up = handle.link().set(LinkUnspec::new_with_index(link).up().build()).execute().await;
            made(up, || format!("bring up {name} in {}", netns.display()))?;
        }
        address(&handle, eth0, pod, prefix).await?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new().output_interface(eth0).gateway(gateway).build();
        made(handle.route().add(route).execute().await, || format!("add the default route in {}", netns.display()))
    })
}

fn enter(namespace: BorrowedFd<'_>) -> nix::Result<()> {
    nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET)
}
