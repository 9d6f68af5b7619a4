//! Server of benches/verdict.py: its methods do what their caller asks for, so that a server can be limited by anything.
//!
//! ```text
//! situations serve FILE                            and the other commands of boneyard
//! situations dependency ADDRESS WORKERS            a plain TCP server with a pool of its own
//! situations call ADDRESS work.run '[{"sleep": {"exponential": 5}}, {"std_lock": {"fixed": 2}}]'
//! ```
//! A call has a list of steps, done one after the other; the methods differ in their names only. Times are milliseconds.
//! All calls of the process share the locks, the semaphores (one for each number of places) and the file.

use boneyard::{ApplicationError, Client, HandlerError, Method, Transaction};
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

const METHODS: [Method<Vec<Step>, ()>; 5] = [
    Method::new("work.run"),
    Method::new("work.read"),
    Method::new("work.write"),
    Method::new("work.search"),
    Method::new("work.report"),
];

/// Code of every application error.
const FAILED: u32 = 1;

type Failure = Box<dyn Error>;

/// Part of the work of a call.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Sleep(Time),
    /// Uses a processor.
    Spin(Time),
    /// Sleeps in `tx.blocking`.
    Block(Time),
    /// Sleeps with a lock of the standard library held.
    StdLock(Time),
    /// Sleeps with a lock of parking_lot held.
    ParkingLot(Time),
    /// Uses a processor with a lock of the standard library held.
    SpinLock(Time),
    /// Sleeps with one of so many places taken.
    Semaphore(u32, Time),
    /// Asks the dependency at the address for so much of its workers' time.
    Tcp(String, Time),
    /// Calls a Boneyard server: address, method and arguments as JSON.
    Call(String, String, String),
    /// Writes so many bytes to a disk.
    Fsync(u32),
}

/// Time in milliseconds, drawn anew for each call.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Time {
    Fixed(f64),
    /// Of this mean.
    Exponential(f64),
    /// Share of the first, first, second.
    Bimodal(f64, f64, f64),
}

impl Time {
    fn draw(self) -> Duration {
        let ms = match self {
            Time::Fixed(ms) => ms,
            Time::Exponential(mean) => -mean * (1.0 - fastrand::f64()).ln(),
            Time::Bimodal(share, first, _) if fastrand::f64() < share => first,
            Time::Bimodal(_, _, second) => second,
        };
        Duration::from_secs_f64(ms / 1000.0)
    }
}

/// What the calls of a process share.
struct Shared {
    std_lock: Mutex<()>,
    parking_lot: parking_lot::Mutex<()>,
    /// Places taken, by the number of places.
    semaphores: Mutex<HashMap<u32, u32>>,
    left: Condvar,
    clients: Mutex<HashMap<String, Client>>,
    file: File,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match &*words {
        [word, address, workers] if word == "dependency" => dependency(address, workers),
        _ => return serve(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("situations: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> ExitCode {
    let file = match file() {
        Ok(file) => file,
        Err(error) => {
            eprintln!("situations: {error}");
            return ExitCode::FAILURE;
        }
    };
    let shared = Arc::new(Shared {
        std_lock: Mutex::default(),
        parking_lot: parking_lot::Mutex::default(),
        semaphores: Mutex::default(),
        left: Condvar::new(),
        clients: Mutex::default(),
        file,
    });
    boneyard::cli::main(|server| {
        METHODS.into_iter().fold(server, |server, method| {
            let shared = Arc::clone(&shared);
            server.handle(method, move |tx, steps: Vec<Step>| shared.work(tx, &steps))
        })
    })
}

/// A file without a name beside the programs, which are on a disk more often than the folder for temporary files.
fn file() -> Result<File, Failure> {
    let path = std::env::current_exe()?.with_extension(format!("{}.tmp", std::process::id()));
    let file = File::create_new(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

impl Shared {
    fn work(&self, tx: &Transaction<'_>, steps: &[Step]) -> Result<(), HandlerError> {
        let done = steps.iter().try_for_each(|step| self.step(tx, step));
        done.map_err(|error| ApplicationError::new(FAILED, error.to_string()).into())
    }

    fn step(&self, tx: &Transaction<'_>, step: &Step) -> Result<(), Failure> {
        match step {
            Step::Sleep(time) => std::thread::sleep(time.draw()),
            Step::Spin(time) => spin(time.draw()),
            Step::Block(time) => tx.blocking(|| std::thread::sleep(time.draw())),
            Step::StdLock(time) => {
                let _held = self.std_lock.lock().unwrap_or_else(PoisonError::into_inner);
                std::thread::sleep(time.draw());
            }
            Step::ParkingLot(time) => {
                let _held = self.parking_lot.lock();
                std::thread::sleep(time.draw());
            }
            Step::SpinLock(time) => {
                let _held = self.std_lock.lock().unwrap_or_else(PoisonError::into_inner);
                spin(time.draw());
            }
            Step::Semaphore(places, time) => self.one_of(*places, time.draw()),
            Step::Tcp(address, time) => {
                let mut stream = TcpStream::connect(address)?;
                stream.write_all(&(time.draw().as_micros() as u64).to_le_bytes())?;
                stream.read_exact(&mut [0])?;
            }
            Step::Call(address, method, arguments) => {
                self.client(address)?.call_json(method, arguments)?;
            }
            Step::Fsync(bytes) => {
                (&self.file).write_all(&vec![0; *bytes as usize])?;
                self.file.sync_all()?;
            }
        }
        Ok(())
    }

    fn one_of(&self, places: u32, time: Duration) {
        let taken = self.semaphores.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |taken: &mut HashMap<u32, u32>| taken.get(&places).is_some_and(|count| *count >= places);
        let mut taken = self.left.wait_while(taken, full).unwrap_or_else(PoisonError::into_inner);
        *taken.entry(places).or_default() += 1;
        drop(taken);
        std::thread::sleep(time);
        let mut taken = self.semaphores.lock().unwrap_or_else(PoisonError::into_inner);
        taken.entry(places).and_modify(|count| *count -= 1);
        drop(taken);
        // Not one: those that wait may wait for another number of places.
        self.left.notify_all();
    }

    fn client(&self, address: &str) -> Result<Client, Failure> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(address) {
            return Ok(client.clone());
        }
        let client = Client::new(address)?.with_deadline(None);
        clients.insert(address.to_owned(), client.clone());
        Ok(client)
    }
}

/// Measures the thread's own processor time, as `load.spin` does.
fn spin(time: Duration) {
    let used = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    };
    let start = used();
    while used() - start < time {
        (0..64).for_each(|_| std::hint::spin_loop());
    }
}

/// Each worker serves a connection at a time: it reads a number of microseconds, sleeps as long, and answers a byte.
fn dependency(address: &str, workers: &str) -> Result<(), Failure> {
    let listener = Arc::new(TcpListener::bind(address)?);
    let serve = |listener: &TcpListener| -> std::io::Result<()> {
        loop {
            let (mut stream, _) = listener.accept()?;
            let mut micros = [0; 8];
            // A client that is gone is none of the others' business.
            if stream.read_exact(&mut micros).is_ok() {
                std::thread::sleep(Duration::from_micros(u64::from_le_bytes(micros)));
                stream.write_all(&[0]).ok();
            }
        }
    };
    let threads: Vec<_> = (0..workers.parse::<u32>()?)
        .map(|_| {
            let listener = Arc::clone(&listener);
            std::thread::spawn(move || serve(&listener))
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a worker panicked")??;
    }
    Ok(())
}
