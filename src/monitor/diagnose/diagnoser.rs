//! From findings to a verdict: what several samples agree on, and for how long.
//!
//! Invariants: the verdict changes only when four of the last five findings agree, or none of them agrees with it, so a
//! burst of a second changes nothing; a change is logged only when it has lasted for five seconds. What was measured
//! under other settings has no part in it.

use super::evidence::{Evidence, Observations};
use super::experiment::{self, Baseline, Experiment, Figures, LimitSettings};
use super::loads::{Load, Processors};
use super::methods::INSIDE;
use super::refusal_window::{REFUSALS_KEPT, RefusalWindow};
use super::rule::Finding;
use super::rules;
use super::verdict::{Cause, Verdict};
use crate::config::Config;
use crate::monitor::interval::Interval;
use crate::monitor::snapshot::{ConnectionInfo, Snapshot};
use crate::monitor::window::Window;
use crate::sync::Arc;
use std::cell::OnceCell;
use std::time::{Duration, Instant};

/// Samples from which on a verdict that lasts is put into words again: its lines take a simulation.
const REWRITTEN_EVERY: usize = 3;

/// Samples of one finding.
const SAMPLES: usize = 3;

/// Findings that are kept, and how many must agree.
const FINDINGS: usize = 5;
const AGREEING: usize = 4;

/// Most samples that the figures of a verdict cover.
const FIGURES_OF: usize = 10;

/// How long a verdict must last before it is logged.
const LOG_AFTER: Duration = Duration::from_secs(5);

/// Least time between two requests to the listeners for their connections.
const CONNECTIONS_EVERY: Duration = Duration::from_secs(5);

/// How long a list of connections is used.
const CONNECTIONS_KEPT: Duration = Duration::from_secs(15);

/// Least time between two savings of a verdict that lasts.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// Distance of the snapshots by which the shortest runs of the last hour are known, and how many are kept: the first is
/// then an hour old, or a quarter more.
const CALM_EVERY: Duration = Duration::from_secs(15 * 60);
const CALM_KEPT: usize = 5;

/// Changes that a sample has brought.
#[derive(Debug, Default)]
pub(in crate::monitor) struct DiagnosisNews {
    /// Lines for the log.
    log: Vec<(log::Level, String)>,
    /// Text to keep over a restart, or (inner `None`) to delete.
    pub(in crate::monitor) to_save: Option<Option<String>>,
}

impl DiagnosisNews {
    /// Writes the log lines.
    pub(in crate::monitor) fn log(&self) {
        for (level, text) in &self.log {
            log::log!(*level, "verdict: {text}");
        }
    }

    #[cfg(test)]
    pub(super) fn logged(&self) -> Vec<&str> {
        self.log.iter().map(|(_, text)| text.as_str()).collect()
    }
}

/// All that one update is told.
struct Seen<'a> {
    snapshots: &'a [Arc<Snapshot>],
    config: &'a Config,
    observed: Observations<'a>,
}

/// Forms the verdict.
#[derive(Debug)]
pub(in crate::monitor) struct Diagnoser {
    settings: Option<LimitSettings>,
    /// Samples since these settings are in force.
    samples: usize,
    refusals: Window<RefusalWindow>,
    /// Causes of the last findings.
    findings: Window<Cause>,
    /// At the last of them calls waited.
    backlog: bool,
    /// They did, or enough calls ran that some may wait for one another.
    presses: bool,
    /// Findings in a row with the cause of the verdict.
    in_a_row: usize,
    connections: Option<(Instant, Vec<ConnectionInfo>)>,
    /// Snapshots taken while no calls waited: they tell how long runs take that do not wait for one another.
    calm: Window<Arc<Snapshot>>,
    verdict: Verdict,
    /// When its cause came up, and the cause that was logged last.
    since: Option<Instant>,
    logged: Option<Cause>,
    /// Measurements while a verdict stood, and when they were saved last.
    before: Option<Baseline>,
    saved: Option<(Instant, Cause)>,
    experiment: Option<Experiment>,
}

impl Diagnoser {
    /// Creates one with the text that an earlier run saved, if there is one. A broken text is ignored.
    pub(in crate::monitor) fn new(saved: Option<&str>) -> Diagnoser {
        Diagnoser {
            settings: None,
            samples: 0,
            refusals: Window::of(REFUSALS_KEPT),
            findings: Window::of(FINDINGS),
            backlog: false,
            presses: false,
            in_a_row: 0,
            connections: None,
            calm: Window::spaced(CALM_EVERY, CALM_KEPT),
            verdict: Verdict::default(),
            since: None,
            logged: None,
            before: saved.and_then(Baseline::read),
            saved: None,
            experiment: None,
        }
    }

