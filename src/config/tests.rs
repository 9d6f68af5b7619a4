//! Tests of the settings as a whole: texts in, settings, errors and warnings out.

use super::*;
use std::path::Path;
use std::time::Duration;

/// Limits that no test reaches.
const ROOMY: Machine = Machine {
    cpus: 2,
    memory: Some(MachineLimit { most: 64 << 30, set_by: "free memory of the machine" }),
    address_space: None,
    descriptors: Some(20_000),
    threads: Some(MachineLimit { most: 30_000, set_by: "ulimit -u" }),
    mappings: Some(MachineLimit { most: 65_530, set_by: "vm.max_map_count" }),
    heaps: None,
};

/// Small deterministic generator (xorshift64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    pub(super) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

fn read(text: &str) -> Config {
    match Config::from_text(text, None, 2) {
        Ok(config) => config,
        Err(errors) => panic!("{text:?}: {errors}"),
    }
}

fn errors(text: &str) -> Vec<String> {
    let read = Config::from_text(text, Some(Path::new("server.ini")), 2);
    read.expect_err(text).iter().map(ToString::to_string).collect()
}

fn codes(text: &str, machine: &Machine) -> Vec<&'static str> {
    advise(&read(text), machine).iter().map(|warning| warning.code).collect()
}

fn message(text: &str, machine: &Machine, code: &str) -> String {
    let found = advise(&read(text), machine).into_iter().find(|warning| warning.code == code);
    found.unwrap_or_else(|| panic!("no {code} for {text:?}")).message
}

#[test]
fn an_empty_file_is_the_defaults() {
    let config = read("");
    assert_eq!(config, Config::default_with(2));
    assert_eq!((config.ports.len(), config.ports[0].name.as_str()), (1, "TCPIP"));
    assert_eq!(config.ports[0].address.to_string(), "127.0.0.1:1352");
    assert_eq!((config.max_concurrent_trans.value.number(), config.ports[0].pool_tasks.value), (40, 40));
    assert_eq!((config.queue_limit.value, config.max_frame_bytes.value), (10_000, 4 << 20));
    assert_eq!(
        (config.thread_stack_bytes.value, config.shutdown_timeout.value),
        (1 << 20, Duration::from_secs(30))
    );
    assert_eq!((config.load_service.value, config.log_level.value), (false, log::LevelFilter::Info));
    assert_eq!(config.log_file.value, None);
}

#[test]
fn every_setting_from_a_file() {
    let config = read(
        "\u{feff}; a server of Domino's\r\n[Notes]\r\nPORTS=TCPIP, LAN2\r\nDisabledPorts=lan-3\r\n\
         TCPIP=TCP,0,15,0,,12288,\r\ntcpip_tcpipaddress=0,[::1]:1353\r\nLAN2_TCPIPAddress=0,10.0.0.1\r\n\
         lan2_Pool_Tasks=7\r\nLAN-3=TCP,0,15,0,,45056,\r\nserver_pool_tasks=30\r\nServer_Max_Concurrent_Trans=-1\r\n\
         Server_Pool_Rule=r7\r\n[server]\r\nServer_Queue_Limit=1\r\nServer_Max_Frame_KB=65536\r\n\
         Server_Thread_Stack_KB=64\r\nServer_Shutdown_Timeout=0\r\nLoad_Service=1\r\nLog_Level=TRACE\r\nLog_File=/var/log/a b.txt\r\n",
    );
    let ports: Vec<_> =
        config.ports.iter().map(|p| (p.name.as_str(), p.address.to_string(), p.pool_tasks.value)).collect();
    assert_eq!(ports, [("TCPIP", "[::1]:1353".to_owned(), 30), ("LAN2", "10.0.0.1:1352".to_owned(), 7)]);
    assert_eq!(config.disabled_ports[0].name, "lan-3");
    assert_eq!(
        config.max_concurrent_trans,
        Setting { value: Limit::Unlimited, source: Source::File { line: 11 } }
    );
    assert_eq!(config.pool_rule, Setting { value: PoolRule::R5, source: Source::File { line: 12 } });
    assert_eq!(config.ports[0].pool_tasks.source, Source::File { line: 10 });
    assert_eq!(config.ports[1].pool_tasks.source, Source::File { line: 8 });
    assert_eq!((config.queue_limit.value, config.max_frame_bytes.value), (1, 64 << 20));
    assert_eq!((config.thread_stack_bytes.value, config.shutdown_timeout.value), (64 << 10, Duration::ZERO));
    assert_eq!((config.load_service.value, config.log_level.value), (true, log::LevelFilter::Trace));
    assert_eq!(config.log_file.value.as_deref(), Some(Path::new("/var/log/a b.txt")));
    assert_eq!(
        config.notes,
        [
            "line 5: TCPIP=TCP,0,15,0,,12288,: only the driver is used, the other fields are ignored",
            "line 9: lan-3=TCP,0,15,0,,45056,: only the driver is used, the other fields are ignored",
            "line 9: port lan-3 requests encryption (flag 0x8000), which is not supported yet: its traffic is sent without",
        ]
    );
    assert_eq!((config.total_workers(), config.effective_concurrency()), (37, 37));
}

