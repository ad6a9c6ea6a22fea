//! Moving an order from one state to another, with everything that follows from it, in one transaction.

use jiff::Timestamp;
use sqlx::{Any, Row, Transaction};

use super::{Order, load, record};
use crate::{
    engine::order::{OrderState, Party, TransitionError, transition},
    jobs::Task,
    store::{Result, Store, jobs::enqueue, micros},
};

/// A move that somebody wants to make.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The order's id.
    pub order: &'a str,
    /// Where it is to go.
    pub to: OrderState,
    /// In which role.
    pub party: Party,
    /// A user's id, or `system`. With [`Party::Owner`] the order must be theirs.
    pub actor: &'a str,
    /// For the record.
    pub reason: &'a str,
}

/// What became of a [`Change`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It was made.
    Done(Order),
    /// The order is there already, and stays as it is: a move that is made twice is made once.
    Already(Order),
    /// There is no such order, or it is not the actor's.
    NotFound,
    /// It cannot be made, or not by this party.
    Refused(TransitionError),
}

impl Store {
    /// Moves an order at `now`.
    ///
    /// # Errors
    /// The database's.
    pub async fn change_order(&self, change: Change<'_>, now: Timestamp) -> Result<Changed> {
        let changed = self.retried("change an order", || self.try_to_change(change, now)).await?;
        if let Changed::Done(order) = &changed {
            if let Some(counts) = self.counts() {
                counts.entered(order);
            }
            self.enqueued().notify_one();
        }
        if let Changed::Done(order) | Changed::Already(order) = &changed {
            // Whoever changed it and whose it is: both will look. A repetition too, for the first may have been made elsewhere.
            self.wrote(change.actor).await;
            self.wrote(&order.user_id).await;
        }
        Ok(changed)
    }

    async fn try_to_change(&self, change: Change<'_>, now: Timestamp) -> std::result::Result<Changed, sqlx::Error> {
        let mut transaction = self.begin().await?;
        // Nobody else changes it from here on: what is decided on it holds until it is written.
        let locked = self.dialect().locked();
        let Some(mut order) = load(&mut transaction, change.order, locked).await? else { return Ok(Changed::NotFound) };
        if change.party == Party::Owner && order.user_id != change.actor {
            return Ok(Changed::NotFound);
        }
        if order.state == change.to {
            return Ok(Changed::Already(order));
        }
        let consequences = match transition(order.state, change.to, change.party) {
            Ok(consequences) => consequences,
            Err(refused) => return Ok(Changed::Refused(refused)),
        };
        sqlx::query("UPDATE orders SET state = $1, version = version + 1, updated_at = $2 WHERE id = $3")
            .bind(change.to.as_str())
            .bind(micros(now))
            .bind(change.order)
            .execute(&mut *transaction)
            .await?;
        record(&mut transaction, change.order, (Some(order.state), change.to), (change.actor, change.reason), now)
            .await?;
        let id = || change.order.to_owned();
        let mut tasks = Vec::new();
        if consequences.ticket {
            tasks.push(Task::KitchenTicket { order: id() });
        }
        if consequences.void_payment {
            tasks.push(Task::VoidPayment { order: id() });
        }
        if consequences.notify {
            tasks.push(Task::TellCustomer { order: id(), state: change.to });
        }
        enqueue(&mut transaction, &tasks, now).await?;
        if consequences.restock {
            restock(&mut transaction, &order, now).await?;
        }
        transaction.commit().await?;
        order.state = change.to;
        order.version += 1;
        order.updated_at = crate::store::timestamp(micros(now));
        Ok(Changed::Done(order))
    }
}

/// Gives back what the order had taken: of items that are (still) counted, and its use of the coupon if that was.
async fn restock(
    transaction: &mut Transaction<'_, Any>,
    order: &Order,
    now: Timestamp,
) -> std::result::Result<(), sqlx::Error> {
    if let Some(coupon) = &order.coupon {
        sqlx::query(
            "UPDATE coupon_uses SET used = used - 1 WHERE coupon = $1 AND used > 0 \
             AND EXISTS (SELECT 1 FROM orders WHERE id = $2 AND COALESCE(coupon_counted, 1) = 1)",
        )
        .bind(coupon.as_str())
        .bind(order.id.as_str())
        .execute(&mut **transaction)
        .await?;
    }
    // In the order in which those who order lock them.
    let taken = sqlx::query(
        "SELECT item_id, COALESCE(taken, quantity) AS taken FROM order_lines \
         WHERE order_id = $1 AND COALESCE(taken, quantity) > 0 ORDER BY item_id",
    )
    .bind(order.id.as_str())
    .fetch_all(&mut **transaction)
    .await?;
    for line in taken {
        sqlx::query("UPDATE stock SET quantity = quantity + $1, updated_at = $2 WHERE item_id = $3")
            .bind(line.try_get::<i64, _>("taken")?)
            .bind(micros(now))
            .bind(line.try_get::<&str, _>("item_id")?)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}
