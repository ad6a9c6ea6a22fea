//! What each kind of job does. Every one of them may be done again at any point, and has one effect.

use jiff::Timestamp;
use lettre::message::Mailbox;
use serde_json::json;

use super::{JobError, Mail, Payments, Task};
use crate::{
    engine::order::{OrderState, Party},
    store::{
        Reader, Store,
        orders::{Change, Changed, Order},
    },
};

/// What jobs work with.
#[derive(Clone, Debug)]
pub struct Tools {
    /// Where orders are.
    pub store: Store,
    /// Who authorises payments.
    pub payments: Payments,
    /// How e-mail leaves.
    pub mail: Mail,
    /// From whom it comes.
    pub mail_from: Mailbox,
}

type Done = Result<(), JobError>;

impl Tools {
    /// Does a job of this id, for the `attempt`th time (the first is 1), counted over all series of attempts.
    ///
    /// # Errors
    /// Says whether it may succeed later.
    pub async fn run(&self, id: &str, task: &Task, attempt: i64, now: Timestamp) -> Done {
        match task {
            Task::AuthorisePayment { order } => self.authorise(order, attempt, now).await,
            Task::VoidPayment { order } => self.payments.void(order, id).await,
            Task::KitchenTicket { order } => self.ticket(order, now).await,
            Task::TellCustomer { order, state } => self.tell(id, order, *state).await,
            Task::DailyReport { day } => self.report(day, now).await,
        }
    }

    async fn order(&self, id: &str) -> Result<Order, JobError> {
        let order = self.store.order(Reader::Newest, id).await?;
        order.ok_or_else(|| JobError::Never(format!("there is no order {id}")))
    }

    /// The provider knows a repetition by its key; the order moves on once, because it moves from one state to another.
    async fn authorise(&self, id: &str, attempt: i64, now: Timestamp) -> Done {
        let order = self.order(id).await?;
        if order.state.is_void() && attempt > 1 {
            // Called off. A job of its own gives back what an attempt at this one has reserved, but the provider may have come to the
            // attempt after that: nobody here knows what became of an attempt that was not answered.
            return Ok(self.void(id, now).await?);
        }
        if order.state != OrderState::Placed {
            return Ok(());
        }
        let outcome = self.payments.authorise(id, order.total_cents, &order.currency).await?;
        self.store.record_payment(id, order.total_cents, &outcome, now).await?;
        let (to, reason) = if outcome.approved {
            (OrderState::Authorised, "the payment is authorised")
        } else {
            (OrderState::PaymentFailed, "the payment provider refused")
        };
        let change = Change { order: id, to, party: Party::System, actor: "system", reason };
        match self.store.change_order(change, now).await? {
            Changed::Done(_) | Changed::Already(_) | Changed::NotFound => Ok(()),
            // It was called off while the provider was asked.
            Changed::Refused(why) if why.state().is_void() => Ok(self.void(id, now).await?),
            // Another attempt was quicker, and the kitchen too: what is reserved is what will be taken.
            Changed::Refused(_) => Ok(()),
        }
    }

    async fn void(&self, order: &str, now: Timestamp) -> crate::store::Result<()> {
        self.store.enqueue(&[Task::VoidPayment { order: order.to_owned() }], now).await
    }

    async fn ticket(&self, id: &str, now: Timestamp) -> Done {
        let order = self.order(id).await?;
        let lines: Vec<_> = order.lines.iter().map(|l| json!({"name": l.name, "quantity": l.quantity})).collect();
        let ticket =
            json!({"order": id, "placed_at": order.created_at.to_string(), "note": order.note, "lines": lines});
        self.store.print_ticket(id, &ticket.to_string(), now).await?;
        Ok(())
    }

    async fn tell(&self, job: &str, id: &str, state: OrderState) -> Done {
        let order = self.order(id).await?;
        let Some((name, address)) = self.store.addressee(&order.user_id).await? else {
            return Err(JobError::Never("the customer is gone".to_owned()));
        };
        let what = match state {
            OrderState::Authorised => "has reached the kitchen",
            OrderState::Accepted => "is accepted",
            OrderState::Ready => "is ready",
            OrderState::Rejected => "cannot be made",
            OrderState::PaymentFailed => "could not be paid",
            OrderState::Cancelled => "is cancelled",
            _ => "has changed",
        };
        let mut text = format!("Dear {name},\n\nyour order {id} {what}.\n\n");
        for line in &order.lines {
            text.push_str(&format!(
                "{:>4} x {}: {}\n",
                line.quantity,
                line.name,
                amount(line.total_cents, &order.currency)
            ));
        }
        text.push_str(&format!("\nTotal: {}\n", amount(order.total_cents, &order.currency)));
        self.mail.send(job, &self.mail_from, &address, &format!("Your order {what}"), &text).await
    }

    async fn report(&self, day: &str, now: Timestamp) -> Done {
        let date: jiff::civil::Date = day.parse().map_err(|e| JobError::Never(format!("{day:?} is not a day: {e}")))?;
        let rules = self.store.rules().await?.rules;
        let zone = rules.zone().unwrap_or(jiff::tz::TimeZone::UTC);
        let span = || -> Result<_, jiff::Error> {
            let from = date.to_zoned(zone.clone())?;
            Ok((from.timestamp(), date.tomorrow()?.to_zoned(zone)?.timestamp()))
        };
        let (from, until) = span().map_err(|e| JobError::Never(format!("{day:?}: {e}")))?;
        let report = self.store.sum_up(day, (from, until), &rules.currency, now).await?;
        tracing::info!(day, orders = report.0, revenue_cents = report.1, "the report of the day is written");
        Ok(())
    }
}

fn amount(cents: i64, currency: &str) -> String {
    format!("{}.{:02} {currency}", cents / 100, cents % 100)
}