#[test]
fn every_wrong_value_is_reported_with_the_expected_one() {
    for (line, expected) in [
        ("Server_Pool_Tasks=forty", "expected a whole number from 1 to 4096"),
        ("Server_Pool_Tasks=0", "expected a whole number from 1 to 4096"),
        ("Server_Pool_Tasks=4097", "expected a whole number from 1 to 4096"),
        ("Server_Pool_Tasks=", "expected a whole number from 1 to 4096"),
        ("TCPIP_Pool_Tasks=-1", "expected a whole number from 1 to 4096"),
        (
            "Server_Max_Concurrent_Trans=0",
            "with 0 no transaction could run, expected -1 (unlimited) or a whole number from 1 to 100000",
        ),
        ("Server_Max_Concurrent_Trans=-2", "expected -1 (unlimited) or a whole number from 1 to 100000"),
        ("Server_Max_Concurrent_Trans=100001", "expected -1 (unlimited) or a whole number from 1 to 100000"),
        (
            "Server_Pool_Rule=8.5",
            "expected R5 (also R6, R7, 5, 6, 7), 8.0, 8.0.1, zOS (also OS390) or zLinux",
        ),
        ("Server_Queue_Limit=1000001", "expected a whole number from 1 to 1000000"),
        ("Server_Max_Frame_KB=4M", "expected a whole number from 1 to 65536"),
        ("Server_Thread_Stack_KB=63", "expected a whole number from 64 to 65536"),
        ("Server_Shutdown_Timeout=3601", "expected a whole number from 0 to 3600"),
        ("Load_Service=yes", "expected 0 or 1"),
        ("Log_Level=loud", "expected off, error, warn, info, debug or trace"),
        (
            "TCPIP_TCPIPAddress=0,::1",
            "expected 0,host or 0,host:port, an IPv6 address in brackets, the port from 0 to 65535",
        ),
        (
            "TCPIP=NETBIOS,1,15,0",
            "only the driver TCP is supported, expected TCP, or Domino's line TCP,0,15,0,,12288",
        ),
        ("Ports=", "no port is enabled, expected at least one name of a port, each once"),
        ("Ports=A,a", "a is listed twice, expected at least one name of a port, each once"),
        ("Ports=A,", "a name is empty, expected at least one name of a port, each once"),
        ("DisabledPorts=tcpip", "tcpip is enabled by Ports by default, expected names of ports, each once"),
    ] {
        assert_eq!(errors(&format!("\n{line}\n")), [format!("server.ini:2: {line}: {expected}")]);
    }
}

#[test]
fn unknown_keys_suggest_the_nearest() {
    for (line, expected) in [
        (
            "Server_Pool_Task=40",
            "unknown key, expected a key that `check --template` explains; did you mean Server_Pool_Tasks?",
        ),
        ("Prots=TCPIP", "unknown key, expected a key that `check --template` explains; did you mean Ports?"),
        (
            "LAN2_PoolTasks=4",
            "unknown key, expected a key that `check --template` explains; did you mean LAN2_Pool_Tasks?",
        ),
        ("Replication_Time_Limit=40", "unknown key, expected a key that `check --template` explains"),
        (
            "LAN9_Pool_Tasks=40",
            "no port LAN9 in Ports or DisabledPorts, expected the name of a listed port; did you mean LAN2_Pool_Tasks?",
        ),
        (
            "LAN9=TCP,0,15,0",
            "no port LAN9 in Ports or DisabledPorts, expected the name of a listed port; did you mean LAN2?",
        ),
        (
            "Modem_TCPIPAddress=0,h",
            "no port Modem in Ports or DisabledPorts, expected the name of a listed port",
        ),
    ] {
        let text = format!("DisabledPorts=LAN2\n{line}");
        assert_eq!(errors(&text), [format!("server.ini:2: {line}: {expected}")]);
    }
}

