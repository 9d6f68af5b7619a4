//! From what was measured to an opinion: which part limits the server in these few looks.
//!
//! Knows no clock and no earlier opinion; whether one look was like the others is for the judge. Where two things
//! hold, the one is named whose change helps first: what turns clients away unmeant; a client that takes the others'
//! share; the processors, which no setting helps; a method that holds the rest up; permits; workers; what somebody has
//! asked to turn away. The first and the last do not hide the rest, which is then among the reasons.

use super::advice::{self, Advice};
use super::clients::{self, Noisy};
use super::refusals::{RefusalWindow, meant, unmeant, within};
use super::sizing::{FULL, Load, Processors, REFUSED, most};
use super::{Cause, words};
use crate::config::Config;
use crate::monitor::{ConnectionInfo, Interval, MethodInterval, Snapshot};
use std::collections::VecDeque;
use std::time::Duration;

/// Of a method: its share of the workers' time from which on it holds the others up.
const MOST: f64 = 0.7;

/// What an opinion is made of.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    pub(super) period: &'a Interval,
    pub(super) troubles: &'a VecDeque<RefusalWindow>,
    pub(super) config: &'a Config,
    /// Those asked of late; none if nothing waits.
    pub(super) connections: &'a [ConnectionInfo],
    /// An hour ago and now: for what came between. None if the server started later.
    pub(super) hour: Option<(&'a Snapshot, &'a Snapshot)>,
}

/// What a few looks say.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) cause: Cause,
    /// How far from the bounds the figures are, 0 to 1.
    pub(super) clear: f64,
    /// Calls wait, and for long.
    pub(super) pressed: bool,
    pub(super) headline: String,
    pub(super) because: Vec<String>,
    pub(super) advice: Advice,
}

/// The figures, put together.
pub(super) struct Inputs<'a> {
    pub(super) period: &'a Interval,
    pub(super) config: &'a Config,
    pub(super) loads: Vec<Load<'a>>,
    pub(super) processors: Processors,
    pub(super) troubles: &'a VecDeque<RefusalWindow>,
    connections: &'a [ConnectionInfo],
    hour: Option<(&'a Snapshot, &'a Snapshot)>,
}

/// What keeps calls waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bottleneck {
    /// All permits are out.
    Permits,
    /// All workers of this port are busy.
    Workers(usize),
}

/// What these looks say.
pub(super) fn opinion(evidence: &Evidence<'_>) -> Finding {
    let scene = Inputs::of(evidence);
    let pressing = scene.pressed().then(|| pressing(&scene)).flatten();
    let limited = pressing.or_else(|| crowded(&scene)).or_else(|| bursts(&scene));
    let all = [unmeant(&scene), limited, meant(&scene)].into_iter().flatten();
    all.reduce(Finding::besides).unwrap_or_else(|| nothing(&scene))
}

impl Finding {
    /// Another one is among its reasons.
    fn besides(mut self, other: Finding) -> Finding {
        self.because.push(format!("Besides: {}", other.headline));
        self.because.extend(other.because.into_iter().next());
        self
    }
}

