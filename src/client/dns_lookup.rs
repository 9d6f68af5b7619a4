//! From a host's name to its addresses, by the system's resolver, within a limit that this does not know.
//!
//! The resolver blocks for as long as it likes, so it is asked on a thread of its own, one for a target in the whole
//! process, which whoever needs the target meanwhile waits for. Addresses that nobody waits for any more are kept for
//! whoever asks next: once, and for a minute at most. Knows names and addresses; knows no sockets.
//!
//! Invariants: no two threads look up one target. [`LOOKUPS_MAX`] bounds the threads and what is kept. The lock is not
//! held while the resolver is asked.

use super::address::ServerAddress;
use super::error::ClientError;
use super::threads::spawn;
use crate::sync::{Arc, Condvar, Mutex};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::process;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Names that may be looked up at once in a process: as many as one client has addresses.
const LOOKUPS_MAX: usize = super::ADDRESSES_MAX;

/// How long an answer is kept that came too late for all who waited for it.
const KEPT: Duration = Duration::from_secs(60);

/// Asks the resolver.
type Resolve = fn(&ServerAddress) -> io::Result<Vec<SocketAddr>>;

/// Those that the clients of this process share.
pub(super) fn shared() -> Arc<Lookups> {
    static ALL: OnceLock<Arc<Lookups>> = OnceLock::new();
    let all = ALL.get_or_init(|| Arc::new(Lookups::new(ask)));
    // In the child of a fork each client has its own.
    if all.is_here() { Arc::clone(all) } else { Arc::new(Lookups::new(ask)) }
}

fn ask(target: &ServerAddress) -> io::Result<Vec<SocketAddr>> {
    Ok((target.host.as_str(), target.port).to_socket_addrs()?.collect())
}

/// Lookups that are under way, and answers that came too late.
#[derive(Debug)]
pub(super) struct Lookups {
    /// Where its threads are: the child of a fork has none of them, and perhaps a lock that nobody gives back.
    process: u32,
    resolve: Resolve,
    open: Mutex<HashMap<ServerAddress, Lookup>>,
    /// Signalled when one has an answer.
    answered: Condvar,
}

#[derive(Debug, Default)]
struct Lookup {
    answer: Option<Answer>,
    /// When it came.
    since: Option<Instant>,
    waiting: usize,
}

/// As it is told to all who wait for it.
type Answer = Result<Vec<SocketAddr>, (ErrorKind, String)>;

impl Lookups {
    fn new(resolve: Resolve) -> Lookups {
        Lookups { process: process::id(), resolve, open: Mutex::default(), answered: Condvar::new() }
    }

    fn is_here(&self) -> bool {
        process::id() == self.process
    }