#[test]
fn all_errors_of_a_file_at_once_in_the_order_of_lines() {
    let text = "Ports=TCPIP,LAN2\nServer_Pool_Tasks=forty\njunk\n[Sever]\nServer_Queue_Limt=5\nServer_pool_tasks=3\n\
                LAN9_Pool_Tasks=1\nTCPIP_TCPIPAddress=0,10.0.0.1:7\nlan2_tcpipaddress=10.0.0.1:7\nLog_File=a;b\n";
    let expected = [
        "server.ini:2: Server_Pool_Tasks=forty: expected a whole number from 1 to 4096",
        "server.ini:3: junk: not a setting, expected key=value",
        "server.ini:4: [Sever]: unknown section, expected [Server], [Notes] or [Limits]",
        "server.ini:5: Server_Queue_Limt=5: unknown key, expected a key that `check --template` explains; did you mean Server_Queue_Limit?",
        "server.ini:6: Server_pool_tasks=3: already given in line 2, expected each key once",
        "server.ini:7: LAN9_Pool_Tasks=1: no port LAN9 in Ports or DisabledPorts, expected the name of a listed port; did you mean LAN2_Pool_Tasks?",
        "server.ini:9: LAN2_TCPIPAddress=0,10.0.0.1:7: port TCPIP has 10.0.0.1:7 in line 8, expected an address of its own for each enabled port",
        "server.ini:10: Log_File=a;b: ; begins a comment only at the start of a line, expected a value without ; and #; put the comment on a line of its own",
    ];
    assert_eq!(errors(text), expected);
}

#[test]
fn ports_that_share_an_address() {
    assert_eq!(
        errors("Ports=A,B"),
        [
            "server.ini:1: B_TCPIPAddress=0,127.0.0.1:1352: port A has 127.0.0.1:1352 by default (no A_TCPIPAddress line; enabled in line 1), expected an address of its own for each enabled port"
        ]
    );
    assert_eq!(errors("Ports=A,B\n\nB_TCPIPAddress=0,0.0.0.0").len(), 1);
    assert_eq!(read("Ports=A,B\nA_TCPIPAddress=h:0\nB_TCPIPAddress=h:0").ports.len(), 2);
    assert_eq!(read("Ports=A\nDisabledPorts=B").ports.len(), 1, "a disabled port takes no address");
}

#[test]
fn after_a_wrong_list_of_ports_unknown_ports_are_not_reported() {
    let text = "Ports=A,B C\nC_Pool_Tasks=1\nA_Pool_Tasks=x";
    assert_eq!(
        errors(text),
        [
            "server.ini:1: Ports=A,B C: \"B C\" contains the character ' ', expected at least one name of a port, each once",
            "server.ini:3: A_Pool_Tasks=x: expected a whole number from 1 to 4096",
        ]
    );
}

#[test]
fn a_wrong_address_is_not_also_reported_as_taken() {
    for address in ["h:70000", "h:1;2"] {
        let found = errors(&format!("Ports=A,B\nA_TCPIPAddress=0,{address}"));
        assert!(found.len() == 1 && found[0].starts_with("server.ini:2: A_TCPIPAddress="), "{found:?}");
    }
}

#[test]
fn ports_are_limited() {
    let list = |count: u32| (0..count).map(|n| format!("P{n}")).collect::<Vec<_>>().join(",");
    let addresses: String = (0..64).map(|n| format!("P{n}_TCPIPAddress=h:{}\n", n + 1)).collect();
    assert_eq!(read(&format!("Ports={}\n{addresses}", list(64))).ports.len(), 64);
    let found = errors(&format!("Ports={}\nP64_TCPIPAddress=h:99\n{addresses}", list(65)));
    assert!(found.len() == 1 && found[0].contains("65 ports are more than 64"), "{found:?}");
    assert_eq!(read(&format!("DisabledPorts={}", list(64))).disabled_ports.len(), 64);
    assert_eq!(errors(&format!("DisabledPorts={}", list(65))).len(), 1);
}

