//! From opinions to a verdict: what several looks agree on, and for how long.
//!
//! Invariants: the verdict changes only when four of the last five looks agree, or none of them agrees with it, so a
//! burst of a second changes nothing; the log is told of a change only when it has stood for five seconds. What was
//! measured under other settings has no part in it.

use super::causes::{Evidence, Finding, opinion};
use super::experiment::{self, Baseline, Experiment, Figures, LimitSettings};
use super::refusals::{RefusalWindow, TROUBLES_KEPT};
use super::{Cause, Verdict};
use crate::config::Config;
use crate::monitor::{ConnectionInfo, Interval, Snapshot};
use crate::sync::Arc;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Looks of one opinion.
const LOOKS: usize = 3;

/// Opinions that are asked, and how many must agree.
const OPINIONS: usize = 5;
const AGREEING: usize = 4;

/// The looks that a verdict's figures are of, at most.
const FIGURES_OF: usize = 10;

/// How long a verdict stands before the log is told.
const STANDS: Duration = Duration::from_secs(5);

/// Between two times of asking the listeners for their connections.
const GUESTS_EVERY: Duration = Duration::from_secs(5);

/// What connections said is good for so long.
const GUESTS_KEPT: Duration = Duration::from_secs(15);

/// Between two notes of a verdict that stands.
const NOTE_EVERY: Duration = Duration::from_secs(10);

/// Between two snapshots by which the shortest runs of the last hour are known, and how many are kept: the first is
/// then an hour old, or a quarter more.
const PAST_EVERY: Duration = Duration::from_secs(15 * 60);
const PAST_KEPT: usize = 5;

/// What a look has brought to tell.
#[derive(Debug, Default)]
pub(in crate::monitor) struct News {
    /// For the log: whether it is a warning, and the words.
    log: Vec<(log::Level, String)>,
    /// To be kept over a restart, or (inner `None`) to be forgotten.
    pub(in crate::monitor) note: Option<Option<String>>,
}

impl News {
    /// Tells the log.
    pub(in crate::monitor) fn tell(&self) {
        for (level, text) in &self.log {
            log::log!(*level, "verdict: {text}");
        }
    }

    #[cfg(test)]
    pub(super) fn said(&self) -> Vec<&str> {
        self.log.iter().map(|(_, text)| text.as_str()).collect()
    }
}

/// Who forms the verdict.
#[derive(Debug, Default)]
pub(in crate::monitor) struct Diagnoser {
    settings: Option<LimitSettings>,
    /// Looks since these settings are in force.
    looks: usize,
    troubles: VecDeque<RefusalWindow>,
    /// Causes of the last opinions, each with how clear it was.
    opinions: VecDeque<(Cause, f64)>,
    /// The last of them found calls waiting.
    pressed: bool,
    /// Opinions in a row with the cause of the verdict.
    in_a_row: usize,
    connections: Option<(Instant, Vec<ConnectionInfo>)>,
    /// Taken while nothing pressed: what runs take where calls do not wait for one another is known from then.
    past: VecDeque<Arc<Snapshot>>,
    verdict: Verdict,
    /// When its cause came up, and of which the log knows.
    stands_since: Option<Instant>,
    told: Option<Cause>,
    /// What was measured while a verdict stood, and when it was noted last.
    before: Option<Baseline>,
    noted: Option<(Instant, Cause)>,
    trial: Option<Experiment>,
}

impl Diagnoser {
    /// With the note of an earlier run, if there is one; a broken one is as none.
    pub(in crate::monitor) fn new(note: Option<&str>) -> Diagnoser {
        Diagnoser { before: note.and_then(Baseline::read), ..Diagnoser::default() }
    }

    /// The verdict that stands.
    pub(in crate::monitor) fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Whether the next look should know who calls: while calls wait, and not too often.
    pub(in crate::monitor) fn asks_for_connections(&self, now: Instant) -> bool {
        let asked = self.connections.as_ref().map(|(asked, _)| now.saturating_duration_since(*asked));
        self.pressed && asked.is_none_or(|ago| ago >= GUESTS_EVERY)
    }

