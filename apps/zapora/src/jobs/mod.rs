//! What is done after an order was accepted: payment, kitchen ticket, e-mail, and the report of the day.
//!
//! A job is a row of the outbox ([`crate::store::jobs`]). Workers move what is due into a queue, do what comes out of it, and put what
//! failed off, longer each time, until it is given up and waits for somebody to look at it. A worker that dies in the middle of a job
//! leaves it to be done again; so every job is written to have one effect however often it is done.

use serde::{Deserialize, Serialize};

use crate::engine::order::OrderState;

mod effects;
mod mail;
mod payment;
mod schedule;
mod work;

pub use self::{
    effects::Tools,
    mail::Mail,
    payment::{PaymentOutcome, Payments},
    schedule::once as schedule_once,
    work::{Background, JobMetrics, Limits, retry_after},
};

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Task {
    /// Ask the payment provider to reserve what the order comes to.
    AuthorisePayment {
        /// The order's id.
        order: String,
    },
    /// Tell the payment provider that nothing will be taken for the order.
    VoidPayment {
        /// The order's id.
        order: String,
    },
    /// Tell the kitchen what to make.
    KitchenTicket {
        /// The order's id.
        order: String,
    },
    /// Tell the customer where the order stands.
    TellCustomer {
        /// The order's id.
        order: String,
        /// Where it stood when this was written.
        state: OrderState,
    },
    /// Sum up a day.
    DailyReport {
        /// `YYYY-MM-DD` in the restaurant's time zone.
        day: String,
    },
}

impl Task {
    /// As metrics and logs have it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AuthorisePayment { .. } => "authorise_payment",
            Self::VoidPayment { .. } => "void_payment",
            Self::KitchenTicket { .. } => "kitchen_ticket",
            Self::TellCustomer { .. } => "tell_customer",
            Self::DailyReport { .. } => "daily_report",
        }
    }

    /// A name under which the task may exist once only.
    pub fn once(&self) -> Option<String> {
        match self {
            Self::DailyReport { day } => Some(format!("daily_report:{day}")),
            _ => None,
        }
    }
}

/// Why an attempt at a job failed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It may succeed later.
    #[error("{0}")]
    Later(String),
    /// It never will.
    #[error("{0}")]
    Never(String),
}

impl From<crate::store::StoreError> for JobError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Later(chain(&error))
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
