//! Numbers as people read them.

use crate::monitor::format::thousands;

/// `3,870`; one digit behind the point below ten.
pub(super) fn count(number: f64) -> String {
    if number < 9.95 && (number - number.round()).abs() >= 0.05 {
        return format!("{number:.1}");
    }
    thousands(number.max(0.0).round() as u64)
}

/// A time in seconds, as `0.12 ms`, `4.5 ms`, `51 ms` or `2.3 s`.
pub(super) fn time(seconds: f64) -> String {
    match seconds * 1e3 {
        ms if ms < 1.0 => format!("{ms:.2} ms"),
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        _ => format!("{seconds:.1} s"),
    }
}

/// `5.9x`.
pub(super) fn times(ratio: f64) -> String {
    if ratio < 99.5 { format!("{ratio:.1}x") } else { format!("{ratio:.0}x") }
}

/// A share (0 to 1) as `98 %`.
pub(super) fn share(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

/// `1 worker`, `40 workers`, `2.5 workers`.
pub(super) fn plural(number: f64, what: &str) -> String {
    let ending = if (number - 1.0).abs() < 0.05 { "" } else { "s" };
    format!("{} {what}{ending}", count(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 2.0, 2.54, 12.7, 3870.2, 1_234_567.0].map(count),
            ["0", "2", "2.5", "13", "3,870", "1,234,567"]
        );
        assert_eq!([0.000_12, 0.0045, 0.051, 2.34].map(time), ["0.12 ms", "4.5 ms", "51 ms", "2.3 s"]);
        assert_eq!([1.0, 5.94, 120.2].map(times), ["1.0x", "5.9x", "120x"]);
        assert_eq!((share(0.984).as_str(), plural(1.0, "call").as_str()), ("98 %", "1 call"));
    }
}