    /// Judges the last of these snapshots, which follow one another, the oldest first.
    pub(in crate::monitor) fn look(
        &mut self,
        snapshots: &[Arc<Snapshot>],
        config: &Config,
        connections: Option<Vec<ConnectionInfo>>,
    ) -> News {
        let Some(now) = snapshots.last().map(|snapshot| snapshot.taken) else { return News::default() };
        if let Some(connections) = connections {
            self.connections = Some((now, connections));
        }
        self.connections.take_if(|(asked, _)| now.saturating_duration_since(*asked) >= GUESTS_KEPT);
        self.notice(config);
        let mut news = News::default();
        // The first snapshot under new settings begins the first look.
        if let (Some(step), Some(short)) = (self.last(snapshots, 1), self.last(snapshots, LOOKS)) {
            self.troubles.push_back(RefusalWindow::of(&step));
            self.troubles.drain(..self.troubles.len().saturating_sub(TROUBLES_KEPT));
            self.elect(&short, snapshots, config, now);
            self.measure(&short, snapshots, &mut news);
            self.tell(now, &mut news);
        }
        self.looks += 1;
        self.pictured(snapshots);
        news
    }

    /// Keeps a snapshot now and then.
    fn pictured(&mut self, snapshots: &[Arc<Snapshot>]) {
        let Some(last) = snapshots.last().filter(|_| !self.pressed) else { return };
        let due = |kept: &Arc<Snapshot>| last.taken.saturating_duration_since(kept.taken) >= PAST_EVERY;
        if self.past.back().is_none_or(due) {
            self.past.push_back(Arc::clone(last));
            self.past.drain(..self.past.len().saturating_sub(PAST_KEPT));
        }
    }

    /// The period of the last looks, of which none began under other settings.
    fn last(&self, snapshots: &[Arc<Snapshot>], looks: usize) -> Option<Interval> {
        let looks = looks.min(self.looks).min(snapshots.len().saturating_sub(1));
        Interval::of(&snapshots[snapshots.len() - looks - 1..])
    }

    /// Starts anew when other settings are in force.
    fn notice(&mut self, config: &Config) {
        let settings = experiment::settings(config);
        if self.settings.as_ref() == Some(&settings) {
            return;
        }
        if let Some(before) = self.before.take_if(|before| before.is_of_other(&settings)) {
            self.trial = Some(Experiment::new(before, &settings));
        }
        self.settings = Some(settings);
        self.looks = 0;
        self.troubles.clear();
        self.opinions.clear();
        self.in_a_row = 0;
        self.stands_since = None;
        self.verdict = Verdict { effect: self.effect(), ..Verdict::default() };
    }

    fn effect(&self) -> Option<String> {
        self.trial.as_ref().map(|trial| trial.effect().to_owned())
    }

    fn opinion(&self, period: &Interval, snapshots: &[Arc<Snapshot>], config: &Config) -> Finding {
        let connections = self.connections.as_ref().map_or(&[][..], |(_, connections)| connections);
        let hour = self.past.front().filter(|_| self.past.len() == PAST_KEPT).zip(snapshots.last());
        let hour = hour.map(|(before, now)| (&**before, &**now));
        opinion(&Evidence { period, troubles: &self.troubles, config, connections, hour })
    }

