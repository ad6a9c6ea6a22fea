//! Parts of amounts, to the cent.

/// Hundredths of a percent in the whole.
pub const WHOLE: i64 = 10_000;

/// `amount * part / whole`, rounded half up; amounts are never negative, and `whole` is positive.
pub fn part(amount: i64, part: i64, whole: i64) -> i64 {
    let (amount, part, whole) = (i128::from(amount), i128::from(part), i128::from(whole.max(1)));
    // A part is at most the amount times a rate that the rules bound, so that it fits again.
    i64::try_from((amount * part * 2 + whole) / (whole * 2)).unwrap_or(i64::MAX)
}

/// Spreads `amount` over `weights` in their proportion, exactly, by largest remainder; `ranks` breaks ties, smallest first.
/// No share is larger than its weight as long as `amount` is at most the sum of the weights.
pub fn spread<R: Ord>(amount: i64, weights: &[i64], ranks: &[R]) -> Vec<i64> {
    let total: i128 = weights.iter().map(|w| i128::from(*w)).sum();
    if total == 0 || amount <= 0 {
        return vec![0; weights.len()];
    }
    let exact: Vec<i128> = weights.iter().map(|w| i128::from(*w) * i128::from(amount)).collect();
    let mut shares: Vec<i64> = exact.iter().map(|e| i64::try_from(e / total).unwrap_or(i64::MAX)).collect();
    let left = amount - shares.iter().sum::<i64>();
    let mut order: Vec<(i128, &R, usize)> =
        exact.iter().zip(ranks).enumerate().map(|(i, (e, rank))| (-(e % total), rank, i)).collect();
    order.sort();
    for (.., index) in order.into_iter().take(usize::try_from(left).unwrap_or(0)) {
        if let Some(share) = shares.get_mut(index) {
            *share += 1;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn half_a_cent_is_rounded_up() {
        for (amount, rate, expected) in [(50, 100, 1), (49, 100, 0), (150, 100, 2), (1000, 1900, 190), (999, 0, 0)] {
            assert_eq!(part(amount, rate, WHOLE), expected, "{amount} {rate}");
        }
    }

    #[test]
    fn cents_left_over_go_to_the_largest_remainders_then_to_the_smallest_names() {
        assert_eq!(spread(100, &[1, 1, 1], &["c", "a", "b"]), [33, 34, 33]);
        assert_eq!(spread(10, &[70, 30], &["a", "b"]), [7, 3]);
        assert_eq!(spread(5, &[0, 0], &["a", "b"]), [0, 0]);
    }

    proptest! {
        #[test]
        fn shares_add_up_and_none_exceeds_its_weight(
            weights in proptest::collection::vec(0_i64..1_000_000, 1..20), cut in 0.0_f64..=1.0
        ) {
            let total: i64 = weights.iter().sum();
            let amount = (total as f64 * cut) as i64;
            let ranks: Vec<usize> = (0..weights.len()).collect();
            let shares = spread(amount, &weights, &ranks);
            prop_assert_eq!(shares.iter().sum::<i64>(), amount);
            for (share, weight) in shares.iter().zip(&weights) {
                prop_assert!(share <= weight && *share >= 0);
            }
        }
    }
}
