//! `boneyard whatif` beside a real server under load: a reply for people, one for programs, and what is wrong.

mod common;
mod process;

use boneyard::RunningServer;
use boneyard::client::Client;
use boneyard::service::load_service;
use process::{Said, command, run};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

fn what_if(arguments: &[&str]) -> Said {
    let mut command = command(env!("CARGO_BIN_EXE_boneyard"));
    run(command.arg("whatif").args(arguments))
}

/// Waits until the server has recorded five more seconds in which calls ended.
fn record(server: &RunningServer) {
    let recorded = || {
        let overview = server.monitor().overview();
        overview.map_or(0, |overview| overview.seconds.iter().filter(|second| second.answers > 0).count())
    };
    let before = recorded();
    common::wait_until("five seconds are recorded", || recorded() >= before + 5);
}

#[test]
fn callers_that_wait_would_use_more_workers() {
    let lines = "Server_Pool_Tasks=4\nServer_Max_Concurrent_Trans=100\nAdmin_Address=127.0.0.1:0";
    let server = common::load_server(lines);
    let admin = server.admin_address().unwrap().to_string();
    let idle = what_if(&[&admin, "Server_Pool_Tasks=8"]);
    assert_eq!(idle.code, Some(3), "{idle:?}");
    assert!(idle.err.contains("there is no load to simulate"), "{idle:?}");

    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..24)
        .map(|_| {
            let (over, address) = (Arc::clone(&over), server.address());
            std::thread::spawn(move || {
                let client = Client::new(address).unwrap().with_deadline(None);
                while !over.load(SeqCst) {
                    client.call(load_service::SLEEP, &20).unwrap();
                }
            })
        })
        .collect();
    let mut last = Value::Null;
    common::wait_until("three times the workers would do nearly three times as much", || {
        // The simulation takes processor time, too: it is not asked again before other seconds were recorded.
        record(&server);
        let said = what_if(&[&admin, "server_pool_tasks = 12", "--json"]);
        last = serde_json::from_str(&said.out).unwrap_or_default();
        let factor = last["factor"].as_f64();
        last["limited_by"]["kind"] == "workers" && factor.is_some_and(|factor| (2.4..3.2).contains(&factor))
    });
    for key in ["now_per_s", "per_s", "low", "high", "model_error"] {
        assert!(last[key].is_f64(), "{key}: {last}");
    }
    assert!(last["certain"].is_boolean(), "{last}");
    assert_eq!(last["ports"][0]["name"], "TCPIP");

    let said = what_if(&[&admin, "TCPIP_Pool_Tasks=100", "Server_Max_Concurrent_Trans=4"]);
    assert!(said.out.contains("Limited then by:        Server_Max_Concurrent_Trans\n"), "{said:?}");
    assert!(said.out.contains("under the settings in force\n"), "{said:?}");
    let said = what_if(&[&admin, &format!("{}=2,100", load_service::SLEEP.name())]);
    assert!(said.out.contains("Limited then by:        the limit of "), "{said:?}");
    for (setting, problem) in [
        ("Server_Pool_Taks=8", "did you mean Server_Pool_Tasks?"),
        ("Server_Pool_Tasks=many", "Server_Pool_Tasks=many"),
        ("Server_MaxUsers=8", "Server_MaxUsers has no part in the simulation"),
        ("load.nothing=2,100", "load.nothing has no part in the present load"),
    ] {
        let said = what_if(&[&admin, setting]);
        assert!(said.code == Some(2) && said.err.contains(problem), "{setting}: {said:?}");
    }
    assert_eq!(what_if(&[&admin]).code, Some(2), "no setting");
    let workers = |line: &str| server.monitor().command(line).text;
    assert!(
        workers("show config Server_Pool_Tasks").starts_with("Server_Pool_Tasks=4 "),
        "nothing has changed"
    );
    over.store(true, SeqCst);
    callers.into_iter().for_each(|caller| caller.join().unwrap());
}
