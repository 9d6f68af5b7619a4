//! Values of the fields of [`Config`](super::Config) before the parser stores the defaults of the table.
//!
//! Invariant: the parser overwrites every one of them, so none is ever seen outside of it.

use super::admin_socket::AdminSocket;
use super::codel_mode::CodelMode;
use super::limit::Limit;
use super::sizing::PoolRule;
use super::source::{Setting, Source};
use log::LevelFilter;
use std::time::Duration;

/// A type that a field of the configuration may have.
pub(super) trait Unset {
    /// Any value.
    fn unset() -> Self;
}

macro_rules! unset {
    ($($type:ty = $value:expr,)*) => {
        $(impl Unset for $type {
            fn unset() -> $type {
                $value
            }
        })*
    };
}

unset! {
    u32 = 0,
    usize = 0,
    bool = false,
    Duration = Duration::ZERO,
    Limit = Limit::Unlimited,
    PoolRule = PoolRule::R8_0_1,
    CodelMode = CodelMode::Observe,
    AdminSocket = AdminSocket::Off,
    LevelFilter = LevelFilter::Off,
    Source = Source::Default,
}

impl<T> Unset for Option<T> {
    fn unset() -> Option<T> {
        None
    }
}

impl<T> Unset for Vec<T> {
    fn unset() -> Vec<T> {
        Vec::new()
    }
}

impl<T: Unset> Unset for Setting<T> {
    fn unset() -> Setting<T> {
        Setting { value: T::unset(), source: Source::Default }
    }
}
