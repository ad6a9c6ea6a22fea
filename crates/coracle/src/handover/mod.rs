//! Replacing a running Coracle: the new process asks the old one, over a socket in the data directory, for what it listens on.
//!
//! The old one stops everything that writes and lets go of the data directory, while its proxy serves the last table. It
//! passes its listening sockets on; the new one starts, says when it serves, and only then does the old proxy stop accepting,
//! finish its requests and end. Until that word the old one can still go back: if the new one dies first, it starts its parts
//! again on the same sockets. Only the same user, or root, is answered.

mod wire;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use gateway::proxy::Handed;
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

use wire::{Channel, Door};

/// Of the messages below. A process that speaks another one is refused, and told which is spoken here.
const VERSION: u32 = 1;
/// In the data directory.
const NAME: &str = "handover";
/// How long the other process may take for what it does at once.
const PROMPT: Duration = Duration::from_secs(5);
/// How long the old process may take to stop its parts: its API server waits for requests that have begun.
const STOPPING: Duration = Duration::from_secs(60);
/// How long the new process may take to serve.
const STARTING: Duration = Duration::from_secs(60);
/// Sockets in one message; the kernel takes at most 253.
const AT_ONCE: usize = 128;

/// What is said, in this order.
#[derive(Debug, Serialize, Deserialize)]
enum Message {
    /// New to old: let me take over.
    Hello { version: u32, pid: u32 },
    /// Old to new: no.
    Refused { reason: String },
    /// Old to new: I stop my parts.
    Stopping,
    /// Old to new, with the API server's socket.
    Api,
    /// Old to new, with sockets of the proxy, all of one address.
    Proxy { address: SocketAddr },
    /// Old to new: that was all; the data directory is yours.
    Released { published: Vec<(SocketAddr, u16)> },
    /// New to old: I serve.
    Serving,
}

/// What one process leaves to the next.
#[derive(Debug, Default)]
pub struct Inheritance {
    /// Where the API server listens.
    pub api: Option<std::net::TcpListener>,
    /// Where Gateways' listener ports are served.
    pub published: Vec<(SocketAddr, u16)>,
    /// What the proxy listens on.
    pub proxy: Vec<Handed>,
}

/// Where the next process knocks.
#[derive(Debug)]
pub struct Entrance(Door);

impl Entrance {
    /// Opens it in a data directory that this process holds.
    ///
    /// # Errors
    /// The socket cannot be made: the path is too long for one, or the directory cannot be written.
    pub fn open(data_dir: &Path) -> anyhow::Result<Self> {
        let path = path(data_dir);
        Door::open(&path).map(Self).with_context(|| format!("listen at {}", path.display()))
    }

    /// Waits for a process that may take over.
    pub async fn successor(&self) -> Successor {
        loop {
            match self.knock().await {
                Ok(successor) => return successor,
                Err(error) => tracing::warn!("a process that wanted to take over: {error:#}"),
            }
        }
    }

    async fn knock(&self) -> anyhow::Result<Successor> {
        let channel = self.0.accept().await.context("accept")?;
        let uid = channel.peer_uid().context("ask who it is")?;
        if !uid.is_root() && uid != Uid::effective() {
            bail!("it belongs to user {uid}");
        }
        match tokio::time::timeout(PROMPT, channel.receive()).await.context("it says nothing")?? {
            (Message::Hello { version: VERSION, pid }, _) => Ok(Successor { channel, pid }),
            (Message::Hello { version, pid }, _) => {
                let reason = format!("it hands over by version {VERSION} of the protocol, not {version}");
                channel.send(&Message::Refused { reason }, &[]).await?;
                bail!("process {pid} speaks version {version}");
            }
            (other, _) => bail!("it said {other:?}"),
        }
    }
}

/// The process that takes over.
#[derive(Debug)]
pub struct Successor {
    channel: Channel,
    pid: u32,
}

impl Successor {
    /// Its process id, as it said.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Tells it that the parts are being stopped.
    ///
    /// # Errors
    /// It is gone.
    pub async fn stopping(&self) -> anyhow::Result<()> {
        Ok(self.channel.send(&Message::Stopping, &[]).await?)
    }

    /// Gives it everything, and waits until it serves.
    ///
    /// # Errors
    /// It ended or took too long; it may be assumed to be gone.
    pub async fn give(&self, inheritance: &Inheritance) -> anyhow::Result<()> {
        let Inheritance { api, published, proxy } = inheritance;
        if let Some(api) = api {
            self.channel.send(&Message::Api, &[api.try_clone()?.into()]).await?;
        }
        for Handed { address, sockets } in proxy {
            for sockets in sockets.chunks(AT_ONCE) {
                self.channel.send(&Message::Proxy { address: *address }, sockets).await?;
            }
        }
        self.channel.send(&Message::Released { published: published.clone() }, &[]).await?;
        match tokio::time::timeout(STARTING, self.channel.receive()).await {
            Ok(Ok((Message::Serving, _))) => Ok(()),
            Ok(Ok((other, _))) => bail!("it said {other:?}"),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => bail!("it does not serve after {} s", STARTING.as_secs()),
        }
    }
}

