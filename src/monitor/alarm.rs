//! Alarms: a verdict that has stood for `Alarm_After`, and its end, as a text for `Alarm_Command`.
//!
//! Invariants: pure, time comes with the snapshots. An alarm begins when something has limited the server at every
//! sample for that time, and is given anew when the cause has changed and the new one has stood as long. It is over
//! when nothing has limited for as long, and for [`OVER_AFTER`] at most: a verdict begins anew when settings change,
//! and that ends no alarm. Each end follows an alarm. Does not know how alarms are given, nor the limits on that.

use super::diagnose::{Cause, Verdict};
use super::snapshot::Snapshot;
use serde::Serialize;
use std::time::{Duration, Instant, SystemTime};

/// Time without a verdict after which an alarm is over, where `Alarm_After` is longer.
const OVER_AFTER: Duration = Duration::from_secs(15);

/// An alarm or its end, for the program that is to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// It is the end.
    pub over: bool,
    /// JSON.
    pub text: String,
}

/// The text of an alarm.
#[derive(Debug, Serialize)]
struct AlarmText<'a> {
    /// Program and version.
    server: &'a str,
    over: bool,
    /// When the server began to be limited, in seconds since 1970: the same in all texts of an alarm.
    since: u64,
    /// Seconds from then on.
    lasted: u64,
    verdict: &'a Verdict,
}

/// Forms alarms.
#[derive(Debug, Default)]
pub(super) struct AlarmRule {
    /// When something began to limit the server, and when the present cause came up.
    limited: Option<Standing>,
    /// The verdict last given.
    given: Option<Verdict>,
    /// Since when nothing limits.
    free: Option<Instant>,
}

#[derive(Debug)]
struct Standing {
    began: Instant,
    began_at: SystemTime,
    cause: Cause,
    cause_began: Instant,
}

impl AlarmRule {
    /// Judges a verdict at the time of a snapshot.
    pub(super) fn update(
        &mut self,
        server: &str,
        snapshot: &Snapshot,
        verdict: &Verdict,
        after: Duration,
    ) -> Option<Alarm> {
        let now = snapshot.taken;
        if verdict.cause == Cause::Nothing {
            let free = *self.free.get_or_insert(now);
            if self.given.is_none() {
                self.limited = None;
            } else if now.saturating_duration_since(free) >= after.min(OVER_AFTER) {
                let (given, standing) = (self.given.take()?, self.limited.take()?);
                return standing.alarm(server, now, true, &given);
            }
            return None;
        }
        self.free = None;
        let standing = self.limited.get_or_insert_with(|| Standing {
            began: now,
            began_at: snapshot.started + snapshot.uptime,
            cause: verdict.cause.clone(),
            cause_began: now,
        });
        if standing.cause != verdict.cause {
            (standing.cause, standing.cause_began) = (verdict.cause.clone(), now);
        }
        let since = match &self.given {
            None => standing.began,
            Some(given) if given.cause != verdict.cause => standing.cause_began,
            Some(_) => return None,
        };
        if now.saturating_duration_since(since) < after {
            return None;
        }
        self.given = Some(verdict.clone());
        standing.alarm(server, now, false, verdict)
    }
}

impl Standing {
    fn alarm(&self, server: &str, now: Instant, over: bool, verdict: &Verdict) -> Option<Alarm> {
        let since = self.began_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let lasted = now.saturating_duration_since(self.began).as_secs();
        let text = AlarmText { server, over, since, lasted, verdict };
        serde_json::to_string(&text).ok().map(|text| Alarm { over, text: text + "\n" })
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample_snapshots::snapshot;
    use super::*;

    const AFTER: u64 = 60;

    /// The alarms over seconds with these verdicts, as (second, over, cause).
    fn given(after: u64, spans: &[(u64, Cause)]) -> Vec<(u64, bool, String)> {
        let (mut rule, start, mut second, mut found) = (AlarmRule::default(), Instant::now(), 0, Vec::new());
        for (seconds, cause) in spans {
            let verdict = Verdict { cause: cause.clone(), ..Verdict::default() };
            for _ in 0..*seconds {
                let now = snapshot(start, Duration::from_secs(second), Vec::new());
                let alarm = rule.update("b/1", &now, &verdict, Duration::from_secs(after));
                if let Some(alarm) = alarm {
                    let text: serde_json::Value = serde_json::from_str(&alarm.text).unwrap();
                    assert_eq!(text["over"], alarm.over);
                    found.push((second, alarm.over, text["verdict"]["kind"].as_str().unwrap().to_owned()));
                }
                second += 1;
            }
        }
        found
    }

    fn alarm(second: u64, over: bool, kind: &str) -> (u64, bool, String) {
        (second, over, kind.to_owned())
    }

    #[test]
    fn a_verdict_that_stands_is_given_once_and_so_is_its_end() {
        let spans = [(10, Cause::Nothing), (200, Cause::Cpu), (100, Cause::Nothing)];
        assert_eq!(given(AFTER, &spans), [alarm(70, false, "cpu"), alarm(225, true, "cpu")]);
        let spans = [(60, Cause::Cpu), (1, Cause::Nothing), (60, Cause::Cpu), (100, Cause::Nothing)];
        assert_eq!(given(AFTER, &spans), [], "neither stood long enough");
        let spans = [(5, Cause::Cpu), (5, Cause::Nothing)];
        assert_eq!(given(1, &spans), [alarm(1, false, "cpu"), alarm(6, true, "cpu")]);
    }

    #[test]
    fn causes_that_alternate_are_one_alarm_and_a_cause_that_stays_is_given() {
        let mut spans = vec![(30, Cause::Throttle), (40, Cause::Cpu), (40, Cause::Throttle)];
        assert_eq!(given(AFTER, &spans), [alarm(60, false, "cpu")]);
        spans.extend([(61, Cause::Users), (14, Cause::Nothing), (9, Cause::Users), (30, Cause::Nothing)]);
        let expected = [alarm(60, false, "cpu"), alarm(170, false, "users"), alarm(209, true, "users")];
        assert_eq!(given(AFTER, &spans), expected, "a change of settings is no end");
    }

    #[test]
    fn the_text_says_since_when() {
        let (mut rule, start) = (AlarmRule::default(), Instant::now());
        let verdict = Verdict { cause: Cause::Cpu, ..Verdict::default() };
        let mut at = |second| {
            let now = snapshot(start, Duration::from_secs(second), Vec::new());
            rule.update("b/1", &now, &verdict, Duration::from_secs(AFTER))
        };
        assert_eq!(at(5), None);
        let text = at(65).expect("it has stood").text;
        let begin = "{\"server\":\"b/1\",\"over\":false,\"since\":5,\"lasted\":60,\"verdict\":{\"kind\":\"cpu\",\"agreeing\":0,";
        assert!(text.starts_with(begin) && text.ends_with("}\n"), "{text}");
    }
}
