//! Values of worker places: one of each declared type for each worker of each port, such as a connection to a database.
//!
//! A place is a worker's number at its port. It runs one call at a time, on whatever thread. A call takes the value out
//! of its place and puts it back; no lock is held meanwhile.
//!
//! Invariants: a value is used by one call at a time; one that a panic went through is dropped and never used again.
//! Once the values are closed there are none, and none is made; those in use are dropped by their calls. Code that
//! makes or drops a value runs under `catch_unwind`.

use super::panic_text::panic_text;
use crate::sync::{Arc, Mutex};
use std::any::{Any, TypeId, type_name};
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The place of a worker: its port and its number there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerPlace {
    port: Arc<str>,
    worker: usize,
}

impl WorkerPlace {
    /// Returns the name of its port.
    pub fn port(&self) -> &str {
        &self.port
    }

    /// Returns the number of the worker at its port, from 1.
    pub fn worker(&self) -> usize {
        self.worker
    }
}

impl fmt::Display for WorkerPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} of port {}", self.worker, self.port)
    }
}

/// The value of a worker cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the value of {place} cannot be made: {error}")]
#[non_exhaustive]
pub struct WorkerValueError {
    /// The worker.
    pub place: WorkerPlace,
    /// The error of the code that makes it, or the text of its panic.
    pub error: Box<dyn Error + Send + Sync>,
}

/// Unwinds from a handler whose worker has no value; its text is for the log.
pub(super) struct Unmade(pub(super) String);

type AnyValue = Box<dyn Any + Send>;
type MakeValue =
    dyn Fn(&WorkerPlace) -> Result<AnyValue, Box<dyn Error + Send + Sync + 'static>> + Send + Sync;

/// A declared type, and the code that makes its values.
struct DeclaredValue {
    of: TypeId,
    make: Box<MakeValue>,
}

impl DeclaredValue {
    fn make(&self, place: &WorkerPlace) -> Result<AnyValue, WorkerValueError> {
        let made = catch_unwind(AssertUnwindSafe(|| (self.make)(place)));
        let made = made.unwrap_or_else(|panic| Err(format!("a panic: {}", panic_text(panic)).into()));
        made.map_err(|error| WorkerValueError { place: place.clone(), error })
    }
}

/// A value of a place.
enum ValueSlot {
    Ready(AnyValue),
    /// A call has it.
    Taken,
    /// To be made by the next call that asks for it.
    Missing,
    Closed,
}

/// The values of one place.
pub(crate) struct PlaceValues {
    place: WorkerPlace,
    declared: Arc<Vec<DeclaredValue>>,
    /// In the order of `declared`.
    slots: Mutex<Vec<ValueSlot>>,
}

impl PlaceValues {
    /// Runs `run` on the value of this type; makes it first if it is missing.
    ///
    /// # Panics
    /// The type is not declared, or the call has the value already. With `run`; the value is dropped then. With
    /// [`Unmade`] if the value cannot be made.
    pub(super) fn with<T: Any + Send, R>(&self, run: impl FnOnce(&mut T) -> R) -> R {
        let name = type_name::<T>();
        let number = self.declared.iter().position(|declared| declared.of == TypeId::of::<T>());
        let number = number.unwrap_or_else(|| panic!("no Server::per_worker makes a {name}"));
        let mut value = self.take(number, name);
        let typed = value.downcast_mut().expect("the type was found by its id");
        match catch_unwind(AssertUnwindSafe(|| run(typed))) {
            Ok(result) => {
                self.put(number, ValueSlot::Ready(value));
                result
            }
            Err(panic) => {
                self.discard(value);
                self.put(number, ValueSlot::Missing);
                resume_unwind(panic)
            }
        }
    }

    fn take(&self, number: usize, name: &str) -> AnyValue {
        let mut slots = self.slots.lock();
        match std::mem::replace(&mut slots[number], ValueSlot::Taken) {
            ValueSlot::Ready(value) => value,
            ValueSlot::Taken => panic!("with_worker within another one for {name}"),
            ValueSlot::Closed => {
                slots[number] = ValueSlot::Closed;
                drop(slots);
                resume_unwind(Box::new(Unmade(format!("{}: its value is closed", self.place))))
            }
            ValueSlot::Missing => {
                drop(slots);
                self.declared[number].make(&self.place).unwrap_or_else(|error| {
                    self.put(number, ValueSlot::Missing);
                    resume_unwind(Box::new(Unmade(error.to_string())))
                })
            }
        }
    }

    /// Ends a call's use of a value. Values that were closed meanwhile stay so.
    fn put(&self, number: usize, slot: ValueSlot) {
        let mut slots = self.slots.lock();
        let unused = match slots[number] {
            ValueSlot::Closed => slot,
            _ => std::mem::replace(&mut slots[number], slot),
        };
        drop(slots);
        if let ValueSlot::Ready(value) = unused {
            self.discard(value);
        }
    }

    fn close(&self) {
        for number in 0..self.declared.len() {
            let slot = std::mem::replace(&mut self.slots.lock()[number], ValueSlot::Closed);
            if let ValueSlot::Ready(value) = slot {
                self.discard(value);
            }
        }
    }

