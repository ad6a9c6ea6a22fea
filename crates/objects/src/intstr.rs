//! `IntOrString` values that are a count or a percentage of one, such as `maxSurge: 25%`.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Which way a percentage that is not whole goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// Towards more (`maxSurge`).
    Up,
    /// Towards less (`maxUnavailable`).
    Down,
}

/// The count that a value stands for out of `total`; `None` if it is a string that is not a percentage.
pub fn scaled(value: &IntOrString, total: i32, round: Round) -> Option<i32> {
    let text = match value {
        IntOrString::Int(count) => return Some(*count),
        IntOrString::String(text) => text,
    };
    let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
    let hundredths = percent.checked_mul(total.into())?;
    let count = match round {
        Round::Up => hundredths.checked_add(99)?.div_euclid(100),
        Round::Down => hundredths.div_euclid(100),
    };
    i32::try_from(count).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_the_way_they_are_told() {
        let quarter = IntOrString::String("25%".into());
        assert_eq!(scaled(&quarter, 10, Round::Up), Some(3));
        assert_eq!(scaled(&quarter, 10, Round::Down), Some(2));
        assert_eq!(scaled(&quarter, 8, Round::Up), Some(2));
        assert_eq!(scaled(&IntOrString::Int(7), 10, Round::Up), Some(7));
        assert_eq!(scaled(&IntOrString::String("7".into()), 10, Round::Up), None);
    }
}
