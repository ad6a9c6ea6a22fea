//! Probes and hooks: counting results into verdicts (pure), and asking a container over HTTP, gRPC, TCP or exec.

mod grpc;
mod http;

use std::{net::IpAddr, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container, ExecAction, Probe, TCPSocketAction},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::net::TcpStream;

use crate::runtime::{ContainerId, Runtime, RuntimeError};

/// How much of an answer is read.
const MAX_ANSWER: usize = 10 * 1024;

/// Which probe of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Holds the other two back until it has passed once.
    Startup,
    /// Ends the run when it fails.
    Liveness,
    /// Takes the container out of services while it fails.
    Readiness,
}

impl Kind {
    /// As `Unhealthy` events name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// Counts results in a row.
#[derive(Clone, Copy, Debug)]
pub struct Counter {
    success: u32,
    failure: u32,
    passed: u32,
    failed: u32,
}

impl Counter {
    /// A counter with the probe's thresholds.
    pub fn new(probe: &Probe) -> Self {
        let positive =
            |n: Option<i32>, default| n.and_then(|n| n.try_into().ok()).filter(|n| *n > 0).unwrap_or(default);
        Self {
            success: positive(probe.success_threshold, 1),
            failure: positive(probe.failure_threshold, 3),
            passed: 0,
            failed: 0,
        }
    }

    /// Takes one result; gives the verdict when a threshold is reached or was passed.
    pub fn count(&mut self, ok: bool) -> Option<bool> {
        if ok {
            (self.passed, self.failed) = (self.passed.saturating_add(1), 0);
            (self.passed >= self.success).then_some(true)
        } else {
            (self.passed, self.failed) = (0, self.failed.saturating_add(1));
            (self.failed >= self.failure).then_some(false)
        }
    }
}

/// Seconds of a probe's field.
pub fn seconds(field: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(field.and_then(|n| n.try_into().ok()).unwrap_or(default))
}

/// Why a probe did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// The container says no, or nothing in time.
    #[error("{0}")]
    Unhealthy(String),
    /// The question could not be put, so that nothing is known about the container.
    #[error("{0}")]
    Unknown(String),
}

/// Whom to ask.
pub struct Target<'a> {
    /// The container as specified, for port names.
    pub container: &'a Container,
    /// The run.
    pub id: &'a ContainerId,
    /// The pod's address.
    pub ip: IpAddr,
    /// Runs exec probes.
    pub runtime: &'a dyn Runtime,
    /// The time allowed.
    pub timeout: Duration,
}

impl Target<'_> {
    /// Asks once.
    ///
    /// # Errors
    /// Says why the probe failed, as `Unhealthy` events do.
    pub async fn probe(&self, probe: &Probe) -> Result<(), Failed> {
        if let Some(exec) = &probe.exec {
            return self.exec(exec).await;
        }
        let port = probe.http_get.as_ref().map(|http| &http.port).or(probe.tcp_socket.as_ref().map(|tcp| &tcp.port));
        if let Some(port) = port {
            // A port that has no number cannot be asked: the container is not to blame.
            self.port(port).map_err(Failed::Unknown)?;
        }
        let answer = if let Some(http) = &probe.http_get {
            self.http(http).await
        } else if let Some(tcp) = &probe.tcp_socket {
            self.tcp(tcp).await
        } else if let Some(grpc) = &probe.grpc {
            self.grpc(grpc).await
        } else {
            return Err(Failed::Unknown("the probe names nothing to ask".to_owned()));
        };
        answer.map_err(Failed::Unhealthy)
    }

    /// Runs a command in the container.
    ///
    /// # Errors
    /// When it cannot be run, runs too long, or exits with another code than 0.
    pub async fn exec(&self, exec: &ExecAction) -> Result<(), Failed> {
        let argv = exec.command.as_deref().unwrap_or_default();
        match self.runtime.exec(self.id, argv, self.timeout, MAX_ANSWER).await {
            Ok(output) if output.code == 0 => Ok(()),
            Ok(output) => Err(Failed::Unhealthy(String::from_utf8_lossy(&output.output).into_owned())),
            Err(RuntimeError::Timeout(after)) => {
                Err(Failed::Unhealthy(format!("command timed out: {:?} timed out after {after:?}", argv.join(" "))))
            }
            Err(error) => Err(Failed::Unknown(error.to_string())),
        }
    }

    async fn tcp(&self, tcp: &TCPSocketAction) -> Result<(), String> {
        let port = self.port(&tcp.port)?;
        let host = tcp.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| self.ip.to_string());
        let connect = TcpStream::connect((host.as_str(), port));
        match tokio::time::timeout(self.timeout, connect).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("dial tcp {host}:{port}: {error}")),
            Err(_) => Err(format!("dial tcp {host}:{port}: i/o timeout")),
        }
    }

    fn port(&self, port: &IntOrString) -> Result<u16, String> {
        let number = match port {
            IntOrString::Int(number) => Some(*number),
            IntOrString::String(name) => {
                let ports = self.container.ports.as_deref().unwrap_or_default();
                let named = ports.iter().find(|p| p.name.as_ref() == Some(name)).map(|p| p.container_port);
                named.or_else(|| name.parse().ok())
            }
        };
        number.and_then(|n| n.try_into().ok()).ok_or_else(|| format!("couldn't find port: {port:?}"))
    }
}

#[cfg(test)]
mod tests;
