//! What Services are given that there is once in the cluster: addresses and node ports. What a write takes and gives up is settled
//! when the write is (see `claims`).

use std::{collections::BTreeSet, sync::Arc};

use objects::kinds::Kind;
use serde_json::Value;

use super::{
    addresses::{self, Addresses},
    node_ports,
    pool::{Freed, Held, Pool},
};
use crate::status::Failure;

/// Gives Services their addresses and node ports.
#[derive(Debug)]
pub(super) struct Services {
    addresses: Addresses,
    ports: Arc<Pool>,
}

impl Services {
    /// With these addresses, and upstream's range of node ports.
    pub fn new(addresses: Addresses) -> Self {
        Self { addresses, ports: node_ports::pool() }
    }

    /// The addresses.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Marks what a stored Service has as in use.
    pub fn adopt(&self, service: &Value) {
        self.addresses.pool().adopt(addresses::of(service));
        self.ports.adopt(node_ports::of(service));
    }

    /// Gives a new Service what it is to have.
    ///
    /// # Errors
    /// 422 for what it asks for and cannot have, 500 if no port is left.
    pub fn create(&self, kind: &Kind, service: &mut Value) -> Result<Vec<Held>, Failure> {
        let address = self.address(kind, service)?;
        Ok(vec![address, node_ports::assign(&self.ports, kind, None, service)?])
    }

    /// Gives a changed Service what it has not had yet; and what it has no more.
    ///
    /// # Errors
    /// As [`Services::create`].
    pub fn change(&self, kind: &Kind, current: &Value, next: &mut Value) -> Result<(Vec<Held>, Vec<Freed>), Failure> {
        let mut held = Vec::new();
        if addresses::needs(next) {
            // It was an alias.
            held.push(self.address(kind, next)?);
        }
        held.push(node_ports::assign(&self.ports, kind, Some(current), next)?);
        let mut freed = self.gone(current);
        let (address, ports) = (addresses::of(next), node_ports::of(next));
        let kept: [BTreeSet<u32>; 2] = [address.into_iter().collect(), ports];
        for (freed, kept) in freed.iter_mut().zip(kept) {
            freed.numbers.retain(|number| !kept.contains(number));
        }
        Ok((held, freed))
    }

    /// What a Service gives up that goes.
    pub fn gone(&self, service: &Value) -> Vec<Freed> {
        let address = addresses::of(service).into_iter().collect();
        vec![
            Freed { pool: self.addresses.pool().clone(), numbers: address },
            Freed { pool: self.ports.clone(), numbers: node_ports::of(service) },
        ]
    }

    fn address(&self, kind: &Kind, service: &mut Value) -> Result<Held, Failure> {
        let name = super::meta::text(service, "name").to_owned();
        self.addresses.assign(service).map_err(|cause| Failure::invalid(kind, &name, &[cause]))
    }
}
