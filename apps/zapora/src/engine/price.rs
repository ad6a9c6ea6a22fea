//! The decision about a basket: what each line costs, which rules acted, and why it is refused if it is.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Cut, Discount, Rules,
    share::{WHOLE, part, spread},
};

/// What somebody wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Basket {
    /// Items and how many; the same item may occur more than once.
    pub lines: Vec<BasketLine>,
    /// A code for a discount.
    pub coupon: Option<String>,
}

/// An item and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasketLine {
    /// The item's id.
    pub item: String,
    /// How many.
    pub quantity: i64,
}

/// What the menu says of an item at the moment of the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MenuItem {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The tax category of its menu category.
    pub category: String,
    /// Its price in cents, with or without tax as the rules say.
    pub price_cents: i64,
    /// Whether it is sold now.
    pub available: bool,
    /// How many are left; `None` when they are not counted.
    pub stock: Option<i64>,
}

/// What it costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Quote {
    /// One line per item, in the order in which they were asked for.
    pub lines: Vec<QuoteLine>,
    /// ISO 4217.
    pub currency: String,
    /// The prices of the menu, added up.
    pub subtotal_cents: i64,
    /// What was taken off.
    pub discount_cents: i64,
    /// The tax contained in the total.
    pub tax_cents: i64,
    /// What is to be paid: the sum of the lines' totals.
    pub total_cents: i64,
}

/// One item of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuoteLine {
    /// The item's id.
    pub item_id: String,
    /// Its name when it was ordered.
    pub name: String,
    /// How many.
    pub quantity: i64,
    /// The price of one.
    pub unit_cents: i64,
    /// What was taken off the line.
    pub discount_cents: i64,
    /// The tax contained in the line's total.
    pub tax_cents: i64,
    /// What the line comes to, tax included.
    pub total_cents: i64,
    /// By which rate it is taxed.
    pub tax_category: String,
}

/// What one rule did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    /// The rule: `opening`, `limits`, `tax:food`, `discount:happy hour`, ….
    pub rule: String,
    /// Whether it changed anything.
    pub applied: bool,
    /// What it took off or put on, if it is about money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount_cents: Option<i64>,
    /// Why.
    pub why: String,
}

/// Why a basket is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people.
    pub message: String,
    /// The item it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_id: Option<String>,
}

/// The kinds of [`Refusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// Nothing is ordered.
    Empty,
    /// The kitchen is closed.
    Closed,
    /// No such item.
    UnknownItem,
    /// The item is not sold now.
    Unavailable,
    /// There are not that many.
    OutOfStock,
    /// More of something than one order may have, or less than none.
    Quantity,
    /// Too many different items.
    TooManyLines,
    /// It comes to too much.
    TooExpensive,
    /// It comes to too little.
    TooCheap,
    /// No such coupon, or not now, or not for this order.
    Coupon,
}

/// What the rules say of a basket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What it costs; lines about which there is no telling are left out.
    pub quote: Quote,
    /// Which rule did what.
    pub decisions: Vec<Decision>,
    /// Why it is not accepted; it is when this is empty.
    pub refusals: Vec<Refusal>,
}

/// The decision in the making.
struct Desk<'a> {
    rules: &'a Rules,
    now: Timestamp,
    zone: TimeZone,
    decisions: Vec<Decision>,
    refusals: Vec<Refusal>,
}

/// Decides about `basket` at `now`. `coupon_used` is how many orders have used its coupon so far.
pub fn decide(rules: &Rules, basket: &Basket, menu: &[MenuItem], coupon_used: i64, now: Timestamp) -> Verdict {
    // Rules with a zone that this machine does not know were refused when they were read.
    let zone = rules.zone().unwrap_or(TimeZone::UTC);
    let mut desk = Desk { rules, now, zone, decisions: Vec::new(), refusals: Vec::new() };
    desk.opening();
    let lines = desk.lines(basket, menu);
    let discounts = desk.discounts(basket, &lines, coupon_used);
    let quote = desk.totals(&lines, &discounts);
    desk.limits(&quote);
    Verdict { quote, decisions: desk.decisions, refusals: desk.refusals }
}

/// A line that can be sold.
struct Line<'a> {
    item: &'a MenuItem,
    quantity: i64,
    price: i64,
}