/// The process that is replaced; it waits for the word that this one serves.
#[derive(Debug)]
pub struct Predecessor(Channel);

impl Predecessor {
    /// This process serves: the old one may end.
    ///
    /// # Errors
    /// It is gone already.
    pub async fn serving(self) -> anyhow::Result<()> {
        Ok(self.0.send(&Message::Serving, &[]).await?)
    }
}

/// Takes over from the process that runs in a data directory; `None` if there is none.
///
/// # Errors
/// It refuses, or ends before it has given everything.
pub async fn take_over(data_dir: &Path) -> anyhow::Result<Option<(Inheritance, Predecessor)>> {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    let channel = match Channel::connect(&path(data_dir)) {
        Ok(channel) => channel,
        Err(error) if matches!(error.kind(), NotFound | ConnectionRefused) => return Ok(None),
        Err(error) => return Err(error).context("ask the running Coracle to hand over"),
    };
    channel.send(&Message::Hello { version: VERSION, pid: std::process::id() }, &[]).await?;
    let (mut inheritance, mut patience) = (Inheritance::default(), PROMPT);
    loop {
        let received = tokio::time::timeout(patience, channel.receive()).await;
        let (message, sockets) = received
            .context("it does not answer in time")
            .and_then(|received| received.context("it ended"))
            .context("the running Coracle did not hand over")?;
        match message {
            Message::Stopping => patience = STOPPING,
            Message::Api => inheritance.api = sockets.into_iter().next().map(Into::into),
            Message::Proxy { address } => inheritance.proxy.push(Handed { address, sockets }),
            Message::Released { published } => {
                inheritance.published = published;
                return Ok(Some((inheritance, Predecessor(channel))));
            }
            Message::Refused { reason } => bail!("the running Coracle does not hand over: {reason}; stop it first"),
            other => bail!("the running Coracle said {other:?}"),
        }
    }
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::fd::OwnedFd,
    };

    use super::*;

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn sockets_arrive_open_and_the_old_process_hears_when_the_new_one_serves() {
        let dir = tempfile::tempdir().unwrap();
        let entrance = Entrance::open(dir.path()).unwrap();
        let ((api, api_address), (listener, address)) = (listener(), listener());
        let sockets: Vec<OwnedFd> = (0..200).map(|_| listener.try_clone().unwrap().into()).collect();
        let proxy = vec![Handed { address, sockets }];
        let left = Inheritance { api: Some(api), published: vec![(address, 80)], proxy };
        let old = async {
            let successor = entrance.successor().await;
            assert_eq!(successor.pid(), std::process::id());
            successor.stopping().await.unwrap();
            successor.give(&left).await.unwrap();
        };
        let new = async {
            let (inherited, predecessor) = take_over(dir.path()).await.unwrap().unwrap();
            assert_eq!(inherited.published, [(address, 80)]);
            assert_eq!(inherited.api.unwrap().local_addr().unwrap(), api_address);
            let sockets: Vec<_> = inherited.proxy.into_iter().flat_map(|handed| handed.sockets).collect();
            assert_eq!(sockets.len(), 200);
            let _waiting = TcpStream::connect(address).unwrap();
            assert!(TcpListener::from(sockets.into_iter().next_back().unwrap()).accept().is_ok());
            predecessor.serving().await.unwrap();
        };
        tokio::join!(old, new);
    }

    #[tokio::test]
    async fn a_new_process_that_dies_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let entrance = Entrance::open(dir.path()).unwrap();
        let old = async {
            let successor = entrance.successor().await;
            successor.give(&Inheritance::default()).await.unwrap_err()
        };
        let new = async { drop(take_over(dir.path()).await.unwrap()) };
        let (error, ()) = tokio::join!(old, new);
        assert!(!error.to_string().is_empty());
    }

    #[tokio::test]
    async fn another_version_is_refused_with_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let entrance = Entrance::open(dir.path()).unwrap();
        let channel = Channel::connect(&path(dir.path())).unwrap();
        channel.send(&Message::Hello { version: 99, pid: 1 }, &[]).await.unwrap();
        assert!(entrance.knock().await.is_err());
        assert!(matches!(channel.receive().await.unwrap().0, Message::Refused { reason } if reason.contains("not 99")));
    }

    #[tokio::test]
    async fn where_nothing_runs_there_is_nothing_to_take_over() {
        let dir = tempfile::tempdir().unwrap();
        assert!(take_over(dir.path()).await.unwrap().is_none());
        // What a crash leaves behind is no process either.
        drop(Entrance::open(dir.path()).unwrap());
        assert!(take_over(dir.path()).await.unwrap().is_none());
    }
}