#[test]
fn sizes_follow_from_lines_and_rules_over_one_three_and_eight_ports() {
    // Rule, throttle line, pool line: throttle and pool in force on 2 CPUs.
    let table = [
        ("", "", "", 40, 40),
        ("", "20", "", 20, 20),
        ("", "100", "", 100, 100),
        ("", "500", "", 500, 100),
        ("", "-1", "", -1, 100),
        ("", "", "7", 40, 7),
        ("", "20", "40", 20, 40),
        ("R5", "", "", 20, 40),
        ("R5", "60", "", 60, 120),
        ("R6", "-1", "", -1, 100),
        ("R7", "", "7", 20, 7),
        ("8.0", "", "", 40, 80),
        ("8.0", "101", "", 101, 100),
        ("8.0", "-1", "", -1, 100),
        ("8.0.1", "", "", 40, 40),
        ("zOS", "", "", -1, 100),
        ("zOS", "20", "", 20, 100),
        ("OS390", "", "9", -1, 9),
        ("zLinux", "", "", -1, 40),
        ("zLinux", "500", "", 500, 40),
    ];
    for ports in [1u32, 3, 8] {
        for (rule, throttle, pool, throttle_is, pool_is) in table {
            let mut text = String::from("Ports=P1");
            (2..=ports).for_each(|n| text.push_str(&format!(",P{n}")));
            (1..=ports).for_each(|n| text.push_str(&format!("\nP{n}_TCPIPAddress=h:{n}")));
            let keys = ["Server_Pool_Rule", "Server_Max_Concurrent_Trans", "Server_Pool_Tasks"];
            for (key, value) in
                keys.into_iter().zip([rule, throttle, pool]).filter(|(_, value)| !value.is_empty())
            {
                text.push_str(&format!("\n{key}={value}"));
            }
            let config = read(&text);
            assert_eq!(config.max_concurrent_trans.value.number(), throttle_is, "{text}");
            assert!(config.ports.iter().all(|port| port.pool_tasks.value == pool_is), "{text}");
            assert_eq!(config.total_workers(), ports * pool_is, "{text}");
            let bound = u32::try_from(throttle_is).unwrap_or(u32::MAX);
            assert_eq!(config.effective_concurrency(), bound.min(ports * pool_is), "{text}");
        }
    }
}

#[test]
fn each_size_names_the_line_that_has_a_part_in_it() {
    for (text, throttle, pool) in [
        (
            "",
            "default, rule 8.0.1: 20 x CPUs, at most 100, with 2 CPUs",
            "default, rule 8.0.1: Server_Max_Concurrent_Trans while that is 1 to 100, else 100",
        ),
        (
            "\nServer_Max_Concurrent_Trans=9",
            "line 2",
            "line 2, rule 8.0.1: Server_Max_Concurrent_Trans while that is 1 to 100, else 100",
        ),
        (
            "Server_Pool_Rule=R5",
            "line 1, rule R5: 20",
            "line 1, rule R5: 2 x Server_Max_Concurrent_Trans, 100 when that is unlimited, at most 4096",
        ),
        (
            "Server_Pool_Rule=8.0\nServer_Max_Concurrent_Trans=9",
            "line 2",
            "line 2, rule 8.0: 2 x Server_Max_Concurrent_Trans, at most 100",
        ),
        ("Server_Pool_Rule=zLinux\nServer_Max_Concurrent_Trans=9", "line 2", "line 1, rule zLinux: 40"),
        ("Server_Pool_Tasks=9", "default, rule 8.0.1: 20 x CPUs, at most 100, with 2 CPUs", "line 1"),
        (
            "Server_Pool_Tasks=9\nTCPIP_Pool_Tasks=8",
            "default, rule 8.0.1: 20 x CPUs, at most 100, with 2 CPUs",
            "line 2",
        ),
    ] {
        let config = read(text);
        assert_eq!(config.max_concurrent_trans.source.to_string(), throttle, "{text}");
        assert_eq!(config.ports[0].pool_tasks.source.to_string(), pool, "{text}");
    }
}