impl Desk<'_> {
    fn refuse(&mut self, code: RefusalCode, item: Option<&str>, message: impl Into<String>) {
        self.refusals.push(Refusal { code, message: message.into(), item_id: item.map(str::to_owned) });
    }

    fn decided(&mut self, rule: impl Into<String>, applied: bool, amount_cents: Option<i64>, why: impl Into<String>) {
        self.decisions.push(Decision { rule: rule.into(), applied, amount_cents, why: why.into() });
    }

    fn opening(&mut self) {
        if self.rules.opening.is_open(self.now, &self.zone) {
            return self.decided("opening", true, None, "the kitchen is open");
        }
        let why = match self.rules.opening.opens_next(self.now, &self.zone) {
            Some(at) => format!("the kitchen is closed until {}", at.to_zoned(self.zone.clone()).strftime("%F %R %Z")),
            None => "the kitchen is closed".to_owned(),
        };
        self.decided("opening", false, None, why.clone());
        self.refuse(RefusalCode::Closed, None, why);
    }

    /// One line per item, without those that cannot be sold.
    fn lines<'m>(&mut self, basket: &Basket, menu: &'m [MenuItem]) -> Vec<Line<'m>> {
        let menu: BTreeMap<&str, &MenuItem> = menu.iter().map(|item| (item.id.as_str(), item)).collect();
        let mut wanted: Vec<(&str, i64)> = Vec::new();
        for line in &basket.lines {
            match wanted.iter_mut().find(|(item, _)| *item == line.item) {
                // A quantity below one is kept as it is, so that it is refused and does not take from another.
                Some((_, quantity)) => *quantity = quantity.saturating_add(line.quantity).min(i64::MAX / 2),
                None => wanted.push((&line.item, line.quantity)),
            }
        }
        if wanted.is_empty() {
            self.refuse(RefusalCode::Empty, None, "the order has no lines");
        }
        let limits = self.rules.limits;
        if wanted.len() > limits.lines {
            let message = format!("an order may have {} different items, this has {}", limits.lines, wanted.len());
            self.refuse(RefusalCode::TooManyLines, None, message);
        }
        let negative: Vec<&str> = basket.lines.iter().filter(|l| l.quantity < 1).map(|l| l.item.as_str()).collect();
        let mut lines = Vec::new();
        for (id, quantity) in wanted {
            let Some(item) = menu.get(id) else {
                self.refuse(RefusalCode::UnknownItem, Some(id), format!("there is no item {id}"));
                continue;
            };
            let name = &item.name;
            if quantity > limits.quantity || negative.contains(&id) {
                let message = format!("an order may have from 1 to {} of {name}", limits.quantity);
                self.refuse(RefusalCode::Quantity, Some(id), message);
            } else if !item.available {
                self.refuse(RefusalCode::Unavailable, Some(id), format!("{name} is not sold now"));
            } else if let Some(stock) = item.stock.filter(|stock| *stock < quantity) {
                self.refuse(
                    RefusalCode::OutOfStock,
                    Some(id),
                    format!("{quantity} of {name} are wanted, {stock} are left"),
                );
            } else {
                let price = item.price_cents.max(0).saturating_mul(quantity).min(i64::MAX / 1024);
                lines.push(Line { item, quantity, price });
            }
        }
        lines
    }

    /// What is taken off each line.
    fn discounts(&mut self, basket: &Basket, lines: &[Line<'_>], coupon_used: i64) -> Vec<i64> {
        let coupon = basket.coupon.as_deref();
        if let Some(code) = coupon
            && !self.rules.discounts.iter().any(|d| d.coupon.as_deref() == Some(code))
        {
            self.refuse(RefusalCode::Coupon, None, format!("there is no coupon {code}"));
        }
        let mut discounts: Vec<&Discount> = self.rules.discounts.iter().collect();
        discounts.sort_by(|a, b| (a.cut, &a.name).cmp(&(b.cut, &b.name)));
        let mut off = vec![0; lines.len()];
        for discount in discounts {
            let asked_for = discount.coupon.is_some();
            if asked_for && discount.coupon.as_deref() != coupon {
                continue;
            }
            let rule = format!("discount:{}", discount.name);
            match self.cut(discount, lines, &off, coupon_used) {
                Ok(cut) => {
                    let amount: i64 = cut.iter().sum();
                    off.iter_mut().zip(&cut).for_each(|(off, cut)| *off += cut);
                    self.decided(rule, true, Some(-amount), describe(discount));
                }
                Err(why) => {
                    if asked_for {
                        self.refuse(RefusalCode::Coupon, None, format!("the coupon does not apply: {why}"));
                    }
                    self.decided(rule, false, None, why);
                }
            }
        }
        off
    }

    /// What one discount takes off each line, beyond what is `off` already; or why it does not apply.
    fn cut(&self, discount: &Discount, lines: &[Line<'_>], off: &[i64], coupon_used: i64) -> Result<Vec<i64>, String> {
        let subtotal: i64 = lines.iter().map(|line| line.price).sum();
        if subtotal < discount.minimum_cents {
            return Err(format!("the order comes to {subtotal} cents, it takes {}", discount.minimum_cents));
        }
        if discount.when.as_ref().is_some_and(|when| !when.holds(self.now, &self.zone)) {
            return Err("it does not apply at this time".to_owned());
        }
        if discount.max_uses.is_some_and(|most| coupon_used >= most) {
            return Err("it has been used as often as it may be".to_owned());
        }
        let covers =
            |line: &Line<'_>| discount.categories.is_empty() || discount.categories.contains(&line.item.category);
        if !lines.iter().any(covers) {
            return Err("nothing in the order is of its categories".to_owned());
        }
        let left = |(line, off): (&Line<'_>, &i64)| if covers(line) { line.price - off } else { 0 };
        let weights: Vec<i64> = lines.iter().zip(off).map(left).collect();
        Ok(match discount.cut {
            Cut::Percent(percent) => {
                lines.iter().zip(&weights).map(|(line, left)| part(line.price, percent, WHOLE).min(*left)).collect()
            }
            Cut::FixedCents(cents) => {
                let ranks: Vec<&str> = lines.iter().map(|line| line.item.id.as_str()).collect();
                spread(cents.min(weights.iter().sum()), &weights, &ranks)
            }
        })
    }

    fn totals(&mut self, lines: &[Line<'_>], discounts: &[i64]) -> Quote {
        let mut taxes: BTreeMap<&str, i64> = BTreeMap::new();
        let mut quoted = Vec::with_capacity(lines.len());
        for (line, discount) in lines.iter().zip(discounts) {
            let net = line.price - discount;
            let tax = self.rules.tax(net, &line.item.category);
            *taxes.entry(&line.item.category).or_default() += tax;
            quoted.push(QuoteLine {
                item_id: line.item.id.clone(),
                name: line.item.name.clone(),
                quantity: line.quantity,
                unit_cents: line.item.price_cents,
                discount_cents: *discount,
                tax_cents: tax,
                total_cents: if self.rules.taxes.included { net } else { net + tax },
                tax_category: line.item.category.clone(),
            });
        }
        let how = if self.rules.taxes.included { "contained in the price" } else { "added to the price" };
        for (category, tax) in taxes {
            let why = match self.rules.taxes.rates.get(category) {
                Some(rate) => format!("{}.{:02} % of {category}, {how}", rate / 100, rate % 100),
                None => format!("{category} is not taxed"),
            };
            self.decided(format!("tax:{category}"), true, Some(tax), why);
        }
        let sum = |of: fn(&QuoteLine) -> i64| quoted.iter().map(of).sum();
        Quote {
            currency: self.rules.currency.clone(),
            subtotal_cents: lines.iter().map(|line| line.price).sum(),
            discount_cents: sum(|line| line.discount_cents),
            tax_cents: sum(|line| line.tax_cents),
            total_cents: sum(|line| line.total_cents),
            lines: quoted,
        }
    }

    fn limits(&mut self, quote: &Quote) {
        let (limits, total) = (self.rules.limits, quote.total_cents);
        let (holds, why) = if total > limits.total_cents {
            let why = format!("an order may come to {} cents, this comes to {total}", limits.total_cents);
            self.refuse(RefusalCode::TooExpensive, None, why.clone());
            (false, why)
        } else if total < limits.minimum_cents {
            let why = format!("an order must come to {} cents, this comes to {total}", limits.minimum_cents);
            self.refuse(RefusalCode::TooCheap, None, why.clone());
            (false, why)
        } else {
            (true, "the order is within the limits".to_owned())
        };
        self.decided("limits", holds, None, why);
    }
}

fn describe(discount: &Discount) -> String {
    let how_much = match discount.cut {
        Cut::Percent(percent) => format!("{}.{:02} % off", percent / 100, percent % 100),
        Cut::FixedCents(cents) => format!("{cents} cents off"),
    };
    let what = if discount.categories.is_empty() {
        "everything".to_owned()
    } else {
        discount.categories.iter().cloned().collect::<Vec<_>>().join(", ")
    };
    let coupon = discount.coupon.as_ref().map_or_else(String::new, |code| format!(", for the coupon {code}"));
    format!("{how_much} {what}{coupon}")
}

#[cfg(test)]
mod tests;
