//! Floats as text, as Go and cel-go have them.

/// The shortest text that is read as this float again, in Go's form (`%g`): `1.5`, `1e-05`, `+Inf`, `NaN`. From a million on, as
/// `1e+06`, and below a ten-thousandth the power of ten stands apart.
pub fn text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match power.parse::<i32>() {
        Ok(power) if !(-4..6).contains(&power) => {
            let sign = if power < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", power.unsigned_abs())
        }
        _ => value.to_string(),
    }
}

/// The float that a text says; `None` for what is none, and for one that is too large (`strconv.ParseFloat`).
pub(crate) fn parse(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    let is_named = text.trim_start_matches(['+', '-']).starts_with(['i', 'I']);
    (is_named || !value.is_infinite()).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn floats_are_written_as_go_writes_them() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (100_000.0, "100000"),
            (123_456.0, "123456"),
            (999_999.5, "999999.5"),
            (1_000_000.0, "1e+06"),
            (-1_000_000.0, "-1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (1_000_000.5, "1.0000005e+06"),
            (2_147_483_647.0, "2.147483647e+09"),
            (1e15, "1e+15"),
            (1e21, "1e+21"),
            (1e100, "1e+100"),
            (f64::MAX, "1.7976931348623157e+308"),
            (0.001, "0.001"),
            (0.000_1, "0.0001"),
            (0.000_123, "0.000123"),
            (0.000_01, "1e-05"),
            (0.000_012_5, "1.25e-05"),
            (1e-100, "1e-100"),
            (5e-324, "5e-324"),
            (1.0 / 3.0, "0.3333333333333333"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn a_number_that_is_too_large_is_none() {
        assert_eq!((parse("1e308"), parse("1e309"), parse("-1e309")), (Some(1e308), None, None));
        assert_eq!(
            (parse("-inf"), parse("Infinity"), parse("x")),
            (Some(f64::NEG_INFINITY), Some(f64::INFINITY), None)
        );
    }

    proptest! {
        #[test]
        fn a_text_says_the_float_it_was_made_of(value in any::<f64>()) {
            let again = parse(&text(value)).unwrap();
            prop_assert!(again.to_bits() == value.to_bits() || again.is_nan() && value.is_nan());
        }
    }
}
