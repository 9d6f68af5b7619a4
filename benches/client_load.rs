//! Load generator on the client library: what a program gets through it. Prints its counts as JSON.
//!
//! ```text
//! client_load futures|threads|pipelined ADDRESS CONNECTIONS OUT echo|sleep SIZE WARM_UP SECONDS
//! client_load flood ADDRESS CONNECTIONS RATE echo|sleep SIZE WARM_UP SECONDS DEADLINE
//! ```
//! Each connection is a client of its own. Closed loops: *futures* polled on one tokio thread; a blocking *thread* for
//! each call out; *pipelined*, a thread for each connection, which keeps OUT calls out and waits for the oldest, as
//! `capi/bench/load.c` does in C. Open loop: *flood*, RATE calls a second over all connections at random times, whether
//! or not earlier ones were answered, as futures; latency and DEADLINE count from when a call was due. SIZE is bytes of
//! a `load.echo`, or milliseconds of a `load.sleep`; times are in seconds.

#[path = "load_count.rs"]
mod load_count;

use boneyard::internal::bench::Arrivals;
use boneyard::service::Bytes;
use boneyard::service::load_service::{ECHO, SLEEP};
use boneyard::{Client, ClientError, Pending};
use load_count::{Count, Failure, Method, Plan, Span, gather};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Calls of a flood that are sent before its other tasks run again.
const BATCH: usize = 64;

/// Longest wait for the answers that are out when a flood ends.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// Seed of the times of a flood: the same in each run.
const SEED: u64 = 1;

/// Stack of a calling thread.
const STACK_BYTES: usize = 256 << 10;

const USAGE: &str = "see the head of client_load.rs";

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (style, words) = words.split_first().ok_or(USAGE)?;
    let (plan, more) = words.split_first_chunk().ok_or(USAGE)?;
    let plan = Plan::parse(plan)?;
    let work = Work::new(&plan);
    let count = match (*style, more) {
        ("futures", []) => on_one_thread(futures(&plan, work))?,
        ("threads", []) => threads(&plan, plan.out, move |client, span| blocking_caller(client, work, span))?,
        ("pipelined", []) => {
            let out = plan.out;
            threads(&plan, 1, move |client, span| pipelining_caller(client, work, out, span))?
        }
        ("flood", [deadline]) => {
            let deadline = Duration::from_secs_f64(deadline.parse()?);
            on_one_thread(flood(&plan, work, deadline))?
        }
        _ => return Err(USAGE.into()),
    };
    println!("{}", count.json());
    Ok(())
}

/// A runtime of one thread, as the other libraries' generators have.
fn on_one_thread(load: impl Future<Output = Result<Count, Failure>>) -> Result<Count, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(load)
}

/// A call that is made again and again.
#[derive(Debug, Clone, Copy)]
enum Work {
    Echo { bytes: usize },
    Sleep { ms: u64 },
}

impl Work {
    fn new(plan: &Plan) -> Work {
        match plan.method {
            Method::Echo => Work::Echo { bytes: plan.payload },
            Method::Sleep => Work::Sleep { ms: plan.payload as u64 },
        }
    }

    fn call(self, client: &Client) -> Result<(), String> {
        match self {
            Work::Echo { bytes } => echoed(client.call(ECHO, &payload(bytes)), bytes),
            Work::Sleep { ms } => client.call(SLEEP, &ms).map_err(name),
        }
    }

    fn start(self, client: &Client) -> Result<Started, String> {
        match self {
            Work::Echo { bytes } => {
                client.start(ECHO, &payload(bytes)).map(|pending| Started::Echo(pending, bytes))
            }
            Work::Sleep { ms } => client.start(SLEEP, &ms).map(Started::Sleep),
        }
        .map_err(name)
    }
}

/// A call that is out.
#[derive(Debug)]
enum Started {
    Echo(Pending<Bytes>, usize),
    Sleep(Pending<()>),
}

impl Started {
    async fn answer(self) -> Result<(), String> {
        match self {
            Started::Echo(pending, bytes) => echoed(pending.await, bytes),
            Started::Sleep(pending) => pending.await.map_err(name),
        }
    }

    fn wait(self) -> Result<(), String> {
        match self {
            Started::Echo(pending, bytes) => echoed(pending.wait(), bytes),
            Started::Sleep(pending) => pending.wait().map_err(name),
        }
    }
}

/// Made for each call, as a library that takes the arguments themselves needs it.
fn payload(bytes: usize) -> Bytes {
    Bytes::from(vec![b'x'; bytes])
}

fn echoed(answer: Result<Bytes, ClientError>, bytes: usize) -> Result<(), String> {
    match answer {
        Ok(answer) if answer.len() == bytes => Ok(()),
        Ok(_) => Err("WrongAnswer".to_owned()),
        Err(error) => Err(name(error)),
    }
}

