//! The rules as data: a JSON document that whoever runs the restaurant may replace, with a built-in default.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Opening, Span, Text, Weekly,
    share::{WHOLE, part},
};

/// The most discounts that a document may have.
const DISCOUNTS: usize = 200;

/// Everything that decides about an order besides the menu.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// ISO 4217.
    #[schema(example = "EUR", pattern = "^[A-Z]{3}$")]
    pub currency: String,
    /// IANA name of the time zone in which hours and days are meant.
    #[schema(example = "Europe/Berlin", max_length = 64)]
    pub time_zone: String,
    /// When orders are accepted.
    pub opening: Opening,
    /// What is owed to the state.
    pub taxes: Taxes,
    /// What is taken off.
    #[serde(default)]
    #[schema(max_items = 200)]
    pub discounts: Vec<Discount>,
    /// What an order may be at most and at least.
    #[serde(default)]
    pub limits: Limits,
}

/// Taxes by category of goods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Taxes {
    /// Whether the menu's prices contain the tax (Europe) or it is added (the United States).
    pub included: bool,
    /// Hundredths of a percent, by the tax category of a menu category: 1900 is 19 %.
    pub rates: BTreeMap<String, i64>,
}

/// A discount, and when it applies: to each line whose category it names, if every condition holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Discount {
    /// Names it in explanations; unique.
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
    /// How much.
    pub cut: Cut,
    /// The code that a customer must give; without one the discount applies by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 64)]
    pub coupon: Option<String>,
    /// How many orders may use the coupon in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub max_uses: Option<i64>,
    /// The tax categories whose lines it applies to; all when empty.
    #[serde(default)]
    pub categories: BTreeSet<String>,
    /// The least that the whole order must come to before discounts.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub minimum_cents: i64,
    /// When it applies; always when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
}

/// How much a discount takes off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// Hundredths of a percent of each line.
    Percent(i64),
    /// Cents, spread over the lines.
    FixedCents(i64),
}

/// When a discount applies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct When {
    /// Hours of the week, such as a happy hour's; always when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<Weekly>,
    /// From this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from: Option<Text<Timestamp>>,
    /// Until this moment, which is excluded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Text<Timestamp>>,
}

impl When {
    /// Whether it holds at `now`.
    pub fn holds(&self, now: Timestamp, zone: &TimeZone) -> bool {
        let opening = |weekly: &Weekly| Opening { weekly: weekly.clone(), special_days: BTreeMap::new() };
        self.from.is_none_or(|from| now >= from.0)
            && self.until.is_none_or(|until| now < until.0)
            && self.hours.as_ref().is_none_or(|hours| opening(hours).is_open(now, zone))
    }
}

/// Bounds of one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The most different items.
    #[schema(minimum = 1, maximum = 200)]
    pub lines: usize,
    /// The most of one item.
    #[schema(minimum = 1, maximum = 10000)]
    pub quantity: i64,
    /// The most that an order may come to.
    #[schema(minimum = 0)]
    pub total_cents: i64,
    /// The least that an order must come to after discounts.
    #[schema(minimum = 0)]
    pub minimum_cents: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { lines: 50, quantity: 100, total_cents: 1_000_000, minimum_cents: 0 }
    }
}

impl Default for Rules {
    /// Euro, taxes included, always open, a happy hour for drinks and a coupon to try.
    fn default() -> Self {
        let happy_hour = || vec![Span::from_minutes(17 * 60, 19 * 60)];
        let weekdays = Weekly {
            monday: happy_hour(),
            tuesday: happy_hour(),
            wednesday: happy_hour(),
            thursday: happy_hour(),
            ..Weekly::default()
        };
        let discount = |name: &str, cut| Discount {
            name: name.to_owned(),
            cut,
            coupon: None,
            max_uses: None,
            categories: BTreeSet::new(),
            minimum_cents: 0,
            when: None,
        };
        Self {
            currency: "EUR".to_owned(),
            time_zone: "UTC".to_owned(),
            opening: Opening { weekly: Weekly::always(), special_days: BTreeMap::new() },
            taxes: Taxes { included: true, rates: [("food".to_owned(), 700), ("drink".to_owned(), 1900)].into() },
            discounts: vec![
                Discount {
                    categories: ["drink".to_owned()].into(),
                    when: Some(When { hours: Some(weekdays), ..When::default() }),
                    ..discount("happy hour", Cut::Percent(2000))
                },
                Discount {
                    coupon: Some("WELCOME5".to_owned()),
                    minimum_cents: 2000,
                    ..discount("welcome", Cut::FixedCents(500))
                },
            ],
            limits: Limits::default(),
        }
    }
}

/// What is wrong with a document of rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// Not JSON, or not of this shape.
    #[error("the rules cannot be read: {0}")]
    Unreadable(String),
    /// Well-formed, but not to be used.
    #[error("the rules cannot be used: {}", .0.join("; "))]
    Unusable(Vec<String>),
}

