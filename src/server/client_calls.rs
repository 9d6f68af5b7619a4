//! Calls that each client has in progress, over all its connections and all ports, and their limit
//! (`Server_Client_Calls`).
//!
//! A connection is counted from its accept, or from the moment the limit is set, and stays so. Calls of others cost
//! nothing here. Invariants: the calls of counted connections that are admitted and not answered are in the count of
//! their client; a client is known while it has a counted connection.

use crate::service::ClientId;
use crate::sync::unordered::AtomicUsize;
use crate::sync::{Arc, Mutex, Ordering};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The clients with counted connections, and the limit of their calls.
#[derive(Debug, Default)]
pub(super) struct ClientCalls {
    /// 0 for none.
    limit: AtomicUsize,
    clients: Mutex<HashMap<ClientId, Counted>>,
}

#[derive(Debug, Default)]
struct Counted {
    connections: usize,
    /// Below zero, wrapped, while a connection is being added whose calls end.
    calls: Arc<AtomicUsize>,
}

/// The part of a counted connection.
#[derive(Debug)]
pub(super) struct ClientCounter {
    all: Arc<ClientCalls>,
    client: ClientId,
    calls: Arc<AtomicUsize>,
}

impl ClientCalls {
    pub(super) fn new(limit: Option<u32>) -> Arc<ClientCalls> {
        let all = Arc::<ClientCalls>::default();
        all.set_limit(limit);
        all
    }

    /// Changes the limit. Connections that are open are to be counted from then on ([`ClientCalls::counter`]).
    pub(super) fn set_limit(&self, limit: Option<u32>) {
        self.limit.store(limit.unwrap_or(0) as usize, Ordering::SeqCst);
    }

    /// Returns whether there is a limit.
    pub(super) fn is_limited(&self) -> bool {
        self.limit.load(Ordering::SeqCst) > 0
    }

    /// Makes the counter of a connection.
    pub(super) fn counter(self: &Arc<ClientCalls>, client: ClientId) -> ClientCounter {
        let mut clients = self.clients.lock();
        let counted = clients.entry(client).or_default();
        counted.connections += 1;
        ClientCounter { all: Arc::clone(self), client, calls: Arc::clone(&counted.calls) }
    }
}

impl ClientCounter {
    /// Counts a call, unless the client has as many as it may. A `nested` one is counted in any case: a transaction
    /// waits for it.
    pub(super) fn try_add(&self, nested: bool) -> bool {
        let limit = self.all.limit.load(Ordering::SeqCst);
        let added = self.calls.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |calls| {
            is_within(calls, limit, nested).then_some(calls.wrapping_add(1))
        });
        added.is_ok()
    }

    /// Returns whether [`ClientCounter::try_add`] would count a call now.
    pub(super) fn has_room(&self, nested: bool) -> bool {
        let limit = self.all.limit.load(Ordering::SeqCst);
        is_within(self.calls.load(Ordering::SeqCst), limit, nested)
    }

    /// Counts the calls that a connection has in progress when its counting begins.
    pub(super) fn add(&self, calls: usize) {
        self.calls.fetch_add(calls, Ordering::SeqCst);
    }

    /// Counts calls as ended.
    pub(super) fn subtract(&self, calls: usize) {
        self.calls.fetch_sub(calls, Ordering::SeqCst);
    }
}

fn is_within(calls: usize, limit: usize, nested: bool) -> bool {
    nested || limit == 0 || (calls as isize) < limit as isize
}

impl Drop for ClientCounter {
    fn drop(&mut self) {
        if let Entry::Occupied(mut counted) = self.all.clients.lock().entry(self.client) {
            counted.get_mut().connections -= 1;
            if counted.get().connections == 0 {
                counted.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn client(last: u8) -> ClientId {
        ClientId::of(Ipv4Addr::new(10, 0, 0, last).into())
    }

    #[test]
    fn the_connections_of_a_client_share_its_limit() {
        let all = ClientCalls::new(Some(3));
        let (one, two, other) = (all.counter(client(1)), all.counter(client(1)), all.counter(client(2)));
        assert!(one.try_add(false) && two.try_add(false) && one.try_add(false));
        assert!(other.has_room(false) && one.has_room(true) && !one.has_room(false));
        assert!(!one.try_add(false) && !two.try_add(false) && other.try_add(false));
        assert!(one.try_add(true), "a nested call");
        two.subtract(1);
        assert!(!two.try_add(false), "three are left");
        one.subtract(1);
        assert!(two.try_add(false));
        all.set_limit(None);
        assert!((0..9).all(|_| two.try_add(false)));
    }

    #[test]
    fn a_client_is_forgotten_with_its_last_connection() {
        let all = ClientCalls::new(Some(1));
        let (one, two) = (all.counter(client(1)), all.counter(client(1)));
        assert!(one.try_add(false));
        drop(one);
        assert!(!two.try_add(false), "the call goes on");
        two.subtract(1);
        drop(two);
        assert!(all.clients.lock().is_empty());
    }
}
