//! How many orders have come into each state, and what came in: counted where it happens, in whichever process that is.

use prometheus::{IntCounterVec, Opts, Registry};

use super::Order;
use crate::engine::order::OrderState;

/// The counters.
#[derive(Debug)]
pub(in crate::store) struct Counts {
    states: IntCounterVec,
    revenue: IntCounterVec,
}

impl Counts {
    /// Registers them, with every state at zero, so that the first order is a rise.
    pub(in crate::store) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let states = Opts::new("orders_total", "Orders that came into a state");
        let revenue = Opts::new("order_revenue_cents_total", "What completed orders came to");
        let counts = Self {
            states: IntCounterVec::new(states, &["state"])?,
            revenue: IntCounterVec::new(revenue, &["currency"])?,
        };
        registry.register(Box::new(counts.states.clone()))?;
        registry.register(Box::new(counts.revenue.clone()))?;
        for state in OrderState::ALL {
            counts.states.with_label_values(&[state.as_str()]);
        }
        Ok(counts)
    }

    /// An order has come into the state that it is in.
    pub(super) fn entered(&self, order: &Order) {
        self.states.with_label_values(&[order.state.as_str()]).inc();
        if order.state == OrderState::Completed {
            let cents = u64::try_from(order.total_cents).unwrap_or(0);
            self.revenue.with_label_values(&[order.currency.as_str()]).inc_by(cents);
        }
    }
}
