//! Reserved share of a limit: the last places under it are kept for clients that hold few.
//!
//! Connections, sessions and descriptors are counted in such places. Any client may take the others; the last
//! sixty-fourth, and one at least, is for clients that hold less than that, so that one client alone never has all.

/// One place of this many is kept.
const KEPT_PART: usize = 64;

/// Below this limit no place is kept: so few are all meant to be used.
const KEPT_FROM: usize = 8;

/// Returns how many of `most` places are kept for clients that hold less than that.
pub(crate) fn kept(most: usize) -> usize {
    if most < KEPT_FROM { 0 } else { (most / KEPT_PART).max(1) }
}

/// Returns whether a client that holds `own` of the `all` places in use may take one more of `most`.
pub(crate) fn has_room(own: usize, all: usize, most: usize) -> bool {
    let kept = kept(most);
    all < most && (all < most - kept || own < kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_takes_all_but_the_kept_places() {
        let alone = |most| (0..).take_while(|own| has_room(*own, *own, most)).count();
        let taken = [0, 1, 2, 7, 8, 20, 63, 64, 127, 128, 1000].map(alone);
        assert_eq!(taken, [0, 1, 2, 7, 7, 19, 62, 63, 126, 126, 985]);
        assert!(has_room(0, 985, 1000) && has_room(14, 999, 1000));
        assert!(!has_room(15, 985, 1000) && !has_room(0, 1000, 1000));
        assert!(has_room(0, 7, 8), "one is kept of a few, too");
    }
}