#[test]
fn warnings_and_settings_without_any() {
    let three = "Ports=A,B,C\nA_TCPIPAddress=h:1\nB_TCPIPAddress=h:2\nC_TCPIPAddress=h:3\n";
    for (text, expected) in [
        ("", &[][..]),
        ("Server_Max_Concurrent_Trans=60", &[]),
        ("Server_Max_Concurrent_Trans=60\nServer_Pool_Tasks=60", &[]),
        ("Server_Pool_Rule=8.0\nServer_Pool_Tasks=40", &[]),
        ("Server_Pool_Rule=R5", &["workers_wait"]),
        ("Server_Max_Concurrent_Trans=500\nServer_Pool_Tasks=40", &["throttle_no_effect"]),
        ("Server_Max_Concurrent_Trans=500", &["throttle_no_effect", "throttle_alone"]),
        ("Server_Pool_Tasks=90", &["workers_wait", "pool_alone"]),
        ("Server_Pool_Tasks=10", &["throttle_no_effect"]),
        ("Server_Max_Concurrent_Trans=-1", &["unlimited"]),
        ("Server_Pool_Rule=zOS", &["unlimited"]),
        ("Server_Max_Concurrent_Trans=120\nServer_Pool_Tasks=120", &[]),
        ("Server_Max_Concurrent_Trans=121\nServer_Pool_Tasks=121", &["many_workers"]),
        ("Server_Queue_Limit=39", &["queue_limit"]),
        ("Server_Queue_Limit=40", &[]),
        ("Server_Max_Frame_KB=65536", &[]),
        ("Server_Thread_Stack_KB=65536", &[]),
    ] {
        assert_eq!(codes(text, &ROOMY), expected, "{text}");
    }
    assert_eq!(codes(three, &ROOMY), ["workers_wait"], "three ports share the default throttle");
    assert_eq!(codes("", &Machine::default()), [""; 0], "unknown limits");
}

#[test]
fn warnings_name_their_numbers() {
    let three =
        "Ports=A,B,C\nA_TCPIPAddress=h:1\nB_TCPIPAddress=h:2\nC_TCPIPAddress=h:3\nServer_Pool_Tasks=40\n";
    let throttled = format!("{three}Server_Max_Concurrent_Trans=20");
    assert_eq!(
        message(&throttled, &ROOMY, "workers_wait"),
        "3 ports x 40 = 120 workers, 20 may run at once: 100 can only wait; set Server_Max_Concurrent_Trans=120"
    );
    let uneven = format!("{throttled}\nB_Pool_Tasks=7");
    assert!(message(&uneven, &ROOMY, "workers_wait").starts_with("A 40 + B 7 + C 40 = 87 workers, 20 may"));
    for (text, code, expected) in [
        (
            "Server_Max_Concurrent_Trans=500",
            "throttle_alone",
            "Server_Max_Concurrent_Trans was raised to 500 without Server_Pool_Tasks: rule 8.0.1 stops at 100 workers a port, \
             so only 100 can run; set Server_Max_Concurrent_Trans=100 and Server_Pool_Tasks=100",
        ),
        (
            "Server_Pool_Tasks=90",
            "pool_alone",
            "the pool of port TCPIP was raised to 90 workers without Server_Max_Concurrent_Trans: rule 8.0.1 allows 40 transactions \
             over all ports; set Server_Max_Concurrent_Trans=90",
        ),
        (
            "Server_Queue_Limit=5",
            "queue_limit",
            "Server_Queue_Limit=5 is below the 40 workers of port TCPIP: calls are refused while workers are idle; set \
             Server_Queue_Limit=40",
        ),
        (
            "Server_Max_Concurrent_Trans=121\nServer_Pool_Tasks=121",
            "many_workers",
            "1 port x 121 = 121 workers: more than the 120 in total that Domino's documentation recommends; set \
             Server_Max_Concurrent_Trans=120 and Server_Pool_Tasks=120, or measure before keeping it",
        ),
    ] {
        assert_eq!(message(text, &ROOMY, code), expected);
    }
}

