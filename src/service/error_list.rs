//! Typed application errors: a list that server and client share, by number, name and text.
//!
//! Does not know how they are sent: an error is a number and a text on the way, as any [`ApplicationError`] is.
//!
//! [`ApplicationError`]: super::ApplicationError

use crate::schema::MethodErrors;

/// A type whose values are the application errors of a method: the third of a [`Method`](super::Method)'s types. Made
/// by [`application_errors!`](crate::application_errors); `()` lists none.
pub trait ErrorList: Sized {
    /// Name of the type, for descriptions and generated code; empty for `()`.
    const NAME: &'static str;

    /// Number, name and text of each error. Numbers and names are unique, and no number is 0.
    const ERRORS: &'static [(u32, &'static str, &'static str)];

    /// Returns the error of a number; `None` for one that is not in the list.
    fn from_code(code: u32) -> Option<Self>;
}

impl ErrorList for () {
    const NAME: &'static str = "";
    const ERRORS: &'static [(u32, &'static str, &'static str)] = &[];

    fn from_code(_: u32) -> Option<()> {
        None
    }
}

/// Returns the list as a description has it.
pub(super) fn listed<Listed: ErrorList>() -> MethodErrors {
    MethodErrors::new(Listed::NAME, Listed::ERRORS)
}

/// Declares an enum of application errors: a number from 1 to 2^32 - 1, which is what callers get, a name and a text
/// for each. Names and numbers are frozen once published; more can be added, texts can change.
///
/// The enum is `Debug`, `Display` (the text), `Clone`, `Copy`, `PartialEq`, `Eq` and `Hash`, and converts into
/// [`HandlerError`](crate::HandlerError) and [`ApplicationError`](crate::ApplicationError), so that a handler returns
/// one by `?`. As the third type of a [`Method`](crate::Method) it is described to callers, compared with theirs, and
/// read from the error of a call by [`Method::error_of`](crate::Method::error_of). It is no `std::error::Error`,
/// because any of those becomes an internal error of the handler.
///
/// ```
/// use boneyard::{ApplicationError, HandlerError, Method};
///
/// boneyard::application_errors! {
///     /// Errors of tickets.
///     pub enum TicketError {
///         NotFound = 1 => "no such ticket",
///         /// Another has closed it.
///         Closed = 2 => "the ticket is closed",
///     }
/// }
///
/// const CLOSE: Method<u64, (), TicketError> = Method::new("tickets.close");
///
/// fn close(is_open: Option<bool>, id: u64) -> Result<(), HandlerError> {
///     match is_open {
///         Some(true) => Ok(()),
///         Some(false) => Err(TicketError::Closed)?,
///         // With another text:
///         None => Err(ApplicationError { message: format!("no ticket {id}"), ..TicketError::NotFound.into() })?,
///     }
/// }
/// # assert!(close(Some(true), 1).is_ok() && close(Some(false), 1).is_err() && close(None, 1).is_err());
/// # assert_eq!(CLOSE.schema().errors.to_string(), "TicketError <NotFound = 1 | Closed = 2>");
/// # assert_eq!(TicketError::Closed.to_string(), "the ticket is closed");
/// ```
///
/// A number given twice, or 0, does not compile:
///
/// ```compile_fail
/// boneyard::application_errors! { enum Bad { Nothing = 0 => "means no number" } }
/// ```
#[macro_export]
macro_rules! application_errors {
    ($(#[$meta:meta])* $visibility:vis enum $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident = $code:literal => $text:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u32)]
        $visibility enum $name {
            $(#[doc = $text] $(#[$variant_meta])* $variant = $code,)+
        }

        const _: () = {
            $(
                let code: u32 = $code;
                assert!(code != 0, "0 means that an error has no number");
            )+
        };

        impl $crate::service::ErrorList for $name {
            const NAME: &'static str = stringify!($name);
            const ERRORS: &'static [(u32, &'static str, &'static str)] =
                &[$(($code, stringify!($variant), $text)),+];

            fn from_code(code: u32) -> ::std::option::Option<Self> {
                match code {
                    $($code => ::std::option::Option::Some($name::$variant),)+
                    _ => ::std::option::Option::None,
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(match self {
                    $($name::$variant => $text,)+
                })
            }
        }

        impl ::std::convert::From<$name> for $crate::service::ApplicationError {
            fn from(error: $name) -> Self {
                $crate::service::ApplicationError::new(error as u32, ::std::string::ToString::to_string(&error))
            }
        }

        impl ::std::convert::From<$name> for $crate::service::HandlerError {
            fn from(error: $name) -> Self {
                $crate::service::HandlerError::Application(error.into())
            }
        }
    };
}
