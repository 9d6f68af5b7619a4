//! Implements [`ServerControl`] for a running server.

use super::live_control::LiveControl;
use crate::config::Config;
use crate::monitor::{
    ConnectionFilter, ConnectionInfo, ControlError, ServerControl, SessionSnapshot, SettingChange,
    SlowCallInfo, Snapshot, WorkerSnapshot,
};
use crate::server::listener::ListenerCommand;
use std::collections::BTreeMap;
use std::time::Instant;

impl ServerControl for LiveControl {
    fn is_draining(&self) -> bool {
        self.ports.iter().any(|port| port.listener.shutdown().is_of_server())
    }

    fn snapshot(&self) -> Snapshot {
        self.take_snapshot()
    }

    fn workers(&self) -> Vec<WorkerSnapshot> {
        self.list_workers()
    }

    fn slow_calls(&self) -> Vec<SlowCallInfo> {
        self.list_slow_calls()
    }

    fn connections(&self) -> Vec<ConnectionInfo> {
        self.list_connections(ListenerCommand::ListConnections)
    }

    fn callers(&self) -> Vec<ConnectionInfo> {
        self.list_connections(ListenerCommand::ListCallers)
    }

    fn sessions(&self) -> Vec<SessionSnapshot> {
        self.sessions.snapshots(Instant::now())
    }

    fn close_connections(&self, which: &ConnectionFilter) -> usize {
        self.close_selected(which)
    }

    fn drop_sessions(&self, which: &ConnectionFilter) -> usize {
        self.drop_selected_sessions(which)
    }

    fn stop_port(&self, port: &str) -> Result<(), ControlError> {
        self.stop_one(port)
    }

    fn start_port(&self, port: &str) -> Result<(), ControlError> {
        self.start_one(port)
    }

    fn set(&self, key: &str, value: &str) -> Result<SettingChange, ControlError> {
        self.change(key, value)
    }

    fn config(&self) -> Config {
        self.settings.effective()
    }

    fn at_restart(&self) -> BTreeMap<String, String> {
        self.settings.at_restart()
    }

    fn tell(&self, service: &str, order: &str) -> Result<String, ControlError> {
        self.hooks.tell(service, order)
    }

    fn quit(&self) -> Result<(), ControlError> {
        if self.is_draining() {
            return Err(ControlError::ShuttingDown);
        }
        self.hooks.quit()
    }

    fn saved_verdict(&self) -> Option<String> {
        self.verdict_file.read()
    }

    fn save_verdict(&self, text: Option<&str>) {
        self.verdict_file.put(text);
    }
}
