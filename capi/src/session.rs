//! Sessions: calls made in one find the same state on the server, whatever the connection.

use crate::client::{boneyard_client, client_of};
use crate::entry::{check, entry, out};
use crate::error::Failure;
use crate::handles::{self, Object};
use crate::options::BONEYARD_CLIENT_DEADLINE;
use crate::status::boneyard_status;
use rpc::Session;
use rpc::service::SessionTicket;

/// A session, as a handle; 0 is none. Wherever a function takes a client it takes a session too.
pub type boneyard_session = u64;

/// What another client needs to attach a session. A secret: whoever has it has the session.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct boneyard_ticket {
    /// Which session of the server; in its log, no secret.
    pub id: u64,
    /// Drawn at random.
    pub token: [u8; 16],
}

/// Opens a session on the server. It is closed by `boneyard_session_close`, freed by that, `boneyard_session_free` or
/// `boneyard_session_detach`. Any thread; blocks as `boneyard_call` does.
///
/// As `boneyard_call`.
///
/// # Safety
/// `session` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn boneyard_session_open(
    client: boneyard_client,
    session: *mut boneyard_session,
) -> boneyard_status {
    entry(|| {
        // SAFETY: the caller says that it is writable.
        let session = unsafe { out(session, "session") }?;
        session.put(0);
        session.put(insert(client_of(client, BONEYARD_CLIENT_DEADLINE)?.session()?)?);
        Ok(())
    })
}

/// The session of a ticket, from now on carried by this client; another that had it has it no more. Any thread;
/// blocks as `boneyard_call` does.
///
/// As `boneyard_call`; BONEYARD_UNKNOWN_SESSION where it was closed or the token is wrong.
///
/// # Safety
/// `ticket` is readable, `session` writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn boneyard_session_attach(
    client: boneyard_client,
    ticket: *const boneyard_ticket,
    session: *mut boneyard_session,
) -> boneyard_status {
    entry(|| {
        // SAFETY: the caller says that it is writable.
        let session = unsafe { out(session, "session") }?;
        session.put(0);
        check(ticket, "ticket")?;
        // SAFETY: not null, aligned, and the caller says that it is readable.
        let boneyard_ticket { id, token } = unsafe { ticket.read() };
        let client = client_of(client, BONEYARD_CLIENT_DEADLINE)?;
        session.put(insert(client.attach(SessionTicket { id, token })?)?);
        Ok(())
    })
}

/// The ticket of a session. Any thread; never blocks.
///
/// BONEYARD_INVALID_HANDLE, BONEYARD_INVALID_ARGUMENT.
///
/// # Safety
/// `ticket` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn boneyard_session_ticket(
    session: boneyard_session,
    ticket: *mut boneyard_ticket,
) -> boneyard_status {
    entry(|| {
        // SAFETY: the caller says that it is writable.
        let ticket = unsafe { out(ticket, "ticket") }?;
        let SessionTicket { id, token } = handles::get(session, WANTED, |object| match object {
            Object::Session(session) => Some(session.ticket()),
            _ => None,
        })?;
        ticket.put(boneyard_ticket { id, token });
        Ok(())
    })
}

/// Frees a session without closing it, for whoever attaches its ticket later (`boneyard_session_ticket`, before). Any
/// thread; never blocks.
///
/// BONEYARD_INVALID_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn boneyard_session_detach(session: boneyard_session) -> boneyard_status {
    entry(|| {
        remove(session)?.detach();
        Ok(())
    })
}

/// Closes a session and blocks until the server has. The handle is gone whatever the outcome; a session that could
/// not be closed times out on the server. Any thread; blocks as `boneyard_call` does.
///
/// As `boneyard_call`.
#[unsafe(no_mangle)]
pub extern "C" fn boneyard_session_close(session: boneyard_session) -> boneyard_status {
    entry(|| Ok(remove(session)?.close()?))
}

/// Frees a session and closes it as well as that can be done without waiting for the server. 0 is left alone. Any
/// thread; blocks for 20 ms at most.
///
/// BONEYARD_INVALID_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn boneyard_session_free(session: boneyard_session) -> boneyard_status {
    entry(|| match session {
        0 => Ok(()),
        session => remove(session).map(drop),
    })
}

const WANTED: &str = "a session";

fn insert(session: Session) -> Result<boneyard_session, Failure> {
    handles::insert(Object::Session(session))
}

fn remove(session: boneyard_session) -> Result<Session, Failure> {
    handles::remove(session, WANTED, |object| match object {
        Object::Session(session) => Ok(session),
        other => Err(other),
    })
}