impl<'a> Inputs<'a> {
    fn of(evidence: &Evidence<'a>) -> Inputs<'a> {
        let Evidence { period, troubles, config, connections, hour } = *evidence;
        let loads = period.ports.iter().map(|port| Load::of(port, period)).collect();
        Inputs { period, config, loads, processors: Processors::of(period), troubles, connections, hour }
    }

    pub(super) fn pressed(&self) -> bool {
        self.loads.iter().any(Load::pressed)
    }

    pub(super) fn sum(&self, of: impl Fn(&Load<'_>) -> f64) -> f64 {
        self.loads.iter().map(of).sum()
    }

    /// Calls run in a second, over all ports.
    pub(super) fn per_s(&self) -> f64 {
        self.sum(|load| load.per_s)
    }

    /// The port where most calls find no place.
    pub(super) fn worst(&self) -> usize {
        self.left_over_most(|_| true).unwrap_or(0)
    }

    /// The same, of those of which this is true.
    fn left_over_most(&self, of: impl Fn(&Load<'_>) -> bool) -> Option<usize> {
        let ports = self.loads.iter().enumerate().filter(|(_, load)| of(load));
        most(ports.map(|(index, load)| (index, load.left_over())))
    }

    /// The part of the time in which calls of some port had a worker and no permit.
    pub(super) fn without_permit(&self) -> f64 {
        self.loads.iter().map(|load| load.port.without_permit).fold(0.0, f64::max)
    }

    /// Handlers that run, and do not wait in `tx.blocking`.
    fn running(&self) -> f64 {
        self.sum(|load| load.busy - load.port.workers_blocked)
    }

    /// So much more is refused than run that what the processors do says nothing of a call that runs.
    pub(super) fn refuses_mostly(&self) -> bool {
        let refused = self.sum(|load| load.refused_per_s);
        refused > 0.0 && refused >= 10.0 * self.per_s()
    }

    fn processors_full(&self) -> bool {
        self.processors.full(self.running())
    }

    pub(super) fn permits_full(&self) -> bool {
        self.period.limit.is_some_and(|limit| self.period.permits_out >= FULL * f64::from(limit))
    }

    /// The shortest run of a port's method within an hour, or since the start.
    fn shortest(&self, at: usize, method: &MethodInterval) -> Duration {
        let runs = |snapshot: &'a Snapshot| {
            let methods = &snapshot.ports.get(at)?.methods;
            methods.iter().find(|known| known.name == method.name).map(|known| &known.times.run)
        };
        let recent = self.hour.and_then(|(before, now)| Some(runs(now)?.since(runs(before)?).shortest()));
        recent.unwrap_or(method.times.run.min())
    }

    /// Which of the settings calls wait for, if it is one.
    pub(super) fn full(&self) -> Option<Bottleneck> {
        let returning = self.sum(|load| load.port.workers_returning);
        // What is refused at once does not wait for a permit.
        let refused = self.loads.iter().any(|load| load.refuses() && !load.full());
        if self.permits_full() && (self.without_permit() >= 0.5 || returning >= 1.0 || refused) {
            return Some(Bottleneck::Permits);
        }
        self.left_over_most(|load| load.limited()).map(Bottleneck::Workers)
    }
}

/// How clear it is that a value is beyond a bound, if `sure` is far beyond.
pub(super) fn clear(value: f64, bound: f64, sure: f64) -> f64 {
    ((value - bound) / (sure - bound)).clamp(0.0, 1.0)
}

fn nothing(scene: &Inputs<'_>) -> Finding {
    Finding {
        cause: Cause::Nothing,
        clear: 1.0,
        pressed: scene.pressed(),
        headline: "Nothing limits the server.".to_owned(),
        because: Vec::new(),
        advice: Advice::default(),
    }
}

/// Calls wait: what for.
fn pressing(scene: &Inputs<'_>) -> Option<Finding> {
    let full = scene.full();
    if full.is_none() && !scene.processors_full() {
        return None;
    }
    let sized = full.filter(|_| !scene.processors_full()).map(|full| match full {
        Bottleneck::Permits => (full, advice::permits(scene)),
        Bottleneck::Workers(port) => (full, advice::workers(scene, port)),
    });
    if let Some(noisy) = clients::noisy(scene.connections) {
        return Some(client(scene, &noisy, sized.as_ref().map(|(_, sized)| sized)));
    }
    let Some((full, sized)) = sized else { return Some(processors(scene, full)) };
    if sized.gain.is_some_and(|gain| gain.by_processors && !gain.is_worth_it()) {
        return Some(processors(scene, Some(full)));
    }
    Some(method(scene, full, &sized).unwrap_or_else(|| setting(scene, full, sized)))
}

/// Nothing waits in a queue, but more handlers run than there are processors, and these are full.
fn crowded(scene: &Inputs<'_>) -> Option<Finding> {
    (scene.processors_full() && scene.running() > 1.5 * scene.processors.cores + 1.0)
        .then(|| processors(scene, None))
}

/// Calls are refused although there are workers: they come at once, and the queue is too short for that.
fn bursts(scene: &Inputs<'_>) -> Option<Finding> {
    let (index, refused) = RefusalWindow::most(scene.troubles, |troubles| &troubles.queue_full)?;
    let load = &scene.loads[index];
    if load.full() {
        return None;
    }
    let (port, limit) = (load.port.name.to_string(), load.port.queue_limit);
    Some(Finding {
        clear: clear(1.0 - load.busy / load.workers.max(1.0), 1.0 - FULL, 0.5),
        cause: Cause::QueueBound { port: port.clone() },
        pressed: scene.pressed(),
        headline: format!(
            "Server_Queue_Limit={limit} refuses calls of port {port} that its workers could run soon."
        ),
        because: vec![
            format!("{} refused (QueueFull) {}.", words::plural(refused as f64, "call"), within(scene)),
            format!(
                "Its workers were busy for {} of the time.",
                words::share(load.busy / load.workers.max(1.0))
            ),
        ],
        advice: advice::queue(scene, index),
    })
}

fn client(scene: &Inputs<'_>, noisy: &Noisy, sized: Option<&Advice>) -> Finding {
    let Noisy { peer, client, share, others } = noisy;
    let connections = words::plural(client.connections as f64, "connection");
    let wait = scene.loads[scene.worst()].wait;
    Finding {
        cause: Cause::Client { peer: peer.to_string() },
        clear: clear(*share, 0.75, 0.9),
        pressed: true,
        headline: format!("Most calls are those of one client, {peer}; the others wait behind them."),
        because: vec![
            format!(
                "{} of all calls in progress ({}) are its own, on {connections}.",
                words::share(*share),
                client.in_flight
            ),
            format!(
                "{} of {} besides; a call waits {}.",
                others.1,
                others_in_words(others.0),
                words::time(wait)
            ),
        ],
        advice: advice::client(scene, noisy, sized),
    }
}

fn others_in_words(others: usize) -> String {
    if others == 1 { "another client".to_owned() } else { format!("{others} other clients") }
}

fn processors(scene: &Inputs<'_>, full: Option<Bottleneck>) -> Finding {
    let cpu = &scene.processors;
    let mut because = vec![cpu_in_words(scene)];
    if cpu.stolen >= 0.1 * cpu.cores {
        because.push(format!("The host of this machine takes {} of them away.", words::count(cpu.stolen)));
    }
    if cpu.others >= 0.1 * cpu.cores {
        because.push(format!("Other programs on this machine use {} of them.", words::count(cpu.others)));
    }
    if cpu.wanted >= 1.0 {
        because.push(format!("{} ready to run had none.", words::plural(cpu.wanted, "thread")));
    }
    let running = scene.running();
    because.push(format!("{} run at once on {} processors.", words::plural(running, "call"), cpu.cores));
    because.extend(refused_in_words(scene));
    let (headline, raising) = match scene.refuses_mostly() {
        true => ("The processors are busy with refusing calls.", ""),
        false => {
            ("The processors are busy: no setting makes this server faster.", " Raising that would not help.")
        }
    };
    because.extend(full.map(|full| format!("{}{raising}", full_in_words(scene, full))));
    Finding {
        cause: Cause::Cpu,
        clear: clear((cpu.used + cpu.wanted).min(cpu.cores), 0.4 * cpu.cores, 0.85 * cpu.cores),
        pressed: scene.pressed(),
        headline: headline.to_owned(),
        because,
        advice: advice::processors(scene),
    }
}

/// One method holds the workers of all the others, or its calls wait for one another.
fn method(scene: &Inputs<'_>, full: Bottleneck, sized: &Advice) -> Option<Finding> {
    let at = match full {
        Bottleneck::Permits => scene.worst(),
        Bottleneck::Workers(port) => port,
    };
    let load = &scene.loads[at];
    let time = |method: &MethodInterval| method.times.run.sum().as_secs_f64();
    let most = load.port.methods.iter().max_by(|one, two| time(one).total_cmp(&time(two)))?;
    let all = &load.port.times.run;
    let share = time(most) / all.sum().as_secs_f64().max(1e-9);
    let runs = &most.times.run;
    let (count, others) = (runs.count(), all.count() - runs.count());
    if share < MOST || count < 5 {
        return None;
    }
    let others_run = (all.sum().as_secs_f64() - time(most)) / others.max(1) as f64;
    let mean = runs.mean().as_secs_f64();
    let heavy = others >= count && mean >= 4.0 * others_run;
    let shortest = scene.shortest(at, most);
    let serial =
        one_after_the_other(runs, shortest, time(most) / scene.period.length.as_secs_f64().max(1e-9));
    if !heavy && !serial {
        return None;
    }
    let (name, port) = (most.name.to_string(), load.port.name.to_string());
    let [p50, p99] = [0.5, 0.99].map(|share| words::time(runs.quantile(share).as_secs_f64()));
    let mut because = vec![format!(
        "{} of the time of port {port}'s workers; a run takes {p50} (p50), {p99} (p99).",
        words::share(share)
    )];
    if serial {
        let shortest = words::time(shortest.as_secs_f64());
        because.push(format!(
            "The shortest ran {shortest}: so long, times those that run at once, is what they take now. They seem to wait \
             for one another: a lock, or a single slow dependency."
        ));
    } else {
        let calls = words::share(count as f64 / all.count().max(1) as f64);
        because.push(format!("Its calls are {calls} of all; the others run {}.", words::time(others_run)));
    }
    because.extend(keeps_its_permit(scene, load));
    because.push(full_in_words(scene, full));
    because.extend(refused_in_words(scene));
    Some(Finding {
        cause: Cause::Method { port, method: name.clone() },
        clear: if serial { 0.2 } else { clear(share, MOST, 0.9) },
        pressed: true,
        headline: format!("The method {name} takes most of the workers' time."),
        because,
        advice: advice::method(scene, &name, serial, sized),
    })
}

/// So many run at once, and each takes that many times what one alone takes: then they take turns.
fn one_after_the_other(runs: &crate::metrics::Distribution, shortest: Duration, reloadable: f64) -> bool {
    let (alone, mean) = (shortest.as_secs_f64(), runs.mean().as_secs_f64());
    let [p10, p50] = [0.1, 0.5].map(|share| runs.quantile(share).as_secs_f64());
    // Where most are long and some are not, these are calls of another kind, of which the shortest was one.
    let of_two_kinds = p10 < 0.5 * mean && p50 >= 0.5 * mean;
    reloadable >= 8.0
        && alone >= 0.000_1
        && !of_two_kinds
        && (0.75..=1.1).contains(&(mean / (alone * reloadable)))
}

/// A setting is what limits: permits or workers.
fn setting(scene: &Inputs<'_>, full: Bottleneck, advice: Advice) -> Finding {
    let worst = match full {
        Bottleneck::Permits => scene.worst(),
        Bottleneck::Workers(port) => port,
    };
    let load = &scene.loads[worst];
    let mut because = vec![full_in_words(scene, full)];
    let idle = scene.sum(|load| load.workers - load.busy);
    let (cause, headline, margin) = match full {
        Bottleneck::Permits => {
            because.push(format!(
                "{} idle while {}; for {} of the time calls had a worker and no permit.",
                words::plural(idle, "worker"),
                waits(scene.sum(|load| load.waiting)),
                words::share(scene.without_permit()),
            ));
            let limit = scene.period.limit.unwrap_or(0);
            let headline = format!("The throttle limits the server: Server_Max_Concurrent_Trans={limit}.");
            (Cause::Throttle, headline, clear(scene.without_permit(), 0.5, 0.9))
        }
        Bottleneck::Workers(_) => {
            let port = load.port.name.to_string();
            because.push(format!("{} at port {port}.", capitalised(&waits(load.waiting))));
            if load.port.workers_blocked >= 0.5 * load.workers {
                because.push(format!(
                    "{} of them wait in tx.blocking, without a permit.",
                    words::count(load.port.workers_blocked)
                ));
            }
            let limited =
                scene.loads.iter().filter(|other| other.limited() && other.port.name != load.port.name);
            let others: Vec<_> = limited.map(|other| &*other.port.name).collect();
            if !others.is_empty() {
                because.push(format!(
                    "Also full, each with workers of its own: port {}.",
                    others.join(", port ")
                ));
            }
            let headline = format!("The workers of port {port} limit it: all {} are busy.", load.workers);
            (Cause::Pool { port }, headline, clear(load.busy / load.workers, FULL, 0.98))
        }
    };
    because.extend(refused_in_words(scene));
    because.push(match load.per_s > 0.0 {
        true => format!("A call waits {} and runs {}.", words::time(load.wait), words::time(load.run)),
        false => "No call ended meanwhile.".to_owned(),
    });
    because.push(cpu_in_words(scene));
    if full == Bottleneck::Permits {
        because.extend(keeps_its_permit(scene, load));
    }
    let left_over = clear(load.left_over(), 1.0, 5.0);
    Finding { cause, clear: 0.5 * margin + 0.5 * left_over, pressed: true, headline, because, advice }
}

fn waits(calls: f64) -> String {
    format!("{} wait", words::plural(calls, "call"))
}

/// What is refused for want of a place, if much is.
fn refused_in_words(scene: &Inputs<'_>) -> Option<String> {
    if !scene.loads.iter().any(Load::refuses) {
        return None;
    }
    let of = |status| scene.period.ports.iter().map(|port| port.answers.with(status)).sum::<u64>();
    let given = REFUSED.into_iter().filter(|status| of(*status) > 0);
    let names: Vec<_> = given.map(|status| format!("{status:?}")).collect();
    let per_s = words::plural(scene.sum(|load| load.refused_per_s), "call");
    Some(format!("{per_s} a second refused ({}).", names.join(", ")))
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

fn full_in_words(scene: &Inputs<'_>, full: Bottleneck) -> String {
    match full {
        Bottleneck::Permits => format!(
            "{} of {} permits were out, on average over {:.0} s.",
            words::count(scene.period.permits_out),
            scene.period.limit.unwrap_or(0),
            scene.period.length.as_secs_f64().max(1.0),
        ),
        Bottleneck::Workers(port) => {
            let load = &scene.loads[port];
            let name = &load.port.name;
            format!("{} of {} workers of port {name} were busy.", words::count(load.busy), load.workers)
        }
    }
}

fn cpu_in_words(scene: &Inputs<'_>) -> String {
    let Processors { cores, used, idle, .. } = scene.processors;
    let idle = idle.map(|idle| format!("; {} of the machine's idle", words::count(idle)));
    format!("{} of {cores} processors used{}.", words::count(used), idle.unwrap_or_default())
}

/// Handlers that wait with a permit in hand, where the processors show it.
fn keeps_its_permit(scene: &Inputs<'_>, load: &Load<'_>) -> Option<String> {
    let running = scene.running();
    let waits = 1.0 - (scene.processors.used + scene.processors.wanted) / running.max(1e-9);
    (load.port.workers_blocked < 0.1 * load.busy && waits >= 0.5 && load.run >= 0.001).then(|| {
        format!(
            "Handlers wait for at least {} of their time and keep their permits: in tx.blocking they would give them back.",
            words::share(waits.min(0.99))
        )
    })
}
