//! The files that settings name, and the settings file itself, where they are not what they should be: pipes, directories,
//! links, files that others can read or that cannot be replaced. Real processes, real files, real mounts.

mod process;

use process::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const BONEYARD: &str = env!("CARGO_BIN_EXE_boneyard");
const TOKEN: &str = "0123456789abcdef-secret\n";

fn pipe(directory: &Directory, name: &str) -> PathBuf {
    let path = directory.path().join(name);
    assert_eq!(run(command("mkfifo").arg(&path)).code, Some(0));
    path
}

fn settings(directory: &Directory, lines: &str) -> PathBuf {
    directory.file(
        "server.ini",
        &on_free_port(&format!("Server_Pool_Tasks=2\nAdmin_Address=127.0.0.1:0\n{lines}")),
    )
}

fn check(file: &Path) -> Said {
    run(command(BONEYARD).arg("check").arg(file))
}

/// `check` and `serve` say the same and start nothing.
#[track_caller]
fn neither_checks_nor_serves(file: &Path, says: &str) {
    let checked = check(file);
    assert!(checked.code == Some(2) && checked.out.contains(says), "{says}: {checked:?}");
    let served = run(command(BONEYARD).arg("serve").arg(file));
    assert!(served.code == Some(2) && served.err.contains(says), "{says}: {served:?}");
}

#[test]
fn a_pipe_in_the_place_of_a_file_holds_no_start_up() {
    let directory = Directory::new();
    let pipe = pipe(&directory, "pipe");
    symlink(&pipe, directory.path().join("link")).unwrap();
    for path in [pipe.clone(), directory.path().join("link")] {
        neither_checks_nor_serves(&path, "cannot be read (it is a named pipe, not a plain file)");
        let file = settings(&directory, &format!("Admin_Token_File={}", path.display()));
        let says = "server.ini:4: Admin_Token_File=";
        neither_checks_nor_serves(&file, says);
        neither_checks_nor_serves(&file, "cannot be read (it is a named pipe, not a plain file)");
        let file = settings(&directory, &format!("Log_File={}", path.display()));
        let mut server = Running::start(command(BONEYARD).arg("serve").arg(file));
        server.line("it is a named pipe without a reader; logging to standard error");
        let pinged = run(command(BONEYARD).args(["call", &server.address(), "server.ping"]));
        assert_eq!((pinged.code, server.stop()), (Some(0), Some(0)));
    }
}

#[test]
fn a_pipe_that_somebody_reads_takes_the_log() {
    let directory = Directory::new();
    let pipe = pipe(&directory, "pipe");
    let file = settings(&directory, &format!("Log_File={}", pipe.display()));
    let reader = std::thread::spawn(move || fs::read_to_string(pipe).unwrap());
    // The reader may come later than the server.
    let mut tries = 0;
    let log = loop {
        let mut server = Running::start(command(BONEYARD).arg("serve").arg(&file));
        let said = || server.lines().iter().any(|line| line.contains("pipe without a reader"));
        let socket = directory.path().join("server.ini.admin");
        wait_until("it serves", || said() || socket.exists());
        let early = said();
        assert_eq!(server.stop(), Some(0));
        if !early {
            break reader.join().unwrap();
        }
        tries += 1;
        assert!(tries < 100, "the reader never came");
    };
    assert!(log.contains("Throttle: ") && log.ends_with("Stopped, 0 lost\n"), "{log}");
}

#[test]
fn a_token_that_others_can_read_is_refused() {
    let directory = Directory::new();
    let token = directory.secret("token", TOKEN);
    let file = settings(&directory, &format!("Admin_Token_File={}", token.display()));
    for (mode, fault) in
        [(0o640, true), (0o604, true), (0o620, true), (0o601, true), (0o600, false), (0o400, false)]
    {
        fs::set_permissions(&token, PermissionsExt::from_mode(mode)).unwrap();
        if fault {
            let says = format!("can read or change it (mode {mode:04o}); chmod 600 it");
            neither_checks_nor_serves(&file, &says);
        } else {
            assert_eq!(check(&file).code, Some(0), "{mode:o}");
        }
    }
    fs::write(&token, "short").unwrap();
    fs::set_permissions(&token, PermissionsExt::from_mode(0o600)).unwrap();
    neither_checks_nor_serves(&file, "has 5 characters, expected at least 16");
}

#[test]
fn a_path_that_a_shell_would_have_replaced_is_told() {
    let directory = Directory::new();
    for key in ["Log_File", "Admin_Token_File", "Admin_Socket"] {
        for (path, says) in [
            ("\"/tmp/x.log\"", "quotation marks would be part of the name"),
            ("~/x.log", "~ is not expanded"),
            ("$HOME/x.log", "a variable with $ is not expanded"),
            ("${HOME}/x.log", "a variable with $ is not expanded"),
            ("logs/", "it is a directory, not a file"),
        ] {
            let file = settings(&directory, &format!("{key}={path}"));
            neither_checks_nor_serves(&file, says);
        }
    }
    let left: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["server.ini"], "and no odd file was made");
}

