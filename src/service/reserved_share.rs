//! Places that clients share, each no more than there are: the last of them are kept for clients that hold few.
//!
//! Connections, sessions and descriptors are counted in such places. While there are enough anybody may take them; the
//! last sixty-fourth, and one at least, is for clients that hold less than that, so that a client alone never has all.

/// This part is kept.
const KEPT_PART: usize = 64;

/// Of fewer places than this none is kept: who allows so few means them all.
const KEPT_FROM: usize = 8;

/// Of so many places the number that is kept for clients that hold less than that.
pub(crate) fn kept(most: usize) -> usize {
    if most < KEPT_FROM { 0 } else { (most / KEPT_PART).max(1) }
}

/// May a client that holds `own` of `all` places take one more of `most`?
pub(crate) fn has_room(own: usize, all: usize, most: usize) -> bool {
    let kept = kept(most);
    all < most && (all < most - kept || own < kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_alone_takes_all_but_those_that_are_kept() {
        let alone = |most| (0..).take_while(|own| has_room(*own, *own, most)).count();
        let taken = [0, 1, 2, 7, 8, 20, 63, 64, 127, 128, 1000].map(alone);
        assert_eq!(taken, [0, 1, 2, 7, 7, 19, 62, 63, 126, 126, 985]);
        assert!(has_room(0, 985, 1000) && has_room(14, 999, 1000));
        assert!(!has_room(15, 985, 1000) && !has_room(0, 1000, 1000));
        assert!(has_room(0, 7, 8), "one is kept of a few, too");
    }
}
