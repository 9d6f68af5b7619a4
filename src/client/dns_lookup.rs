//! Lookup of a host name by the system's resolver, within a limit that the resolver does not know.
//!
//! The resolver can block for any time, so it is called on a thread of its own, one for an address in the whole
//! process, for which all callers that need the address wait. Results that come too late for all of them are
//! kept for the next caller: once, and for a minute at most. Knows names and addresses; knows no sockets.
//!
//! Invariants: no two threads look up one address. [`LOOKUPS_MAX`] bounds the threads and what is kept. The lock is
//! not held while the resolver is called.

use super::address::ServerAddress;
use super::options::ADDRESSES_MAX;
use super::threads::spawn;
use crate::service::ClientError;
use crate::sync::{Arc, Condvar, Mutex};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::process;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Names that may be looked up at once in a process: as many as one client has addresses.
const LOOKUPS_MAX: usize = ADDRESSES_MAX;

/// How long a result is kept that came too late for all callers that waited for it.
const KEEP_FOR: Duration = Duration::from_secs(60);

/// Calls the resolver.
type Resolve = fn(&ServerAddress) -> io::Result<Vec<SocketAddr>>;

/// The lookups that all clients of this process share.
pub(super) fn shared() -> Arc<Lookups> {
    static ALL: OnceLock<Arc<Lookups>> = OnceLock::new();
    let all = ALL.get_or_init(|| Arc::new(Lookups::new(resolve)));
    // In the child of a fork each client has its own.
    if all.is_here() { Arc::clone(all) } else { Arc::new(Lookups::new(resolve)) }
}

fn resolve(address: &ServerAddress) -> io::Result<Vec<SocketAddr>> {
    Ok((address.host.as_str(), address.port).to_socket_addrs()?.collect())
}

/// Lookups in progress, and results that came too late.
#[derive(Debug)]
pub(super) struct Lookups {
    /// Process of its threads: the child of a fork has none of them, and perhaps a lock that is never released.
    process: u32,
    resolve: Resolve,
    lookups: Mutex<HashMap<ServerAddress, Lookup>>,
    /// Signalled when one has a result.
    finished: Condvar,
}

#[derive(Debug, Default)]
struct Lookup {
    result: Option<LookupResult>,
    /// Arrival of the result.
    since: Option<Instant>,
    /// Callers that wait for it.
    waiting: usize,
}

/// Result as all callers that wait for it get it.
type LookupResult = Result<Vec<SocketAddr>, (ErrorKind, String)>;

impl Lookups {
    fn new(resolve: Resolve) -> Lookups {
        Lookups { process: process::id(), resolve, lookups: Mutex::default(), finished: Condvar::new() }
    }

    fn is_here(&self) -> bool {
        process::id() == self.process
    }