    /// The present verdict.
    pub(in crate::monitor) fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Returns the time that the workload should be of: what was sampled under these settings. `None` while nothing
    /// presses, and nothing needs to be simulated.
    pub(in crate::monitor) fn recent(&self) -> Option<Duration> {
        let recent = Duration::from_secs(self.samples.clamp(SAMPLES, FIGURES_OF) as u64);
        self.presses.then_some(recent)
    }

    /// Returns whether the next sample should come with the connections: while calls wait, and not too often.
    pub(in crate::monitor) fn wants_connections(&self, now: Instant) -> bool {
        let asked = self.connections.as_ref().map(|(asked, _)| now.saturating_duration_since(*asked));
        self.backlog && asked.is_none_or(|ago| ago >= CONNECTIONS_EVERY)
    }

    /// Judges the last of these snapshots, which follow one another, the oldest first.
    pub(in crate::monitor) fn update(
        &mut self,
        snapshots: &[Arc<Snapshot>],
        config: &Config,
        connections: Option<Vec<ConnectionInfo>>,
        observed: Observations<'_>,
    ) -> DiagnosisNews {
        let Some(last) = snapshots.last() else { return DiagnosisNews::default() };
        let now = last.taken;
        if let Some(connections) = connections {
            self.connections = Some((now, connections));
        }
        self.connections.take_if(|(asked, _)| now.saturating_duration_since(*asked) >= CONNECTIONS_KEPT);
        self.restart_on_change(config);
        let mut news = DiagnosisNews::default();
        // The first snapshot under new settings begins the first interval.
        if let (Some(step), Some(short)) = (self.last(snapshots, 1), self.last(snapshots, SAMPLES)) {
            self.refusals.add(last.uptime, RefusalWindow::of(&step));
            let seen = Seen { snapshots, config, observed };
            self.add_finding(&short, &seen);
            self.measure(&short, snapshots, &mut news);
            self.report(now, &mut news);
        }
        self.samples += 1;
        if let Some(experiment) = &mut self.experiment {
            experiment.pass();
        }
        if !self.presses {
            self.calm.add(last.uptime, Arc::clone(last));
        }
        news
    }

    /// The interval of the last samples, of which none began under other settings.
    fn last(&self, snapshots: &[Arc<Snapshot>], samples: usize) -> Option<Interval> {
        let samples = samples.min(self.samples).min(snapshots.len().saturating_sub(1));
        Interval::of(&snapshots[snapshots.len() - samples - 1..])
    }

    /// Starts anew when other settings are in force.
    fn restart_on_change(&mut self, config: &Config) {
        let settings = experiment::settings(config);
        if self.settings.as_ref() == Some(&settings) {
            return;
        }
        if let Some(before) = self.before.take_if(|before| before.is_of_other(&settings)) {
            self.experiment = Some(Experiment::new(before, &settings));
        }
        self.settings = Some(settings);
        self.samples = 0;
        self.refusals.clear();
        self.findings.clear();
        self.in_a_row = 0;
        self.since = None;
        self.verdict = Verdict { effect: self.effect(), ..Verdict::default() };
    }

    fn effect(&self) -> Option<String> {
        self.experiment.as_ref().map(|experiment| experiment.effect().to_owned())
    }

