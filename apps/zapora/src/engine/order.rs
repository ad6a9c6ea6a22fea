//! The life of an order: its states, who may move it from one to another, and what follows from that.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Accepted by the service; the payment is not authorised yet.
    Placed,
    /// The payment is authorised; the kitchen has its ticket.
    Authorised,
    /// The kitchen will make it.
    Accepted,
    /// It is being made.
    Preparing,
    /// It can be picked up.
    Ready,
    /// It was picked up.
    Completed,
    /// Called off.
    Cancelled,
    /// The kitchen will not make it.
    Rejected,
    /// The payment was refused.
    PaymentFailed,
}

impl OrderState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 9] = [
        Self::Placed,
        Self::Authorised,
        Self::Accepted,
        Self::Preparing,
        Self::Ready,
        Self::Completed,
        Self::Cancelled,
        Self::Rejected,
        Self::PaymentFailed,
    ];

    /// As JSON and the database have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Authorised => "authorised",
            Self::Accepted => "accepted",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::PaymentFailed => "payment_failed",
        }
    }

    /// Whether nothing can follow.
    pub fn is_final(self) -> bool {
        !TRANSITIONS.iter().any(|(from, ..)| *from == self)
    }

    /// Whether the order came to nothing.
    pub fn is_void(self) -> bool {
        matches!(self, Self::Cancelled | Self::Rejected | Self::PaymentFailed)
    }
}

impl fmt::Display for OrderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OrderState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or_else(|| format!("{text:?} is not a state of an order"))
    }
}

/// Who moves an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The customer whose order it is.
    Owner,
    /// Somebody who works in the restaurant.
    Staff,
    /// Somebody who runs it.
    Admin,
    /// The service itself, on the word of the payment provider.
    System,
}

use OrderState as S;
use Party as P;

/// From, to, and by whom.
const TRANSITIONS: &[(S, S, &[P])] = &[
    (S::Placed, S::Authorised, &[P::System]),
    (S::Placed, S::PaymentFailed, &[P::System]),
    (S::Placed, S::Cancelled, &[P::Owner, P::Staff, P::Admin]),
    (S::Authorised, S::Accepted, &[P::Staff, P::Admin]),
    (S::Authorised, S::Rejected, &[P::Staff, P::Admin]),
    (S::Authorised, S::Cancelled, &[P::Owner, P::Staff, P::Admin]),
    (S::Accepted, S::Preparing, &[P::Staff, P::Admin]),
    (S::Accepted, S::Cancelled, &[P::Staff, P::Admin]),
    (S::Preparing, S::Ready, &[P::Staff, P::Admin]),
    (S::Preparing, S::Cancelled, &[P::Admin]),
    (S::Ready, S::Completed, &[P::Staff, P::Admin]),
    (S::Ready, S::Cancelled, &[P::Admin]),
];

/// Why an order cannot be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// No one can.
    #[error("an order that is {from} cannot become {to}")]
    Impossible {
        /// Where it stands.
        from: OrderState,
        /// Where it was to go.
        to: OrderState,
    },
    /// Somebody else can.
    #[error("you may not make an order that is {from} become {to}")]
    Forbidden {
        /// Where it stands.
        from: OrderState,
        /// Where it was to go.
        to: OrderState,
    },
}

impl TransitionError {
    /// Where the order stands.
    pub fn state(self) -> OrderState {
        match self {
            Self::Impossible { from, .. } | Self::Forbidden { from, .. } => from,
        }
    }
}

/// What must be done when an order moves, in the same transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Consequences {
    /// What was set aside goes back into stock: nothing was made of it yet.
    pub restock: bool,
    /// The payment is given back, or will never be taken: it may be under way even if it is not authorised yet.
    pub void_payment: bool,
    /// The kitchen gets a ticket.
    pub ticket: bool,
    /// The customer is told.
    pub notify: bool,
}

/// Whether `party` may move an order, and what follows.
///
/// # Errors
/// Says whether nobody may, or only somebody else.
pub fn transition(from: OrderState, to: OrderState, party: Party) -> Result<Consequences, TransitionError> {
    let Some((.., parties)) = TRANSITIONS.iter().find(|(f, t, _)| (*f, *t) == (from, to)) else {
        return Err(TransitionError::Impossible { from, to });
    };
    if !parties.contains(&party) {
        return Err(TransitionError::Forbidden { from, to });
    }
    Ok(Consequences {
        restock: to.is_void() && matches!(from, S::Placed | S::Authorised | S::Accepted),
        void_payment: matches!(to, S::Cancelled | S::Rejected),
        ticket: to == S::Authorised,
        notify: to.is_void() || matches!(to, S::Authorised | S::Accepted | S::Ready),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_name_that_is_read_back() {
        for state in OrderState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }

    #[test]
    fn an_order_that_came_to_an_end_stays_there() {
        let ends: Vec<_> = OrderState::ALL.into_iter().filter(|s| s.is_final()).collect();
        assert_eq!(ends, [S::Completed, S::Cancelled, S::Rejected, S::PaymentFailed]);
        for from in ends {
            for to in OrderState::ALL {
                for party in [P::Owner, P::Staff, P::Admin, P::System] {
                    assert_eq!(transition(from, to, party), Err(TransitionError::Impossible { from, to }));
                }
            }
        }
    }

    #[test]
    fn customers_only_cancel_and_only_before_the_kitchen_accepts() {
        for from in OrderState::ALL {
            for to in OrderState::ALL {
                let allowed = to == S::Cancelled && matches!(from, S::Placed | S::Authorised);
                assert_eq!(transition(from, to, P::Owner).is_ok(), allowed, "{from} {to}");
            }
        }
    }

    #[test]
    fn only_the_payment_moves_a_placed_order_on() {
        assert_eq!(
            transition(S::Placed, S::Authorised, P::Admin),
            Err(TransitionError::Forbidden { from: S::Placed, to: S::Authorised })
        );
        let consequences = transition(S::Placed, S::Authorised, P::System).unwrap();
        assert_eq!(consequences, Consequences { ticket: true, notify: true, ..Consequences::default() });
    }

    #[test]
    fn what_is_called_off_before_it_is_made_goes_back_into_stock_and_is_not_paid() {
        let rejected = transition(S::Authorised, S::Rejected, P::Staff).unwrap();
        assert!(rejected.restock && rejected.void_payment && rejected.notify);
        let late = transition(S::Preparing, S::Cancelled, P::Admin).unwrap();
        assert!(!late.restock && late.void_payment);
        let early = transition(S::Placed, S::Cancelled, P::Owner).unwrap();
        assert!(early.restock && early.void_payment);
        let unpaid = transition(S::Placed, S::PaymentFailed, P::System).unwrap();
        assert!(unpaid.restock && !unpaid.void_payment);
    }
}