    /// Looks up an address. Blocks, at most until `limit`.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] when `limit` passes first, and those of the resolver. [`ErrorKind::InvalidInput`] for a
    /// zone that this machine does not have.
    pub(super) fn addresses(
        self: &Arc<Lookups>,
        address: &ServerAddress,
        limit: Option<Instant>,
    ) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = address.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, address.port)]);
        }
        if let Some(zone) = address.zone() {
            // Concerns this machine only, and does not block.
            let unknown = || format!("this machine has no network interface {zone:?}");
            return resolve(address).map_err(|_| io::Error::new(ErrorKind::InvalidInput, unknown()));
        }
        if self.is_here() {
            self.look_up(address, limit)
        } else {
            Arc::new(Lookups::new(self.resolve)).look_up(address, limit)
        }
    }

    fn look_up(
        self: &Arc<Lookups>,
        address: &ServerAddress,
        limit: Option<Instant>,
    ) -> io::Result<Vec<SocketAddr>> {
        let mut lookups = self.lookups.lock();
        let fresh = |since: Instant| since.elapsed() < KEEP_FOR;
        // A caller that waits takes the result however late it wakes: this process may have been suspended.
        lookups.retain(|_, lookup| lookup.waiting > 0 || lookup.since.is_none_or(fresh));
        if !lookups.contains_key(address) {
            make_room(&mut lookups)?;
            self.begin(address)?;
            lookups.insert(address.clone(), Lookup::default());
        }
        if let Some(lookup) = lookups.get_mut(address) {
            lookup.waiting += 1;
        }
        loop {
            let lookup = lookups.get_mut(address).expect("a lookup with waiting callers is not removed");
            let late = limit.is_some_and(|limit| Instant::now() >= limit);
            if lookup.result.is_none() && !late {
                match limit {
                    None => self.finished.wait(&mut lookups),
                    Some(limit) => {
                        self.finished.wait_until(&mut lookups, limit);
                    }
                }
                continue;
            }
            lookup.waiting -= 1;
            let result = lookup.result.clone();
            if result.is_some() && lookup.waiting == 0 {
                lookups.remove(address);
            }
            let late = || Err((ErrorKind::TimedOut, "the name is still being looked up".to_owned()));
            return result.unwrap_or_else(late).map_err(|(kind, message)| io::Error::new(kind, message));
        }
    }

    /// Stores a result for the callers that wait and, if it has addresses, for the next caller. A failure may have
    /// passed by then.
    fn store(&self, address: &ServerAddress, result: LookupResult) {
        let mut lookups = self.lookups.lock();
        let is_wanted = |lookup: &Lookup| result.is_ok() || lookup.waiting > 0;
        if !lookups.get(address).is_some_and(is_wanted) {
            lookups.remove(address);
        } else if let Some(lookup) = lookups.get_mut(address) {
            (lookup.result, lookup.since) = (Some(result), Some(Instant::now()));
        }
    }

    /// Starts the thread of a lookup, with the lock held, so that it cannot finish before it is registered.
    fn begin(self: &Arc<Lookups>, address: &ServerAddress) -> io::Result<()> {
        let (all, address) = (Arc::clone(self), address.clone());
        let started = spawn("boneyard-client-lookup", move || {
            let result = (all.resolve)(&address).map_err(|error| (error.kind(), error.to_string()));
            all.store(&address, result);
            all.finished.notify_all();
        });
        started.map_err(|error| match error {
            ClientError::NoThread(kind) => io::Error::new(kind, "cannot start a thread for the lookup"),
            other => io::Error::other(other),
        })
    }
}

