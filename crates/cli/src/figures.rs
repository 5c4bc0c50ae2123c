//! Figures as people read them.

use std::time::Duration;

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A rate or a time with three digits that mean something: `1,234`, `73.1`, `0.524`.
pub(crate) fn three_digits(number: f64) -> String {
    match number {
        n if !n.is_finite() => "?".to_owned(),
        n if n >= 99.95 => count(n.round() as u64),
        n if n >= 9.995 => format!("{n:.1}"),
        n if n >= 0.9995 || n == 0.0 => format!("{n:.2}"),
        n => format!("{n:.3}"),
    }
}

/// A share from 0 to 1 as `31.2 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// `0.420 s`, `31.2 s`, `4 min 10 s`, `2 h 05 min`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    // Rounded first: 59.97 s is a minute, not `60.0 s`.
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{} s", three_digits(seconds)),
        60..3_600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3_600, whole % 3_600 / 60),
    }
}

/// `1 row`, `2 rows`.
pub(crate) fn rows(number: u64) -> String {
    format!(
        "{} {}",
        count(number),
        if number == 1 { "row" } else { "rows" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rate off by a factor of a thousand, or a time that cannot be read.
    #[test]
    fn figures_read_well() {
        for (number, shown) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (22_500, "22,500"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(number), shown);
        }
        for (number, shown) in [
            (0.0, "0.00"),
            (0.0176, "0.018"),
            (0.524, "0.524"),
            (9.996, "10.0"),
            (73.14, "73.1"),
            (99.96, "100"),
            (12_345.6, "12,346"),
            (f64::NAN, "?"),
            (f64::INFINITY, "?"),
        ] {
            assert_eq!(three_digits(number), shown);
        }
        for (seconds, shown) in [
            (0.42, "0.420 s"),
            (31.2, "31.2 s"),
            (59.97, "1 min 00 s"),
            (250.0, "4 min 10 s"),
            (7_500.0, "2 h 05 min"),
        ] {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), shown);
        }
        assert_eq!(
            (rows(1), rows(2_000)),
            ("1 row".into(), "2,000 rows".into())
        );
        assert_eq!(percent(0.3123), "31.2 %");
    }
}
