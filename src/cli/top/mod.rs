//! `top`: a running server in a terminal, refreshed live. Uses the admin server, so it works when every worker is
//! stuck.

mod command;
mod view;

pub(super) use command::Top;
