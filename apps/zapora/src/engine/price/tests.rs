use proptest::prelude::*;

use super::*;

/// 2026-01-05 is a Monday.
const MORNING: &str = "2026-01-05T09:00:00Z";
const HAPPY_HOUR: &str = "2026-01-05T17:30:00Z";

fn item(id: &str, category: &str, price_cents: i64) -> MenuItem {
    MenuItem {
        id: id.into(),
        name: format!("the {id}"),
        category: category.into(),
        price_cents,
        available: true,
        stock: None,
    }
}

fn menu() -> Vec<MenuItem> {
    vec![
        item("pizza", "food", 1250),
        item("beer", "drink", 420),
        MenuItem { stock: Some(2), ..item("cake", "food", 390) },
        MenuItem { available: false, ..item("soup", "food", 500) },
    ]
}

fn basket(lines: &[(&str, i64)], coupon: Option<&str>) -> Basket {
    let lines = lines.iter().map(|(item, quantity)| BasketLine { item: (*item).into(), quantity: *quantity }).collect();
    Basket { lines, coupon: coupon.map(str::to_owned) }
}

fn verdict(lines: &[(&str, i64)], coupon: Option<&str>, now: &str) -> Verdict {
    decide(&Rules::default(), &basket(lines, coupon), &menu(), 0, now.parse().unwrap())
}

fn codes(verdict: &Verdict) -> Vec<RefusalCode> {
    verdict.refusals.iter().map(|refusal| refusal.code).collect()
}

#[test]
fn prices_discounts_and_taxes_of_a_table_of_orders() {
    // lines, coupon, time => subtotal, discount, tax, total
    for (lines, coupon, now, expected) in [
        (vec![("pizza", 1)], None, MORNING, (1250, 0, 82, 1250)),
        (vec![("pizza", 2), ("beer", 1)], None, MORNING, (2920, 0, 164 + 67, 2920)),
        (vec![("beer", 2)], None, HAPPY_HOUR, (840, 168, 107, 672)),
        (vec![("pizza", 2)], Some("WELCOME5"), MORNING, (2500, 500, 131, 2000)),
        (vec![("pizza", 2), ("beer", 1)], Some("WELCOME5"), HAPPY_HOUR, (2920, 584, 135 + 44, 2336)),
    ] {
        let verdict = verdict(&lines, coupon, now);
        let quote = &verdict.quote;
        assert_eq!(codes(&verdict), []);
        let got = (quote.subtotal_cents, quote.discount_cents, quote.tax_cents, quote.total_cents);
        assert_eq!(got, expected, "{lines:?} {coupon:?} {now}");
    }
}

#[test]
fn every_reason_to_refuse_is_given() {
    use RefusalCode::*;
    for (lines, coupon, expected) in [
        (vec![], None, vec![Empty]),
        (vec![("caviar", 1)], None, vec![UnknownItem]),
        (vec![("soup", 1), ("cake", 3)], None, vec![Unavailable, OutOfStock]),
        (vec![("cake", 1), ("cake", 2)], None, vec![OutOfStock]),
        (vec![("pizza", 0)], None, vec![Quantity]),
        (vec![("pizza", 5), ("pizza", -3)], None, vec![Quantity]),
        (vec![("pizza", i64::MAX), ("pizza", i64::MAX)], None, vec![Quantity]),
        (vec![("pizza", 1)], Some("FREE"), vec![Coupon]),
        (vec![("pizza", 1)], Some("WELCOME5"), vec![Coupon]),
    ] {
        assert_eq!(codes(&verdict(&lines, coupon, MORNING)), expected, "{lines:?} {coupon:?}");
    }
}