    /// Takes one more opinion, and makes the verdict anew.
    fn elect(&mut self, short: &Interval, snapshots: &[Arc<Snapshot>], config: &Config, now: Instant) {
        let latest = self.opinion(short, snapshots, config);
        self.pressed = latest.pressed;
        self.opinions.push_back((latest.cause.clone(), latest.clear));
        self.opinions.drain(..self.opinions.len().saturating_sub(OPINIONS));
        let agree = |cause: &Cause| self.opinions.iter().filter(|(other, _)| other == cause).count();
        // Where opinions waver, a verdict that none of them holds gives way, however unsure the next one is.
        let forsaken = self.opinions.len() == OPINIONS && agree(&self.verdict.cause) == 0;
        let cause = match agree(&latest.cause) >= AGREEING || forsaken {
            true => latest.cause.clone(),
            false => self.verdict.cause.clone(),
        };
        let agreeing = agree(&cause);
        if cause != self.verdict.cause {
            self.in_a_row = agreeing;
            self.stands_since = Some(now);
        } else if latest.cause == cause {
            self.in_a_row += 1;
        } else {
            // The words of the last look that saw it stay.
            self.in_a_row = 0;
            self.verdict.sure = self.sure(&cause, agreeing);
            return;
        }
        let longer = self.last(snapshots, (self.in_a_row + LOOKS - 1).min(FIGURES_OF));
        let longer = longer.map(|period| (self.opinion(&period, snapshots, config), period));
        let (opinion, period) = match longer.filter(|(opinion, _)| opinion.cause == cause) {
            Some((opinion, period)) => (opinion, period),
            None => (latest, short.clone()),
        };
        self.stand(opinion, &period, agreeing);
    }

    /// How many looks agree, and how clear they are.
    fn sure(&self, cause: &Cause, agreeing: usize) -> f64 {
        let asked = self.opinions.len().max(1) as f64;
        let clear: f64 =
            self.opinions.iter().filter(|(other, _)| other == cause).map(|(_, clear)| clear).sum();
        let clear = clear / agreeing.max(1) as f64;
        agreeing as f64 / asked * (0.6 + 0.4 * clear)
    }

    fn stand(&mut self, opinion: Finding, period: &Interval, agreeing: usize) {
        let Finding { cause, headline, because, advice, .. } = opinion;
        let sure = self.sure(&cause, agreeing);
        if let Some(settings) = self.settings.clone().filter(|_| cause != Cause::Nothing) {
            let before = Baseline::new(settings, Figures::of(period), &advice.lines, advice.gain);
            self.before = Some(before).filter(Baseline::is_comparable).or(self.before.take());
        }
        self.verdict = Verdict {
            cause,
            sure,
            headline,
            because,
            lines: advice.lines,
            expected: advice.expected,
            effect: self.effect(),
        };
    }

    /// Compares with what was before a change.
    fn measure(&mut self, short: &Interval, snapshots: &[Arc<Snapshot>], news: &mut News) {
        let Some(looks) = self.trial.as_ref().filter(|trial| !trial.is_over()).map(Experiment::looks) else {
            return;
        };
        let Some(row) = self.last(snapshots, looks.min(FIGURES_OF)) else { return };
        let limited = self.verdict.cause != Cause::Nothing;
        let Some(trial) = &mut self.trial else { return };
        trial.look(&Figures::of(short), &Figures::of(&row), limited);
        if trial.is_over() {
            news.log.push((log::Level::Info, trial.effect().to_owned()));
            if self.before.is_none() {
                news.note = Some(None);
            }
        }
        self.verdict.effect = self.effect();
    }

    /// Tells the log of a verdict that has stood for a while, and has it kept.
    fn tell(&mut self, now: Instant, news: &mut News) {
        let stands = self.stands_since.is_some_and(|since| now.saturating_duration_since(since) >= STANDS);
        let Verdict { cause, headline, because, lines, expected, .. } = &self.verdict;
        let limited = *cause != Cause::Nothing;
        let fresh = |(noted, of): &(Instant, Cause)| {
            of == cause && now.saturating_duration_since(*noted) < NOTE_EVERY
        };
        if limited && !self.noted.as_ref().is_some_and(fresh) {
            self.noted = Some((now, cause.clone()));
            news.note = self.before.as_ref().and_then(Baseline::write).map(Some);
        }
        if !stands || self.told.as_ref().unwrap_or(&Cause::Nothing) == cause {
            return;
        }
        self.told = Some(cause.clone());
        news.log.push(match limited {
            false => (log::Level::Info, headline.clone()),
            true => {
                let because = because.join(" ");
                let lines = if lines.is_empty() { String::new() } else { format!(" {}:", lines.join(", ")) };
                (log::Level::Warn, format!("{headline} {because}{lines} {expected}"))
            }
        });
    }
}
