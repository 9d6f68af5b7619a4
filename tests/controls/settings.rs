//! Settings that are changed while the server runs: what takes effect, and what the file says then.

use super::common::gate::Gate;
use super::process::Directory;
use super::*;
use boneyard::config::{Config, keys};
use boneyard::internal::monitor::SettingChange;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

const NOW: SettingChange = SettingChange { effective: true, written: false, not_kept: None };

fn set(server: &RunningServer, key: &str, value: &str) -> SettingChange {
    control(server).set(key, value).unwrap_or_else(|error| panic!("{key}={value}: {error}"))
}

/// One port of four workers whose handlers wait at the gate.
fn gated(lines: &str) -> (RunningServer, Arc<Gate>) {
    let gate = Arc::<Gate>::default();
    let passed = Arc::clone(&gate);
    let mut config = config(&format!("Server_Pool_Tasks=4\nLoad_Service=1\n{lines}"));
    config.session_idle_min = Duration::ZERO;
    let server = Server::new(config).handle(boneyard::Method::<(), ()>::new("test.wait"), move |_, ()| {
        passed.pass();
        Ok(())
    });
    (server.start().expect("starts"), gate)
}

fn calls(raw: &mut Raw, count: usize) {
    (0..count).for_each(|_| _ = raw.send("test.wait", &()));
}

fn refusal_of_a_newcomer(server: &RunningServer) -> Status {
    let mut stream = connect(server.address());
    std::io::Write::write_all(&mut stream, &greeting()).unwrap();
    let frame = read_frame(&mut stream).expect("it is told");
    assert_eq!(frame.header.kind, FrameKind::GoAway);
    frame.status()
}

fn throttle() {
    let (server, gate) = gated("Server_Max_Concurrent_Trans=1");
    let mut raw: Vec<Raw> = (0..6).map(|_| Raw::connect(server.address())).collect();
    raw.iter_mut().for_each(|raw| calls(raw, 1));
    wait_until("one runs", || gate.inside() == 1);
    assert_eq!(set(&server, "Server_Max_Concurrent_Trans", "3"), NOW);
    wait_until("three run", || gate.inside() == 3);
    assert_eq!(set(&server, "server_max_concurrent_trans", "2"), NOW);
    assert_eq!(control(&server).snapshot().permits.limit, Some(2));
    assert_eq!(set(&server, "Server_Max_Concurrent_Trans", "-1"), NOW);
    wait_until("all workers run", || gate.inside() == 4);
    assert_eq!(set(&server, "Server_Max_Concurrent_Trans", "1"), NOW);
    gate.open();
    raw.iter_mut().for_each(|raw| assert_eq!(raw.read().unwrap().status(), Status::Ok));
    wait_for_permits(&server);
    assert_eq!((gate.peak(), server.permits_peak()), (4, 4));
}

fn queue_limit() {
    let (server, gate) = gated("Server_Queue_Limit=10");
    let mut raw = Raw::connect(server.address());
    for _ in 0..4 {
        calls(&mut raw, 1);
    }
    wait_until("all workers wait", || gate.inside() == 4);
    assert_eq!(set(&server, "Server_Queue_Limit", "2"), NOW);
    calls(&mut raw, 3);
    assert_eq!(raw.read().unwrap().status(), Status::QueueFull);
    assert_eq!(set(&server, "Server_Queue_Limit", "10"), NOW);
    let error = control(&server).set("Server_Queue_Limit", "11").unwrap_err().to_string();
    assert!(error.contains("takes a restart, and this server has no file"), "{error}");
    assert_eq!(control(&server).snapshot().ports[0].queue_limit, 10);
    gate.open();
}

fn restricted() {
    let (server, _) = gated("");
    for value in ["1", "2"] {
        assert_eq!(set(&server, "Server_Restricted", value), NOW);
        assert_eq!(refusal_of_a_newcomer(&server), Status::Restricted);
        assert!(control(&server).snapshot().sessions.restricted);
    }
    assert_eq!(set(&server, "Server_Restricted", "0"), NOW);
    Raw::connect(server.address());
}

fn max_users() {
    let (server, _) = gated("");
    let _first = Raw::connect(server.address());
    assert_eq!(set(&server, "Server_MaxUsers", "1"), NOW);
    assert_eq!(refusal_of_a_newcomer(&server), Status::MaxUsers);
    assert_eq!(control(&server).snapshot().sessions.max, Some(1));
}

fn max_sessions() {
    let (server, _) = gated("");
    assert_eq!(set(&server, "Server_MaxSessions", "1"), NOW);
    let mut first = Raw::connect(server.address());
    let _second = Raw::connect(server.address());
    let goaway = first.read().expect("it is to make room");
    assert_eq!((goaway.header.kind, goaway.status()), (FrameKind::GoAway, Status::SessionClosed));
    assert_eq!(set(&server, "Server_MaxSessions", "0"), NOW);
    Raw::connect(server.address()).call::<_, Vec<u8>>("load.echo", &vec![1_u8]).expect("nobody must go");
}

