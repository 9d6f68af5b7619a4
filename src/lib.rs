//! Boneyard.
#![forbid(unsafe_code)]