impl Rules {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn parse(document: &str) -> Result<Self, RulesError> {
        let rules: Self = serde_json::from_str(document).map_err(|e| RulesError::Unreadable(e.to_string()))?;
        rules.check()?;
        Ok(rules)
    }

    /// Checks what the shape alone does not.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn check(&self) -> Result<(), RulesError> {
        let mut wrong = Vec::new();
        let mut hold = |holds: bool, why: &dyn Fn() -> String| {
            if !holds {
                wrong.push(why());
            }
        };
        let currency = self.currency.len() == 3 && self.currency.bytes().all(|b| b.is_ascii_uppercase());
        hold(currency, &|| format!("currency {:?} is not three capital letters", self.currency));
        hold(self.zone().is_some(), &|| format!("time_zone {:?} is not known here", self.time_zone));
        for (category, rate) in &self.taxes.rates {
            hold((0..=WHOLE).contains(rate), &|| format!("the tax rate of {category:?} is not from 0 to {WHOLE}"));
        }
        let limits = self.limits;
        hold((1..=200).contains(&limits.lines), &|| "limits.lines is not from 1 to 200".to_owned());
        hold((1..=10_000).contains(&limits.quantity), &|| "limits.quantity is not from 1 to 10000".to_owned());
        hold((0..=1_000_000_000).contains(&limits.total_cents), &|| {
            "limits.total_cents is not from 0 to 10^9".to_owned()
        });
        hold(limits.minimum_cents >= 0, &|| "limits.minimum_cents is negative".to_owned());
        hold(self.discounts.len() <= DISCOUNTS, &|| format!("there are more than {DISCOUNTS} discounts"));
        let (mut names, mut coupons) = (BTreeSet::new(), BTreeSet::new());
        for discount in &self.discounts {
            let name = &discount.name;
            hold(!name.is_empty() && name.len() <= 64, &|| format!("the discount name {name:?} is empty or too long"));
            hold(names.insert(name), &|| format!("two discounts are named {name:?}"));
            if let Some(coupon) = &discount.coupon {
                hold(!coupon.is_empty() && coupon.len() <= 64, &|| format!("{name:?} has an empty or too long coupon"));
                hold(coupons.insert(coupon), &|| format!("two discounts have the coupon {coupon:?}"));
            }
            let cut = match discount.cut {
                Cut::Percent(percent) => (1..=WHOLE).contains(&percent),
                Cut::FixedCents(cents) => (1..=1_000_000_000).contains(&cents),
            };
            hold(cut, &|| format!("{name:?} takes off nothing or too much"));
            hold(discount.minimum_cents >= 0, &|| format!("{name:?} has a negative minimum"));
            let uses = discount.max_uses.is_none_or(|uses| uses > 0 && discount.coupon.is_some());
            hold(uses, &|| format!("{name:?} has max_uses without a coupon, or less than 1"));
        }
        if wrong.is_empty() { Ok(()) } else { Err(RulesError::Unusable(wrong)) }
    }

    /// The time zone, if this machine knows it.
    pub fn zone(&self) -> Option<TimeZone> {
        if self.time_zone == "UTC" { Some(TimeZone::UTC) } else { TimeZone::get(&self.time_zone).ok() }
    }

    /// The tax on `amount` of a category: contained in it or to be added, as the rules say. A category without a rate is not taxed.
    pub(super) fn tax(&self, amount: i64, category: &str) -> i64 {
        let rate = self.taxes.rates.get(category).copied().unwrap_or(0);
        part(amount, rate, if self.taxes.included { WHOLE + rate } else { WHOLE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_rules_are_good_and_survive_being_written_down() {
        let rules = Rules::default();
        rules.check().unwrap();
        assert_eq!(Rules::parse(&serde_json::to_string(&rules).unwrap()).unwrap(), rules);
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let mut rules = Rules { currency: "euro".into(), time_zone: "Mars/Olympus".into(), ..Rules::default() };
        rules.discounts[0].cut = Cut::Percent(20_000);
        rules.discounts[1].name = "happy hour".into();
        let Err(RulesError::Unusable(wrong)) = rules.check() else { panic!() };
        assert_eq!(wrong.len(), 4, "{wrong:?}");
    }

    #[test]
    fn unknown_fields_are_refused() {
        let mut document = serde_json::to_value(Rules::default()).unwrap();
        document["taxes"]["luxury"] = 1.into();
        assert!(Rules::parse(&document.to_string()).unwrap_err().to_string().contains("luxury"));
    }

    #[test]
    fn tax_is_contained_or_added() {
        let mut rules = Rules::default();
        assert_eq!(rules.tax(1190, "drink"), 190);
        rules.taxes.included = false;
        assert_eq!(rules.tax(1000, "drink"), 190);
        assert_eq!(rules.tax(1000, "books"), 0);
    }
}
