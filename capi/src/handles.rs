//! Numbers for C, objects for Rust.
//!
//! Knows the objects in the table; calls none of their functions. A handle is the object's table, its place there and
//! the generation of that place, which differs for each object: so a freed handle is recognized for ever, as is one
//! that never existed. Numbers, not pointers, because a freed pointer cannot be told from a live one, and because every
//! language can pass a 64-bit number.
//!
//! Invariants: 0 is no handle. No handle is given twice: a place whose generations are used up is not used again. The
//! lock is held for a few instructions, never while an object is used or dropped.

use crate::error::FfiError;
use crate::pending::PendingCall;
use crate::status::boneyard_status::{BONEYARD_INVALID_HANDLE, BONEYARD_TOO_MANY_HANDLES};
use rpc::{Client, Session};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tables, so that threads that make calls at once rarely contend for a lock.
const TABLES: usize = 1 << TABLE_BITS;
const TABLE_BITS: u32 = 4;

/// Places of one table; a million in all.
const PLACES_MAX: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 16;
const GENERATION_LAST: u64 = u64::MAX >> (TABLE_BITS + PLACE_BITS);

/// The object of a handle. One that C frees while another thread uses it lives until that is done.
pub enum Object {
    Client(Client),
    Session(Session),
    Pending(Arc<PendingCall>),
    Bytes(Vec<u8>),
}

struct Place {
    generation: u64,
    object: Option<Object>,
}

/// In a cache line of its own.
#[repr(align(64))]
struct Table(Mutex<Places>);

struct Places {
    places: Vec<Place>,
    free: Vec<u32>,
    used: usize,
}

static ALL: [Table; TABLES] =
    [const { Table(Mutex::new(Places { places: Vec::new(), free: Vec::new(), used: 0 })) }; TABLES];

thread_local! {
    /// The table for this thread's objects; threads are spread round robin.
    static OWN: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % TABLES
    };
}

/// The parts of a handle.
#[derive(Clone, Copy)]
struct At {
    table: usize,
    place: usize,
    generation: u64,
}

impl At {
    fn of(handle: u64) -> At {
        let place = (handle >> TABLE_BITS) as usize % PLACES_MAX;
        At { table: handle as usize % TABLES, place, generation: handle >> (TABLE_BITS + PLACE_BITS) }
    }

    fn handle(self) -> u64 {
        (self.generation << PLACE_BITS | self.place as u64) << TABLE_BITS | self.table as u64
    }
}

fn lock(table: usize) -> MutexGuard<'static, Places> {
    // Nothing in here panics halfway.
    ALL[table].0.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Object {
    fn kind(&self) -> &'static str {
        match self {
            Object::Client(_) => "a client",
            Object::Session(_) => "a session",
            Object::Pending(_) => "a call that is out",
            Object::Bytes(_) => "bytes",
        }
    }

    /// The error of a function that needs another kind.
    fn is_not(&self, wanted: &str) -> FfiError {
        FfiError::misuse(BONEYARD_INVALID_HANDLE, format!("the handle is {}, not {wanted}", self.kind()))
    }
}

impl Places {
    fn at(&mut self, at: At) -> Option<&mut Place> {
        let place = self.places.get_mut(at.place)?;
        (place.generation == at.generation && place.object.is_some()).then_some(place)
    }

    /// A vacant place.
    fn vacant(&mut self) -> Option<usize> {
        if let Some(place) = self.free.pop() {
            return Some(place as usize);
        }
        if self.places.len() == PLACES_MAX {
            return None;
        }
        self.places.push(Place { generation: 0, object: None });
        Some(self.places.len() - 1)
    }
}

/// Gives an object a handle.
pub fn insert(object: Object) -> Result<u64, FfiError> {
    // A thread that is ending may have none of its own any more.
    let own = OWN.try_with(|own| *own).unwrap_or(0);
    for table in (own..TABLES).chain(0..own) {
        let mut places = lock(table);
        if let Some(place) = places.vacant() {
            places.used += 1;
            places.places[place].generation += 1;
            places.places[place].object = Some(object);
            return Ok(At { table, place, generation: places.places[place].generation }.handle());
        }
    }
    Err(FfiError::misuse(BONEYARD_TOO_MANY_HANDLES, "a million handles are in use"))
}

/// A part of the object of a handle, as `kind` selects it.
pub fn get<T>(handle: u64, wanted: &str, kind: impl FnOnce(&Object) -> Option<T>) -> Result<T, FfiError> {
    let at = At::of(handle);
    let mut places = lock(at.table);
    let object = places.at(at).and_then(|place| place.object.as_ref()).ok_or_else(unknown)?;
    kind(object).ok_or_else(|| object.is_not(wanted))
}

/// Takes the object of a handle, if it is of the wanted kind. The handle is invalid from then on.
pub fn remove<T>(
    handle: u64,
    wanted: &str,
    kind: impl FnOnce(Object) -> Result<T, Object>,
) -> Result<T, FfiError> {
    let at = At::of(handle);
    let mut places = lock(at.table);
    match places.at(at).and_then(|place| place.object.take()).map(kind) {
        Some(Ok(object)) => {
            places.used -= 1;
            if at.generation < GENERATION_LAST {
                places.free.push(at.place as u32);
            }
            Ok(object)
        }
        Some(Err(object)) => {
            let failure = object.is_not(wanted);
            places.places[at.place].object = Some(object);
            Err(failure)
        }
        None => Err(unknown()),
    }
}

/// Returns whether there is an object for which `of` is true.
pub fn any(of: impl Fn(&Object) -> bool) -> bool {
    let in_use = |place: &Place| place.object.as_ref().is_some_and(&of);
    (0..TABLES).any(|table| lock(table).places.iter().any(in_use))
}

fn unknown() -> FfiError {
    FfiError::misuse(BONEYARD_INVALID_HANDLE, "there is no such handle; it may have been freed")
}

/// Number of handles of all kinds in use, on all threads: 0 when a program has freed all of its own. Any thread; never
/// blocks.
#[unsafe(no_mangle)]
pub extern "C" fn boneyard_handles() -> usize {
    (0..TABLES).map(|table| lock(table).used).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(object: Object) -> Result<Vec<u8>, Object> {
        match object {
            Object::Bytes(bytes) => Ok(bytes),
            other => Err(other),
        }
    }

    fn is_there(handle: u64) -> bool {
        get(handle, "anything", |_| Some(())).is_ok()
    }

    #[test]
    fn a_handle_that_was_freed_stays_unknown_though_its_place_is_used_again() {
        let some = || insert(Object::Bytes(vec![1])).unwrap();
        let first = some();
        remove(first, "bytes", bytes).unwrap();
        let mut seen = vec![first];
        for _ in 0..100 {
            let next = some();
            assert!(!seen.contains(&next) && is_there(next));
            assert!(!is_there(first) && remove(first, "bytes", bytes).is_err());
            remove(next, "bytes", bytes).unwrap();
            seen.push(next);
        }
        let shifted = |handle: u64| At::of(handle).handle();
        assert!(seen.iter().all(|handle| shifted(*handle) == *handle));
        assert!([0, 1, u64::MAX].into_iter().all(|handle| !is_there(handle)));
    }

    #[test]
    fn a_handle_of_another_kind_stays_what_it_is() {
        let handle = insert(Object::Bytes(vec![1])).unwrap();
        assert!(remove(handle, "a client", Err::<(), Object>).is_err());
        assert!(is_there(handle));
        remove(handle, "bytes", bytes).unwrap();
    }
}
