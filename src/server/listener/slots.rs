//! A table of connections whose places are reused, with a generation in each id, so that an event for a closed
//! connection never reaches its successor in the same place.

/// A place and its generation, packed into a poll's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::server) struct Id(u64);

impl Id {
    fn new(index: u32, generation: u32) -> Id {
        Id(u64::from(generation) << 32 | u64::from(index))
    }

    fn index(self) -> usize {
        self.0 as u32 as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Returns the poll's token of this id.
    pub(super) fn token(self) -> mio::Token {
        mio::Token(self.0 as usize)
    }

    /// Returns the id of a poll's token.
    pub(in crate::server) fn of(token: mio::Token) -> Id {
        Id(token.0 as u64)
    }
}

const _: () = assert!(usize::BITS == 64, "a token holds a place and its generation");

/// Highest generation; those above are free for tokens of other things than connections.
const GENERATION_MAX: u32 = u32::MAX - 1;

/// A table whose places are reused.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Slots<T> {
        Slots { slots: Vec::new(), free: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Inserts what `make` makes of the id.
    ///
    /// # Errors
    /// Those of `make`; nothing is inserted then.
    pub(super) fn insert<E>(&mut self, make: impl FnOnce(Id) -> Result<T, E>) -> Result<Id, E> {
        let index = self.free.last().copied().unwrap_or(self.slots.len() as u32);
        let generation = self.slots.get(index as usize).map_or(0, |slot| slot.0);
        let id = Id::new(index, generation);
        let value = Some(make(id)?);
        match self.slots.get_mut(id.index()) {
            Some(slot) => {
                slot.1 = value;
                self.free.pop();
            }
            None => self.slots.push((generation, value)),
        }
        Ok(id)
    }

    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.index())?;
        if slot.0 == id.generation() { slot.1.as_mut() } else { None }
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<T> {
        let slot = self.slots.get_mut(id.index()).filter(|slot| slot.0 == id.generation())?;
        let value = slot.1.take()?;
        slot.0 = if slot.0 >= GENERATION_MAX { 0 } else { slot.0 + 1 };
        self.free.push(id.index() as u32);
        Some(value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        let places = self.slots.iter().zip(0u32..);
        places.filter_map(|((generation, value), index)| Some((Id::new(index, *generation), value.as_ref()?)))
    }

    pub(super) fn ids(&self) -> Vec<Id> {
        self.iter().map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_does_not_reach_its_successor() {
        let mut slots = Slots::new();
        let first = slots.insert(|_| Ok::<_, ()>('a')).unwrap();
        let second = slots.insert(|_| Ok::<_, ()>('b')).unwrap();
        assert_eq!(slots.remove(first), Some('a'));
        let third = slots.insert(|_| Ok::<_, ()>('c')).unwrap();
        assert_eq!(third.index(), first.index(), "the place is reused");
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get_mut(third), Some(&mut 'c'));
        assert_eq!((slots.ids(), slots.len()), (vec![third, second], 2));
        assert_eq!(Id::of(third.token()), third);
    }

    #[test]
    fn a_failed_insert_leaves_nothing() {
        let mut slots = Slots::<char>::new();
        assert_eq!(slots.insert(|_| Err("no")), Err("no"));
        assert_eq!((slots.len(), slots.ids()), (0, vec![]));
    }
}