/// Makes room for one more lookup.
fn make_room(lookups: &mut HashMap<ServerAddress, Lookup>) -> io::Result<()> {
    if lookups.len() >= LOOKUPS_MAX {
        lookups.retain(|_, lookup| lookup.result.is_none() || lookup.waiting > 0);
    }
    if lookups.len() < LOOKUPS_MAX {
        return Ok(());
    }
    let busy = format!("{LOOKUPS_MAX} other names are being looked up without a result");
    Err(io::Error::new(ErrorKind::ResourceBusy, busy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex as StdMutex, MutexGuard, PoisonError};
    use std::thread;

    /// Calls of a resolver that waits for a lock.
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    static BLOCKED: StdMutex<()> = StdMutex::new(());
    /// One test at a time uses the resolver.
    static ONE: StdMutex<()> = StdMutex::new(());

    fn slow(address: &ServerAddress) -> io::Result<Vec<SocketAddr>> {
        CALLS.fetch_add(1, Ordering::SeqCst);
        drop(BLOCKED.lock().unwrap_or_else(PoisonError::into_inner));
        if address.host == "none" { Err(io::Error::other("no such host")) } else { Ok(vec![found(address)]) }
    }

    fn found(address: &ServerAddress) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], address.port))
    }

    fn address(host: &str) -> ServerAddress {
        ServerAddress { host: host.to_owned(), port: 7 }
    }

    fn begin() -> (MutexGuard<'static, ()>, Arc<Lookups>) {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        CALLS.store(0, Ordering::SeqCst);
        (one, Arc::new(Lookups::new(slow)))
    }

    fn block() -> MutexGuard<'static, ()> {
        BLOCKED.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn a_lookup_ends_with_the_limit_and_its_result_is_there_for_the_next() {
        let (_one, all) = begin();
        let blocked = block();
        for _ in 0..5 {
            let late = all.addresses(&address("slow"), soon()).unwrap_err();
            assert_eq!(late.kind(), ErrorKind::TimedOut);
        }
        until("the resolver is called", || CALLS.load(Ordering::SeqCst) == 1);
        drop(blocked);
        until("the lookup ends", || all.lookups.lock().values().all(|lookup| lookup.result.is_some()));
        let past = Some(Instant::now());
        assert_eq!(all.addresses(&address("slow"), past).unwrap(), [found(&address("slow"))]);
        assert_eq!(CALLS.load(Ordering::SeqCst), 1, "five attempts and the last share one thread");
        assert_eq!(all.addresses(&address("slow"), None).unwrap(), [found(&address("slow"))]);
        assert_eq!(CALLS.load(Ordering::SeqCst), 2, "a result is used once");
    }

    #[test]
    fn all_waiting_callers_get_the_same_result() {
        let (_one, all) = begin();
        let blocked = block();
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let all = Arc::clone(&all);
                thread::spawn(move || all.addresses(&address("none"), None).unwrap_err().to_string())
            })
            .collect();
        until("all wait", || all.lookups.lock().values().map(|lookup| lookup.waiting).sum::<usize>() == 8);
        drop(blocked);
        for waiting in waiting {
            assert_eq!(waiting.join().unwrap(), "no such host");
        }
        assert_eq!(CALLS.load(Ordering::SeqCst), 1);
        assert!(all.lookups.lock().is_empty());
    }

    #[test]
    fn a_failure_without_waiting_callers_is_not_kept() {
        let (_one, all) = begin();
        let blocked = block();
        assert_eq!(all.addresses(&address("none"), soon()).unwrap_err().kind(), ErrorKind::TimedOut);
        drop(blocked);
        until("the lookup ends", || all.lookups.lock().values().all(|lookup| lookup.result.is_some()));
        assert!(all.lookups.lock().is_empty(), "the next call looks it up again");
        let again = all.addresses(&address("none"), None).unwrap_err();
        assert_eq!((again.to_string().as_str(), CALLS.load(Ordering::SeqCst)), ("no such host", 2));
    }

    #[test]
    fn a_result_stays_for_waiting_callers_however_late_they_wake() {
        let (_one, all) = begin();
        // The state after a process was suspended for longer than results are kept, before the caller has woken.
        let since = Instant::now().checked_sub(KEEP_FOR).unwrap();
        let result = Some(Ok(vec![found(&address("late"))]));
        let late = Lookup { result, since: Some(since), waiting: 1 };
        all.lookups.lock().insert(address("late"), late);
        let stale = Lookup { result: Some(Ok(Vec::new())), since: Some(since), waiting: 0 };
        all.lookups.lock().insert(address("stale"), stale);
        assert!(all.addresses(&address("another"), None).is_ok());
        let lookups = all.lookups.lock();
        assert!(lookups.contains_key(&address("late")) && !lookups.contains_key(&address("stale")));
    }

    #[test]
    fn hanging_lookups_are_bounded() {
        let (_one, all) = begin();
        let blocked = block();
        let error = |n: usize| all.addresses(&address(&format!("host{n}")), soon()).unwrap_err().kind();
        assert!((0..LOOKUPS_MAX).all(|n| error(n) == ErrorKind::TimedOut));
        assert_eq!(error(LOOKUPS_MAX), ErrorKind::ResourceBusy);
        drop(blocked);
        until("all lookups end", || all.lookups.lock().values().all(|lookup| lookup.result.is_some()));
        assert!(all.addresses(&address("another"), None).is_ok(), "an unused result makes room");
    }

    #[test]
    fn a_lookup_of_the_parent_is_not_waited_for_in_its_child() {
        let (_one, all) = begin();
        let parent = Lookups { process: process::id() + 1, ..Lookups::new(slow) };
        parent.lookups.lock().insert(address("slow"), Lookup::default());
        let parent = Arc::new(parent);
        let _never_unlocked = parent.lookups.lock();
        assert_eq!(parent.addresses(&address("slow"), None).unwrap(), [found(&address("slow"))]);
        assert!(all.is_here() && !parent.is_here());
    }

    #[test]
    fn an_address_in_numbers_needs_no_resolver() {
        let address = |text: &str| text.parse::<ServerAddress>().unwrap();
        let addresses = |text| shared().addresses(&address(text), soon());
        assert_eq!(addresses("[::1]:9").unwrap(), ["[::1]:9".parse().unwrap()]);
        assert_eq!(addresses("[fe80::1%1]:9").unwrap(), ["[fe80::1%1]:9".parse().unwrap()]);
        let none = addresses("[fe80::1%nosuch0]:9").unwrap_err();
        assert_eq!(none.kind(), ErrorKind::InvalidInput);
        assert!(none.to_string().contains("no network interface \"nosuch0\""), "{none}");
    }
}