    fn evidence<'a>(&'a self, interval: &'a Interval, seen: &Seen<'a>) -> Evidence<'a> {
        let hour = self.calm.oldest().filter(|_| self.calm.is_full()).zip(seen.snapshots.last());
        Evidence {
            interval,
            config: seen.config,
            loads: interval.ports.iter().map(|port| Load::of(port, interval)).collect(),
            processors: Processors::of(interval),
            refusals: &self.refusals,
            connections: self.connections.as_ref().map_or(&[][..], |(_, connections)| connections),
            hour: hour.map(|(before, now)| (&**before, &**now)),
            looks: seen.observed.looks,
            workload: seen.observed.workload,
            simulated: OnceCell::new(),
            experiment: self.experiment.as_ref(),
            standing: &self.verdict.cause,
        }
    }

    /// Adds a finding, and forms the verdict anew.
    fn add_finding(&mut self, short: &Interval, seen: &Seen<'_>) {
        let Some(last) = seen.snapshots.last() else { return };
        let (latest, backlog, some_run) = {
            let evidence = self.evidence(short, seen);
            let some_run = evidence.loads.iter().any(|load| load.busy >= INSIDE);
            (rules::cause(&rules::holding(&evidence)), evidence.has_backlog(), some_run)
        };
        (self.backlog, self.presses) = (backlog, backlog || some_run || latest != Cause::Nothing);
        self.findings.add(last.uptime, latest.clone());
        // Where findings alternate, a verdict that none of them supports is replaced, however unsure the next one is.
        let abandoned = self.findings.is_full() && self.agreeing(&self.verdict.cause) == 0;
        let cause = match self.agreeing(&latest) >= AGREEING || abandoned {
            true => latest.clone(),
            false => self.verdict.cause.clone(),
        };
        let (agreeing, changed) = (self.agreeing(&cause), cause != self.verdict.cause);
        if changed {
            self.in_a_row = agreeing;
            self.since = Some(last.taken);
        } else {
            self.in_a_row = if latest == cause { self.in_a_row + 1 } else { 0 };
        }
        // The text of the last sample that found it stays.
        if changed || latest == cause && self.is_rewritten() {
            self.write_verdict(&cause, short, seen);
        }
        self.verdict.agreeing = agreeing as u32;
        self.verdict.looks = self.findings.len() as u32;
        if cause == Cause::Nothing {
            (self.verdict.agreeing, self.verdict.looks) = (0, 0);
        }
    }

    /// Returns whether the verdict is put into words again: often while it is new, rarely later.
    fn is_rewritten(&self) -> bool {
        let every = if self.in_a_row <= FIGURES_OF { REWRITTEN_EVERY } else { FIGURES_OF };
        self.in_a_row.is_multiple_of(every)
    }

    fn agreeing(&self, cause: &Cause) -> usize {
        self.findings.iter().filter(|other| *other == cause).count()
    }

    /// Puts the verdict into words, by the samples in a row that found it.
    fn write_verdict(&mut self, cause: &Cause, short: &Interval, seen: &Seen<'_>) {
        let longer = self.last(seen.snapshots, (self.in_a_row + SAMPLES - 1).min(FIGURES_OF));
        let written = longer.iter().chain([short]).find_map(|interval| {
            let evidence = self.evidence(interval, seen);
            let holding = rules::holding(&evidence);
            (rules::cause(&holding) == *cause).then(|| (rules::finding(&evidence, &holding), interval))
        });
        let Some((Some(Finding { cause, headline, because, advice, unless }), interval)) = written else {
            self.verdict = Verdict { effect: self.effect(), ..Verdict::default() };
            return;
        };
        if let Some(settings) = self.settings.clone() {
            let before = Baseline::new(settings, Figures::of(interval), &advice.lines, advice.gain);
            self.before = Some(before).filter(Baseline::is_comparable).or(self.before.take());
        }
        let effect = self.effect();
        let (lines, expected, gain) = (advice.lines, advice.expected, advice.gain);
        let verdict =
            Verdict { cause, headline, because, lines, expected, gain, unless, effect, ..Verdict::default() };
        self.verdict = verdict;
    }

    /// Compares with what was measured before a change.
    fn measure(&mut self, short: &Interval, snapshots: &[Arc<Snapshot>], news: &mut DiagnosisNews) {
        let running = self.experiment.as_ref().filter(|experiment| !experiment.is_over());
        let Some(samples) = running.map(Experiment::samples) else { return };
        let Some(row) = self.last(snapshots, samples.min(FIGURES_OF)) else { return };
        let limited = self.verdict.cause != Cause::Nothing;
        let Some(experiment) = &mut self.experiment else { return };
        experiment.update(&Figures::of(short), &Figures::of(&row), limited);
        if experiment.is_over() {
            news.log.push((log::Level::Info, experiment.effect().to_owned()));
            if self.before.is_none() {
                news.to_save = Some(None);
            }
        }
        self.verdict.effect = self.effect();
    }

    /// Reports a verdict that has lasted for a while, for the log and to be saved.
    fn report(&mut self, now: Instant, news: &mut DiagnosisNews) {
        let lasts = self.since.is_some_and(|since| now.saturating_duration_since(since) >= LOG_AFTER);
        let Verdict { cause, headline, because, lines, expected, .. } = &self.verdict;
        let limited = *cause != Cause::Nothing;
        let fresh = |(saved, of): &(Instant, Cause)| {
            of == cause && now.saturating_duration_since(*saved) < SAVE_EVERY
        };
        if limited && !self.saved.as_ref().is_some_and(fresh) {
            self.saved = Some((now, cause.clone()));
            news.to_save = self.before.as_ref().and_then(Baseline::write).map(Some);
        }
        if !lasts || self.logged.as_ref().unwrap_or(&Cause::Nothing) == cause {
            return;
        }
        self.logged = Some(cause.clone());
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
