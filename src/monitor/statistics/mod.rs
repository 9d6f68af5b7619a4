//! Every statistic of a server in one list, with Domino's names where Domino has them: what `show stat` prints and
//! `/metrics` exports.

mod list;
mod service_counter;
mod statistic;

pub(super) use list::list;
pub use service_counter::ServiceCounter;
pub use statistic::{Statistic, StatisticFamily, StatisticKind, StatisticValue, text};
