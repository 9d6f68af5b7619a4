//! `boneyard call --session NAME`: one session over several processes.

mod common;
mod process;

use boneyard::client::Client;
use boneyard::service::session::SessionTicket;
use boneyard::{Method, RunningServer};
use common::gate::Gate;
use process::{Directory, Running, Said, command, run, wait_until};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Calls that the session has made.
const COUNT: Method<(), u64> = Method::new("test.count");
/// Waits at the gate.
const WAIT: Method<(), ()> = Method::new("test.wait");

fn server(gate: &Arc<Gate>) -> RunningServer {
    let gate = Arc::clone(gate);
    let next = |count: &mut u64| {
        *count += 1;
        *count
    };
    common::server("Server_Pool_Tasks=4")
        .handle(COUNT, move |tx, ()| Ok(tx.with_session(next)))
        .handle(WAIT, move |_, ()| {
            gate.pass();
            Ok(())
        })
        .start()
        .expect("starts")
}

/// A user's environment: a server and a directory for what belongs to the user's sessions on the machine.
struct User {
    server: RunningServer,
    gate: Arc<Gate>,
    directory: Directory,
}

impl User {
    fn new() -> User {
        let gate = Arc::new(Gate::default());
        User { server: server(&gate), gate, directory: Directory::new() }
    }

    fn address(&self) -> String {
        self.server.address().to_string()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = command(env!("CARGO_BIN_EXE_boneyard"));
        command.args(["call", &self.address()]).args(words);
        command.env("XDG_RUNTIME_DIR", self.directory.path()).env("HOME", self.directory.path());
        command.env_remove("XDG_STATE_HOME");
        command
    }

    fn call(&self, words: &[&str]) -> Said {
        run(&mut self.command(words))
    }

    /// The count that the session of this name is told.
    #[track_caller]
    fn count(&self, name: &str) -> String {
        let said = self.call(&["test.count", "--session", name]);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
        said.out.trim().to_owned()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("boneyard/sessions").join(self.address()).join(name)
    }

    /// Closes the session by its ticket, as the server does when it was not used for long.
    fn close(&self, name: &str) {
        let ticket = std::fs::read_to_string(self.file(name)).unwrap();
        let ticket: SessionTicket = serde_json::from_str(&ticket).unwrap();
        Client::new(self.address()).unwrap().attach(ticket).unwrap().close().unwrap();
    }
}

#[test]
fn processes_one_after_another_have_one_session_by_its_name() {
    let user = User::new();
    assert_eq!([user.count("a"), user.count("a"), user.count("b"), user.count("a")], ["1", "2", "1", "3"]);
    assert_eq!(user.call(&["test.count"]).out, "1\n", "a connection of its own");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&user.file("a")), 0o600);
    assert_eq!(mode(user.file("a").parent().unwrap()), 0o700);

    // Without a directory for such things it is the one for what is kept longer.
    let said = run(user.command(&["test.count", "--session", "a"]).env_remove("XDG_RUNTIME_DIR"));
    assert_eq!(said.out, "1\n", "{said:?}");
    let state = user.directory.path().join(".local/state/boneyard/sessions").join(user.address());
    assert_eq!(mode(&state.join("a")), 0o600);
}

#[test]
fn a_session_is_closed_by_its_name_and_then_begins_anew() {
    let user = User::new();
    assert_eq!([user.count("a"), user.count("a")], ["1", "2"]);
    let wrong = user.call(&["session.close", "1", "--session", "a"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.err.contains("session.close takes nothing with --session"), "{wrong:?}");
    let closed = user.call(&["session.close", "--session", "a"]);
    assert_eq!((closed.code, closed.out.as_str()), (Some(0), "null\n"), "{closed:?}");
    let none = user.call(&["session.close", "--session", "a"]);
    assert_eq!((none.code, none.err.as_str()), (Some(2), "there is no session \"a\" to close\n"));
    assert_eq!(user.count("a"), "1");
}

#[test]
fn a_session_that_has_ended_is_an_error_in_words_and_not_a_new_session() {
    let user = User::new();
    assert_eq!([user.count("a"), user.count("a")], ["1", "2"]);
    user.close("a");
    let ended = user.call(&["test.count", "--session", "a"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
    assert!(ended.err.contains("session \"a\" has ended") && ended.err.contains("Server_Session_Timeout"));
    assert_eq!(user.count("a"), "1", "the next one opens another");
}

#[test]
fn a_session_is_not_taken_from_a_call_that_uses_it() {
    let user = User::new();
    assert_eq!(user.count("a"), "1");
    let mut waits = Running::start(&mut user.command(&["test.wait", "--session", "a", "--timeout", "600"]));
    wait_until("it runs", || user.gate.inside() == 1);
    let refused = user.call(&["test.count", "--session", "a"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("another call uses the session"), "{refused:?}");
    assert_eq!(user.count("b"), "1", "another session is free");
    user.gate.open();
    assert_eq!((waits.wait(), waits.output().as_str()), (Some(0), "null\n"));
    assert_eq!(user.count("a"), "2");
}

#[test]
fn a_name_that_is_a_path_and_a_file_that_others_read_are_refused() {
    let user = User::new();
    let said = user.call(&["test.count", "--session", "../a"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("1 to 64 letters, digits"), "{said:?}");
    assert_eq!(user.count("a"), "1");
    std::fs::set_permissions(user.file("a"), PermissionsExt::from_mode(0o644)).unwrap();
    let said = user.call(&["test.count", "--session", "a"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("that nobody else can read"), "{said:?}");
}