    fn discard(&self, value: AnyValue) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
            log::error!("{}: its value panicked when dropped: {}", self.place, panic_text(panic));
        }
    }
}

/// The values of all places. Dropped, it drops them.
#[derive(Default)]
pub(crate) struct WorkerValues {
    declared: Vec<DeclaredValue>,
    /// By the numbers of port and worker. Empty until they are made, and if none are declared.
    places: Vec<Vec<Arc<PlaceValues>>>,
}

impl WorkerValues {
    /// Declares a value of this type for each worker, in place of an earlier declaration of the same type.
    pub(crate) fn declare<T, E, F>(&mut self, make: F)
    where
        T: Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
        F: Fn(&WorkerPlace) -> Result<T, E> + Send + Sync + 'static,
    {
        let of = TypeId::of::<T>();
        self.declared.retain(|declared| declared.of != of);
        let make = move |place: &WorkerPlace| match make(place) {
            Ok(value) => Ok(Box::new(value) as AnyValue),
            Err(error) => Err(error.into()),
        };
        self.declared.push(DeclaredValue { of, make: Box::new(make) });
    }

    /// Makes the values for the workers of these ports.
    ///
    /// # Errors
    /// The first that cannot be made; the others are dropped.
    pub(crate) fn make<'a>(
        mut self,
        ports: impl Iterator<Item = (&'a str, usize)>,
    ) -> Result<WorkerValues, WorkerValueError> {
        let declared = Arc::new(std::mem::take(&mut self.declared));
        if declared.is_empty() {
            return Ok(self);
        }
        for (name, workers) in ports {
            let port: Arc<str> = name.into();
            self.places.push(Vec::with_capacity(workers));
            for worker in 1..=workers {
                let place = WorkerPlace { port: Arc::clone(&port), worker };
                let missing = declared.iter().map(|_| ValueSlot::Missing).collect();
                let values =
                    PlaceValues { place, declared: Arc::clone(&declared), slots: Mutex::new(missing) };
                for (number, declared) in declared.iter().enumerate() {
                    let value = declared.make(&values.place).inspect_err(|_| values.close())?;
                    values.put(number, ValueSlot::Ready(value));
                }
                self.places.last_mut().expect("a list was added for the port").push(Arc::new(values));
            }
        }
        Ok(self)
    }

    /// Returns the values of a place; `None` if none were made.
    pub(crate) fn of(&self, port: usize, worker: usize) -> Option<Arc<PlaceValues>> {
        self.places.get(port)?.get(worker).map(Arc::clone)
    }

    /// Drops all values that no call uses, and lets calls drop the others. Runs the values' own code.
    pub(crate) fn close(&self) {
        self.places.iter().flatten().for_each(|place| place.close());
    }
}

impl Drop for WorkerValues {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Ordering::SeqCst;
    use crate::sync::unordered::AtomicUsize;

    /// Counts those alive, and panics when dropped if it is to.
    struct Value(Arc<AtomicUsize>, bool);

    impl Drop for Value {
        fn drop(&mut self) {
            self.0.fetch_sub(1, SeqCst);
            assert!(!self.1, "on purpose");
        }
    }

    fn values(alive: &Arc<AtomicUsize>, fails: fn(&WorkerPlace) -> bool) -> WorkerValues {
        let (mut values, alive) = (WorkerValues::default(), Arc::clone(alive));
        values.declare(move |place| match fails(place) {
            true => Err("it fails"),
            false => {
                alive.fetch_add(1, SeqCst);
                Ok(Value(Arc::clone(&alive), place.worker() == 2))
            }
        });
        values
    }

    #[test]
    fn a_value_that_cannot_be_made_leaves_none() {
        let alive = Arc::new(AtomicUsize::new(0));
        let made = values(&alive, |place| place.port() == "B" && place.worker() == 2);
        let error = made.make([("A", 3), ("B", 3)].into_iter()).err().unwrap();
        assert_eq!(error.to_string(), "the value of worker 2 of port B cannot be made: it fails");
        assert_eq!(alive.load(SeqCst), 0);
        let panics = values(&alive, |_| panic!("oh"));
        let error = panics.make([("A", 1)].into_iter()).err().unwrap();
        assert_eq!(error.to_string(), "the value of worker 1 of port A cannot be made: a panic: oh");
    }

    #[test]
    fn values_are_closed_though_one_panics_and_one_is_in_use() {
        let alive = Arc::new(AtomicUsize::new(0));
        let values = values(&alive, |_| false).make([("A", 3)].into_iter()).unwrap();
        let place = values.of(0, 0).unwrap();
        place.with(|_: &mut Value| {
            values.close();
            assert_eq!(alive.load(SeqCst), 1, "the second panicked, the third is closed all the same");
        });
        assert_eq!(alive.load(SeqCst), 0, "dropped by its user");
        let closed = catch_unwind(AssertUnwindSafe(|| place.with(|_: &mut Value| ())));
        assert!(closed.unwrap_err().is::<Unmade>());
        assert!(values.of(1, 0).is_none() && values.of(0, 3).is_none());
    }
}
