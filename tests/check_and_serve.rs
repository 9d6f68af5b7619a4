//! `check` says whether a server would start, and `serve` starts or does not: both agree, and in the same words.
//!
//! Both are real processes under the same limits. Hosts are addresses, so that no resolver is asked.

mod process;

use process::{Directory, PATIENCE, Running, Said, command, command_within, run};
use std::os::unix::net::UnixListener;
use std::time::Instant;

const BONEYARD: &str = env!("CARGO_BIN_EXE_boneyard");

/// What `serve` does: `None` when it serves (it is stopped then), else its exit code and what it said.
fn serve(limit: &str, file: &std::path::Path) -> Option<(Option<i32>, String)> {
    let mut server = Running::start(command_within(limit, BONEYARD).arg("serve").arg(file));
    let begin = Instant::now();
    loop {
        let lines = server.lines();
        if lines.iter().any(|line| line.contains("Throttle: ")) {
            assert_eq!(server.stop(), Some(0), "{lines:#?}");
            return None;
        }
        if lines.iter().any(|line| line.starts_with("cannot start: ") || line.contains("server not started"))
        {
            return Some((server.wait(), server.lines().join("\n")));
        }
        assert!(begin.elapsed() < PATIENCE, "neither served nor ended: {lines:#?}");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

fn check(limit: &str, file: &std::path::Path) -> Said {
    run(command_within(limit, BONEYARD).arg("check").arg(file))
}

#[test]
fn both_agree_on_whether_a_server_starts() {
    let port = "TCPIP_TCPIPAddress=127.0.0.1:0\nServer_Pool_Tasks=4\nServer_Max_Concurrent_Trans=4\n";
    let admin = "Admin_Address=127.0.0.1:0\n";
    let two = "Ports=A,B\nA_TCPIPAddress=[::]:47813\nB_TCPIPAddress=[::1]:47813\nServer_Pool_Tasks=1\n";
    let two_names = "TCPIP_TCPIPAddress=0.0.0.0:47814\nServer_Pool_Tasks=1\n";
    // A limit, the lines, whether a server starts.
    let cases = [
        ("-n 500", format!("{port}{admin}"), true),
        ("-n 64", format!("{port}{admin}"), false),
        ("-n 68", format!("{port}{admin}"), false),
        ("-n 69", format!("{port}{admin}"), true),
        ("-v 60000", format!("{port}{admin}Server_Thread_Stack_KB=65536\n"), false),
        (
            "-v 1000000",
            format!("{port}{admin}Server_Pool_Tasks=1\n").replace("Server_Pool_Tasks=4\n", ""),
            true,
        ),
        ("-n 500", format!("{admin}TCPIP_TCPIPAddress=203.0.113.1:0\n"), false),
        ("-n 500", format!("{port}Admin_Address=127.0.0.1:0\nAdmin_Token_File=/nowhere/at/all\n"), false),
        ("-n 500", format!("{two_names}Admin_Address=127.0.0.1:47814\n"), false),
        ("-n 500", format!("{port}{admin}Log_File=/nowhere/at/all.log\n"), true),
        ("-n 500", format!("{two}{admin}"), false),
        ("-n 500", format!("{port}{admin}Server_Queue_Limit=none\n"), false),
    ];
    let directory = Directory::new();
    let token = directory.secret("token", "0123456789abcdef");
    let guarded = format!("Server_Pool_Tasks=1\nAdmin_Token_File={}\n", token.display());
    let cases = cases.into_iter().chain([
        // Of the admin server, too, a socket of IPv6 takes no IPv4.
        ("-n 500", format!("{guarded}TCPIP_TCPIPAddress=0.0.0.0:4785\nAdmin_Address=[::]:4785\n"), true),
        ("-n 500", format!("{guarded}TCPIP_TCPIPAddress=[::]:4786\nAdmin_Address=[::]:4786\n"), false),
        ("-n 500", format!("{port}Admin_Address=[::]:0\n"), false),
    ]);
    for (limit, lines, starts) in cases {
        let file = directory.file("server.ini", &lines);
        let (checked, served) = (check(limit, &file), serve(limit, &file));
        assert_eq!(served.is_none(), starts, "{limit} {lines}: {served:?}");
        assert_eq!(checked.code == Some(0), starts, "{limit} {lines}: {checked:?}");
        let Some((code, said)) = served else { continue };
        assert_eq!(checked.code, code, "{limit} {lines}: {checked:?}\n{said}");
        // How many threads could be made differs by a few.
        let why = said.split_once("cannot start: ").map(|(_, why)| why.lines().next().unwrap().to_owned());
        if let Some(why) = why.filter(|why| !why.contains("threads could be made")) {
            let first = checked.out.lines().next().unwrap();
            assert!(first.ends_with(&format!(": a server would not start: {why}")), "{first}\n{why}");
        }
    }
}

/// Both are only defaults, so that the server starts without them.
#[test]
fn both_tell_that_nobody_will_be_able_to_command() {
    let directory = Directory::new();
    let deep = directory.path().join("x".repeat(100));
    std::fs::create_dir(&deep).unwrap();
    let file = deep.join("server.ini");
    let lines = "TCPIP_TCPIPAddress=127.0.0.1:0\nAdmin_Address=127.0.0.1:0\nServer_Pool_Tasks=1\n";
    std::fs::write(&file, lines).unwrap();
    let checked = check("-n 500", &file);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let told = checked.out.lines().find_map(|line| line.trim().strip_prefix("no_admin_socket: "));
    let told = told.unwrap_or_else(|| panic!("{checked:?}"));
    assert!(told.ends_with("a socket's at most 107 (Admin_Socket)"), "{told}");
    let mut server = Running::start(command(BONEYARD).arg("serve").arg(&file));
    server.line(told);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn check_makes_no_socket_and_removes_none() {
    let directory = Directory::new();
    let lines = "TCPIP_TCPIPAddress=127.0.0.1:0\nAdmin_Address=127.0.0.1:0\nServer_Pool_Tasks=1\n";
    let file = directory.file("server.ini", lines);
    let socket = directory.path().join("server.ini.admin");
    // The folder's time changes with what is in it.
    let changed = || std::fs::metadata(directory.path()).unwrap().modified().unwrap();
    let before = changed();
    assert_eq!((check("-n 500", &file).code, changed()), (Some(0), before));
    // That of a server which was killed.
    drop(UnixListener::bind(&socket).unwrap());
    let before = changed();
    assert_eq!((check("-n 500", &file).code, changed(), socket.exists()), (Some(0), before, true));
    std::fs::remove_file(&socket).unwrap();
    let server = UnixListener::bind(&socket).unwrap();
    let given = format!("{lines}Admin_Socket={}\n", socket.display());
    let checked = check("-n 500", &directory.file("server.ini", &given));
    assert!(checked.code == Some(0) && checked.out.contains("address_taken: Admin_Socket: "), "{checked:?}");
    drop(server);
}

#[test]
fn the_file_of_a_server_that_runs_is_checked_without_failing() {
    let directory = Directory::new();
    let mut server = Running::start(command(BONEYARD).arg("serve").arg(directory.file(
        "first.ini",
        "TCPIP_TCPIPAddress=127.0.0.1:0\nAdmin_Address=127.0.0.1:0\nServer_Pool_Tasks=2\n",
    )));
    let address = server.address();
    let lines = format!("TCPIP_TCPIPAddress={address}\nAdmin_Address=127.0.0.1:0\nServer_Pool_Tasks=2\n");
    let file = directory.file("second.ini", &lines);
    let checked = check("-n 500", &file);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let expected =
        format!("address_taken: port TCPIP: {address} is in use now; the server starts once it is free");
    assert!(checked.out.contains(&expected) && !checked.out.contains("no_admin"), "{checked:?}");
    let (code, said) = serve("-n 500", &file).expect("it does not start beside the first");
    assert!(code == Some(1) && said.contains("Address already in use"), "{said}");
    assert_eq!(server.stop(), Some(0));
    assert_eq!(serve("-n 500", &file), None, "it starts now");
}