    /// The addresses of a target.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] when `limit` passes first, and what the resolver says. [`ErrorKind::InvalidInput`] for a
    /// zone that this machine has not.
    pub(super) fn addresses(
        self: &Arc<Lookups>,
        target: &ServerAddress,
        limit: Option<Instant>,
    ) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = target.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, target.port)]);
        }
        if let Some(zone) = target.zone() {
            // Asks this machine only, which does not block.
            let unknown = || format!("this machine has no network interface {zone:?}");
            return ask(target).map_err(|_| io::Error::new(ErrorKind::InvalidInput, unknown()));
        }
        if self.is_here() {
            self.look_up(target, limit)
        } else {
            Arc::new(Lookups::new(self.resolve)).look_up(target, limit)
        }
    }

    fn look_up(
        self: &Arc<Lookups>,
        target: &ServerAddress,
        limit: Option<Instant>,
    ) -> io::Result<Vec<SocketAddr>> {
        let mut open = self.open.lock();
        let fresh = |since: Instant| since.elapsed() < KEPT;
        // Whoever waits takes the answer however late it wakes: this process may have stood still.
        open.retain(|_, lookup| lookup.waiting > 0 || lookup.since.is_none_or(fresh));
        if !open.contains_key(target) {
            make_room(&mut open)?;
            self.begin(target)?;
            open.insert(target.clone(), Lookup::default());
        }
        if let Some(lookup) = open.get_mut(target) {
            lookup.waiting += 1;
        }
        loop {
            let lookup = open.get_mut(target).expect("one that is waited for is not removed");
            let late = limit.is_some_and(|limit| Instant::now() >= limit);
            if lookup.answer.is_none() && !late {
                match limit {
                    None => self.answered.wait(&mut open),
                    Some(limit) => {
                        self.answered.wait_until(&mut open, limit);
                    }
                }
                continue;
            }
            lookup.waiting -= 1;
            let answer = lookup.answer.clone();
            if answer.is_some() && lookup.waiting == 0 {
                open.remove(target);
            }
            let late = || Err((ErrorKind::TimedOut, "the name is still being looked up".to_owned()));
            return answer.unwrap_or_else(late).map_err(|(kind, message)| io::Error::new(kind, message));
        }
    }

    /// Has an answer for those who wait and, if it has addresses, for whoever asks next. A failure may have passed by
    /// then.
    fn keep(&self, target: &ServerAddress, answer: Answer) {
        let mut open = self.open.lock();
        let is_of_use = |lookup: &Lookup| answer.is_ok() || lookup.waiting > 0;
        if !open.get(target).is_some_and(is_of_use) {
            open.remove(target);
        } else if let Some(lookup) = open.get_mut(target) {
            (lookup.answer, lookup.since) = (Some(answer), Some(Instant::now()));
        }
    }

    /// Starts the thread that asks, with the lock held, so that it cannot answer before it is known.
    fn begin(self: &Arc<Lookups>, target: &ServerAddress) -> io::Result<()> {
        let (all, target) = (Arc::clone(self), target.clone());
        let started = spawn("boneyard-client-lookup", move || {
            let answer = (all.resolve)(&target).map_err(|error| (error.kind(), error.to_string()));
            all.keep(&target, answer);
            all.answered.notify_all();
        });
        started.map_err(|error| match error {
            ClientError::NoThread(kind) => io::Error::new(kind, "the system gives no thread for a lookup"),
            other => io::Error::other(other),
        })
    }
}

