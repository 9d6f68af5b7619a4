//! The protocol's version, the sizes of its fixed parts, and the limits that no setting can raise.

/// The one protocol version that this build speaks.
pub const VERSION: u16 = 1;

/// Size of the preface, in bytes: magic, lowest and highest version.
pub const PREFACE_BYTES: usize = 8;

/// Size of a frame's header, in bytes.
pub const HEADER_BYTES: usize = 16;

/// Size of a Call's prelude, in bytes: session and deadline.
pub const CALL_PRELUDE_BYTES: usize = 8;

/// Largest chain of a nested Call, in bytes: 16 entries of the longest names.
pub const CHAIN_BYTES_MAX: usize = 4096;

/// Most calls nested in one another.
pub const CHAIN_ENTRIES_MAX: usize = 16;

/// Size of a Reply's prelude, in bytes: the three parts of the transaction's time.
pub const REPLY_PRELUDE_BYTES: usize = 12;

/// Largest body of a Hello, in bytes: the memory that an unknown peer can claim.
pub const HELLO_BODY_BYTES_MAX: usize = 1024;

/// Largest body of a Cancel, Ping or Pong, in bytes.
pub const SIGNAL_BODY_BYTES_MAX: usize = 64;

/// Largest body of a Welcome or GoAway that a client reads, in bytes (65,536 methods of 200-byte names).
pub const CONTROL_BODY_BYTES_MAX: usize = 16 << 20;

/// Longest message of a Fault, in bytes; longer ones are cut.
pub const FAULT_MESSAGE_BYTES_MAX: usize = 4096;

/// Largest body that any build accepts, in bytes: the highest limit of the decoder, a compile-time number.
pub const BODY_BYTES_MAX: usize = 64 << 20;

/// Smallest frame limit of a server, in bytes.
pub const FRAME_BYTES_MIN: usize = 1024;

/// Longest method name, in bytes.
pub const METHOD_NAME_BYTES_MAX: usize = 128;

/// Most methods of one server: numbers have 16 bits, and 0 names none.
pub const METHODS_MAX: usize = u16::MAX as usize;

const _: () = assert!(PREFACE_BYTES < HEADER_BYTES, "the preface is no longer than a header");
const _: () = assert!(HELLO_BODY_BYTES_MAX <= FRAME_BYTES_MIN, "a Hello fits the smallest frame limit");
const _: () = assert!(BODY_BYTES_MAX <= u32::MAX as usize, "a body's length fits its field");
const _: () = assert!(METHODS_MAX * (METHOD_NAME_BYTES_MAX + 24) <= CONTROL_BODY_BYTES_MAX, "a Welcome fits");
