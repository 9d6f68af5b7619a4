//! Boneyard's own client library: futures on one tokio thread, as the asynchronous peers have, and a blocking thread for
//! each call out.

use crate::count::{Count, Plan, Span, gather};
use crate::{Failure, Method, SLEEP};
use boneyard::Client;
use boneyard::service::Bytes;
use std::time::Instant;

const ECHO: boneyard::Method<Bytes, Bytes> = boneyard::Method::new("load.echo");
const SLEEP_MS: boneyard::Method<u64, ()> = boneyard::Method::new("load.sleep");

fn connect(plan: &Plan) -> Result<Vec<Client>, Failure> {
    (0..plan.connections).map(|_| Ok(Client::connect(plan.address)?)).collect()
}

pub(crate) async fn load_by_futures(plan: &Plan) -> Result<Count, Failure> {
    let clients = connect(plan)?;
    let span = Span::from_now(plan);
    let mut tasks = Vec::new();
    for client in clients {
        for _ in 0..plan.out {
            tasks.push(tokio::spawn(future_caller(client.clone(), plan.method, plan.payload, span)));
        }
    }
    gather(tasks, plan).await
}

async fn future_caller(client: Client, method: Method, bytes: usize, span: Span) -> Count {
    let mut count = Count::default();
    loop {
        let start = Instant::now();
        let good = match method {
            Method::Echo => match client.start(ECHO, &Bytes::from(vec![b'x'; bytes])) {
                Ok(pending) => pending.await.is_ok_and(|answer| answer.len() == bytes),
                Err(_) => false,
            },
            Method::Sleep => match client.start(SLEEP_MS, &(SLEEP.as_millis() as u64)) {
                Ok(pending) => pending.await.is_ok(),
                Err(_) => false,
            },
        };
        if !count.add(&span, start, good) {
            return count;
        }
    }
}

pub(crate) fn load_by_threads(plan: &Plan) -> Result<Count, Failure> {
    let clients = connect(plan)?;
    let span = Span::from_now(plan);
    let mut threads = Vec::new();
    for client in clients {
        for _ in 0..plan.out {
            let (client, method, bytes) = (client.clone(), plan.method, plan.payload);
            let caller = move || thread_caller(&client, method, bytes, span);
            threads.push(std::thread::Builder::new().stack_size(256 << 10).spawn(caller)?);
        }
    }
    let parts = threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect();
    Ok(Count::merge(parts, 0, plan))
}

fn thread_caller(client: &Client, method: Method, bytes: usize, span: Span) -> Count {
    let mut count = Count::default();
    loop {
        let start = Instant::now();
        let good = match method {
            Method::Echo => {
                client.call(ECHO, &Bytes::from(vec![b'x'; bytes])).is_ok_and(|answer| answer.len() == bytes)
            }
            Method::Sleep => client.call(SLEEP_MS, &(SLEEP.as_millis() as u64)).is_ok(),
        };
        if !count.add(&span, start, good) {
            return count;
        }
    }
}
