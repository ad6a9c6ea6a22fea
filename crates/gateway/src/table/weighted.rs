//! Choosing by weight.

/// One of `items` by weight; `random` gives a number below its argument. `None` if no item has any weight.
pub(crate) fn weighted<T>(
    items: &[T],
    weight: impl Fn(&T) -> u32,
    random: impl FnOnce(u64) -> u64,
) -> Option<(usize, &T)> {
    if let [only] = items {
        return (weight(only) > 0).then_some((0, only));
    }
    let total: u64 = items.iter().map(|item| u64::from(weight(item))).sum();
    if total == 0 {
        return None;
    }
    let mut left = random(total);
    items.iter().enumerate().find(|(_, item)| {
        let weight = u64::from(weight(item));
        let here = left < weight;
        left = left.saturating_sub(weight);
        here
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_gets_exactly_its_share_of_the_numbers() {
        let chosen: Vec<_> = (0..4).map(|n| weighted(&[1, 0, 3], |weight| *weight, |_| n).unwrap().0).collect();
        assert_eq!(chosen, [0, 2, 2, 2]);
    }

    #[test]
    fn without_weight_nothing_is_chosen() {
        assert!(weighted(&[0], |weight| *weight, |_| 0).is_none());
        assert!(weighted(&[0, 0], |weight| *weight, |_| 0).is_none());
    }
}