/// The status that the error stands for, or what the client alone can find.
fn name(error: ClientError) -> String {
    match (error.status(), error) {
        (Some(status), _) => format!("{status:?}"),
        (None, ClientError::Throttled) => "Throttled".to_owned(),
        // A deadline that this client's clock found to have passed.
        (None, ClientError::DeadlineExceeded { .. }) => "OutOfTime".to_owned(),
        (None, _) => "OfTheClient".to_owned(),
    }
}

fn connect(plan: &Plan) -> Result<Vec<Client>, Failure> {
    (0..plan.connections).map(|_| Ok(Client::connect(plan.address)?)).collect()
}

async fn futures(plan: &Plan, work: Work) -> Result<Count, Failure> {
    let clients = connect(plan)?;
    let span = Span::from_now(plan);
    let mut tasks = Vec::new();
    for client in clients {
        for _ in 0..plan.out {
            tasks.push(tokio::spawn(awaiting_caller(client.clone(), work, span)));
        }
    }
    gather(tasks, plan).await
}

async fn awaiting_caller(client: Client, work: Work, span: Span) -> Count {
    let mut count = Count::default();
    loop {
        let start = Instant::now();
        let outcome = match work.start(&client) {
            Ok(started) => started.answer().await,
            Err(name) => Err(name),
        };
        if !count.add(&span, start, outcome) {
            return count;
        }
    }
}

/// So many threads for each connection.
fn threads(
    plan: &Plan,
    each: usize,
    caller: impl Fn(&Client, Span) -> Count + Send + Clone + 'static,
) -> Result<Count, Failure> {
    let clients = connect(plan)?;
    let span = Span::from_now(plan);
    let mut threads = Vec::new();
    for client in clients {
        for _ in 0..each {
            let (client, caller) = (client.clone(), caller.clone());
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            threads.push(thread.spawn(move || caller(&client, span))?);
        }
    }
    let parts: Result<Vec<_>, _> = threads.into_iter().map(|thread| thread.join()).collect();
    Ok(Count::merge(parts.map_err(|_| "a caller panicked")?, 0, plan))
}

fn blocking_caller(client: &Client, work: Work, span: Span) -> Count {
    let mut count = Count::default();
    loop {
        let start = Instant::now();
        if !count.add(&span, start, work.call(client)) {
            return count;
        }
    }
}

fn pipelining_caller(client: &Client, work: Work, out: usize, span: Span) -> Count {
    let (mut count, mut pending) = (Count::default(), VecDeque::with_capacity(out));
    loop {
        while pending.len() < out {
            pending.push_back((Instant::now(), work.start(client)));
        }
        let Some((start, oldest)) = pending.pop_front() else { return count };
        if !count.add(&span, start, oldest.and_then(Started::wait)) {
            return count;
        }
    }
}

async fn flood(plan: &Plan, work: Work, deadline: Duration) -> Result<Count, Failure> {
    let clients = connect(plan)?;
    let count = Arc::new(Mutex::new(Count::default()));
    let span = Span::from_now(plan);
    let mut arrivals = Arrivals::new(plan.out as f64, Instant::now(), SEED);
    let mut turns = clients.iter().cycle();
    while Instant::now() < span.end {
        // To a millisecond, as tokio's clock ticks.
        tokio::time::sleep_until(arrivals.due().min(span.end).into()).await;
        let (now, mut sent) = (Instant::now(), 0);
        while arrivals.due() <= now && sent < BATCH {
            let due = arrivals.due();
            arrivals.advance();
            sent += 1;
            count.lock().due += u64::from(due >= span.begin);
            let Some(client) = turns.next() else { break };
            let client = client.with_deadline(deadline.saturating_sub(now - due));
            send(work.start(&client), due, span, &count);
        }
        tokio::task::yield_now().await;
    }
    let end = Instant::now() + LAST_ANSWERS;
    // Each task that is left has a hold on the count.
    while Arc::strong_count(&count) > 1 && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut count_of_all = std::mem::take(&mut *count.lock());
    count_of_all.unanswered = Arc::strong_count(&count) as u64 - 1;
    Ok(Count::merge(vec![count_of_all], 0, plan))
}

/// A task for a call of the flood, unless it has failed at once.
fn send(started: Result<Started, String>, due: Instant, span: Span, count: &Arc<Mutex<Count>>) {
    match started {
        Ok(started) => {
            let count = Arc::clone(count);
            tokio::spawn(async move {
                let outcome = started.answer().await;
                count.lock().add(&span, due, outcome);
            });
        }
        Err(name) => {
            count.lock().add(&span, due, Err(name));
        }
    }
}
