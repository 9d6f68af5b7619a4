//! Numbers for C, objects for Rust: one table for all.
//!
//! Knows what is in the table; calls nothing of it. A handle is the object's place in the table and the generation of that
//! place, which is another for each object: so a handle that was freed is known for ever, as is one that never was.
//! Numbers, not pointers, because a pointer that was freed cannot be told from one that was not, and because every
//! language passes a 64-bit number without ado.
//!
//! Invariants: 0 is no handle. No handle is given twice: a place whose generations are used up is not used again. The lock
//! is held for a few instructions, never while an object is used or dropped.

use crate::error::Failure;
use crate::pending::Out;
use crate::status::boneyard_status::{BONEYARD_INVALID_HANDLE, BONEYARD_TOO_MANY_HANDLES};
use rpc::{Client, Session};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most handles at once.
const HANDLES_MAX: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 20;
const GENERATION_LAST: u64 = u64::MAX >> PLACE_BITS;

/// What a handle stands for. What C frees while another thread uses it lives until that is done.
pub enum Object {
    Client(Client),
    Session(Session),
    Pending(Arc<Out>),
    Bytes(Vec<u8>),
}

struct Place {
    generation: u64,
    object: Option<Object>,
}

struct Table {
    places: Vec<Place>,
    free: Vec<u32>,
    used: usize,
}

static TABLE: Mutex<Table> = Mutex::new(Table { places: Vec::new(), free: Vec::new(), used: 0 });

fn table() -> MutexGuard<'static, Table> {
    // Nothing in here panics halfway.
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The error of a function that wanted another kind.
    fn is_not(&self, wanted: &str) -> Failure {
        Failure::misuse(BONEYARD_INVALID_HANDLE, format!("the handle is {}, not {wanted}", self.kind()))
    }
}

impl Table {
    fn place(&mut self, handle: u64) -> Option<&mut Place> {
        let place = self.places.get_mut((handle % HANDLES_MAX as u64) as usize)?;
        (place.generation == handle >> PLACE_BITS && place.object.is_some()).then_some(place)
    }
}

/// Gives an object a handle.
pub fn insert(object: Object) -> Result<u64, Failure> {
    let mut table = table();
    let index = match table.free.pop() {
        Some(index) => index as usize,
        None if table.places.len() < HANDLES_MAX => {
            table.places.push(Place { generation: 0, object: None });
            table.places.len() - 1
        }
        None => {
            drop(table);
            return Err(Failure::misuse(BONEYARD_TOO_MANY_HANDLES, "a million handles are in use"));
        }
    };
    table.used += 1;
    let place = &mut table.places[index];
    place.generation += 1;
    place.object = Some(object);
    Ok(place.generation << PLACE_BITS | index as u64)
}

/// What is wanted of the object of a handle.
pub fn get<T>(handle: u64, wanted: &str, kind: impl FnOnce(&Object) -> Option<T>) -> Result<T, Failure> {
    let mut table = table();
    let object = table.place(handle).and_then(|place| place.object.as_ref()).ok_or_else(unknown)?;
    kind(object).ok_or_else(|| object.is_not(wanted))
}

/// Takes the object of a handle, if it is of the kind that is wanted. The handle is none from then on.
pub fn remove<T>(
    handle: u64,
    wanted: &str,
    kind: impl FnOnce(Object) -> Result<T, Object>,
) -> Result<T, Failure> {
    let mut table = table();
    let object = table.place(handle).and_then(|place| place.object.take());
    match object.map(kind) {
        Some(Ok(object)) => {
            let index = handle % HANDLES_MAX as u64;
            table.used -= 1;
            if handle >> PLACE_BITS < GENERATION_LAST {
                table.free.push(index as u32);
            }
            Ok(object)
        }
        Some(Err(object)) => {
            let failure = object.is_not(wanted);
            table.places[(handle % HANDLES_MAX as u64) as usize].object = Some(object);
            Err(failure)
        }
        None => Err(unknown()),
    }
}

fn unknown() -> Failure {
    Failure::misuse(BONEYARD_INVALID_HANDLE, "there is no such handle; it may have been freed")
}

/// How many handles of all kinds are in use, on all threads: 0 where a program has freed what it had. Any thread; never
/// blocks.
#[unsafe(no_mangle)]
pub extern "C" fn boneyard_handles() -> usize {
    table().used
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