/// For one more.
fn make_room(open: &mut HashMap<ServerAddress, Lookup>) -> io::Result<()> {
    if open.len() >= LOOKUPS_MAX {
        open.retain(|_, lookup| lookup.answer.is_none() || lookup.waiting > 0);
    }
    if open.len() < LOOKUPS_MAX {
        return Ok(());
    }
    let busy = format!("{LOOKUPS_MAX} other names are being looked up, and no answer comes");
    Err(io::Error::new(ErrorKind::ResourceBusy, busy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex as StdMutex, MutexGuard, PoisonError};
    use std::thread;

    /// A resolver that answers when it is let, and counts.
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    static HELD: StdMutex<()> = StdMutex::new(());
    /// One test at a time has the resolver.
    static ONE: StdMutex<()> = StdMutex::new(());

    fn slow(target: &ServerAddress) -> io::Result<Vec<SocketAddr>> {
        ASKED.fetch_add(1, Ordering::SeqCst);
        drop(HELD.lock().unwrap_or_else(PoisonError::into_inner));
        if target.host == "none" { Err(io::Error::other("no such host")) } else { Ok(vec![found(target)]) }
    }

    fn found(target: &ServerAddress) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], target.port))
    }

    fn target(host: &str) -> ServerAddress {
        ServerAddress { host: host.to_owned(), port: 7 }
    }

    fn begin() -> (MutexGuard<'static, ()>, Arc<Lookups>) {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        ASKED.store(0, Ordering::SeqCst);
        (one, Arc::new(Lookups::new(slow)))
    }

    fn hold() -> MutexGuard<'static, ()> {
        HELD.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(20))
    }

    fn until(what: &str, condition: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !condition() {
            assert!(Instant::now() < end, "waited in vain until {what}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_lookup_ends_with_the_limit_and_its_answer_is_there_for_the_next() {
        let (_one, all) = begin();
        let held = hold();
        for _ in 0..5 {
            let late = all.addresses(&target("slow"), soon()).unwrap_err();
            assert_eq!(late.kind(), ErrorKind::TimedOut);
        }
        until("the thread asks", || ASKED.load(Ordering::SeqCst) == 1);
        drop(held);
        until("it answers", || all.open.lock().values().all(|lookup| lookup.answer.is_some()));
        let past = Some(Instant::now());
        assert_eq!(all.addresses(&target("slow"), past).unwrap(), [found(&target("slow"))]);
        assert_eq!(ASKED.load(Ordering::SeqCst), 1, "five attempts and the last share one thread");
        assert_eq!(all.addresses(&target("slow"), None).unwrap(), [found(&target("slow"))]);
        assert_eq!(ASKED.load(Ordering::SeqCst), 2, "what was used once is looked up anew");
    }

    #[test]
    fn all_who_wait_are_told_the_same_answer() {
        let (_one, all) = begin();
        let held = hold();
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let all = Arc::clone(&all);
                thread::spawn(move || all.addresses(&target("none"), None).unwrap_err().to_string())
            })
            .collect();
        until("all wait", || all.open.lock().values().map(|lookup| lookup.waiting).sum::<usize>() == 8);
        drop(held);
        for waiting in waiting {
            assert_eq!(waiting.join().unwrap(), "no such host");
        }
        assert_eq!(ASKED.load(Ordering::SeqCst), 1);
        assert!(all.open.lock().is_empty());
    }

    #[test]
    fn a_failure_that_nobody_waits_for_is_not_kept() {
        let (_one, all) = begin();
        let held = hold();
        assert_eq!(all.addresses(&target("none"), soon()).unwrap_err().kind(), ErrorKind::TimedOut);
        drop(held);
        until("it answers", || all.open.lock().values().all(|lookup| lookup.answer.is_some()));
        assert!(all.open.lock().is_empty(), "the next call asks anew");
        let again = all.addresses(&target("none"), None).unwrap_err();
        assert_eq!((again.to_string().as_str(), ASKED.load(Ordering::SeqCst)), ("no such host", 2));
    }

    #[test]
    fn an_answer_stays_for_those_who_wait_however_late_they_wake() {
        let (_one, all) = begin();
        // As a process finds it that was stopped for longer than answers are kept, before who waits has woken.
        let since = Instant::now().checked_sub(KEPT).unwrap();
        let answer = Some(Ok(vec![found(&target("late"))]));
        let late = Lookup { answer, since: Some(since), waiting: 1 };
        all.open.lock().insert(target("late"), late);
        let stale = Lookup { answer: Some(Ok(Vec::new())), since: Some(since), waiting: 0 };
        all.open.lock().insert(target("stale"), stale);
        assert!(all.addresses(&target("another"), None).is_ok());
        let open = all.open.lock();
        assert!(open.contains_key(&target("late")) && !open.contains_key(&target("stale")));
    }

    #[test]
    fn lookups_that_hang_are_bounded() {
        let (_one, all) = begin();
        let held = hold();
        let ask = |n: usize| all.addresses(&target(&format!("host{n}")), soon()).unwrap_err().kind();
        assert!((0..LOOKUPS_MAX).all(|n| ask(n) == ErrorKind::TimedOut));
        assert_eq!(ask(LOOKUPS_MAX), ErrorKind::ResourceBusy);
        drop(held);
        until("all answer", || all.open.lock().values().all(|lookup| lookup.answer.is_some()));
        assert!(all.addresses(&target("another"), None).is_ok(), "what nobody asked for again makes room");
    }

    #[test]
    fn what_a_parent_looked_up_is_not_waited_for_in_its_child() {
        let (_one, all) = begin();
        let parent = Lookups { process: process::id() + 1, ..Lookups::new(slow) };
        parent.open.lock().insert(target("slow"), Lookup::default());
        let parent = Arc::new(parent);
        let _held_for_ever = parent.open.lock();
        assert_eq!(parent.addresses(&target("slow"), None).unwrap(), [found(&target("slow"))]);
        assert!(all.is_here() && !parent.is_here());
    }

    #[test]
    fn what_needs_no_resolver_asks_none() {
        let target = |text: &str| text.parse::<ServerAddress>().unwrap();
        let addresses = |text| shared().addresses(&target(text), soon());
        assert_eq!(addresses("[::1]:9").unwrap(), ["[::1]:9".parse().unwrap()]);
        assert_eq!(addresses("[fe80::1%1]:9").unwrap(), ["[fe80::1%1]:9".parse().unwrap()]);
        let none = addresses("[fe80::1%nosuch0]:9").unwrap_err();
        assert_eq!(none.kind(), ErrorKind::InvalidInput);
        assert!(none.to_string().contains("no network interface \"nosuch0\""), "{none}");
    }
}
