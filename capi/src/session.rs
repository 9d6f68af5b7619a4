//! Sessions: calls made in one find the same state on the server, whatever the connection.

use crate::client::{boneyard_client, client_of};
use crate::error::FfiError;
use crate::guard::{check, guard, out};
use crate::handles::{self, Object};
use crate::options::BONEYARD_CLIENT_DEADLINE;
use crate::status::boneyard_status;
use rpc::Session;
use rpc::service::SessionTicket;

/// A session, as a handle; 0 is none. Wherever a function takes a client it takes a session too.
pub type boneyard_session = u64;

/// Ticket by which another client can attach a session. A secret: it gives access to the session.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct boneyard_ticket {
    /// Number of the session at the server; in its log, no secret.
    pub id: u64,
    /// Random bytes.
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
    guard(|| {
        // SAFETY: the caller says that it is writable.
        let session = unsafe { out(session, "session") }?;
        session.put(0);
        session.put(insert(client_of(client, BONEYARD_CLIENT_DEADLINE)?.session()?)?);
        Ok(())
    })
}

/// Attaches the session of a ticket to this client; another client that had it loses it. Any thread; blocks as
/// `boneyard_call` does.
///
/// As `boneyard_call`; BONEYARD_UNKNOWN_SESSION if it was closed or the token is wrong.
///
/// # Safety
/// `ticket` is readable, `session` writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn boneyard_session_attach(
    client: boneyard_client,
    ticket: *const boneyard_ticket,
    session: *mut boneyard_session,
) -> boneyard_status {
    guard(|| {
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
    guard(|| {
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

/// Frees a session without closing it, so that its ticket (`boneyard_session_ticket`, called before) can be attached
/// later. Any thread; never blocks.
///
/// BONEYARD_INVALID_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn boneyard_session_detach(session: boneyard_session) -> boneyard_status {
    guard(|| {
        remove(session)?.detach();
        Ok(())
    })
}

/// Closes a session and blocks until the server has. The handle is freed whatever the outcome; a session that could not
/// be closed times out on the server. Any thread; blocks as `boneyard_call` does.
///
/// As `boneyard_call`.
#[unsafe(no_mangle)]
pub extern "C" fn boneyard_session_close(session: boneyard_session) -> boneyard_status {
    guard(|| Ok(remove(session)?.close()?))
}

/// Frees a session and closes it as far as possible without waiting for the server. 0 is ignored. Any thread; blocks
/// for 20 ms at most.
///
/// BONEYARD_INVALID_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn boneyard_session_free(session: boneyard_session) -> boneyard_status {
    guard(|| match session {
        0 => Ok(()),
        session => remove(session).map(drop),
    })
}

const WANTED: &str = "a session";

fn insert(session: Session) -> Result<boneyard_session, FfiError> {
    handles::insert(Object::Session(session))
}

fn remove(session: boneyard_session) -> Result<Session, FfiError> {
    handles::remove(session, WANTED, |object| match object {
        Object::Session(session) => Ok(session),
        other => Err(other),
    })
}