#[test]
fn a_closed_kitchen_says_when_it_opens() {
    let mut rules = Rules::default();
    rules.opening.weekly = serde_json::from_str(r#"{"tuesday": ["11:00-22:00"]}"#).unwrap();
    let verdict = decide(&rules, &basket(&[("pizza", 1)], None), &menu(), 0, MORNING.parse().unwrap());
    assert_eq!(codes(&verdict), [RefusalCode::Closed]);
    assert!(verdict.refusals[0].message.contains("until 2026-01-06 11:00"), "{:?}", verdict.refusals);
}

#[test]
fn a_coupon_that_is_used_up_is_refused_and_the_limits_are_explained() {
    let mut rules = Rules::default();
    rules.discounts[1].max_uses = Some(3);
    rules.limits.total_cents = 1000;
    let verdict = decide(&rules, &basket(&[("pizza", 2)], Some("WELCOME5")), &menu(), 3, MORNING.parse().unwrap());
    assert_eq!(codes(&verdict), [RefusalCode::Coupon, RefusalCode::TooExpensive]);
    let limits = verdict.decisions.iter().find(|d| d.rule == "limits").unwrap();
    assert!(!limits.applied && limits.why.contains("2500"), "{limits:?}");
}

#[test]
fn decisions_say_which_rule_did_what() {
    let verdict = verdict(&[("beer", 2)], None, HAPPY_HOUR);
    let rules: Vec<_> = verdict.decisions.iter().map(|d| (d.rule.as_str(), d.applied, d.amount_cents)).collect();
    assert_eq!(
        rules,
        [
            ("opening", true, None),
            ("discount:happy hour", true, Some(-168)),
            ("tax:drink", true, Some(107)),
            ("limits", true, None)
        ]
    );
}

fn discounts() -> impl Strategy<Value = Vec<Discount>> {
    let cut = prop_oneof![(1_i64..=10_000).prop_map(Cut::Percent), (1_i64..5_000).prop_map(Cut::FixedCents)];
    let category = proptest::sample::subsequence(vec!["food", "drink"], 0..=2);
    proptest::collection::vec((cut, category, 0_i64..4_000), 0..6).prop_map(|list| {
        let discount = |(index, (cut, categories, minimum_cents)): (usize, (Cut, Vec<&str>, i64))| Discount {
            name: format!("{index}"),
            cut,
            coupon: None,
            max_uses: None,
            categories: categories.into_iter().map(str::to_owned).collect(),
            minimum_cents,
            when: None,
        };
        list.into_iter().enumerate().map(discount).collect()
    })
}

fn orders() -> impl Strategy<Value = (Vec<MenuItem>, Basket)> {
    proptest::collection::vec((0_i64..100_000, proptest::bool::ANY, 1_i64..20), 1..12).prop_map(|items| {
        let (mut menu, mut lines) = (Vec::new(), Vec::new());
        for (index, (price, food, quantity)) in items.into_iter().enumerate() {
            let id = format!("item{index}");
            menu.push(item(&id, if food { "food" } else { "drink" }, price));
            lines.push(BasketLine { item: id, quantity });
        }
        (menu, Basket { lines, coupon: None })
    })
}

proptest! {
    #[test]
    fn totals_are_never_negative_and_always_the_sum_of_their_lines(
        (menu, basket) in orders(), discounts in discounts(), included in proptest::bool::ANY
    ) {
        let mut rules = Rules { discounts, ..Rules::default() };
        rules.taxes.included = included;
        let quote = decide(&rules, &basket, &menu, 0, MORNING.parse().unwrap()).quote;
        prop_assert_eq!(quote.lines.len(), basket.lines.len());
        let sum = |of: fn(&QuoteLine) -> i64| quote.lines.iter().map(of).sum::<i64>();
        prop_assert_eq!(quote.total_cents, sum(|line| line.total_cents));
        prop_assert_eq!(quote.tax_cents, sum(|line| line.tax_cents));
        prop_assert_eq!(quote.discount_cents, sum(|line| line.discount_cents));
        let added = if included { 0 } else { quote.tax_cents };
        prop_assert_eq!(quote.total_cents, quote.subtotal_cents - quote.discount_cents + added);
        for line in &quote.lines {
            prop_assert!(line.total_cents >= 0 && line.tax_cents >= 0 && line.discount_cents >= 0, "{:?}", line);
            prop_assert!(line.discount_cents <= line.unit_cents * line.quantity, "{:?}", line);
        }
    }

    #[test]
    fn neither_the_order_of_lines_nor_that_of_rules_changes_a_total(
        (menu, basket) in orders(), discounts in discounts(), seed in 0_usize..100
    ) {
        let rules = Rules { discounts, ..Rules::default() };
        let (mut other_rules, mut other_basket) = (rules.clone(), basket.clone());
        other_rules.discounts.reverse();
        other_basket.lines.reverse();
        let middle = seed % other_basket.lines.len();
        other_basket.lines.rotate_left(middle);
        let now = MORNING.parse().unwrap();
        let one = decide(&rules, &basket, &menu, 0, now).quote;
        let mut other = decide(&other_rules, &other_basket, &menu, 0, now).quote;
        other.lines.sort_by_key(|line| basket.lines.iter().position(|l| l.item == line.item_id));
        prop_assert_eq!(one, other);
    }

    #[test]
    fn a_line_split_in_two_costs_the_same((menu, basket) in orders(), discounts in discounts()) {
        let rules = Rules { discounts, ..Rules::default() };
        let mut split = basket.clone();
        split.lines.iter_mut().for_each(|line| line.quantity += 1);
        let whole = split.clone();
        let extra: Vec<_> = split.lines.iter_mut().map(|line| { line.quantity -= 1; BasketLine { quantity: 1, ..line.clone() } }).collect();
        split.lines.extend(extra);
        let now = MORNING.parse().unwrap();
        prop_assert_eq!(decide(&rules, &whole, &menu, 0, now), decide(&rules, &split, &menu, 0, now));
    }

    #[test]
    fn what_is_not_in_stock_is_never_sold(wanted in 1_i64..50, stock in 0_i64..50) {
        let menu = [MenuItem { stock: Some(stock), ..item("cake", "food", 390) }];
        let verdict = decide(&Rules::default(), &basket(&[("cake", wanted)], None), &menu, 0, MORNING.parse().unwrap());
        prop_assert_eq!(verdict.refusals.is_empty(), wanted <= stock);
    }
}