fn client_calls() {
    let (server, gate) = gated("");
    let mut raw = Raw::connect(server.address());
    calls(&mut raw, 2);
    wait_until("both run", || gate.inside() == 2);
    assert_eq!(set(&server, "Server_Client_Calls", "2"), NOW);
    // The listener counts what runs within a moment.
    wait_until("another is refused", || {
        let called = Raw::connect(server.address()).call::<_, Vec<u8>>("load.echo", &vec![1_u8]);
        called.is_err_and(|(status, _)| status == Status::ClientLimit)
    });
    gate.open();
}

fn long_transaction() {
    let (server, gate) = gated("Server_Long_Transaction=0");
    let mut raw = Raw::connect(server.address());
    calls(&mut raw, 1);
    wait_until("it runs", || gate.inside() == 1);
    assert_eq!(set(&server, "Server_Long_Transaction", "1"), NOW);
    wait_until("it is long", || server.ports()[0].stats().long_transactions.get() == 1);
    gate.open();
}

fn shutdown_timeout() {
    let (server, gate) = gated("");
    let mut raw = Raw::connect(server.address());
    calls(&mut raw, 1);
    wait_until("it runs", || gate.inside() == 1);
    assert_eq!(set(&server, "Server_Shutdown_Timeout", "0"), NOW);
    let begun = Instant::now();
    assert_eq!(server.stop().unfinished, 1);
    assert!(begun.elapsed() < Duration::from_secs(20), "30 s are the default");
    gate.open();
}

/// A port whose calls wait for ever more than a millisecond refuses some, once it is told to watch for that.
fn codel() {
    let (server, _) = gated("Server_Max_Concurrent_Trans=1\nServer_CoDel_Target=0");
    let mut raw: Vec<Raw> = (0..8).map(|_| Raw::connect(server.address())).collect();
    let mut overloaded = || {
        raw.iter_mut().for_each(|raw| _ = raw.send("load.sleep", &2_u64));
        raw.iter_mut().for_each(|raw| _ = raw.read().unwrap());
        server.ports()[0].stats().answered(Status::Overloaded) > 0
    };
    (0..10).for_each(|_| assert!(!overloaded()));
    for (key, value) in
        [("Server_CoDel_Mode", "refuse"), ("Server_CoDel_Interval", "10"), ("Server_CoDel_Target", "1")]
    {
        assert_eq!(set(&server, key, value), NOW);
    }
    wait_until("calls are refused", &mut overloaded);
}

fn log_level() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&seen);
    let server = Server::new(config("")).on_log_level(move |level| heard.lock().unwrap().push(level));
    assert_eq!(set(&server.start().unwrap(), "Log_Level", "Debug"), NOW);
    assert_eq!(*seen.lock().unwrap(), [log::LevelFilter::Debug]);
    let (deaf, _) = gated("");
    assert!(control(&deaf).set("Log_Level", "debug").unwrap_err().to_string().contains("takes a restart"));
}

fn log_sessions() {
    let (server, _) = gated("");
    let _unknown = Raw::connect(server.address());
    assert_eq!(set(&server, "Log_Sessions", "1"), NOW);
    let known = Raw::connect(server.address());
    assert_eq!(control(&server).sessions().len(), 1, "those that come from now on");
    assert_eq!(set(&server, "Log_Sessions", "0"), NOW);
    drop(known);
    wait_until("it leaves the book all the same", || control(&server).sessions().is_empty());
}

/// What is looked up in the settings by whoever needs it.
fn looked_up(key: &str) {
    let (server, _) = gated("");
    let value = |config: &Config| match key {
        "Server_Session_Timeout" => config.session_timeout.value.as_secs() / 60,
        "Server_Busy_Seconds" => config.busy_limit.value.unwrap().as_secs(),
        "Server_Stall_Seconds" => config.stall_limit.value.unwrap().as_secs(),
        "Alarm_After" => config.alarm_after.value.as_secs(),
        "Server_Show_Performance" => config.show_performance.value.into(),
        _ => panic!("{key} is said to be changed at once, and nobody has tried"),
    };
    assert_eq!(set(&server, key, "1"), NOW);
    assert_eq!(value(&control(&server).config()), 1);
}

#[test]
fn whatever_is_said_to_change_at_once_does() {
    thread::scope(|scope| {
        for key in keys::all().filter(|key| key.is_reloadable()) {
            scope.spawn(move || match key.name() {
                "Server_Client_Calls" => client_calls(),
                "Server_Max_Concurrent_Trans" => throttle(),
                "Server_Queue_Limit" => queue_limit(),
                "Server_Restricted" => restricted(),
                "Server_MaxUsers" => max_users(),
                "Server_MaxSessions" => max_sessions(),
                "Server_Long_Transaction" => long_transaction(),
                "Server_Shutdown_Timeout" => shutdown_timeout(),
                "Server_CoDel_Target" => codel(),
                // Tried together with it.
                "Server_CoDel_Interval" | "Server_CoDel_Mode" => {}
                "Log_Level" => log_level(),
                "Log_Sessions" => log_sessions(),
                other => looked_up(other),
            });
        }
    });
}

const FILE: &str =
    "# mine\r\nTCPIP_TCPIPAddress=127.0.0.1:0\r\nAdmin_Address=\r\n;Server_MaxUsers=100000\r\nLog_Level=warn";

