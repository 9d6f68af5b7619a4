//! Executes the commands of other threads, each between two polls and without waiting.

use super::mailbox::ListenerCommand;
use super::poll_loop::Listener;
use crate::metrics::CloseReason;
use crate::monitor::{ConnectionFilter, ConnectionInfo};
use crate::server::connection::Connection;
use crate::server::shutdown::Shutdown;
use crate::sync::{Arc, Sender};
use std::time::Instant;

impl Listener {
    pub(super) fn execute(&mut self, command: ListenerCommand) {
        // The thread that asked may have ceased to wait for the reply.
        match command {
            ListenerCommand::ListConnections(reply) => _ = reply.try_send(self.list(|_| true)),
            ListenerCommand::ListCallers(reply) => _ = reply.try_send(self.list(Connection::is_calling)),
            ListenerCommand::CloseConnections(filter, reply) => self.close_connections(&filter, &reply),
            ListenerCommand::StopPort(reply) => _ = reply.try_send(self.stop_port()),
            ListenerCommand::StartPort(sockets, reply) => _ = reply.try_send(self.start_port(sockets)),
            ListenerCommand::SetLongTransaction(long) => self.watchdog.set_long_transaction(long),
            ListenerCommand::CountClients => {
                let connections = self.connections.iter();
                connections.for_each(|(_, one)| one.writer.count_for_client(&self.context.client_calls));
            }
            ListenerCommand::Drain => self.drain(),
            ListenerCommand::RefuseCalls => self.refuse_calls(),
            ListenerCommand::CloseBy(until) => self.move_to(Shutdown::Closing { until }),
        }
    }

    fn list(&self, select: impl Fn(&Connection) -> bool) -> Vec<ConnectionInfo> {
        let (now, port) = (Instant::now(), Arc::from(self.context.port.name.as_str()));
        let since = now.saturating_duration_since(self.began);
        let selected = self.connections.iter().filter(|(_, connection)| select(connection));
        selected.map(|(_, connection)| connection.info(&port, now, since)).collect()
    }

    /// Counts the connections first: closing thousands takes longer than an administrator should wait.
    fn close_connections(&mut self, filter: &ConnectionFilter, reply: &Sender<usize>) {
        let selects = |connection: &Connection| !connection.is_closing() && connection.matches(filter);
        let selected = self.connections.iter().filter(|(_, connection)| selects(connection));
        let ids: Vec<_> = selected.map(|(id, _)| id).collect();
        reply.try_send(ids.len()).ok();
        for id in ids {
            self.close_with_reason(id, CloseReason::Dropped, "the administrator has closed this connection");
        }
    }
}
