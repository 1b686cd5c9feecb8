//! Numbers as reports show them. The standard library's formats fix the number of decimals, not of significant digits.

/// A number with four significant digits, with an exponent if it is very small or very large, and `–` if it is not finite.
pub fn format_number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-3..1e9).contains(&size) {
        let text = format!("{value:.3e}");
        let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{power}", without_trailing_zeros(digits));
    }
    let decimals = (3.0 - size.log10().floor()).clamp(0.0, 6.0) as usize;
    without_trailing_zeros(&format!("{value:.decimals$}")).to_owned()
}

/// A fraction in percent with two decimals, and `–` if it is not finite.
pub fn format_percent(fraction: f64) -> String {
    match fraction.is_finite() {
        true => format!("{:.2}", 100.0 * fraction),
        false => format_number(fraction),
    }
}

fn without_trailing_zeros(number: &str) -> &str {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_significant_digits() {
        let cases = [
            (0.0, "0"),
            (0.42, "0.42"),
            (0.123_456, "0.1235"),
            (2e-4, "2e-4"),
            (12_345.6, "12346"),
            (1060.0, "1060"),
            (-1.5, "-1.5"),
            (1e12, "1e12"),
            (f64::NAN, "–"),
        ];
        for (value, text) in cases {
            assert_eq!(format_number(value), text);
        }
        assert_eq!(format_percent(0.4567), "45.67");
        assert_eq!(format_percent(f64::INFINITY), "–");
    }
}
