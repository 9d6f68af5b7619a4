//! Sizes that a rule gives: throttle and pools that no line sizes, with the words for their source.

use super::format::plural;
use super::settings::Config;
use super::sizing::{self, PoolRule};
use super::source::{Setting, Source};

/// Sizes throttle and pools that no line sizes, by the effective rule.
pub(super) fn size(config: &mut Config, cpus: u32) {
    let rule = config.pool_rule.value;
    let rule_line = config.pool_rule.source.line();
    if !config.max_concurrent_trans.source.is_given() {
        let words = rule.throttle_in_words();
        let text = match rule {
            PoolRule::R8_0 | PoolRule::R8_0_1 => {
                format!("rule {rule}: {words}, with {}", plural(cpus.max(1), "CPU"))
            }
            PoolRule::R5 | PoolRule::Zos | PoolRule::Zlinux => format!("rule {rule}: {words}"),
        };
        config.max_concurrent_trans = Setting {
            value: sizing::max_concurrent_trans(rule, cpus),
            source: Source::Rule { text, line: rule_line },
        };
    }
    if !config.pool_tasks.source.is_given() {
        // The throttle's line determines the size more directly than the rule's.
        let throttle_line =
            config.max_concurrent_trans.source.line().filter(|_| rule.pool_follows_throttle());
        config.pool_tasks = Setting {
            value: sizing::pool_tasks(rule, config.max_concurrent_trans.value),
            source: Source::Rule {
                text: format!("rule {rule}: {}", rule.pool_in_words()),
                line: throttle_line.or(rule_line),
            },
        };
    }
    let shared = config.pool_tasks.clone();
    for port in config.all_ports_mut() {
        if !port.pool_tasks.source.is_given() {
            port.pool_tasks = shared.clone();
        }
    }
}
