//! `Alarm_Command` on a real server: a script that is given the verdict, and what `check` says of one that cannot be run.

mod common;
mod process;

use boneyard::internal::monitor::statistics::StatisticValue;
use boneyard::service::load_service;
use boneyard::{Client, RunningServer};
use common::{PATIENCE, server, wait_until};
use process::{Directory, command, on_free_port, run};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// A script that appends what it gets to a file.
fn script(directory: &Directory, out: &Path) -> PathBuf {
    let path = directory.path().join("alarm");
    // By another process: a program that is open for writing, be it in a child of another test, cannot be run.
    let write = r#"printf '#!/bin/sh\ncat >> %s\n' "$1" > "$0" && chmod 700 "$0""#;
    assert_eq!(run(command("sh").args(["-c", write]).arg(&path).arg(out)).code, Some(0));
    path
}

/// The alarms in the file so far.
fn given(out: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(out).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn runs(server: &RunningServer) -> StatisticValue {
    let statistics = server.monitor().statistics();
    statistics.into_iter().find(|one| one.name == "Server.Alarm.Runs").expect("it is counted").value
}

#[test]
fn a_program_is_told_of_a_verdict_that_stands_and_of_its_end() {
    let directory = Directory::new();
    let out = directory.path().join("out");
    let program = script(&directory, &out);
    let lines = "Server_Max_Concurrent_Trans=1\nServer_Pool_Tasks=8\nAlarm_After=1\n";
    let server = server(&format!("{lines}Alarm_Command={}", program.display())).start().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (over, address) = (Arc::clone(&over), server.address());
            std::thread::spawn(move || {
                let client = Client::new(address).expect("it listens").with_deadline(PATIENCE);
                while !over.load(SeqCst) {
                    client.call(load_service::SLEEP, &20).expect("nothing is refused");
                }
            })
        })
        .collect();
    // The server looks at itself each second; here it is had look ten times as often.
    let given_after = |count: usize| {
        let mut due = Instant::now();
        wait_until("the program is run", || {
            if Instant::now() >= due {
                // One call runs at a time: a few looks show what it waits for.
                (0..4).for_each(|_| server.monitor().look(Instant::now(), Duration::from_millis(2)));
                server.monitor().sample();
                due = Instant::now() + Duration::from_millis(100);
            }
            given(&out).len() >= count
        });
    };
    given_after(1);
    over.store(true, SeqCst);
    callers.into_iter().for_each(|caller| caller.join().expect("callers do not panic"));
    given_after(2);
    let [began, ended] = &given(&out)[..] else { panic!("{:?}", given(&out)) };
    assert_eq!((&began["over"], &ended["over"]), (&false.into(), &true.into()));
    assert_eq!(began["verdict"]["kind"], "throttle", "{began}");
    let lines = &began["verdict"]["lines"];
    assert!(lines[0].as_str().is_some_and(|line| line.contains("_Concurrent_Trans=")), "{began}");
    assert_eq!((&began["since"], &began["verdict"]["kind"]), (&ended["since"], &ended["verdict"]["kind"]));
    assert_eq!(runs(&server), StatisticValue::Count(2));
    let change = server.monitor().control().set("Alarm_Command", "/bin/true");
    assert!(change.is_err(), "no command names a program");
}

#[test]
fn check_says_what_cannot_be_run() {
    let directory = Directory::new();
    let program = script(&directory, Path::new("/dev/null"));
    let check = |program: &Path| {
        let lines = format!("Admin_Address=\nAdmin_Socket=off\nAlarm_Command={}", program.display());
        let file = directory.file("server.ini", &on_free_port(&lines));
        run(command(env!("CARGO_BIN_EXE_boneyard")).arg("check").arg(file))
    };
    let fine = check(&program);
    assert!(fine.code == Some(0) && !fine.out.contains("no alarm would be given"), "{fine:?}");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o600)).unwrap();
    for (path, says) in [
        (program.as_path(), "it is not executable: no alarm would be given"),
        (directory.path(), "it is not a plain file: no alarm would be given"),
        (&directory.path().join("none"), "No such file or directory"),
    ] {
        let checked = check(path);
        assert_eq!(checked.code, Some(0), "{checked:?}");
        assert!(checked.out.contains(says), "{checked:?}");
    }
}
