//! Back-off: the wait before a call is repeated, exponential with full jitter.
//!
//! Pure: chance comes in as a number. The jitter keeps clients that were refused together from coming back together.

use std::time::Duration;

/// Bound of the wait before the first repetition.
const FIRST: Duration = Duration::from_millis(10);

/// Bound of all waits.
const LONGEST: Duration = Duration::from_secs(1);

/// The wait before repetition `number`, from 1: at least `least`, which the server asks for, plus the fraction
/// `chance`, from 0 up to 1, of a bound that doubles.
pub(super) fn wait(number: u32, least: Duration, chance: f64) -> Duration {
    let doubled = 2u32.saturating_pow(number.saturating_sub(1));
    least + FIRST.saturating_mul(doubled).min(LONGEST).mul_f64(chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn bounds_double_up_to_a_second() {
        let bounds = (1..=9).map(|number| wait(number, Duration::ZERO, 1.0));
        assert_eq!(bounds.collect::<Vec<_>>(), [10, 20, 40, 80, 160, 320, 640, 1000, 1000].map(|n| n * MS));
        assert_eq!(wait(u32::MAX, Duration::ZERO, 1.0), 1000 * MS);
    }

    #[test]
    fn waits_are_spread_upward_from_the_least() {
        assert_eq!(wait(3, Duration::ZERO, 0.0), Duration::ZERO);
        assert_eq!(wait(3, Duration::ZERO, 0.5), 20 * MS);
        assert_eq!(wait(1, 250 * MS, 0.0), 250 * MS);
        assert_eq!(wait(1, 250 * MS, 0.5), 255 * MS);
    }
}