fn from(file: &Path) -> RunningServer {
    Server::from_ini(file).unwrap().start().unwrap()
}

#[test]
fn the_file_keeps_what_was_set_and_all_else() {
    let directory = Directory::new();
    let file = directory.file("true.ini", FILE);
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    let link = directory.path().join("server.ini");
    symlink(&file, &link).unwrap();
    let server = from(&link);
    let text = || std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        set(&server, "server_maxusers", "50"),
        SettingChange { effective: true, written: true, not_kept: None }
    );
    let expected = FILE.replace(";Server_MaxUsers=100000", "Server_MaxUsers=50");
    assert_eq!(text(), expected);
    assert_eq!(
        set(&server, "Server_Pool_Tasks", "7"),
        SettingChange { effective: false, written: true, not_kept: None }
    );
    assert_eq!(text(), format!("{expected}\r\nServer_Pool_Tasks=7\r\n"));
    assert_ne!(control(&server).config().pool_tasks.value, 7);
    assert_eq!(control(&server).at_restart(), BTreeMap::from([("Server_Pool_Tasks".into(), "7".into())]));
    assert_eq!(control(&server).config().max_users.value, Some(50));
    // What somebody else has written stays.
    std::fs::write(&file, format!("{}# theirs\n", text())).unwrap();
    set(&server, "TCPIP_Pool_Tasks", "3");
    assert!(text().ends_with("# theirs\nTCPIP_Pool_Tasks=3\r\n"), "{:?}", text());
    let as_it_is = control(&server).config().pool_tasks.value.to_string();
    set(&server, "Server_Pool_Tasks", &as_it_is);
    assert_eq!(control(&server).at_restart(), BTreeMap::from([("TCPIP_Pool_Tasks".into(), "3".into())]));
    let meta = std::fs::symlink_metadata(&file).unwrap();
    assert_eq!(meta.mode() & 0o777, 0o640);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());

    let before = text();
    for (key, value, expected) in [
        ("Server_MaxUser", "5", "did you mean Server_MaxUsers?"),
        ("Server_MaxUsers", "many", "expected a whole number"),
        ("Ports", "LAN", "no port TCPIP in Ports"),
    ] {
        let error = control(&server).set(key, value).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    std::fs::write(&file, "Server_MaxUser=5\n").unwrap();
    let error = control(&server).set("Server_MaxUsers", "5").unwrap_err().to_string();
    assert!(error.contains("the file already has errors: line 1"), "{error}");
    assert_eq!(text(), "Server_MaxUser=5\n");
    std::fs::write(&file, before).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(
        control(&server).set("Server_MaxUsers", "5").unwrap_err().to_string().contains("cannot be written")
    );
    assert_eq!(control(&server).config().max_users.value, Some(50), "nothing has changed");
    drop(server);
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["server.ini"], "and nothing is left over");
}

#[test]
fn many_who_set_at_once_all_get_their_line() {
    let directory = Directory::new();
    let file = directory.file("server.ini", FILE);
    let server = from(&file);
    let keys =
        ["Server_MaxUsers", "Server_Queue_Limit", "Server_Pool_Tasks", "Server_MaxSessions", "Log_Sessions"];
    thread::scope(|scope| {
        for key in keys {
            let server = &server;
            scope.spawn(move || (0..4).for_each(|_| _ = set(server, key, "1")));
        }
    });
    let config = Config::load(&file, 2).unwrap();
    assert_eq!((config.max_users.value, config.queue_limit.value, config.pool_tasks.value), (Some(1), 1, 1));
    assert!(config.max_sessions.value == Some(1) && config.log_sessions.value);
    let in_program = Server::new(super::config("")).start().unwrap();
    let error = control(&in_program).set("Server_Pool_Tasks", "1").unwrap_err().to_string();
    assert!(error.contains("no file"), "{error}");
}

/// Three ports under a rule by which pools follow the throttle: who raises that alone is told what the next start makes
/// of it, and the lines together mean no more workers than before.
#[test]
fn a_throttle_by_which_pools_would_grow_is_answered_with_the_line_that_keeps_them() {
    let directory = Directory::new();
    let lines = format!("{}Server_Pool_Rule=R5\nAdmin_Address=\n", ports(&["A", "B", "C"]));
    let file = directory.file("server.ini", &lines);
    let server = Server::from_ini(&file).unwrap().start().unwrap();
    let reply = server.monitor().command("set config Server_Max_Concurrent_Trans=120");
    let says =
        "From the next start on rule R5 sizes the pools by it; Server_Pool_Tasks=40 keeps them as they are.";
    assert!(reply.text.contains(says), "{}", reply.text);
    server.monitor().command("set config Server_Pool_Tasks=40");
    let after = Config::load(&file, 2).unwrap();
    assert_eq!((after.total_workers(), after.effective_concurrency()), (120, 120));
    let reply = server.monitor().command("set config Server_Max_Concurrent_Trans=60");
    assert!(!reply.text.contains("keeps them"), "the line is there: {}", reply.text);
    assert_eq!(server.stop().lost(), 0);
}