#[test]
fn check_tells_of_a_log_that_could_not_be_written() {
    let directory = Directory::new();
    for (path, says) in [
        (directory.path().to_owned(), Some("is a directory")),
        (directory.path().join("none/x.log"), Some("No such file or directory")),
        (directory.path().join("x.log"), None),
        ("/dev/null".into(), None),
    ] {
        let said = check(&settings(&directory, &format!("Log_File={}", path.display())));
        assert_eq!(said.code, Some(0), "a server starts with it: {said:?}");
        let told = said.out.lines().find(|line| line.contains("log_file: "));
        assert_eq!(told.is_some(), says.is_some(), "{said:?}");
        if let (Some(told), Some(says)) = (told, says) {
            assert!(told.to_lowercase().contains(&says.to_lowercase()), "{told}");
            assert!(told.ends_with("the log would go to standard error"), "{told}");
        }
    }
    assert!(!directory.path().join("x.log").exists(), "a check makes nothing");
}

/// The server in a namespace of its own in which these mounts were made first, its directory being `$D`; `None` where the
/// system does not let this user mount.
fn serve_mounted(directory: &Directory, mounts: &str) -> Option<Running> {
    let shell = |line: &str| {
        let mut shell = command("unshare");
        shell.args(["-m", "sh", "-c", line]).env("D", directory.path());
        shell
    };
    if run(&mut shell("mount --bind \"$D\" \"$D\"")).code != Some(0) {
        println!("not tried: no mounts for this user");
        return None;
    }
    let line = format!("{mounts} && exec {BONEYARD} serve \"$D/etc/server.ini\"");
    Some(Running::start(&mut shell(&line)))
}

fn console(directory: &Directory, line: &str) -> Said {
    let mut console: Command = command(BONEYARD);
    run(console.arg("console").arg(directory.path().join("admin.sock")).args(["-c", line]))
}

#[test]
fn a_settings_file_that_is_a_mount_is_written_in_place_and_one_that_is_read_only_keeps_no_change() {
    for (mounts, kept) in [
        ("mount --bind \"$D/etc/server.ini\" \"$D/etc/server.ini\"", true),
        (
            "mount --bind \"$D/etc/server.ini\" \"$D/etc/server.ini\" && mount -o remount,bind,ro \"$D/etc/server.ini\"",
            false,
        ),
        ("mount --bind \"$D/etc\" \"$D/etc\" && mount -o remount,bind,ro \"$D/etc\"", false),
        (
            "mount --bind \"$D/etc\" \"$D/etc\" && mount --bind \"$D/etc/server.ini\" \"$D/etc/server.ini\" && \
             mount -o remount,bind,ro \"$D/etc\"",
            true,
        ),
    ] {
        let directory = Directory::new();
        fs::create_dir(directory.path().join("etc")).unwrap();
        let socket = directory.path().join("admin.sock");
        let lines = format!("Admin_Address=\nAdmin_Socket={}\nServer_Queue_Limit=500", socket.display());
        let file = directory.file("etc/server.ini", &on_free_port(&lines));
        let before = fs::read_to_string(&file).unwrap();
        let Some(mut server) = serve_mounted(&directory, mounts) else { return };
        server.line("Admin socket at ");
        let now = console(&directory, "set config Server_MaxUsers=50");
        assert!(now.code == Some(0) && now.out.contains("In force from now on.\n"), "{mounts}: {now:?}");
        let later = console(&directory, "set config Server_Pool_Tasks=7");
        let shown = console(&directory, "show config Server_MaxUsers").out;
        assert!(shown.starts_with("Server_MaxUsers=50"), "{shown}");
        if kept {
            assert!(now.out.contains("Written to ") && later.code == Some(0), "{mounts}: {now:?} {later:?}");
            assert_eq!(
                fs::read_to_string(&file).unwrap(),
                format!("{before}Server_MaxUsers=50\nServer_Pool_Tasks=7\n")
            );
        } else {
            assert!(
                now.out.contains("Not kept over a restart: ") && now.out.contains("Read-only file system"),
                "{now:?}"
            );
            assert!(later.code == Some(3) && later.err.contains("cannot be written"), "{later:?}");
            assert_eq!(fs::read_to_string(&file).unwrap(), before);
            server.line("setting changed, Server_MaxUsers=50 effective=until_restart");
        }
        let left: Vec<_> =
            fs::read_dir(directory.path().join("etc")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["server.ini"], "{mounts}");
        assert_eq!(server.stop(), Some(0));
    }
}

#[test]
fn a_settings_file_that_becomes_a_pipe_holds_no_command_up() {
    let directory = Directory::new();
    let socket = directory.path().join("admin.sock");
    let file = settings(&directory, &format!("Admin_Socket={}", socket.display()));
    let mut server = Running::start(command(BONEYARD).arg("serve").arg(&file));
    server.line("Admin socket at ");
    fs::remove_file(&file).unwrap();
    pipe(&directory, "server.ini");
    for _ in 0..6 {
        let said = console(&directory, "set config Server_MaxUsers=50");
        assert!(
            said.code == Some(3) && said.err.contains("it is a named pipe, not a plain file"),
            "{said:?}"
        );
    }
    assert_eq!(server.stop(), Some(0));
}
