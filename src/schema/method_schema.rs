//! [`Schema`]: the shapes of a method's types, its list of errors, and a fingerprint of them.

use super::method_errors::MethodErrors;
use super::shape::Shape;
use super::trace;
use serde::de::DeserializeOwned;

/// Both types of a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shapes {
    /// Shape of the arguments.
    pub request: Shape,
    /// Shape of the result.
    pub response: Shape,
}

/// Shapes of a method's types, as far as they are known. Some differ with the codec: an IP address is text in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Shapes in bincode, or the reason why they are not known.
    pub bincode: Result<Shapes, String>,
    /// Shapes in JSON, or the reason why they are not known.
    pub json: Result<Shapes, String>,
    /// Application errors that the method lists.
    pub errors: MethodErrors,
}

/// Makes the schema of a method's types.
pub type Describe = fn() -> Schema;

impl Schema {
    /// Traces both types. Runs their `Deserialize` some dozen times with made-up values; after a panic in it the shape
    /// is not known.
    pub fn of<Request: DeserializeOwned, Response: DeserializeOwned>() -> Schema {
        let shapes = |human| {
            let request = trace::shape_of::<Request>(human).map_err(|why| format!("request: {why}"))?;
            let response = trace::shape_of::<Response>(human).map_err(|why| format!("response: {why}"))?;
            Ok(Shapes { request, response })
        };
        Schema { bincode: shapes(false), json: shapes(true), errors: MethodErrors::default() }
    }

    /// Returns the schema of types that cannot be traced.
    pub fn unknown(why: &str) -> Schema {
        Schema { bincode: Err(why.to_owned()), json: Err(why.to_owned()), errors: MethodErrors::default() }
    }

    /// Returns a hash of the shapes in bincode, with the names of fields and variants and without those of types, and
    /// of the listed errors without their texts; 0 where the shapes are not known.
    ///
    /// Field names count because otherwise two fields of one type could change places unnoticed.
    pub fn fingerprint(&self) -> u64 {
        let Ok(Shapes { request, response }) = &self.bincode else { return 0 };
        let mut text = format!("{} -> {}", request.nameless(), response.nameless());
        // Methods without a list keep the fingerprint that they had before there were lists.
        if !self.errors.is_empty() {
            text += &format!(" ! {}", self.errors.nameless());
        }
        fnv1a(text.as_bytes()).max(1)
    }
}

/// FNV-1a, 64 bits: short, stable, available in every language. It guards against mistakes, not against malice.
fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_those_of_every_build() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        let schema = Schema::of::<(u32, u32), u32>();
        assert_eq!(schema.fingerprint(), fnv1a(b"(u32, u32) -> u32"));
        assert_eq!(Schema::unknown("no").fingerprint(), 0);
        let errors = MethodErrors::new("E", &[(2, "B", "b"), (1, "A", "a")]);
        let listed = Schema { errors, ..schema };
        assert_eq!(listed.fingerprint(), fnv1a(b"(u32, u32) -> u32 ! A = 1 | B = 2"));
    }
}