#[test]
fn warnings_name_the_limits_of_the_machine() {
    let machine = Machine { descriptors: Some(100), ..ROOMY };
    assert_eq!(
        message("", &machine, "descriptors"),
        "this process may have 100 descriptors, which allow 32 connections, fewer than the 40 transactions that \
         may run at once; raise the limit (ulimit -n -H), or set Server_Max_Concurrent_Trans=32 and Server_Pool_Tasks=32"
    );
}

#[test]
fn connections_use_the_descriptors_that_ports_and_reserve_leave() {
    let room =
        |text: &str, descriptors| Config::from_text(text, None, 2).unwrap().connections_max(descriptors);
    assert_eq!(room("", 20_000), 20_000 - 64 - 4);
    assert_eq!(room("", 69), 1);
    assert_eq!((room("", 68), room("", 0)), (0, 0));
    assert_eq!(room("Ports=A,B\nA_TCPIPAddress=127.0.0.1:1\nServer_Descriptor_Reserve=20", 128), 100);
    assert_eq!(room("Server_Descriptors_Per_Session=3", 68 + 302), 100);
}

#[test]
fn a_program_sets_both_limits() {
    let mut config = Config::default_with(2);
    let port = PortConfig::new("LAN2", ListenAddress::new("::1", 0), 3);
    config.ports.push(port);
    config.set_limits(Limit::at_most(4).expect("not 0"), 2);
    assert_eq!((config.total_workers(), config.effective_concurrency()), (4, 4));
    assert_eq!(advise(&config, &ROOMY), []);
    assert_eq!(config.ports[0].pool_tasks.source.word(), "program");
}

#[test]
fn an_unreadable_file_is_one_error() {
    let missing = Config::load(Path::new("no/such/server.ini"), 2).expect_err("it does not exist");
    let text = missing.to_string();
    assert!(text.starts_with("no/such/server.ini: cannot be read (No such file"), "{text}");
    assert!(text.ends_with("), expected a readable text file"), "{text}");
    assert_eq!(Config::load(Path::new("."), 2).expect_err("a directory").iter().count(), 1);
}

#[test]
fn random_bytes_never_panic_and_never_give_partial_settings() {
    let pieces: [&[u8]; 16] = [
        b"Ports=",
        b"A",
        b",",
        b"_Pool_Tasks=",
        b"_TCPIPAddress=0,",
        b"Server_",
        b"Max_Concurrent_Trans=",
        b"-1",
        b"0",
        b"9999999999",
        b"\n",
        b"\r\n",
        b"[Notes]\n",
        b"\xFF",
        b"=",
        b"[::1]:7",
    ];
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    for _ in 0..10_000 {
        let mut bytes = Vec::new();
        for _ in 0..state % 12 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(pieces[(state % 16) as usize]);
        }
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1) | 1;
        match Config::from_bytes(&bytes, None, 2) {
            Ok(config) => {
                assert!(!config.ports.is_empty() && config.effective_concurrency() >= 1);
                assert!(config.ports.iter().all(|port| (1..=4096).contains(&port.pool_tasks.value)));
            }
            Err(errors) => assert!(errors.iter().next().is_some()),
        }
    }
}

#[test]
fn a_line_that_is_only_tried_is_read_as_in_its_section() {
    let config = read("Server_Pool_Tasks=4\n[Limits]\nnotes.search=8,200\n");
    let limits = |config: &Config| -> Vec<_> {
        let of = |line: &LimitLine| (line.method.clone(), line.limit.value);
        config.method_limits.iter().map(of).collect()
    };
    let changed = with_line(&config, "notes.Search", "3,5").unwrap();
    assert_eq!(limits(&changed), [("notes.search".to_owned(), Some((3, 5)))]);
    let changed = with_line(&changed, "notes.open", "0").unwrap();
    assert_eq!(limits(&changed)[1], ("notes.open".to_owned(), None));
    let changed = with_line(&changed, "server_pool_tasks", "9").unwrap();
    assert!(changed.pool_tasks.value == 9 && changed.ports.iter().all(|port| port.pool_tasks.value == 9));
    for (key, value) in [("notes.search", "8"), ("notes.search", "8,9\nx=1"), ("notes", "8,200")] {
        assert!(with_line(&config, key, value).is_err(), "{key}={value}");
    }
}
